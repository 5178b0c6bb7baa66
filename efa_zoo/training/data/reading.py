"""The data of a recipe as batches, from memory or from disk."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from jax.sharding import Mesh

from efa_zoo.base.config import TrainingConfig
from efa_zoo.base.progress import ongoing
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.parallel.devices import place_share, share_of_rows
from efa_zoo.structures.batch import Batch
from efa_zoo.structures.graph import Shape
from efa_zoo.training.data.choosing import repeat_isolated, repeated_places, require_places
from efa_zoo.training.loop import BatchSource

if TYPE_CHECKING:
    from data_pipelines.batches.buckets import PaddingReport
    from data_pipelines.batches.records import GrainBatches
    from data_pipelines.structure import Structure

__all__ = ["MAX_BUCKETS", "Loader", "TrainingData", "read_data"]

_logger = logging.getLogger(__name__)

#: What batches come from.
Loader: TypeAlias = Literal["numpy", "tensorflow", "grain"]

#: Shapes that batches are padded to; each is compiled once.
MAX_BUCKETS = 6

#: Structures on disk that stand for all of them where a pass over all would cost too much.
_SAMPLE = 20_000


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a network learns from.

    Attributes:
        training: batches to learn from.
        validation: batches to choose the best weights by.
        references: energies in eV by atomic number, which labels are relative to.
        witnesses: structures that show what the training data cover.
        sample: gives the training structures, or some thousand of them where they are on disk.
        held_back: the validation structures.
        shapes: of the training batches.
        close: ends what reads them.
    """

    training: BatchSource
    validation: BatchSource
    references: Mapping[int, float]
    witnesses: Sequence[Structure]
    sample: Callable[[], Sequence[Structure]]
    held_back: Sequence[Structure]
    shapes: Sequence[Shape]
    close: Callable[[], None]


def read_data(
    card: Card,
    config: TrainingConfig,
    loader: Loader,
    mesh: Mesh,
    data_dir: str | os.PathLike[str] | None,
    wave_reach: Callable[[], float] = lambda: 0.0,
) -> TrainingData:
    """Read training and validation data, and plan their batches.

    Args:
        card: names the data set; of the network.
        config: the recipe.
        loader: as of `train`. Validation data are always held in memory.
        mesh: of the devices that batches are for.
        data_dir: where data sets lie.
        wave_reach: tells how far wave vectors of periodic structures reach in 1/Å.

    Returns:
        The data.

    Raises:
        DataError: the data set is missing or cannot be read, or the network has no place for what
            is in it.
        ConfigError: the recipe does not fit the data.
    """
    # Imported here: reading data needs packages that the library itself does not.
    from data_pipelines import load_split
    from data_pipelines.batches.batching import BatchPlan, NumpyBatches
    from data_pipelines.batches.buckets import choose_buckets
    from data_pipelines.batches.neighborhoods import Neighborhoods
    from data_pipelines.batches.streaming import TensorFlowBatches
    from data_pipelines.labels.energies import fit_reference_energies

    if loader == "grain":
        return _read_stored(card, config, mesh, data_dir, wave_reach)
    neighborhoods = Neighborhoods(card.model.message_passing.cutoff, wave_reach)
    with ongoing(f"reading {card.data.name}", _logger):
        structures = load_split(card.data.name, "train", data_dir=data_dir)
        held_back = load_split(card.data.name, "validation", data_dir=data_dir)
    require_places(structures + held_back, card)
    references = fit_reference_energies(structures)
    buckets = choose_buckets(structures + held_back, neighborhoods, config.batch_size, MAX_BUCKETS)

    def source(chosen: Sequence[Structure], shuffle: bool) -> NumpyBatches | TensorFlowBatches:
        plan = BatchPlan(
            chosen,
            buckets,
            neighborhoods,
            seed=config.seed,
            shuffle=shuffle,
            spin=card.model.spin_embedding,
        )
        _logger.info("%s", plan.report)
        if loader == "tensorflow":
            return TensorFlowBatches(plan, references)
        return NumpyBatches(plan, references)

    chosen = repeat_isolated(structures, config.isolated_share)
    with ongoing("packing batches", _logger):
        training, validation = source(chosen, True), source(held_back, False)
    return TrainingData(
        training=training,
        validation=validation,
        references=references,
        witnesses=structures,
        sample=lambda: structures,
        held_back=held_back,
        shapes=_shapes(training.plan.report),
        close=lambda: None,
    )


def _shapes(report: PaddingReport) -> list[Shape]:
    return [use.bucket for use in report.uses if use.batches]


def _read_stored(
    card: Card,
    config: TrainingConfig,
    mesh: Mesh,
    data_dir: str | os.PathLike[str] | None,
    wave_reach: Callable[[], float],
) -> TrainingData:
    """Leave the training data where they lie."""
    from data_pipelines.batches.batching import BatchPlan, NumpyBatches
    from data_pipelines.batches.buckets import buckets_by_periodicity
    from data_pipelines.batches.neighborhoods import Neighborhoods
    from data_pipelines.batches.records import GrainBatches, StoredPlan
    from data_pipelines.batches.survey import survey
    from data_pipelines.datasets import load_split, open_split

    cutoff, spin = card.model.message_passing.cutoff, card.model.spin_embedding
    neighborhoods = Neighborhoods(cutoff, wave_reach)
    stored = open_split(card.data.name, "train", data_dir=data_dir)
    held_back = load_split(card.data.name, "validation", data_dir=data_dir)
    found, reach = survey(stored, cutoff), 0.0
    if found.pbc.all(axis=1).any() and (reach := wave_reach()):
        found = survey(stored, cutoff, reach)
    require_places([*found.witnesses, *held_back], card)
    references = found.reference_energies()
    atoms = np.array([len(s.atomic_numbers) for s in held_back], np.int32)
    buckets = buckets_by_periodicity(
        np.concatenate([found.atoms, atoms]),
        np.concatenate([found.widths, neighborhoods.widths(held_back)]),
        np.concatenate([found.waves, neighborhoods.waves(held_back)]),
        np.concatenate([found.pbc, np.array([s.pbc for s in held_back], bool).reshape(-1, 3)]),
        config.batch_size,
        MAX_BUCKETS,
    )
    plan = StoredPlan(
        stored,
        found,
        buckets,
        cutoff,
        reach,
        numbers=np.array(repeated_places(found.isolated, config.isolated_share)),
        seed=config.seed,
        spin=spin,
    )
    validation = BatchPlan(held_back, buckets, neighborhoods, shuffle=False, spin=spin)
    for report in (plan.report, validation.report):
        _logger.info("%s", report)
    order = np.random.default_rng(config.seed).permutation(len(stored))
    chosen = sorted(order[:_SAMPLE].tolist())
    total, own = share_of_rows(config.batch_size, mesh)
    shared = (own.start, own.stop) != (0, total)
    rows = {config.batch_size: own} if shared else None
    batches = GrainBatches(plan, references, rows=rows)
    return TrainingData(
        training=_Shares(batches, total, mesh) if shared else batches,
        validation=NumpyBatches(validation, references),
        references=references,
        witnesses=found.witnesses,
        sample=lambda: stored.read(chosen),
        held_back=held_back,
        shapes=_shapes(plan.report),
        close=batches.close,
    )


@dataclass(frozen=True)
class _Shares:
    """Batches of which every process reads its own rows only."""

    batches: GrainBatches
    total: int
    mesh: Mesh

    def __call__(self, epoch: int) -> Iterator[Batch]:
        """Give out the batches of an epoch as global arrays."""
        return self.start_at(epoch, 0)

    def start_at(self, epoch: int, batch: int) -> Iterator[Batch]:
        """Give out the batches of an epoch from one on."""
        for own in self.batches.start_at(epoch, batch):
            yield place_share(own, self.total, self.mesh)
