"""The numbers of the gallery, which can be stored and read again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from efa_zoo.analysis.scan import Scan
from report.experiments import EXPERIMENTS

#: Profiles of at most so many points are kept whole.
_FEW = 12


@dataclass(frozen=True, kw_only=True)
class ModelErrors:
    """Errors of one model.

    Attributes:
        sha256: of the weights that they were computed with.
        errors: on its own data, as `efa_zoo.analysis.evaluation.Evaluation.to_dict` gives them.
        published: on the test split of the published file, as a part of `errors`; None if it was
            not at hand or there is none.
    """

    sha256: str
    errors: Mapping[str, Any]
    published: Mapping[str, float] | None = None

    @property
    def test(self) -> Mapping[str, Mapping[str, float]]:
        """Errors on the test split by part: `all`, a distance, or a kind of structure."""
        return self.errors["test"]

    @property
    def best_known(self) -> Mapping[str, float]:
        """Errors on the published test split, or else on our own."""
        return self.published or self.test["all"]


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What is kept of one panel of a picture.

    Attributes:
        title: of the panel.
        coordinate: what it runs over, with its unit.
        quantity: what is given, with its unit.
        span: largest minus smallest truth; None without a truth.
        deviations: largest deviation from the truth by model; empty without a truth.
        coordinates: of the points, where they are few.
        models: values of each model at them; NaN is None.
        truth: values of the truth at them; empty without a truth.
    """

    title: str
    coordinate: str
    quantity: str
    span: float | None = None
    deviations: Mapping[str, float] = field(default_factory=dict)
    coordinates: list[float] = field(default_factory=list)
    models: Mapping[str, list[float | None]] = field(default_factory=dict)
    truth: list[float | None] = field(default_factory=list)

    @classmethod
    def of(cls, scan: Scan) -> Profile:
        """What is kept of a profile."""
        few = len(scan.coordinates) <= _FEW
        return cls(
            title=scan.title,
            coordinate=scan.coordinate,
            quantity=scan.quantity,
            span=scan.span,
            deviations=scan.deviations,
            coordinates=scan.coordinates.tolist() if few else [],
            models={name: _values(values) for name, values in scan.models.items() if few},
            truth=[] if scan.truth is None or not few else _values(scan.truth),
        )


def _values(values: np.ndarray) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]


@dataclass(frozen=True, kw_only=True)
class Results:
    """All numbers of the gallery.

    Attributes:
        experiments: keys of the experiments that were asked for.
        models: errors by name of the model, of those that are trained.
        profiles: panels of the pictures by key of the experiment, of those that have one.
    """

    experiments: tuple[str, ...]
    models: Mapping[str, ModelErrors]
    profiles: Mapping[str, list[Profile]]

    def to_json(self) -> str:
        """The numbers as text."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Results:
        """Read what `to_json` gave."""
        table = json.loads(text)
        return cls(
            experiments=tuple(table["experiments"]),
            models={name: ModelErrors(**entry) for name, entry in table["models"].items()},
            profiles={
                key: [Profile(**entry) for entry in entries]
                for key, entries in table["profiles"].items()
            },
        )

    def updated(self, newer: Results) -> Results:
        """These numbers, with newer ones in place of their experiments' old ones."""
        replaced = {name for key in newer.experiments for name in EXPERIMENTS[key].models}
        models = {name: m for name, m in self.models.items() if name not in replaced}
        kept = {key: p for key, p in self.profiles.items() if key not in newer.experiments}
        profiles = {**kept, **newer.profiles}
        keys = {*self.experiments, *newer.experiments}
        return Results(
            experiments=tuple(key for key in EXPERIMENTS if key in keys),
            models=dict(sorted({**models, **newer.models}.items())),
            profiles={key: profiles[key] for key in EXPERIMENTS if key in profiles},
        )


def numbers(table: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, float]]:
    """All numbers of nested tables, each with where it stands.

    Args:
        table: for example the metrics of a card.
        path: of the table itself.

    Yields:
        Path and number.
    """
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{path}{key}.")
        elif isinstance(value, int | float):  # calibration curves are lists
            yield f"{path}{key}", float(value)
