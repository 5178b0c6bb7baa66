"""Which structures meet in which batch, and the batches themselves without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float64, Int

from data_pipelines.batches.buckets import Bucket, BucketUse, PaddingReport, assign_buckets
from data_pipelines.labels.energies import relative_energies
from data_pipelines.structure import Structure
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import DataError
from efa_zoo.structures.batch import Batch
from efa_zoo.structures.graph import Graph, neighbor_matrix

Neighbors = tuple[Int[np.ndarray, "_ _"], Bool[np.ndarray, "_ _"]]
"""Neighbour matrix and mask of one structure, both `[atoms, neighbors]`."""


@dataclass(frozen=True)
class PlannedBatch:
    """Structures that go into one batch.

    Attributes:
        bucket: Index of the bucket.
        members: Indices of the structures, at most the bucket's molecules.
    """

    bucket: int
    members: Int[np.ndarray, " members"]


@contract
def plan_epoch(
    assignment: Int[np.ndarray, " structures"],
    buckets: Sequence[Bucket],
    *,
    seed: int,
    epoch: int,
    shuffle: bool,
    members: Int[np.ndarray, " members"] | None = None,
) -> tuple[PlannedBatch, ...]:
    """Deal every structure to exactly one batch.

    The last batch of a bucket may be short.

    Args:
        assignment: Bucket of each structure.
        buckets: The buckets.
        seed: With `epoch` it determines the plan completely.
        epoch: Number of the pass over the data.
        shuffle: Whether structures and batches are in random order; else they keep their order and
            batches go by ascending bucket.
        members: Indices of the structures to deal, a repeated one as often as it is given; None
            deals all.

    Returns:
        The batches in the order they are to be given out.
    """
    rng = np.random.default_rng((seed, epoch))
    order = np.arange(len(assignment)) if members is None else members
    order = order[rng.permutation(len(order))] if shuffle else order
    batches: list[PlannedBatch] = []
    for number, bucket in enumerate(buckets):
        inside = order[assignment[order] == number]
        starts = range(0, len(inside), bucket.molecules)
        batches += [PlannedBatch(number, inside[i : i + bucket.molecules]) for i in starts]
    places = rng.permutation(len(batches)).tolist() if shuffle else range(len(batches))
    return tuple(batches[i] for i in places)


class Arrays(NamedTuple):
    """The leaves of a `Batch` as NumPy arrays, padded; dipoles come last where there are any."""

    atomic_numbers: Int[np.ndarray, "molecules atoms"]
    positions: Float[np.ndarray, "molecules atoms 3"]
    neighbors: Int[np.ndarray, "molecules atoms neighbors"]
    neighbor_mask: Bool[np.ndarray, "molecules atoms neighbors"]
    total_charge: Int[np.ndarray, " molecules"]
    energy: Float[np.ndarray, " molecules"]
    forces: Float[np.ndarray, "molecules atoms 3"]
    molecule_mask: Bool[np.ndarray, " molecules"]
    atomic_dipoles: Float[np.ndarray, "molecules atoms 3"] | None = None

    def batch(self) -> Batch:
        """The batch made of these arrays."""
        return Batch(
            graph=Graph(
                atomic_numbers=self.atomic_numbers,
                positions=self.positions,
                neighbors=self.neighbors,
                neighbor_mask=self.neighbor_mask,
                total_charge=self.total_charge,
                atomic_dipoles=self.atomic_dipoles,
            ),
            energy=self.energy,
            forces=self.forces,
            molecule_mask=self.molecule_mask,
        )


@contract
def pad_structures(
    structures: Sequence[Structure],
    energies: Float64[np.ndarray, " structures"],
    neighbors: Sequence[Neighbors],
    shape: Bucket,
    *,
    dtype: np.dtype | type,
) -> Arrays:
    """Pad structures to one shape.

    Padding has number, mask, charge, position, energy and force zero; padded neighbours point to
    the atom itself.

    Args:
        structures: At most `shape.molecules`; all of them have atomic dipoles, or none.
        energies: What to store as their energies, in eV.
        neighbors: Neighbour matrix and mask of each.
        shape: The padded shape.
        dtype: Floating-point type.

    Returns:
        The padded arrays.
    """
    molecules, atoms, width = shape.molecules, shape.atoms, shape.neighbors
    vectors = (molecules, atoms, 3)
    itself = np.arange(atoms, dtype=np.int32)[:, None]
    padded = Arrays(
        atomic_numbers=np.zeros((molecules, atoms), np.int32),
        positions=np.zeros(vectors, dtype),
        neighbors=np.broadcast_to(itself, (molecules, atoms, width)).copy(),
        neighbor_mask=np.zeros((molecules, atoms, width), bool),
        total_charge=np.zeros(molecules, np.int32),
        energy=np.zeros(molecules, dtype),
        forces=np.zeros(vectors, dtype),
        molecule_mask=np.arange(molecules) < len(structures),
        atomic_dipoles=np.zeros(vectors, dtype) if _have_dipoles(structures) else None,
    )
    for i, (structure, (found, mask)) in enumerate(zip(structures, neighbors, strict=True)):
        size = len(structure.atomic_numbers)
        padded.atomic_numbers[i, :size] = structure.atomic_numbers
        padded.positions[i, :size] = structure.positions
        padded.neighbors[i, :size, : found.shape[1]] = found
        padded.neighbor_mask[i, :size, : mask.shape[1]] = mask
        padded.total_charge[i] = structure.total_charge
        padded.forces[i, :size] = structure.forces
        if padded.atomic_dipoles is not None:
            padded.atomic_dipoles[i, :size] = structure.atomic_dipoles
    padded.energy[: len(structures)] = energies
    return padded


def _have_dipoles(structures: Sequence[Structure]) -> bool:
    return bool(structures) and structures[0].atomic_dipoles is not None


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """How structures are dealt to batches; shared by every source of batches.

    Attributes:
        structures: What the batches are made of, at least one; all have atomic dipoles, or none.
        buckets: Shapes, for example from `choose_buckets`.
        cutoff: Neighbours are the pairs closer than this in Å; None takes every pair.
        seed: Of the order.
        shuffle: Whether the order is random; else it is the same in every epoch.
        draw: Indices of the structures that an epoch takes, by the number of the epoch; None takes
            all structures in every epoch.
    """

    structures: Sequence[Structure]
    buckets: Sequence[Bucket]
    cutoff: float | None
    seed: int = 0
    shuffle: bool = True
    draw: Callable[[int], Int[np.ndarray, " drawn"]] | None = None

    def __post_init__(self) -> None:
        if not self.structures:
            raise DataError("structures: got none, expected at least one")
        with_dipoles = sum(s.atomic_dipoles is not None for s in self.structures)
        if with_dipoles not in (0, len(self.structures)):
            raise DataError(
                f"atomic_dipoles: got them for {with_dipoles} of {len(self.structures)} "
                "structures, expected all or none"
            )

    @property
    def has_dipoles(self) -> bool:
        """Whether the batches have atomic dipoles."""
        return _have_dipoles(self.structures)

    def __call__(self, epoch: int) -> tuple[PlannedBatch, ...]:
        """Say which structures are in which batch of an epoch."""
        return plan_epoch(
            self.assignment,
            self.buckets,
            seed=self.seed,
            epoch=epoch,
            shuffle=self.shuffle,
            members=None if self.draw is None else self.draw(epoch),
        )

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches of an epoch that takes all structures."""
        return sum(use.batches for use in self.report.uses)

    @cached_property
    def neighbors(self) -> tuple[Neighbors, ...]:
        """Neighbour matrix and mask of each structure, as `neighbor_matrix` gives them."""
        return tuple(neighbor_matrix(s.positions, self.cutoff) for s in self.structures)

    @cached_property
    def assignment(self) -> Int[np.ndarray, " structures"]:
        """Bucket of each structure."""
        widths = np.array([mask.sum(axis=1).max() for _, mask in self.neighbors])
        return assign_buckets(self._atoms, widths, self.buckets)

    @cached_property
    def report(self) -> PaddingReport:
        """Shapes and fill ratios over an epoch that takes all structures."""
        pairs = np.array([mask.sum() for _, mask in self.neighbors])
        uses: list[BucketUse] = []
        for number, bucket in enumerate(self.buckets):
            inside = self.assignment == number
            molecules = int(inside.sum())
            uses.append(
                BucketUse(
                    bucket=bucket,
                    batches=-(-molecules // bucket.molecules),
                    molecules=molecules,
                    atoms=int(self._atoms[inside].sum()),
                    neighbors=int(pairs[inside].sum()),
                )
            )
        return PaddingReport(tuple(uses))

    @property
    def _atoms(self) -> Int[np.ndarray, " structures"]:
        return np.array([len(s.atomic_numbers) for s in self.structures])


@dataclass(frozen=True, eq=False)
class NumpyBatches:
    """Ready batches without TensorFlow: neighbours are found once, an epoch only gathers.

    Calling it with an epoch's number gives the batches of that epoch, the same ones each time.

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
        pools, rows = self._pools
        for planned in self.plan(epoch):
            chosen = rows[planned.members]
            empty = self.plan.buckets[planned.bucket].molecules - len(chosen)
            # The last row of each pool is an empty molecule.
            gather = np.concatenate([chosen, np.full(empty, -1, chosen.dtype)])
            leaves = (None if leaf is None else leaf[gather] for leaf in pools[planned.bucket])
            yield Arrays._make(leaves).batch()

    @cached_property
    def _pools(self) -> tuple[tuple[Arrays, ...], Int[np.ndarray, " structures"]]:
        """For each bucket its structures padded, and each structure's row there."""
        structures = self.plan.structures
        energies = relative_energies(structures, self.reference_energies)
        rows = np.zeros(len(structures), np.int64)
        pools: list[Arrays] = []
        for number, bucket in enumerate(self.plan.buckets):
            members = np.flatnonzero(self.plan.assignment == number)
            rows[members] = np.arange(len(members))
            pools.append(
                pad_structures(
                    [structures[i] for i in members.tolist()],
                    energies[members],
                    [self.plan.neighbors[i] for i in members.tolist()],
                    replace(bucket, molecules=len(members) + 1),
                    dtype=self.dtype,
                )
            )
        return tuple(pools), rows
