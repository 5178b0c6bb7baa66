"""The training loop: epochs of batches, validation, checkpoints, records, exact resume."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import equinox as eqx
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array

from efa_zoo.base.config import TrainingConfig
from efa_zoo.base.errors import DataError, TrainingError
from efa_zoo.base.files import FolderInUse, locked
from efa_zoo.base.interrupts import resumable
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.parallel.devices import by_device, place, replicate
from efa_zoo.models.parallel.processes import is_first, watch
from efa_zoo.structures.batch import Batch
from efa_zoo.training.checkpoints import Errors, Progress
from efa_zoo.training.loss import batch_errors
from efa_zoo.training.reporting import Report
from efa_zoo.training.step import TrainingState, initial_state, training_step

__all__ = ["BatchSource", "Errors", "RandomAccess", "Reminder", "fit", "mean_errors"]

#: Steps between two looks at the losses; a look waits for the device.
_CHECK_INTERVAL = 100


class BatchSource(Protocol):
    """Batches of an epoch, the same ones each time it is called with the same number."""

    def __call__(self, epoch: int) -> Iterator[Batch]:
        """Give out the batches of epoch `epoch`, counted from 0."""
        ...


@runtime_checkable
class RandomAccess(Protocol):
    """A source of batches that need not give out those before where a run goes on."""

    def start_at(self, epoch: int, batch: int) -> Iterator[Batch]:
        """Give out the batches of an epoch from batch number `batch` on."""
        ...


class Reminder(NamedTuple):
    """What a network knew before and is to keep: a second set to validate by.

    Attributes:
        validation: its batches.
        weight: its weight in the choice of the best weights, 0 to 1; the rest is that of the
            first set. At 0 its errors are only recorded.
    """

    validation: BatchSource
    weight: float


@eqx.filter_jit
def _errors(model: EnergyModel, batch: Batch, mesh: Mesh | None) -> dict[str, Array]:
    return by_device(batch_errors, mesh, total=True)(model, batch)


def mean_errors(model: EnergyModel, batches: Iterator[Batch], mesh: Mesh | None = None) -> Errors:
    """Mean errors over batches.

    Args:
        model: gives atomic energies in eV.
        batches: molecules and labels.
        mesh: of the devices that hold the model and that batches are dealt to; None is one.

    Returns:
        `energy_mae`, `energy_rmse` (eV), `force_mae`, `force_rmse` (eV/Å); `charge_…` (e) and
        `dipole_…` (e·Å, per component) and `stress_…` (eV/Å³, likewise) where there are labels
        and outputs.

    Raises:
        DataError: there are no molecules.
    """
    sums: dict[str, float] = {}
    for batch in batches:
        for name, value in _errors(model, place(batch, mesh), mesh).items():
            sums[name] = sums.get(name, 0.0) + float(value)
    if not sums.get("molecules"):
        raise DataError("batches: got no molecules, expected at least one")
    errors: Errors = {}
    for kind in ("energy", "force", "charge", "dipole", "stress"):
        if count := sums.get(f"{kind}_count"):
            errors[f"{kind}_mae"] = sums[f"{kind}_absolute"] / count
            errors[f"{kind}_rmse"] = math.sqrt(sums[f"{kind}_squared"] / count)
    return errors


def fit(
    model: EnergyModel,
    config: TrainingConfig,
    training: BatchSource,
    validation: BatchSource,
    directory: Path,
    *,
    reminder: Reminder | None = None,
    origin: Mapping[str, object] | None = None,
    on_validation: Callable[[int, Errors], None] | None = None,
    mesh: Mesh | None = None,
    report: Report | None = None,
) -> tuple[EnergyModel, Errors]:
    """Train a network, or go on with a training run from its last checkpoint.

    The run ends after the steps of the recipe, or after `patience` validations in a row of which
    none was better than the best before.

    The directory holds `checkpoint-<step>.safetensors` (the whole state, replaced at each
    validation), `checkpoint.json` (where the run stands; it makes the former valid),
    `best-<step>.safetensors` (averaged weights of the lowest validation error) and `log.csv`. A
    run that was interrupted at any time and resumed gives the same weights, bit for bit, as an
    uninterrupted one. All but the log have their digest, and an altered one is refused. While a
    run goes on, it holds the lock of its directory.

    Molecules of a batch may be dealt to several devices, of several processes, which must all call
    this alike. Of these only the first looks at the directory. What is learnt is the same up to
    rounding, and a run may go on with another number of devices.

    Args:
        model: initial network.
        config: the recipe.
        training: batches to learn from; the order must depend on the epoch's number alone.
        validation: batches to choose the best weights by.
        directory: of the run.
        reminder: a second set to validate by.
        origin: facts besides the recipe that a run and its resumption must have in common, such as
            the hash of the data; JSON-serialisable.
        on_validation: called with the step and the validation errors.
        mesh: of the devices to deal molecules to, see `device_mesh`; None is one.
        report: logs what is compiled and how far the run is; None knows no shapes beforehand.

    Returns:
        The best averaged weights and their validation errors, those of the reminder under names
        that begin with `reminder_`.

    Raises:
        ConfigError: a part of the recipe has no effect on the network's parameters.
        TrainingError: the loss or a validation error is not finite (step and batch are named), or
            the directory holds a run of another recipe or origin, or another process trains
            in it, or a file of it is damaged; or another process of the run was lost.
        WeightsError: weights of the run were altered.
        DataError: there is nothing to learn from or to validate by.
    """
    state = initial_state(model, config)
    lock = nullcontext()
    if is_first():
        directory.mkdir(parents=True, exist_ok=True)
        lock = locked(directory)
    try:
        with lock, resumable(directory / "checkpoint.json"), watch():
            return _fit(
                state,
                config,
                training,
                validation,
                directory,
                reminder,
                origin,
                on_validation,
                mesh,
                report or Report(),
            )
    except FolderInUse as error:
        raise TrainingError(
            f"{directory}: {error} trains in this folder, expected one that is free"
        ) from None


def _fit(
    state: TrainingState,
    config: TrainingConfig,
    training: BatchSource,
    validation: BatchSource,
    directory: Path,
    reminder: Reminder | None,
    origin: Mapping[str, object] | None,
    on_validation: Callable[[int, Errors], None] | None,
    mesh: Mesh | None,
    report: Report,
) -> tuple[EnergyModel, Errors]:
    model = state.model
    weight = reminder.weight if reminder is not None else 0.0
    progress = Progress(directory, config, model, origin or {}, weight)
    state = replicate(progress.restore(state), mesh)
    started = time.monotonic() - progress.seconds
    losses: list[_Loss] = []
    with report.running(config.steps, progress.step):
        for epoch in itertools.count(progress.epoch):
            skip = progress.batch if epoch == progress.epoch else 0
            number = skip - 1
            for number, batch in _numbered(training, epoch, skip):
                if progress.finished:
                    break
                with report.computing(batch):
                    state, loss = training_step(place(batch, mesh), state, config, mesh)
                step = progress.advance(epoch, number + 1)
                losses.append(_Loss(loss, step, epoch, number))
                report.step(step, partial(_mean, losses))
                due = step % config.validation_interval == 0 or step == config.steps
                if due or len(losses) >= _CHECK_INTERVAL:
                    _require_finite(losses)
                if due:
                    train_loss = _mean(losses)
                    with report.validating():
                        errors = mean_errors(state.average, validation(0), mesh)
                        if reminder is not None:
                            remembered = mean_errors(state.average, reminder.validation(0), mesh)
                            errors |= {f"reminder_{name}": e for name, e in remembered.items()}
                    _require_finite_errors(errors, step)
                    seconds = time.monotonic() - started
                    progress.record(state, train_loss, errors, seconds)
                    losses.clear()
                    if on_validation is not None:
                        on_validation(step, errors)
                elif len(losses) >= _CHECK_INTERVAL:
                    losses = losses[-1:]
            if progress.finished:
                break
            if number < 0:
                raise DataError(f"training: got no batches in epoch {epoch}, expected at least one")
    return progress.best_weights(model), progress.best


def _numbered(source: BatchSource, epoch: int, start: int) -> Iterator[tuple[int, Batch]]:
    """Batches of an epoch from one on, with their numbers."""
    if isinstance(source, RandomAccess):
        return enumerate(source.start_at(epoch, start), start)
    return itertools.islice(enumerate(source(epoch)), start, None)


class _Loss(NamedTuple):
    """A loss, still on the device, and where it came up."""

    value: Array
    step: int
    epoch: int
    batch: int


def _mean(losses: Sequence[_Loss]) -> float:
    return float(np.mean([float(loss.value) for loss in losses]))


def _require_finite(losses: list[_Loss]) -> None:
    for loss in losses:
        if not math.isfinite(float(loss.value)):
            raise TrainingError(
                f"loss: got {float(loss.value)} at step {loss.step} (epoch {loss.epoch}, batch "
                f"{loss.batch}), expected a finite number; the last checkpoint is whole"
            )


def _require_finite_errors(errors: Errors, step: int) -> None:
    for name, value in errors.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"{name}: got {value} in the validation at step {step}, expected a finite number; "
                "the last checkpoint is whole"
            )
