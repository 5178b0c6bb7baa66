"""What a report is about: a card, a log, and predictions of labelled structures."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from efa_zoo.analysis.evaluation.predictions import predict_structures
from efa_zoo.analysis.evaluation.structures import find_structures
from efa_zoo.analysis.learning_curves import TrainingLog, read_log
from efa_zoo.base.errors import DataError
from efa_zoo.base.files import read_record
from efa_zoo.models.hub.registry import find, is_unfinished, load
from efa_zoo.models.prediction import Prediction

if TYPE_CHECKING:
    from data_pipelines.files.options import FileOptions
    from data_pipelines.structure import Structure
    from efa_zoo.models.hub.cards import Card
    from efa_zoo.models.potential import Potential

__all__ = ["Findings", "Part", "find_out"]

#: Structures of a part that are predicted; more would not change the page.
_MOST = 5_000

#: Structures that the time of a prediction is taken of.
_TIMED = 64


@dataclass(frozen=True, kw_only=True)
class Part:
    """Labelled structures and what a model says about them.

    Attributes:
        name: of a split or a file.
        structures: labelled.
        predictions: in the same order.
    """

    name: str
    structures: Sequence[Structure]
    predictions: Sequence[Prediction]

    @property
    def energy_errors(self) -> np.ndarray:
        """`[structures]`, prediction minus label in eV."""
        pairs = zip(self.structures, self.predictions, strict=True)
        return np.asarray([p.energy - s.energy for s, p in pairs])

    @property
    def force_errors(self) -> list[np.ndarray]:
        """`[atoms, 3]` of each structure, prediction minus label in eV/Å."""
        return [p.forces - s.forces for s, p in zip(self.structures, self.predictions, strict=True)]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What is known about a model or a run.

    Attributes:
        name: of the model, or of the run's folder.
        card: None while a run is not finished.
        recipe: of a run that is not finished, tables by name.
        log: of the training, where it was made here.
        parts: structures that were held back from training, predicted.
        missing: why there are none, if there are none.
        speed: structures a second once compiled, 0 where nothing was predicted.
    """

    name: str
    card: Card | None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    log: TrainingLog | None = None
    parts: Sequence[Part] = ()
    missing: str = ""
    speed: float = 0.0


def find_out(
    model: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    reading: FileOptions | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Findings:
    """Gather what there is to say; arguments and errors are those of `write_report`.

    Returns:
        The findings.
    """
    folder = Path(model)
    if is_unfinished(folder):
        record = read_record(folder / "checkpoint.json")
        log = read_log(folder)
        return Findings(
            name=log.name,
            card=None,
            recipe={**record["recipe"], "step": record["step"]},
            log=log,
            missing="the run is not finished (efa-zoo train … --resume goes on)",
        )
    potential = load(model)
    place = find(model).zoo_file.parent
    log = read_log(place) if (place / "log.csv").exists() else None
    found = Findings(name=potential.card.name, card=potential.card, log=log)
    try:
        splits = find_structures(
            model,
            potential.card,
            data,
            splits=None,
            reading=reading,
            splitting=None,
            data_dir=data_dir,
        )
    except (DataError, ModuleNotFoundError) as error:
        if data is not None:
            raise
        return dataclasses.replace(found, missing=str(error))
    splits.pop("curves", None)  # scans of rigid molecules, which are judged by themselves
    parts: list[Part] = []
    for name, structures in splits.items():
        chosen = structures[:: -(-len(structures) // _MOST)]
        parts.append(
            Part(name=name, structures=chosen, predictions=predict_structures(potential, chosen))
        )
    return dataclasses.replace(found, parts=parts, speed=_speed(potential, parts))


def _speed(potential: Potential, parts: Sequence[Part]) -> float:
    """Structures a second, of those that were just predicted, so that all is compiled."""
    some = parts[-1].structures[:_TIMED]
    predict_structures(potential, some)  # batches may be of other sizes than before
    started = time.monotonic()
    predict_structures(potential, some)
    return len(some) / max(time.monotonic() - started, 1e-9)
