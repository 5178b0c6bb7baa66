"""Profiles of rock salt: pressure over the lattice constant, and vibrations near the zone centre.

Where a plane of ions moves along the wave vector, its charges make a field that no distance
screens: longitudinal optical vibrations stay above transverse ones down to the longest waves. A
local model, which sees no field, lets both meet.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import scipy.optimize
from jaxtyping import Float

from efa_zoo.analysis.scan.profile import Scan
from efa_zoo.models.inference import predict
from efa_zoo.models.inputs.checks import ignore_out_of_range
from efa_zoo.models.potential import Potential
from efa_zoo.structures.molecule import Molecule

__all__ = ["scan_longitudinal", "scan_pressure", "scan_transverse"]

_SODIUM, _CHLORINE = 11, 17

#: Lattice constants in Å, and between which two the pressure vanishes.
_CONSTANTS = np.linspace(5.4, 5.84, 12)
_BRACKET = (5.3, 6.0)

#: Cells in the row that vibrations are taken from, and the wave vectors along it, 2π n / (cells a).
_CELLS = 24
_WAVES = np.array([1, 2, 3, 4, 6, 8, 10, 12, 15, 18, 21, 24])

#: Displacement in Å to either side for derivatives of forces.
_STEP = 0.005

_GIGAPASCAL = 1e-21 / 1.602176634e-19
"""In eV/Å³."""

_TERAHERTZ = math.sqrt(1.602176634e-19 / 1e-20 / 1.66053906892e-27) / (2 * math.pi) * 1e-12
"""Frequency of a force constant of 1 eV/Å² and a mass of 1 u."""

_FORMULA = "formula"


class _State(NamedTuple):
    """Forces `[atoms, 3]` in eV/Å and stress `[6]` in eV/Å³."""

    forces: np.ndarray
    stress: np.ndarray


#: Gives the states of structures of the same elements and cell.
_Law: TypeAlias = "Callable[[Sequence[Molecule]], list[_State]]"


def scan_pressure(potentials: Sequence[Potential]) -> Scan:
    """Pressure of rock salt at rest over its lattice constant, beside that of the formula."""
    states = {
        name: np.asarray([_pressure(law, float(a)) for a in _CONSTANTS])
        for name, law in _laws(potentials)
    }
    return _scan(states, "pressure of rock salt", "lattice constant (Å)", "pressure (GPa)",
                 _CONSTANTS)  # fmt: skip


def scan_longitudinal(potentials: Sequence[Potential]) -> Scan:
    """Frequency of optical vibrations along their wave vector, from Γ to X."""
    return _scan_vibrations(potentials, "longitudinal", 0)


def scan_transverse(potentials: Sequence[Potential]) -> Scan:
    """Frequency of optical vibrations across their wave vector, from Γ to X."""
    return _scan_vibrations(potentials, "transverse", 1)


def _scan_vibrations(potentials: Sequence[Potential], name: str, axis: int) -> Scan:
    found = {key: _optical(law, axis) for key, law in _laws(potentials)}
    title, coordinate = f"{name} optical vibrations", "wave vector from Γ to X (2π/a)"
    return _scan(found, title, coordinate, "frequency (THz)", _WAVES / _CELLS)


def _scan(
    found: Mapping[str, np.ndarray],
    title: str,
    coordinate: str,
    quantity: str,
    coordinates: np.ndarray,
) -> Scan:
    curves = dict(found)
    truth = curves.pop(_FORMULA)
    return Scan(title, coordinate, quantity, coordinates, curves, truth, _FORMULA)


def _laws(potentials: Sequence[Potential]) -> list[tuple[str, _Law]]:
    """Formula and models by name."""
    models = [(p.card.name, functools.partial(_predicted, p)) for p in potentials]
    return [(_FORMULA, _labelled), *models]


def _labelled(structures: Sequence[Molecule]) -> list[_State]:
    # Imported here: the data pipelines are no part of the library's core.
    from data_pipelines.labels.salt import salt_label

    labels = [salt_label(s.numbers, s.positions, _cell(s)) for s in structures]
    return [_State(label.forces, label.stress) for label in labels]


def _predicted(potential: Potential, structures: Sequence[Molecule]) -> list[_State]:
    with ignore_out_of_range():  # a row of cells is longer than those of the data
        found = predict(potential, structures, dtype="float64", out_of_range="warn")
    states = []
    for prediction in found:
        assert prediction.stress is not None
        states.append(_State(prediction.forces, prediction.stress))
    return states


def _cell(structure: Molecule) -> np.ndarray:
    assert structure.cell is not None
    return structure.cell


def _row(constant: float, cells: int) -> Molecule:
    """A row of cells of rock salt along x, as narrow as it repeats: planes of one pair of ions."""
    planes = np.arange(2 * cells)
    half = constant / 2
    cell = np.array([[constant * cells, 0, 0], [0, half, half], [0, -half, half]])
    corners = np.stack([planes * half, (planes % 2) * half, 0.0 * planes], axis=1)
    positions = np.concatenate([corners, corners + np.array([0, half, 0])])
    numbers = np.repeat([_SODIUM, _CHLORINE], len(planes)).astype(np.int32)
    return Molecule(
        numbers=numbers, positions=positions, charge=0, cell=cell, pbc=(True, True, True)
    )


def _moved(structure: Molecule, ion: int, axis: int, step: float) -> Molecule:
    positions = structure.positions.copy()
    positions[ion, axis] += step
    return dataclasses.replace(structure, positions=positions)


def _pressure(law: _Law, constant: float) -> float:
    """In GPa."""
    (state,) = law([_row(constant, 1)])
    return -float(np.mean(state.stress[:3])) / _GIGAPASCAL


def _optical(law: _Law, axis: int) -> Float[np.ndarray, " waves"]:
    """Optical frequencies in THz of waves along x of ions that move along an axis.

    Taken at the lattice constant of the law itself, at rest.
    """
    from ase.data import atomic_masses

    at_rest = scipy.optimize.root_scalar(
        lambda a: _pressure(law, float(a)), bracket=_BRACKET, method="brentq", xtol=1e-5
    )
    constant = float(at_rest.root)
    row = _row(constant, _CELLS)
    first = np.array([0, 2 * _CELLS])  # one ion of either kind
    moved = [_moved(row, ion, axis, step) for ion in first for step in (_STEP, -_STEP)]
    forces = np.stack([state.forces[:, axis] for state in law(moved)]).reshape(2, 2, -1)
    constants = (forces[:, 1] - forces[:, 0]) / (2 * _STEP)  # [moved, atoms]
    masses = atomic_masses[row.numbers]
    frequencies = []
    for number in _WAVES:
        turns = 2 * math.pi * number / (_CELLS * constant) * row.positions[:, 0]
        phases = np.exp(-1j * turns) / np.sqrt(masses)
        summed = (constants * phases).reshape(2, 2, -1).sum(axis=2)  # [moved, kind]
        # Both ions that move are at x = 0.
        matrix = summed / np.sqrt(masses[first])[:, None]
        squares = np.linalg.eigvalsh((matrix + matrix.conj().T) / 2)
        frequencies.append(math.copysign(math.sqrt(abs(squares[-1])), squares[-1]) * _TERAHERTZ)
    return np.asarray(frequencies)
