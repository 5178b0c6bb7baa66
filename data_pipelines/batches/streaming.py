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
        planned = self.plan(epoch)
        for batch, leaves in zip(planned, self.dataset(epoch).as_numpy_iterator(), strict=True):
            layout, present = self._layouts[batch.bucket]
            found = iter(leaves)
            kept = [next(found) if there else None for there in self._stored]
            all_leaves = [x if there else None for x, there in zip(kept, present, strict=True)]
            yield jax.tree.unflatten(layout, all_leaves)

    def dataset(self, epoch: int) -> Any:
        """Build the tf.data pipeline of one epoch.

        Args:
            epoch: Number of the pass over the data, from 0.

        Returns:
            A `tf.data.Dataset` of the leaves of each `Batch`, in the order of JAX; a leaf that only
            batches of other buckets have is empty.
        """
        tf = import_tensorflow()
        planned, leaves = self.plan(epoch), [leaf for leaf in self._examples if leaf is not None]

        def assemble(number: np.ndarray) -> list[np.ndarray]:
            found = _leaves(self._pack(planned[int(number)]))
            return [
                np.zeros((0,) * example.ndim, example.dtype) if leaf is None else leaf
                for leaf, example in zip(found, self._examples, strict=True)
                if example is not None
            ]

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
    def _firsts(self) -> dict[int, Batch]:
        """A batch of the first structure of each bucket, which shows the leaves that all have."""
        buckets, members = np.unique(self.plan.assignment, return_index=True)
        return {
            int(bucket): self._pack(PlannedBatch(int(bucket), np.asarray([member])))
            for bucket, member in zip(buckets.tolist(), members.tolist(), strict=True)
        }

    @cached_property
    def _examples(self) -> list[np.ndarray | None]:
        """One of each leaf; None for those that no bucket has."""
        columns = zip(*(_leaves(batch) for batch in self._firsts.values()), strict=True)
        return [next((leaf for leaf in column if leaf is not None), None) for column in columns]

    @property
    def _stored(self) -> list[bool]:
        return [leaf is not None for leaf in self._examples]

    @cached_property
    def _layouts(self) -> dict[int, tuple[Any, list[bool]]]:
        """Of each bucket's batches the structure, and which leaves there are."""
        return {
            bucket: (
                jax.tree.structure(batch, is_leaf=_is_missing),
                [leaf is not None for leaf in _leaves(batch)],
            )
            for bucket, batch in self._firsts.items()
        }

    @cached_property
    def _energies(self) -> Float64[np.ndarray, " structures"]:
        return relative_energies(self.plan.structures, self.reference_energies)


def _is_missing(leaf: object) -> bool:
    return leaf is None


def _leaves(batch: Batch) -> list[np.ndarray | None]:
    """All leaves, None for those that are missing."""
    return jax.tree.leaves(batch, is_leaf=_is_missing)
