"""Geometries of the data set `nacl_bulk`: crystals and melts in cells of many shapes.

Each cell is drawn by itself: phase, number of ions, density, temperature, strain, and the vectors
that describe its lattice. A short Langevin dynamics in this cell gives its structures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from data_pipelines.labels.salt import CHLORINE, QUICK, SODIUM, CellLabel, salt_label
from data_pipelines.sampling.langevin import langevin
from data_pipelines.sampling.monomers import MASSES

ROCK_SALT, CAESIUM_CHLORIDE, MELT, LARGE_MELT = "rock salt", "CsCl", "melt", "large melt"

#: Repetitions of the cubic cell of eight ions, of two ions for CsCl, by how often they are drawn.
_REPEATS = {
    ROCK_SALT: {(1, 1, 1): 3, (2, 1, 1): 3, (2, 2, 1): 3, (2, 2, 2): 3, (3, 2, 2): 1, (3, 3, 3): 1},
    CAESIUM_CHLORIDE: {(2, 2, 2): 3, (3, 2, 2): 3, (3, 3, 2): 2, (3, 3, 3): 2},
    MELT: {(2, 1, 1): 2, (2, 2, 1): 3, (2, 2, 2): 5, (3, 2, 2): 2},
    LARGE_MELT: {(3, 3, 3): 1},
}
_SHARES = {ROCK_SALT: 0.4, CAESIUM_CHLORIDE: 0.15, MELT: 0.45}

#: Å³ for each ion, the smallest and the largest.
_VOLUMES = {
    ROCK_SALT: (20.0, 25.5),
    CAESIUM_CHLORIDE: (18.5, 23.5),
    MELT: (25.0, 34.0),
    LARGE_MELT: (27.0, 33.0),
}
#: K, the lowest and the highest.
_TEMPERATURES = {
    ROCK_SALT: (300.0, 1200.0),
    CAESIUM_CHLORIDE: (300.0, 800.0),
    MELT: (1000.0, 1500.0),
    LARGE_MELT: (1050.0, 1500.0),
}

_STRAIN = 0.04
"""Standard deviation of the components of strain, besides the volume's, of crystals."""

_TIME_STEP, _FRICTION = 2.0, 0.02
"""Of the dynamics, in fs and 1/fs."""

_MELTING, _MELTING_STEPS = 4000.0, 250
"""Temperature in K at which a melt is made of a crystal, and steps of it."""

_SETTLING, _APART = 150, 60
"""Steps before the first structure, and between two."""


@dataclass(frozen=True)
class CellTask:
    """One cell to draw.

    Attributes:
        structures: How many.
        phase: `LARGE_MELT`, or None to draw another one.
        words: Of the random generator.
    """

    structures: int
    phase: str | None
    words: tuple[int, ...]


@dataclass(frozen=True)
class CellSample:
    """A cell and its structures.

    Attributes:
        phase: What it is.
        numbers: Int32 `[atoms]`.
        cell: Float64 `[3, 3]` in Å, rows are lattice vectors.
        positions: Float64 `[atoms, 3]` in Å of each structure.
        labels: Of each structure.
    """

    phase: str
    numbers: np.ndarray
    cell: np.ndarray
    positions: list[np.ndarray]
    labels: list[CellLabel]


def make_cell(task: CellTask) -> CellSample:
    """Draw a cell, run its dynamics and label what is kept, for workers.

    Args:
        task: Which.

    Returns:
        The cell with its structures, ions inside of it.
    """
    rng = np.random.default_rng(task.words)
    phase = task.phase or str(rng.choice(list(_SHARES), p=list(_SHARES.values())))
    numbers, positions, cell = _crystal(rng, phase)
    if phase in (ROCK_SALT, CAESIUM_CHLORIDE):
        cell, positions = _strained(rng, cell, positions, _STRAIN)
    else:
        cell, positions = _strained(rng, cell, positions, _STRAIN / 2)
        melting = _dynamics(rng, numbers, positions, cell, _MELTING, [_MELTING_STEPS])
        positions = next(melting)
    cell = _other_vectors(rng, cell)
    steps = [_SETTLING + _APART * i for i in range(task.structures)]
    temperature = float(rng.uniform(*_TEMPERATURES[phase]))
    kept = [
        _inside(frame, cell)
        for frame in _dynamics(rng, numbers, positions, cell, temperature, steps)
    ]
    labels = [salt_label(numbers, frame, cell) for frame in kept]
    return CellSample(phase, numbers, cell, kept, labels)


def _crystal(rng: np.random.Generator, phase: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A cubic crystal at a random density: numbers, positions, cell."""
    repeats = list(_REPEATS[phase])
    weights = np.array(list(_REPEATS[phase].values()), float)
    repeat = np.array(repeats[rng.choice(len(repeats), p=weights / weights.sum())])
    if phase == CAESIUM_CHLORIDE:
        basis, ions = np.array([[0, 0, 0], [0.5, 0.5, 0.5]]), np.array([SODIUM, CHLORINE])
    else:
        corners = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
        basis = np.concatenate([corners, corners + np.array([0.5, 0, 0])])
        ions = np.repeat([SODIUM, CHLORINE], 4)
    cells = np.stack(np.meshgrid(*map(np.arange, repeat), indexing="ij"), -1).reshape(-1, 3)
    places = (cells[:, None] + basis).reshape(-1, 3)
    edge = (len(basis) * rng.uniform(*_VOLUMES[phase])) ** (1 / 3)
    numbers = np.tile(ions, len(cells)).astype(np.int32)
    return numbers, edge * places, edge * np.diag(repeat).astype(np.float64)


def _strained(
    rng: np.random.Generator, cell: np.ndarray, positions: np.ndarray, size: float
) -> tuple[np.ndarray, np.ndarray]:
    """Deform cell and positions at constant volume; a third of the cells stay as they are."""
    if rng.random() < 1 / 3:
        return cell, positions
    strain = rng.normal(scale=size, size=(3, 3))
    deformation = np.eye(3) + 0.5 * (strain + strain.T)
    deformation /= np.linalg.det(deformation) ** (1 / 3)
    return cell @ deformation, positions @ deformation


def _other_vectors(rng: np.random.Generator, cell: np.ndarray) -> np.ndarray:
    """Describe the lattice by other vectors, half of the time: the same structure, triclinic."""
    if rng.random() < 0.5:
        return cell
    first, second = rng.permutation(3)[:2]
    change = np.eye(3)
    change[first, second] = rng.choice([-1, 1])
    return change @ cell


def _dynamics(
    rng: np.random.Generator,
    numbers: np.ndarray,
    positions: np.ndarray,
    cell: np.ndarray,
    temperature: float,
    record: list[int],
) -> Iterator[np.ndarray]:
    return langevin(
        positions,
        np.array([MASSES[int(z)] for z in numbers]),
        lambda moved: salt_label(numbers, _inside(moved, cell), cell, QUICK).forces,
        rng,
        temperature=temperature,
        time_step=_TIME_STEP,
        friction=_FRICTION,
        record=record,
    )


def _inside(positions: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """Move every ion into the cell."""
    places = positions @ np.linalg.inv(cell)
    return (places - np.floor(places)) @ cell
