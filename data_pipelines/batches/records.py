"""Batches of sets that do not fit into memory: read and packed by processes, through Grain."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from jaxtyping import Int

from data_pipelines._workers import available_cores
from data_pipelines.batches.batching import PlannedBatch, pack_batch, plan_epoch
from data_pipelines.batches.buckets import PaddingReport, assign_buckets, padding_report
from data_pipelines.batches.neighborhoods import Neighborhoods
from data_pipelines.batches.survey import Survey
from data_pipelines.labels.energies import relative_energies
from data_pipelines.stored import StoredStructures
from efa_zoo.structures.batch import Batch
from efa_zoo.structures.graph import Shape

__all__ = ["GrainBatches", "StoredPlan"]

#: Batches that wait in every worker.
_AHEAD = 4


@dataclass(frozen=True, eq=False)
class StoredPlan:
    """How stored structures are dealt to batches: as `BatchPlan` deals those in memory.

    Attributes:
        structures: Where they lie.
        survey: What was found in them.
        buckets: Shapes, for example from `buckets_for`.
        cutoff: Neighbours are the pairs closer than this in Å; None takes every pair.
        wave_reach: How far wave vectors of structures reach in 1/Å that are periodic in three
            directions, as in the survey.
        numbers: Which structures an epoch takes, a repeated one as often as it is given; None takes
            each once.
        seed: Of the order.
        spin: Whether batches have multiplicities, for networks that embed the spin.
    """

    structures: StoredStructures
    survey: Survey
    buckets: Sequence[Shape]
    cutoff: float | None
    wave_reach: float = 0.0
    numbers: Int[np.ndarray, " places"] | None = None
    seed: int = 0
    spin: bool = False

    @cached_property
    def chosen(self) -> Int[np.ndarray, " places"]:
        """Number of the structure at each place of an epoch before it is shuffled."""
        return np.arange(len(self.survey.atoms)) if self.numbers is None else self.numbers

    @cached_property
    def assignment(self) -> Int[np.ndarray, " places"]:
        """Bucket of the structure at each place."""
        found = self.survey
        buckets = assign_buckets(found.atoms, found.widths, self.buckets, found.waves, found.pbc)
        return buckets[self.chosen]

    @property
    def report(self) -> PaddingReport:
        """Shapes and fill ratios over an epoch."""
        atoms, pairs = self.survey.atoms[self.chosen], self.survey.pairs[self.chosen]
        return padding_report(self.assignment, self.buckets, atoms, pairs)

    @cached_property
    def batches_per_epoch(self) -> int:
        """Number of batches of every epoch."""
        return sum(use.batches for use in self.report.uses)


@dataclass(eq=False)
class GrainBatches:
    """Batches from processes that read array_record files, search neighbours and pack.

    The same batches, to the last bit, as `NumpyBatches` gives for the same structures. Memory does
    not grow with the structures, apart from what the plan knows of each. The order is a function of
    seed and epoch, and every batch is read by number, so that a run goes on inside of an epoch
    without reading what comes before. Workers are started once, by *spawn*, and run ahead over the
    ends of epochs; `close` ends them.

    Attributes:
        plan: Which structures meet in which batch.
        reference_energies: Energies in eV by atomic number, subtracted in float64.
        dtype: Floating-point type of the batches.
        rows: Which rows of a batch of so many molecules this process takes, beyond the last of
            them padding; None takes all.
        workers: Processes, None for one per available core but one; 0 works in this process.
    """

    plan: StoredPlan
    reference_energies: Mapping[int, float]
    dtype: np.dtype | type = np.float32
    rows: Mapping[int, slice] | None = None
    workers: int | None = None
    _iterator: Any = field(default=None, init=False, repr=False)
    _next: int = field(default=-1, init=False, repr=False)

    def __call__(self, epoch: int) -> Iterator[Batch]:
        """Give out the batches of one epoch.

        Args:
            epoch: Number of the pass over the data, from 0.

        Yields:
            Batches with NumPy leaves, of this process's rows.
        """
        return self.start_at(epoch, 0)

    def start_at(self, epoch: int, batch: int) -> Iterator[Batch]:
        """Give out the batches of one epoch from some batch on.

        Args:
            epoch: As before.
            batch: Number of the first batch.

        Yields:
            As before.
        """
        per_epoch = self.plan.batches_per_epoch
        for number in range(epoch * per_epoch + batch, (epoch + 1) * per_epoch):
            if number != self._next:
                self.close()
                self._iterator = self._open(number)
            self._next = number + 1
            yield pickle.loads(next(self._iterator))

    def close(self) -> None:
        """End the workers; the next batch starts others."""
        if self._iterator is not None:
            self._iterator.close()
        self._iterator, self._next = None, -1

    def _open(self, first: int) -> Any:
        """Start workers at a batch, counted over all epochs."""
        import grain
        from absl import flags

        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # Grain's options are flags of absl, at their defaults
        workers = max(1, available_cores() - 1) if self.workers is None else self.workers
        plan = self.plan
        batches = _Batches(
            structures=plan.structures,
            chosen=plan.chosen,
            assignment=plan.assignment,
            buckets=tuple(plan.buckets),
            cutoff=plan.cutoff,
            wave_reach=plan.wave_reach,
            seed=plan.seed,
            spin=plan.spin,
            labels=plan.survey.labels,
            reference_energies=dict(self.reference_energies),
            dtype=np.dtype(self.dtype),
            rows=None if self.rows is None else dict(self.rows),
            first=first,
            per_epoch=plan.batches_per_epoch,
        )
        reading = grain.ReadOptions(num_threads=1, prefetch_buffer_size=_AHEAD)
        dataset = grain.MapDataset.source(batches).to_iter_dataset(reading)
        if workers:
            options = grain.MultiprocessingOptions(workers, per_worker_buffer_size=_AHEAD)
            dataset = dataset.mp_prefetch(options)
        return iter(dataset)


@dataclass(eq=False)
class _Batches:
    """The batches of all epochs from one on, by number; pickled to the workers.

    Batches go pickled too: they are so small that shared memory, of which Grain would take a block
    for every array, costs more.
    """

    structures: StoredStructures
    chosen: Int[np.ndarray, " places"]
    assignment: Int[np.ndarray, " places"]
    buckets: tuple[Shape, ...]
    cutoff: float | None
    wave_reach: float
    seed: int
    spin: bool
    labels: frozenset[str]
    reference_energies: dict[int, float]
    dtype: np.dtype
    rows: dict[int, slice] | None
    first: int
    per_epoch: int

    def __post_init__(self) -> None:
        self._planned = lru_cache(2)(self._plan)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_planned"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()

    def __len__(self) -> int:
        return _EPOCHS * self.per_epoch - self.first

    def __getitem__(self, index: int) -> bytes:
        epoch, place = divmod(self.first + index, self.per_epoch)
        planned = self._planned(epoch)[place]
        shape = self.buckets[planned.bucket]
        members = self.chosen[planned.members]
        if self.rows is not None:
            own = self.rows[shape.molecules]
            shape = shape._replace(molecules=own.stop - own.start)
            members = members[own]
        structures = self.structures.read(members.tolist())
        batch = pack_batch(
            structures,
            relative_energies(structures, self.reference_energies),
            Neighborhoods(self.cutoff, lambda: self.wave_reach),
            shape,
            dtype=self.dtype,
            labels=self.labels,
            spin=self.spin,
        )
        return pickle.dumps(batch, pickle.HIGHEST_PROTOCOL)

    def _plan(self, epoch: int) -> tuple[PlannedBatch, ...]:
        return plan_epoch(self.assignment, self.buckets, seed=self.seed, epoch=epoch, shuffle=True)


#: More epochs than any run has.
_EPOCHS = 2**31
