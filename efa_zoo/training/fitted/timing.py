"""How long a training step takes on this machine."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
from jax.sharding import Mesh

from efa_zoo.base.config import TrainingConfig
from efa_zoo.base.progress import ongoing
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.parallel.devices import place, replicate
from efa_zoo.structures.graph import Shape
from efa_zoo.training.step import initial_state, training_step

if TYPE_CHECKING:
    from data_pipelines.structure import Structure

__all__ = ["StepTime", "time_steps"]

_logger = logging.getLogger(__name__)

#: Steps are repeated for so many seconds, but at least so often.
_SECONDS, _TIMES = 1.0, 3

#: A validation batch costs about so much of a training step: it has no second derivatives.
_VALIDATION = 0.4

#: Neighbours that the work on an atom alone comes to.
_OWN = 8


class StepTime(NamedTuple):
    """Times of a training run in seconds.

    Attributes:
        step: of a step, the mean over the batches of an epoch.
        compiling: for all shapes of batches.
        validating: for one validation.
    """

    step: float
    compiling: float
    validating: float


def time_steps(
    network: EnergyModel,
    config: TrainingConfig,
    training: Sequence[Structure],
    validation: Sequence[Structure],
    max_buckets: int,
    mesh: Mesh | None = None,
) -> StepTime:
    """Compile and repeat the training step of the shape that an epoch spends most work on.

    Other shapes are not compiled; their times follow from their numbers of atoms and pairs.

    Args:
        network: is not changed.
        config: its batch size counts.
        training: structures.
        validation: structures.
        max_buckets: shapes that batches are padded to.
        mesh: of the devices to deal molecules to; None is one.

    Returns:
        The times.
    """
    from data_pipelines.batches.batching import BatchPlan, NumpyBatches
    from data_pipelines.batches.buckets import choose_buckets
    from data_pipelines.batches.neighborhoods import Neighborhoods
    from data_pipelines.labels.energies import fit_reference_energies

    cutoff = network.config.message_passing.cutoff
    neighborhoods = Neighborhoods(cutoff, lambda: network.wave_reach)
    everything = [*training, *validation]
    buckets = choose_buckets(everything, neighborhoods, config.batch_size, max_buckets)
    spin = network.config.spin_embedding

    def plan(structures: Sequence[Structure]) -> BatchPlan:
        return BatchPlan(structures, buckets, neighborhoods, shuffle=False, spin=spin)

    def work(shape: Shape) -> float:
        others = shape.atoms if network.config.attention is not None else 0
        return shape.molecules * shape.atoms * (_OWN + shape.neighbors + 0.5 * others)

    planned = plan(training)
    uses = [use for use in planned.report.uses if use.batches]
    heaviest = max(uses, key=lambda use: use.batches * work(use.bucket)).bucket
    number = buckets.index(heaviest)
    inside = [s for s, n in zip(training, planned.assignment, strict=True) if n == number]
    (batch, *_) = NumpyBatches(
        BatchPlan(inside[: heaviest.molecules], [heaviest], neighborhoods, spin=spin),
        fit_reference_energies(training),
    )(0)
    batch, state = place(batch, mesh), replicate(initial_state(network, config), mesh)
    started = time.monotonic()
    with ongoing("timing a training step", _logger):
        state, loss = training_step(batch, state, config, mesh)
        jax.block_until_ready(loss)
        compiling = time.monotonic() - started
        times: list[float] = []
        while len(times) < _TIMES or sum(times) < _SECONDS:
            started = time.monotonic()
            state, loss = training_step(batch, state, config, mesh)
            jax.block_until_ready(loss)
            times.append(time.monotonic() - started)
    one = sum(times) / len(times) / work(heaviest)  # the mean: the machine may be busy later, too
    batches = sum(use.batches for use in uses)
    step = one * sum(use.batches * work(use.bucket) for use in uses) / batches
    validating = (
        _VALIDATION
        * one
        * sum(use.batches * work(use.bucket) for use in plan(validation).report.uses)
    )
    return StepTime(step=step, compiling=compiling * len(uses), validating=validating)
