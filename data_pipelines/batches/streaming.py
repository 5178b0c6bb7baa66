"""Batches through tf.data: neighbour search and padding in threads, ahead of training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float64

from data_pipelines.batches._tensorflow import import_tensorflow
from data_pipelines.batches.batching import Arrays, BatchPlan, pad_structures
from data_pipelines.labels.energies import relative_energies
from efa_zoo.structures.batch import Batch
from efa_zoo.structures.graph import neighbor_matrix


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
        for leaves in self.dataset(epoch).as_numpy_iterator():
            yield Arrays(*leaves).batch()

    def dataset(self, epoch: int) -> Any:
        """Build the tf.data pipeline of one epoch.

        Args:
            epoch: Number of the pass over the data, from 0.

        Returns:
            A `tf.data.Dataset` of tuples in the order of `Arrays`, with the batches' shapes, with
            dipoles where the structures have them.
        """
        tf = import_tensorflow()
        planned = self.plan(epoch)
        energies = self._energies

        def assemble(number: np.ndarray) -> tuple[np.ndarray, ...]:
            batch = planned[int(number)]
            structures = [self.plan.structures[i] for i in batch.members]
            padded = pad_structures(
                structures,
                energies[batch.members],
                [neighbor_matrix(s.positions, self.plan.cutoff) for s in structures],
                self.plan.buckets[batch.bucket],
                dtype=self.dtype,
            )
            return tuple(leaf for leaf in padded if leaf is not None)

        real = tf.as_dtype(np.dtype(self.dtype))
        types = (tf.int32, real, tf.int32, tf.bool, tf.int32, real, real, tf.bool)
        ranks = (2, 3, 3, 3, 1, 1, 3, 1)
        if self.plan.has_dipoles:
            types, ranks = (*types, real), (*ranks, 3)

        def load(number: Any) -> tuple[Any, ...]:
            leaves = tf.numpy_function(assemble, [number], types, stateful=False)
            return tuple(
                tf.ensure_shape(leaf, [None] * rank)
                for leaf, rank in zip(leaves, ranks, strict=True)
            )

        return (
            tf.data.Dataset.range(len(planned))
            .map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            .prefetch(tf.data.AUTOTUNE)
        )

    @cached_property
    def _energies(self) -> Float64[np.ndarray, " structures"]:
        return relative_energies(self.plan.structures, self.reference_energies)
