"""Interaction energies of two molecules beyond the reach of a local model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from efa_zoo.analysis.evaluation.predictions import predict_molecules
from efa_zoo.models.potential import Potential
from efa_zoo.structures.molecule import Molecule

if TYPE_CHECKING:
    from data_pipelines.structure import Structure

#: Separations (Å) that count as long range, beyond the reach of a local model.
_LONG_RANGE = (6.0, 15.0)

#: Powers of 1/r that interaction energies are fitted to.
_POWERS = (1, 2, 3, 4, 5, 6)

#: Kinds of pairs by the number of their charged members.
CHARGES = ("two neutral", "charged and neutral", "two charged")


#: Bins of separation (Å), from contact to where scans end.
_BINS = ((0.0, 4.0), (4.0, 6.0), (6.0, 8.0), (8.0, 11.0), (11.0, 15.0))

#: Interactions weaker than this (eV) have no sign to be wrong, and no power to be fitted.
_WEAK = 1e-3


class LongRange(NamedTuple):
    """What `Evaluation` says of the interactions of two molecules; see there."""

    long_range: dict[str, dict[str, float]]
    interactions: dict[str, dict[str, dict[str, float]]]
    tails: dict[str, dict[str, float]]


def long_range_errors(
    potential: Potential, test: Sequence[Structure], curves: Sequence[Structure]
) -> LongRange:
    """Compute errors of interaction energies, and of their tails along rigid scans.

    Args:
        potential: the model.
        test: pairs in random geometries.
        curves: points of rigid scans.

    Returns:
        Tables of what there is only.
    """
    low, high = _LONG_RANGE
    pairs = [s for s in test if s.separation <= high]
    separation = np.asarray([s.separation for s in pairs])
    label = np.asarray([s.interaction_energy for s in pairs])
    model = _interaction_energies(potential, pairs)
    charged = np.asarray([_charged(s) for s in pairs])
    parts = {"all": charged >= 0} | {name: charged == i for i, name in enumerate(CHARGES)}
    table, bins = {}, {}
    for name, members in parts.items():
        distant = members & (separation >= low)
        if distant.any():
            table[name] = _shares(label[distant], model[distant])
        for start, end in _BINS if name != "all" else ():
            inside = members & (start <= separation) & (separation < end)
            if end == high:
                inside |= members & (separation == end)
            if inside.any():
                row = _shares(label[inside], model[inside])
                bins.setdefault(name, {})[f"{start:g} to {end:g} Å"] = row

    scans: dict[int, list[Structure]] = defaultdict(list)
    for s in curves:
        if low <= s.separation <= high:
            scans[s.curve].append(s)
    whole = [s for scan in scans.values() if len(scan) > len(_POWERS) for s in scan]
    if not whole:
        return LongRange(table, bins, {})
    found = _group(whole, _interaction_energies(potential, whole), lambda s: s.curve)
    coefficients = []
    powers: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for scan, energies in found:
        r, labels = [s.separation for s in scan], [s.interaction_energy for s in scan]
        coefficients.append((fit_inverse_powers(r, labels), fit_inverse_powers(r, energies)))
        if min(map(abs, labels)) > _WEAK and np.ptp(np.sign(labels)) == 0:
            both = tail_power(r, labels), tail_power(r, energies)
            powers[CHARGES[_charged(scan[0])]].append(both)
    labels, models = (np.asarray(column).ravel() for column in zip(*coefficients, strict=True))
    correlation = float(np.corrcoef(labels, models)[0, 1])
    table["scans"] = {"count": len(coefficients), "correlation": correlation}
    tails = {}
    for name in CHARGES:
        if name in powers:
            of_label, of_model = np.asarray(powers[name]).T
            whole_curves = np.isfinite(of_model)
            tails[name] = {
                "count": len(of_label),
                "changes_sign": int(np.sum(~whole_curves)),
                "label": float(np.median(of_label)),
            }
            if whole_curves.any():
                tails[name]["model"] = float(np.median(of_model[whole_curves]))
    return LongRange(table, bins, tails)


def _charged(structure: Structure) -> int:
    """Number of charged members of a pair."""
    return int(np.count_nonzero(structure.formal_charges))


def _shares(label: np.ndarray, model: np.ndarray) -> dict[str, float]:
    """Root mean squares of labels and errors, their ratio, and the share of wrong signs."""
    rms, rmse = (float(np.sqrt((x**2).mean())) for x in (label, model - label))
    strong = np.abs(label) > _WEAK
    wrong = np.sign(label[strong]) != np.sign(model[strong])
    row = {"count": len(label), "rms": rms, "rmse": rmse, "ratio": rmse / rms}
    return row | ({"wrong_sign": float(wrong.mean())} if strong.any() else {})


def tail_power(separations: ArrayLike, energies: ArrayLike) -> float:
    """Fit the power n of E = c r^n to a curve, by least squares of the logarithms.

    Args:
        separations: in Å.
        energies: in eV.

    Returns:
        The power, such as -1 for two charges; NaN where the energies have several signs.
    """
    values = np.asarray(energies, dtype=np.float64)
    if not (np.all(values > 0) or np.all(values < 0)):
        return float("nan")
    logarithms = np.log(np.asarray(separations, dtype=np.float64))
    return float(np.polyfit(logarithms, np.log(np.abs(values)), 1)[0])


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
    molecules = []
    for s in dimers:
        parts = [np.ones(len(s.fragment), bool), s.fragment == 0, s.fragment == 1]
        charges = [s.total_charge, *(int(c) for c in s.formal_charges)]
        molecules += [
            Molecule(numbers=s.atomic_numbers[part], positions=s.positions[part], charge=charge)
            for part, charge in zip(parts, charges, strict=True)
        ]
    energies = np.asarray([p.energy for p in predict_molecules(potential, molecules)])
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
