"""Interaction energies of two molecules beyond the reach of a local model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

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


def long_range_errors(
    potential: Potential, test: Sequence[Structure], curves: Sequence[Structure]
) -> dict[str, dict[str, float]]:
    """Errors of interaction energies, and of their fits by inverse powers along rigid scans.

    Args:
        potential: the model.
        test: pairs in random geometries.
        curves: points of rigid scans.

    Returns:
        `Evaluation.long_range`, of what there is in the range only.
    """
    low, high = _LONG_RANGE
    chosen = [s for s in test if low <= s.separation <= high]
    label = np.asarray([s.interaction_energy for s in chosen])
    error = _interaction_energies(potential, chosen) - label
    charged = np.asarray([np.count_nonzero(s.formal_charges) for s in chosen])
    parts = {"all": charged >= 0} | {name: charged == i for i, name in enumerate(CHARGES)}
    table = {}
    for name, members in parts.items():
        if not members.any():
            continue
        rms, rmse = (float(np.sqrt((x[members] ** 2).mean())) for x in (label, error))
        table[name] = {"count": int(members.sum()), "rms": rms, "rmse": rmse, "ratio": rmse / rms}

    scans: dict[int, list[Structure]] = defaultdict(list)
    for s in curves:
        if low <= s.separation <= high:
            scans[s.curve].append(s)
    whole = [s for scan in scans.values() if len(scan) > len(_POWERS) for s in scan]
    if not whole:
        return table
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
