"""Errors over structures, over their parts by distance and kind, and over elements."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import pdist

from efa_zoo.models.prediction import Prediction
from efa_zoo.structures.elements import symbol

if TYPE_CHECKING:
    from data_pipelines.structure import Structure

#: Bins of separation in Å; the first one begins at contact.
SEPARATION_BINS: tuple[tuple[str, float, float], ...] = (
    ("contact to 4 Å", 0.0, 4.0),
    ("4 to 8 Å", 4.0, 8.0),
    ("8 to 15 Å", 8.0, np.inf),
)

#: Bins of the longest distance in Å, where structures have no separation.
SIZE_BINS: tuple[tuple[str, float, float], ...] = (
    ("up to 5 Å across", 0.0, 5.0),
    ("5 to 10 Å across", 5.0, 10.0),
    ("10 to 20 Å across", 10.0, 20.0),
    ("beyond 20 Å across", 20.0, np.inf),
)

#: Bins of the number of atoms, where structures of the first and of the last one occur.
ATOM_BINS: tuple[tuple[str, int, int], ...] = (
    ("1 to 20 atoms", 1, 20),
    ("21 to 50 atoms", 21, 50),
    ("51 atoms and more", 51, 10**9),
)

#: With more kinds than this a table has a row for each half of `kind`, before and after the slash.
MOST_KINDS = 40


def part_errors(
    structures: Sequence[Structure], predictions: Sequence[Prediction]
) -> dict[str, dict[str, float]]:
    """Errors over all structures, over bins of distance and number of atoms, and over kinds."""
    energy = np.asarray([p.energy - s.energy for s, p in zip(structures, predictions, strict=True)])
    forces = [p.forces - s.forces for s, p in zip(structures, predictions, strict=True)]
    sizes = np.asarray([len(s.atomic_numbers) for s in structures])
    by_atoms = {label for label, _, _ in ATOM_BINS}
    table = {}
    for label, members in _parts(structures).items():
        if not members.any():
            continue
        components = np.concatenate([forces[i].ravel() for i in np.flatnonzero(members)])
        table[label] = {
            "count": int(members.sum()),
            "energy_mae": float(np.abs(energy[members]).mean()),
            "energy_rmse": float(np.sqrt((energy[members] ** 2).mean())),
            "force_mae": float(np.abs(components).mean()),
            "force_rmse": float(np.sqrt((components**2).mean())),
            **_charge_errors(structures, predictions, members),
            **_stress_errors(structures, predictions, members),
        }
        if label in by_atoms:
            per_atom = np.abs(energy[members]) / sizes[members]
            table[label]["energy_mae_per_atom"] = float(per_atom.mean())
    return table


def _charge_errors(
    structures: Sequence[Structure], predictions: Sequence[Prediction], members: np.ndarray
) -> dict[str, float]:
    """Errors of charges in e and of components of dipoles in e·Å, where there are labels."""
    charges, dipoles = [], []
    for i in np.flatnonzero(members).tolist():
        found, label = predictions[i], structures[i]
        if found.charges is not None and label.charges is not None:
            charges.append(found.charges - label.charges)
        if found.dipole is not None and label.dipole is not None:
            dipoles.append(found.dipole - label.dipole)
    return {
        name: float(np.abs(np.concatenate(residuals)).mean())
        for name, residuals in (("charge_mae", charges), ("dipole_mae", dipoles))
        if residuals
    }


def _stress_errors(
    structures: Sequence[Structure], predictions: Sequence[Prediction], members: np.ndarray
) -> dict[str, float]:
    """Errors of the components of stress in eV/Å³, where some of the structures have labels."""
    residuals = [
        predictions[i].stress - label
        for i in np.flatnonzero(members).tolist()
        if (label := structures[i].stress) is not None and predictions[i].stress is not None
    ]
    if not residuals:
        return {}
    components = np.concatenate(residuals)
    return {
        "stress_mae": float(np.abs(components).mean()),
        "stress_rmse": float(np.sqrt((components**2).mean())),
    }


def _parts(structures: Sequence[Structure]) -> dict[str, np.ndarray]:
    """Which structures belong to each part that errors are given for."""
    separation = np.asarray([s.separation for s in structures])
    apart = ~np.isnan(separation)
    parts = {"all": np.ones(len(structures), bool)}
    if apart.any():
        parts |= {
            label: (separation >= low) & (separation < high) for label, low, high in SEPARATION_BINS
        }
        parts["isolated"] = ~apart
    else:
        length = np.asarray(
            [np.nan if s.cell is not None else _longest_distance(s.positions) for s in structures]
        )
        sizes = {label: (length >= low) & (length < high) for label, low, high in SIZE_BINS}
        if sum(members.any() for members in sizes.values()) > 1:
            parts |= sizes
    atoms = np.asarray([len(s.atomic_numbers) for s in structures])
    if atoms.min() <= ATOM_BINS[0][2] and atoms.max() >= ATOM_BINS[-1][1]:
        parts |= {label: (atoms >= low) & (atoms <= high) for label, low, high in ATOM_BINS}
    return parts | _kinds([s.kind for s in structures])


def _kinds(kinds: Sequence[str]) -> dict[str, np.ndarray]:
    """Which structures belong to each kind, or to each half of kinds where these are many."""
    named = [(kind,) for kind in kinds]
    if len(set(kinds)) > MOST_KINDS:
        named = [tuple(kind.split("/")) for kind in kinds]
    found = sorted({name for names in named for name in names}, key=_natural)
    if len(found) < 2:
        return {}
    return {name or "other": np.asarray([name in names for names in named]) for name in found}


def _natural(text: str) -> list[tuple[int, float, str]]:
    """Key that sorts numbers within words by their size."""
    parts = re.split(r"(\d+)", text)
    return [(0, float(part), "") if part.isdigit() else (1, 0.0, part) for part in parts]


def _longest_distance(positions: np.ndarray) -> float:
    return float(pdist(positions).max(initial=0.0))


def element_errors(
    structures: Sequence[Structure], predictions: Sequence[Prediction]
) -> dict[str, dict[str, float]]:
    """Errors of the forces on the atoms of each element."""
    numbers = np.concatenate([s.atomic_numbers for s in structures])
    residuals = np.concatenate(
        [p.forces - s.forces for s, p in zip(structures, predictions, strict=True)]
    )
    table = {}
    for number in np.unique(numbers):
        components = residuals[numbers == number]
        table[symbol(int(number))] = {
            "count": len(components),
            "force_mae": float(np.abs(components).mean()),
            "force_rmse": float(np.sqrt((components**2).mean())),
        }
    return table
