"""Where a training run stands, and its files: checkpoints, best weights and the log."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from efa_zoo.base.config import TrainingConfig, to_table
from efa_zoo.base.errors import TrainingError
from efa_zoo.base.files import naming, read_record, write_atomically, write_record
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.parallel.processes import facts_of_first, is_first, tree_of_first
from efa_zoo.models.weights import load_weights, save_weights
from efa_zoo.training.step import TrainingState

__all__ = ["Errors", "Progress", "steps_of_run"]

_logger = logging.getLogger(__name__)

Errors = dict[str, float]


class Progress:
    """Where a run stands, and its files."""

    directory: Path
    config: TrainingConfig
    reminder_weight: float
    step: int
    epoch: int
    batch: int
    seconds: float
    best: Errors
    best_step: int
    best_sha256: str
    since_best: int
    recipe: dict[str, object]

    def __init__(
        self,
        directory: Path,
        config: TrainingConfig,
        model: EnergyModel,
        origin: Mapping[str, object],
        reminder_weight: float,
    ):
        self.directory, self.config, self.reminder_weight = directory, config, reminder_weight
        self.step, self.epoch, self.batch, self.seconds = 0, 0, 0, 0.0
        self.best = {}
        self.best_step, self.best_sha256, self.since_best = 0, "", 0
        self.recipe = {
            "training": to_table(config),
            "model": to_table(model.config),
            "origin": dict(origin),
            "reminder_weight": reminder_weight,
        }

    @property
    def finished(self) -> bool:
        """Whether all steps are done, or patience has run out."""
        patience = self.config.patience
        return self.step >= self.config.steps or (
            patience is not None and self.since_best >= patience
        )

    @property
    def _position(self) -> Path:
        return self.directory / "checkpoint.json"

    def advance(self, epoch: int, batch: int) -> int:
        """Count a step that was done; return its number."""
        self.step, self.epoch, self.batch = self.step + 1, epoch, batch
        return self.step

    def restore(self, state: TrainingState) -> TrainingState:
        """Take up where the last checkpoint was written, if there is one.

        Of several processes the first one reads it and tells the others.

        Args:
            state: the initial one.

        Returns:
            That of the checkpoint.

        Raises:
            TrainingError: it is of another recipe or origin, or damaged.
            WeightsError: weights were altered.
        """
        if is_first():
            state = self._read(state)
        known = facts_of_first(self._known)
        for name, value in known.items():
            setattr(self, name, value)
        return tree_of_first(state)

    def _read(self, state: TrainingState) -> TrainingState:
        if not self._position.exists():
            _truncate_log(self.directory / "log.csv", 0)
            return state
        try:
            facts = read_record(self._position)
        except (OSError, ValueError) as error:
            raise TrainingError(f"{self._position}: cannot go on from it ({error})") from error
        recipe = json.loads(json.dumps(self.recipe))
        if facts["recipe"] != recipe:
            raise TrainingError(
                f"{self.directory}: holds a run of another recipe "
                f"({', '.join(_differences(facts['recipe'], recipe))}), expected the same one or "
                "an empty directory"
            )
        state = load_weights(self._named(facts["step"]), state, facts["sha256"])
        for name in self._known:
            setattr(self, name, facts[name])
        self._read_best(state.average)  # an altered file is refused before training goes on
        _truncate_log(self.directory / "log.csv", self.step)
        _logger.info("resumed at step %d", self.step)
        return state

    def _named(self, step: int) -> Path:
        return self.directory / f"checkpoint-{step}.safetensors"

    @property
    def _best(self) -> Path:
        return self.directory / f"best-{self.best_step}.safetensors"

    @property
    def _known(self) -> dict[str, Any]:
        """What of the position all processes know."""
        names = ("step", "epoch", "batch", "seconds", "best", "best_step", "best_sha256")
        return {name: getattr(self, name) for name in (*names, "since_best")}

    def best_weights(self, like: EnergyModel) -> EnergyModel:
        """Read the best weights so far, which must have their hash."""
        return tree_of_first(self._read_best(like) if is_first() else like)

    def _read_best(self, like: EnergyModel) -> EnergyModel:
        return load_weights(self._best, like, self.best_sha256)

    def record(
        self, state: TrainingState, train_loss: float, errors: Errors, seconds: float
    ) -> None:
        """Write log, best weights and checkpoint; the position comes last and makes it valid."""
        weight = self.reminder_weight
        self.since_best += 1
        better = not self.best or _score(errors, weight) < _score(self.best, weight)
        if better:
            self.best, self.best_step, self.since_best = errors, self.step, 0
        if not is_first():
            return
        if better:
            self.best_sha256 = save_weights(self._best, state.average)
        row = {"step": self.step, "seconds": round(seconds, 1), "train_loss": train_loss, **errors}
        _append_row(self.directory / "log.csv", row)
        _logger.info(
            "step %d: loss %.5f, validation MAE %.2f meV and %.2f meV/Å, %.0f s",
            self.step,
            train_loss,
            1e3 * errors["energy_mae"],
            1e3 * errors["force_mae"],
            seconds,
        )
        self.seconds = seconds
        digest = save_weights(self._named(self.step), state)
        facts = {
            **self._known,
            "sha256": digest,
            "recipe": self.recipe,
        }
        write_record(self._position, facts)
        for kind in ("checkpoint", "best"):
            for old in self.directory.glob(f"{kind}-*.safetensors"):
                if old not in (self._named(self.step), self._best):
                    old.unlink()


def steps_of_run(directory: Path) -> int | None:
    """Look up how many steps the run in a folder is to take; None if there is no run.

    Args:
        directory: of the run.

    Returns:
        The number.

    Raises:
        TrainingError: the checkpoint is damaged.
    """
    path = directory / "checkpoint.json"
    if not path.exists():
        return None
    try:
        return int(read_record(path)["recipe"]["training"]["steps"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: cannot go on from it ({error})") from error


def _score(errors: Errors, reminder_weight: float) -> float:
    """What validation chooses by: the sum of both mean absolute errors."""
    score = errors["energy_mae"] + errors["force_mae"]
    if reminder_weight == 0:
        return score
    reminded = errors["reminder_energy_mae"] + errors["reminder_force_mae"]
    return (1 - reminder_weight) * score + reminder_weight * reminded


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Dotted names of the entries that differ between two nested tables."""
    first, second = dict(_flat(old)), dict(_flat(new))
    names = sorted({*first, *second})
    return [name for name in names if first.get(name) != second.get(name)]


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _append_row(path: Path, row: dict[str, Any]) -> None:
    new = not path.exists()
    with naming(path), path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)


def _truncate_log(path: Path, step: int) -> None:
    """Drop rows after the checkpoint; the resumed run writes them again."""
    if not path.exists():
        return
    with path.open(newline="", encoding="utf-8") as file:
        lines = file.read().splitlines(keepends=True)
    whole = [line for line in lines[1:] if line.endswith("\n")]
    try:
        kept = [line for line in whole if int(line.split(",")[0]) <= step]
    except ValueError as error:
        raise TrainingError(f"{path}: is no log of a training ({error})") from error
    write_atomically(path, "".join(lines[:1] + kept).encode())
