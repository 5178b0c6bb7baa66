"""Which structures meet in which batch, and the batches themselves without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import jax
import numpy as np
from jaxtyping import Float64, Int

from data_pipelines.batches.buckets import PaddingReport, assign_buckets, padding_report
from data_pipelines.batches.neighborhoods import Neighborhoods
from data_pipelines.labels.energies import relative_energies
from data_pipelines.structure import Structure
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import DataError
from efa_zoo.structures.batch import Batch
from efa_zoo.structures.graph import Shape, pack


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
    buckets: Sequence[Shape],
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


def pack_batch(
    structures: Sequence[Structure],
    energies: Float64[np.ndarray, " structures"],
    neighborhoods: Neighborhoods,
    shape: Shape,
    *,
    dtype: np.dtype | type,
    labels: frozenset[str] = frozenset(),
    spin: bool = False,
) -> Batch:
    """Pack structures and their labels; padding has labels of zero.

    Args:
        structures: At most `shape.molecules`; all of them have atomic dipoles, or none.
        energies: What to store as their energies, in eV.
        neighborhoods: Their neighbours.
        shape: The padded shape.
        dtype: Floating-point type.
        labels: Which of `charges`, `dipole` and `stress` to pack besides energies and forces.
        spin: Pack the multiplicities, which networks that embed the spin take.

    Returns:
        The batch with NumPy leaves, every molecule about its centroid.
    """
    graph = pack(
        [s.molecule(s.spin_multiplicity if spin else None) for s in structures],
        shape,
        reach=neighborhoods.reach,
        wave_reach=neighborhoods.wave_reach_of(shape.pbc),
        lists=[neighborhoods(s) for s in structures],
        dtype=dtype,
    )
    energy = np.zeros(shape.molecules, dtype)
    energy[: len(structures)] = energies
    forces = np.zeros((shape.molecules, shape.atoms, 3), dtype)
    charges = np.zeros((shape.molecules, shape.atoms), dtype) if "charges" in labels else None
    dipole = np.zeros((shape.molecules, 3), dtype) if "dipole" in labels else None
    stress = np.zeros((shape.molecules, 6), dtype) if "stress" in labels else None
    for row, structure in enumerate(structures):
        forces[row, : len(structure.forces)] = structure.forces
        if charges is not None:
            charges[row, : len(structure.forces)] = structure.charges
        if dipole is not None:
            dipole[row] = structure.dipole
        if stress is not None:
            stress[row] = structure.stress
    mask = np.arange(shape.molecules) < len(structures)
    return Batch(
        graph=graph,
        energy=energy,
        forces=forces,
        molecule_mask=mask,
        charges=charges,
        dipole=dipole,
        stress=stress,
    )


@dataclass(frozen=True, eq=False)
class BatchPlan:
    """How structures are dealt to batches; shared by every source of batches.

    Attributes:
        structures: What the batches are made of, at least one; all have atomic dipoles, or none.
        buckets: Shapes, for example from `choose_buckets`.
        neighborhoods: Neighbours of the structures.
        seed: Of the order.
        shuffle: Whether the order is random; else it is the same in every epoch.
        draw: Indices of the structures that an epoch takes, by the number of the epoch; None takes
            all structures in every epoch.
        spin: Whether batches have multiplicities, for networks that embed the spin.
    """

    structures: Sequence[Structure]
    buckets: Sequence[Shape]
    neighborhoods: Neighborhoods
    seed: int = 0
    shuffle: bool = True
    draw: Callable[[int], Int[np.ndarray, " drawn"]] | None = None
    spin: bool = False

    def __post_init__(self) -> None:
        if not self.structures:
            raise DataError("structures: got none, expected at least one")
        with_dipoles = sum(s.atomic_dipoles is not None for s in self.structures)
        if with_dipoles not in (0, len(self.structures)):
            raise DataError(
                f"atomic_dipoles: got them for {with_dipoles} of {len(self.structures)} "
                "structures, expected all or none"
            )

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

    @cached_property
    def labels(self) -> frozenset[str]:
        """Which of `charges`, `dipole` and `stress` all structures have."""
        return frozenset(
            name
            for name in ("charges", "dipole", "stress")
            if all(getattr(s, name) is not None for s in self.structures)
        )

    @property
    def batches_per_epoch(self) -> int:
        """Number of batches of an epoch that takes all structures."""
        return sum(use.batches for use in self.report.uses)

    @cached_property
    def assignment(self) -> Int[np.ndarray, " structures"]:
        """Bucket of each structure."""
        widths = self.neighborhoods.widths(self.structures)
        waves = self.neighborhoods.waves(self.structures)
        pbc = np.array([s.pbc for s in self.structures], bool)
        return assign_buckets(self._atoms, widths, self.buckets, waves, pbc)

    @cached_property
    def report(self) -> PaddingReport:
        """Shapes and fill ratios over an epoch that takes all structures."""
        pairs = np.array([self.neighborhoods(s).mask.sum() for s in self.structures])
        return padding_report(self.assignment, self.buckets, self._atoms, pairs)

    @property
    def _atoms(self) -> Int[np.ndarray, " structures"]:
        return np.array([len(s.atomic_numbers) for s in self.structures])


@dataclass(frozen=True, eq=False)
class NumpyBatches:
    """Ready batches without TensorFlow: structures are packed once, an epoch only gathers.

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
            yield jax.tree.map(lambda leaf, rows=gather: leaf[rows], pools[planned.bucket])

    @cached_property
    def _pools(self) -> tuple[tuple[Batch, ...], Int[np.ndarray, " structures"]]:
        """For each bucket its structures packed, and each structure's row there."""
        structures = self.plan.structures
        energies = relative_energies(structures, self.reference_energies)
        rows = np.zeros(len(structures), np.int64)
        pools: list[Batch] = []
        for number, bucket in enumerate(self.plan.buckets):
            members = np.flatnonzero(self.plan.assignment == number)
            rows[members] = np.arange(len(members))
            pools.append(
                pack_batch(
                    [structures[i] for i in members.tolist()],
                    energies[members],
                    self.plan.neighborhoods,
                    bucket._replace(molecules=len(members) + 1),
                    dtype=self.dtype,
                    labels=self.plan.labels,
                    spin=self.plan.spin,
                )
            )
        return tuple(pools), rows
