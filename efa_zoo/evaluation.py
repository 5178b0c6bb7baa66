"""Errors of a model on the held-back parts of its data, and how it does at long range."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from efa_zoo.errors import DataError
from efa_zoo.graph import Graph
from efa_zoo.potential import Potential
from efa_zoo.prediction import Prediction, predict
from efa_zoo.registry import load

if TYPE_CHECKING:
    from data_pipelines.structures import Structure

__all__ = ["Evaluation", "evaluate", "fit_inverse_powers"]

#: Bins of separation in Å; the first one begins at contact.
_BINS: tuple[tuple[str, float, float], ...] = (
    ("contact to 4 Å", 0.0, 4.0),
    ("4 to 8 Å", 4.0, 8.0),
    ("8 to 15 Å", 8.0, np.inf),
)

#: Separations (Å) that count as long range, beyond the reach of a local model.
_LONG_RANGE = (6.0, 15.0)

#: Powers of 1/r that interaction energies are fitted to.
_POWERS = (1, 2, 3, 4, 5, 6)


@dataclass(frozen=True)
class Evaluation:
    """Errors of a model.

    Attributes:
        name: of the model.
        splits: split, then `all` or a bin, then `count`, `energy_mae`, `energy_rmse` (eV),
            `force_mae`, `force_rmse` (eV/Å).
        long_range: interaction energies at separations of 6 to 15 Å, for `all` pairs and by the
            charges of the two: `count`, root mean square of the label and of the error (`rms`,
            `rmse`, eV) and their `ratio`; in `scans` the number of rigid scans and the
            `correlation` between model and label of the coefficients of Σ c_n r^-n, n = 1…6.
    """

    name: str
    splits: Mapping[str, Mapping[str, Mapping[str, float]]]
    long_range: Mapping[str, Mapping[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers in nested dictionaries, for JSON and for the card."""
        return dict(self.splits) | ({"long_range": self.long_range} if self.long_range else {})

    def __str__(self) -> str:
        lines = [
            self.name,
            f"{'':28}{'structures':>11}{'energy MAE':>12}{'RMSE':>9}{'force MAE':>12}{'RMSE':>9}",
            f"{'':28}{'':>11}{'meV':>12}{'meV':>9}{'meV/Å':>12}{'meV/Å':>9}",
        ]
        for split, table in self.splits.items():
            for part, row in table.items():
                label = split if part == "all" else f"  {part}"
                numbers = [1e3 * row[key] for key in _KEYS]
                lines.append(
                    f"{label:28}{row['count']:11.0f}{numbers[0]:12.2f}{numbers[1]:9.2f}"
                    f"{numbers[2]:12.2f}{numbers[3]:9.2f}"
                )
        if self.long_range:
            lines.append(
                f"{'interaction at 6 to 15 Å':28}{'structures':>11}{'RMS':>12}{'RMSE':>9}"
                f"{'ratio':>12}"
            )
            for part in ("all", *_CHARGES):
                row = self.long_range[part]
                label = part if part == "all" else f"  {part}"
                lines.append(
                    f"{label:28}{row['count']:11.0f}{1e3 * row['rms']:12.2f}"
                    f"{1e3 * row['rmse']:9.2f}{100 * row['ratio']:11.1f}%"
                )
            scans = self.long_range["scans"]
            lines.append(
                "coefficients of Σ c_n r^-n (n = 1 to 6): Pearson correlation "
                f"{scans['correlation']:.3f} over {scans['count']:.0f} scans"
            )
        return "\n".join(lines)


#: Kinds of pairs by the number of their charged members.
_CHARGES = ("two neutral", "charged and neutral", "two charged")

_KEYS = ("energy_mae", "energy_rmse", "force_mae", "force_rmse")


def evaluate(
    model: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Evaluate a model on the splits of its data set that it was not trained on.

    Args:
        model: what `efa_zoo.load` takes.
        data_dir: where data sets lie.

    Returns:
        Errors by split and separation; long-range errors where the data set has rigid scans.

    Raises:
        DataError: the data set is missing or cannot be read.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    from data_pipelines import load_split

    potential = load(model)
    name = potential.card.data.name

    def split(wanted: str) -> list[Structure]:
        return load_split(name, wanted, data_dir=data_dir)

    splits = {}
    test: list[Structure] = []
    for wanted in ("validation", "test", "transfer"):
        try:
            structures = split(wanted)
        except DataError:
            if wanted == "transfer":
                continue
            raise
        splits[wanted] = _errors(structures, _predict(potential, structures))
        test = structures if wanted == "test" else test
    try:
        curves = split("curves")
    except DataError:
        curves = []
    return Evaluation(
        potential.card.name, splits, _long_range(potential, test, curves) if curves else {}
    )


def _predict(potential: Potential, structures: Sequence[Structure]) -> list[Prediction]:
    graphs = [
        Graph.from_arrays(
            s.atomic_numbers, s.positions, None, total_charge=s.total_charge, dtype=np.float64
        )
        for s in structures
    ]
    return predict(potential, graphs, out_of_range="warn")


def _errors(
    structures: Sequence[Structure], predictions: Sequence[Prediction]
) -> dict[str, dict[str, float]]:
    """Errors over all structures and over each bin of separation."""
    energy = np.asarray([p.energy - s.energy for s, p in zip(structures, predictions, strict=True)])
    forces = [p.forces - s.forces for s, p in zip(structures, predictions, strict=True)]
    separation = np.asarray([s.separation for s in structures])
    parts = {"all": np.ones(len(structures), bool)}
    parts |= {label: (separation >= low) & (separation < high) for label, low, high in _BINS}
    parts["isolated"] = np.isnan(separation)
    table = {}
    for label, members in parts.items():
        if not members.any():
            continue
        components = np.concatenate([forces[i].ravel() for i in np.flatnonzero(members)])
        table[label] = {
            "count": int(members.sum()),
            "energy_mae": float(np.abs(energy[members]).mean()),
            "energy_rmse": float(np.sqrt((energy[members] ** 2).mean())),
            "force_mae": float(np.abs(components).mean()),
            "force_rmse": float(np.sqrt((components**2).mean())),
        }
    return table


def _long_range(
    potential: Potential, test: Sequence[Structure], curves: Sequence[Structure]
) -> dict[str, dict[str, float]]:
    low, high = _LONG_RANGE
    chosen = [s for s in test if low <= s.separation <= high]
    label = np.asarray([s.interaction_energy for s in chosen])
    error = _interaction_energies(potential, chosen) - label
    charged = np.asarray([np.count_nonzero(s.formal_charges) for s in chosen])
    parts = {"all": charged >= 0} | {name: charged == i for i, name in enumerate(_CHARGES)}
    table = {}
    for name, members in parts.items():
        rms, rmse = (float(np.sqrt((x[members] ** 2).mean())) for x in (label, error))
        table[name] = {"count": int(members.sum()), "rms": rms, "rmse": rmse, "ratio": rmse / rms}

    scans: dict[int, list[Structure]] = defaultdict(list)
    for s in curves:
        if low <= s.separation <= high:
            scans[s.curve].append(s)
    whole = [s for scan in scans.values() if len(scan) > len(_POWERS) for s in scan]
    predicted = _interaction_energies(potential, whole)
    pairs = _group(whole, predicted, lambda s: s.curve)
    coefficients = [
        (
            fit_inverse_powers(r, [s.interaction_energy for s in scan]),
            fit_inverse_powers(r, energies),
        )
        for scan, energies in pairs
        for r in [[s.separation for s in scan]]
    ]
    labels, models = (np.asarray(column).ravel() for column in zip(*coefficients, strict=True))
    correlation = float(np.corrcoef(labels, models)[0, 1])
    return table | {"scans": {"count": len(coefficients), "correlation": correlation}}


def _group(
    structures: Iterable[Structure], values: Iterable[float], key: Callable[[Structure], int]
) -> list[tuple[list[Structure], list[float]]]:
    groups: dict[int, tuple[list[Structure], list[float]]] = defaultdict(lambda: ([], []))
    for structure, value in zip(structures, values, strict=True):
        members, found = groups[key(structure)]
        members.append(structure)
        found.append(value)
    return list(groups.values())


def _interaction_energies(potential: Potential, dimers: Sequence[Structure]) -> np.ndarray:
    """Predicted energies of dimers minus those of their two fragments alone."""
    graphs = []
    for s in dimers:
        parts = [np.ones(len(s.fragment), bool), s.fragment == 0, s.fragment == 1]
        charges = [s.total_charge, *(int(c) for c in s.formal_charges)]
        graphs += [
            Graph.from_arrays(
                s.atomic_numbers[part],
                s.positions[part],
                None,
                total_charge=charge,
                dtype=np.float64,
            )
            for part, charge in zip(parts, charges, strict=True)
        ]
    energies = np.asarray([p.energy for p in predict(potential, graphs, out_of_range="warn")])
    energies = energies.reshape(-1, 3)
    return energies[:, 0] - energies[:, 1:].sum(axis=1)


def fit_inverse_powers(
    separations: ArrayLike, energies: ArrayLike, *, ridge: float = 1e-3
) -> np.ndarray:
    """Fit Σ c_n r^-n (n = 1 to 6) to a curve.

    Over a short range of r the powers are nearly the same function, so the plain fit amplifies
    noise by many orders. Here r is measured in units of the shortest long-range separation, 6 Å,
    so that every coefficient is the energy (eV) of its term there, and a ridge penalty of
    `ridge` times the mean square of the columns keeps undetermined combinations small.

    Args:
        separations: in Å.
        energies: in eV.
        ridge: strength of the penalty.

    Returns:
        Six coefficients in eV, for n = 1 to 6.
    """
    reduced = np.asarray(separations, dtype=np.float64) / _LONG_RANGE[0]
    columns = reduced[:, None] ** -np.asarray(_POWERS, dtype=np.float64)
    penalty = ridge * np.mean(columns**2) * len(reduced)
    normal = columns.T @ columns + penalty * np.eye(len(_POWERS))
    return np.linalg.solve(normal, columns.T @ np.asarray(energies, dtype=np.float64))
