"""Batches through tf.data: packing in threads, ahead of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
from jaxtyping import Float64

from data_pipelines.batches._tensorflow import import_tensorflow
from data_pipelines.batches.batching import BatchPlan, PlannedBatch, pack_batch
from data_pipelines.labels.energies import relative_energies
from efa_zoo.structures.batch import Batch


@dataclass(frozen=True, eq=False)
class TensorFlowBatches:
    """Batches from a tf.data pipeline; the same ones as `NumpyBatches` gives for the same plan.

    TensorFlow is imported when the first epoch starts and never uses a GPU.

    Attributes:
        plan: Which structures meet in which batch.
        reference_energies: Energies in eV by atomic number, subtracted in float64.
        dtype: Floating-point type of the batches.
    """

    plan: BatchPlan
    reference_energies: Mapping[int, float]
    dtype: np.dtype | type = np.float32

    def __call__(self, epoch: int) -> Iterator[Batch]:
        """Give out the batches of one epoch.

        Args:
            epoch: Number of the pass over the data, from 0.

        Yields:
            Batches with NumPy leaves. Every structure is in exactly one.
        """
        structure = jax.tree.structure(self._first)
        for leaves in self.dataset(epoch).as_numpy_iterator():
            yield jax.tree.unflatten(structure, leaves)

    def dataset(self, epoch: int) -> Any:
        """Build the tf.data pipeline of one epoch.

        Args:
            epoch: Number of the pass over the data, from 0.

        Returns:
            A `tf.data.Dataset` of the leaves of each `Batch`, in the order of JAX.
        """
        tf = import_tensorflow()
        planned = self.plan(epoch)

        def assemble(number: np.ndarray) -> list[np.ndarray]:
            return jax.tree.leaves(self._pack(planned[int(number)]))

        leaves = jax.tree.leaves(self._first)
        types = [tf.as_dtype(leaf.dtype) for leaf in leaves]

        def load(number: Any) -> tuple[Any, ...]:
            tensors = tf.numpy_function(assemble, [number], types, stateful=False)
            return tuple(
                tf.ensure_shape(tensor, [None] * leaf.ndim)
                for tensor, leaf in zip(tensors, leaves, strict=True)
            )

        return (
            tf.data.Dataset.range(len(planned))
            .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .prefetch(tf.data.AUTOTUNE)
        )

    def _pack(self, planned: PlannedBatch) -> Batch:
        return pack_batch(
            [self.plan.structures[i] for i in planned.members],
            self._energies[planned.members],
            self.plan.neighborhoods,
            self.plan.buckets[planned.bucket],
            dtype=self.dtype,
            labels=self.plan.labels,
            spin=self.plan.spin,
        )

    @cached_property
    def _first(self) -> Batch:
        """A batch of the first structure, which shows the leaves that all have."""
        return self._pack(PlannedBatch(int(self.plan.assignment[0]), np.zeros(1, np.int64)))

    @cached_property
    def _energies(self) -> Float64[np.ndarray, " structures"]:
        return relative_energies(self.plan.structures, self.reference_energies)
