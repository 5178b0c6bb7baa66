"""Where molecules are padded to one shape: the leaves of a batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array

from efa_zoo.base.errors import InputError
from efa_zoo.structures.cells import OPEN, Pbc, padded_waves, same_for_all, wave_vectors
from efa_zoo.structures.molecule import Molecule
from efa_zoo.structures.neighbors import (
    Neighbors,
    all_pairs,
    neighbor_matrix,
    padded_atoms,
    padded_neighbors,
)

__all__ = [
    "Shape",
    "WaveWidth",
    "no_neighbors",
    "number_of_waves",
    "pad_rows",
    "padded_leaves",
    "padded_shape",
]


#: Room for more wave vectors than a cell has, so that it may grow without compiling.
_HEAD_ROOM = 1.25


class Shape(NamedTuple):
    """Padded shape of a batch.

    Attributes:
        molecules: their number.
        atoms: of each.
        neighbors: of each atom.
        waves: wave vectors of each molecule; 0 without periodicity, or without attention.
        pbc: which directions are periodic.
    """

    molecules: int
    atoms: int
    neighbors: int
    waves: int = 0
    pbc: Pbc = OPEN


def padded_shape(molecule: Molecule, cutoff: float, wave_reach: float = 0.0) -> Shape:
    """Round the sizes of a molecule up to common ones.

    Args:
        molecule: the molecule.
        cutoff: of the network in Å.
        wave_reach: of the network in 1/Å, see `Graph`.

    Returns:
        The shape of a batch of one.
    """
    found = number_of_waves(molecule, wave_reach)
    waves = padded_waves(found) if found else 0
    neighbors = padded_neighbors(molecule.positions, cutoff, molecule.cell, molecule.pbc)
    return Shape(1, padded_atoms(molecule.num_atoms), neighbors, waves, molecule.pbc)


def number_of_waves(molecule: Molecule, wave_reach: float) -> int:
    """Count the wave vectors of a molecule: none where not all directions are periodic."""
    if molecule.cell is None or not all(molecule.pbc) or wave_reach == 0:
        return 0
    return len(wave_vectors(molecule.cell, wave_reach))


class WaveWidth:
    """Padded number of wave vectors of cells that change: with head room, and kept once it grew.

    Attributes:
        reach: length of the longest wave vector in 1/Å; 0 for networks that need none.
    """

    def __init__(self, reach: float):
        self.reach = reach
        self._width = 0

    def __call__(self, molecule: Molecule) -> int:
        """Give the padded number for a structure."""
        needed = number_of_waves(molecule, self.reach)
        if needed > self._width:
            self._width = padded_waves(math.ceil(_HEAD_ROOM * needed))
        return self._width if needed else 0


def no_neighbors(batch: tuple[int, ...], atoms: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Make lists that hold nothing but padding."""
    itself = np.arange(atoms, dtype=np.int32)[:, None]
    shape = (*batch, atoms, width)
    return np.broadcast_to(itself, shape).copy(), np.zeros(shape, bool)


def pad_rows(rows: Array | np.ndarray, size: int) -> np.ndarray:
    """Fill an array up with rows of zeros."""
    padded = np.zeros((size, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded


def padded_leaves(
    molecules: Sequence[Molecule],
    shape: Shape,
    *,
    reach: float,
    wave_reach: float,
    lists: Sequence[Neighbors] | None,
    dtype: np.dtype | type,
    centered: bool,
) -> dict[str, Any]:
    """Pad molecules to one shape.

    Arguments and errors are those of `efa_zoo.structures.graph.pack`.

    Returns:
        The fields of a `Graph` by name.
    """
    count, atoms, width = shape[:3]
    for name in ("dipoles", "multiplicity"):
        if len({getattr(molecule, name) is None for molecule in molecules}) > 1:
            raise InputError(f"{name}: given for some molecules only, expected all or none")
    pbc = same_for_all("pbc", [molecule.pbc for molecule in molecules])
    periodic = any(pbc) or any(shape.pbc)
    dense = lists is None and width == atoms and not periodic
    with_dipoles = bool(molecules) and molecules[0].dipoles is not None
    with_spin = bool(molecules) and molecules[0].multiplicity is not None
    numbers = np.zeros((count, atoms), np.int32)
    positions = np.zeros((count, atoms, 3), dtype)
    charges = np.zeros(count, np.int32)
    unpaired = np.zeros(count, np.int32) if with_spin else None
    dipoles = np.zeros((count, atoms, 3), dtype) if with_dipoles else None
    neighbors, mask = no_neighbors((count,), atoms, width)
    shifts = np.zeros((count, atoms, width, 3), np.int32) if periodic else None
    for row, molecule in enumerate(molecules):
        size = molecule.num_atoms
        if size > atoms:
            raise InputError(f"shape: got {atoms} atoms, expected at least {size}")
        numbers[row, :size] = molecule.numbers
        center = molecule.positions.mean(axis=0) if centered else 0
        positions[row, :size] = molecule.positions - center
        charges[row] = molecule.charge
        if unpaired is not None and molecule.multiplicity is not None:
            unpaired[row] = molecule.multiplicity - 1
        if dipoles is not None:
            dipoles[row, :size] = molecule.dipoles
        if not dense:
            if lists is None:
                found = neighbor_matrix(molecule.positions, reach, molecule.cell, molecule.pbc)
            else:
                found = lists[row]
            if found.width > width:
                raise InputError(f"shape: got {width} neighbours, expected at least {found.width}")
            neighbors[row, :size, : found.width] = found.indices
            mask[row, :size, : found.width] = found.mask
            if shifts is not None:
                shifts[row, :size, : found.width] = _checked_shifts(found, molecule.pbc)
    if dense:
        neighbors, mask = all_pairs(numbers > 0)
    return {
        "atomic_numbers": numbers,
        "positions": positions,
        "neighbors": neighbors,
        "neighbor_mask": mask,
        "total_charge": charges,
        "atomic_dipoles": dipoles,
        "unpaired_electrons": unpaired,
        "reach": math.inf if dense else reach,
        "shifts": shifts,
        **_cells(molecules, shape, pbc, wave_reach, dtype),
    }


def _checked_shifts(found: Neighbors, pbc: Pbc) -> np.ndarray:
    """Shifts of the neighbours in a cell, which go along periodic directions only."""
    if found.shifts is None or found.shifts.shape != (*found.indices.shape, 3):
        came = None if found.shifts is None else found.shifts.shape
        raise InputError(
            f"shifts: got {came}, expected shape {(*found.indices.shape, 3)} in a cell"
        )
    if found.shifts[..., ~np.asarray(pbc)].any():
        raise InputError(
            f"shifts: got some along directions that are not periodic, pbc {list(pbc)}"
        )
    return found.shifts


def _cells(
    molecules: Sequence[Molecule],
    shape: Shape,
    pbc: Pbc,
    wave_reach: float,
    dtype: np.dtype | type,
) -> dict[str, Any]:
    """Cells and wave vectors, by name; those of padding are unit cells and zeros."""
    if molecules and pbc != shape.pbc:
        raise InputError(f"shape: got pbc {list(shape.pbc)}, expected {list(pbc)}")
    if not any(shape.pbc):
        return {}
    cells = np.broadcast_to(np.eye(3, dtype=dtype), (shape.molecules, 3, 3)).copy()
    waves = np.zeros((shape.molecules, shape.waves, 3), np.int32)
    listed = all(shape.pbc) and wave_reach > 0
    for row, molecule in enumerate(molecules):
        assert molecule.cell is not None
        cells[row] = molecule.cell
        if listed:
            found = wave_vectors(molecule.cell, wave_reach)
            if len(found) > shape.waves:
                raise InputError(
                    f"shape: got {shape.waves} wave vectors, expected at least {len(found)}"
                )
            waves[row, : len(found)] = found
    return {
        "cell": cells,
        "pbc": shape.pbc,
        "waves": waves if listed else None,
        "wave_reach": wave_reach if listed else 0.0,
    }
