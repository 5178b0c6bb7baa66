"""Pairs of neighbouring atoms as index matrices of static shapes.

One rule says where all pairs are listed: up to `ALL_PAIRS_UP_TO` padded atoms. Lists may always
hold more pairs than a network's cutoff, which the network masks by itself.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from efa_zoo.base.errors import InputError
from efa_zoo.structures.cells import OPEN, Pbc

__all__ = [
    "ALL_PAIRS_UP_TO",
    "NeighborList",
    "Neighbors",
    "all_pairs",
    "neighbor_matrix",
    "padded_atoms",
    "padded_neighbors",
]

#: Up to this padded number of atoms all pairs are listed: no search, and atoms alone make a shape.
ALL_PAIRS_UP_TO = 64

#: Room for more neighbours than were found, and what the room is rounded up to.
_HEAD_ROOM = 1.25
_ROUNDED_TO = 8


class Neighbors(NamedTuple):
    """Neighbours of every atom of a structure.

    Attributes:
        indices: `[atoms, neighbors]`, int32; padding points to the atom itself.
        mask: `[atoms, neighbors]`, False for padding.
        shifts: `[atoms, neighbors, 3]`, int32: how many cells away the neighbour is along each
            lattice vector, zero for padding; None without a cell.
    """

    indices: Int[np.ndarray, "atoms neighbors"]
    mask: Bool[np.ndarray, "atoms neighbors"]
    shifts: Int[np.ndarray, "atoms neighbors 3"] | None = None

    @property
    def width(self) -> int:
        """Largest number of neighbours of an atom, padding included."""
        return self.indices.shape[1]

    def widened(self, width: int) -> Neighbors:
        """Give the same neighbours with more padding."""
        atoms, own = self.indices.shape
        indices = np.broadcast_to(np.arange(atoms, dtype=np.int32)[:, None], (atoms, width)).copy()
        mask = np.zeros((atoms, width), bool)
        indices[:, :own], mask[:, :own] = self.indices, self.mask
        shifts = None
        if self.shifts is not None:
            shifts = np.zeros((atoms, width, 3), np.int32)
            shifts[:, :own] = self.shifts
        return Neighbors(indices, mask, shifts)


def padded_atoms(atoms: int) -> int:
    """Round a number of atoms up to a common size: 8, 16, 24, 32, 48, 64, 96, 128 and so on."""
    size = 8
    while size < atoms:
        power = 1 << (size.bit_length() - 1)
        size = 2 * power if size > power or size == 8 else power + power // 2
    return size


def padded_neighbors(
    positions: Float[np.ndarray, "atoms 3"],
    cutoff: float,
    cell: Float[np.ndarray, "3 3"] | None = None,
    pbc: Pbc = OPEN,
) -> int:
    """Round a structure's largest number of neighbours up to a power of two from 16 on.

    Args:
        positions: `[atoms, 3]` in Å.
        cutoff: in Å.
        cell: lattice vectors in Å as rows, or None.
        pbc: which directions are periodic.

    Returns:
        The number. Without a cell it is at most the padded number of atoms, which is where all
        pairs are listed: always for small molecules, which are not searched.
    """
    atoms = padded_atoms(len(positions))
    if cell is None and atoms <= ALL_PAIRS_UP_TO:
        return atoms
    found, size = neighbor_matrix(positions, cutoff, cell, pbc).width, 16
    while size < found:
        size *= 2
    return size if cell is not None else min(size, atoms)


def all_pairs(
    atom_mask: Bool[np.ndarray, "*batch atoms"],
) -> tuple[Int[np.ndarray, "*batch atoms atoms"], Bool[np.ndarray, "*batch atoms atoms"]]:
    """List all pairs of atoms: neighbour j of every atom is atom j, where both exist and differ.

    Args:
        atom_mask: False for padding.

    Returns:
        `neighbors` (int32; padding points to the atom itself) and `mask`.
    """
    atoms = atom_mask.shape[-1]
    mask = atom_mask[..., :, None] & atom_mask[..., None, :] & ~np.eye(atoms, dtype=bool)
    atom = np.arange(atoms, dtype=np.int32)
    return np.where(mask, atom, atom[:, None]), mask


def neighbor_matrix(
    positions: Float[np.ndarray, "atoms 3"],
    cutoff: float | None,
    cell: Float[np.ndarray, "3 3"] | None = None,
    pbc: Pbc = OPEN,
) -> Neighbors:
    """List the neighbours of every atom as a dense index matrix, in ascending order.

    Args:
        positions: `[atoms, 3]` in Å.
        cutoff: pairs closer than this (Å) are neighbours, images in other cells too; None takes
            every other atom, which only a structure without a cell can.
        cell: lattice vectors in Å as rows; None without periodicity.
        pbc: which directions are periodic.

    Returns:
        The neighbours, as wide as the largest number of an atom, at least 1.

    Raises:
        InputError: there is a cell and no cutoff.
    """
    atoms, shifts = len(positions), None
    if cutoff is None:
        if cell is not None:
            raise InputError("cutoff: got None, expected a number (Å) for a structure in a cell")
        centers, others = np.nonzero(~np.eye(atoms, dtype=bool))
    else:
        # Imported here: vesin loads a compiled library, which `import efa_zoo` need not.
        from vesin import NeighborList

        centers, others, *rest = NeighborList(cutoff=float(cutoff), full_list=True).compute(
            points=np.ascontiguousarray(positions, dtype=np.float64),
            box=np.zeros((3, 3)) if cell is None else np.ascontiguousarray(cell, np.float64),
            periodic=False if cell is None else list(pbc),
            quantities="ij" if cell is None else "ijS",
        )
        keys = [shift for found in rest for shift in found.T[::-1]]
        order = np.lexsort((*keys, others, centers))
        centers, others = centers[order], others[order]
        shifts = rest[0][order] if rest else None
    counts = np.bincount(centers.astype(np.int64), minlength=atoms)
    width = max(1, int(counts.max()))
    indices = np.broadcast_to(np.arange(atoms, dtype=np.int32)[:, None], (atoms, width)).copy()
    slots = np.arange(len(centers)) - np.repeat(np.cumsum(counts) - counts, counts)
    indices[centers, slots] = others
    cells = None
    if shifts is not None:
        cells = np.zeros((atoms, width, 3), np.int32)
        cells[centers, slots] = shifts
    return Neighbors(indices, np.arange(width) < counts[:, None], cells)


class NeighborList:
    """Neighbours within the cutoff and a skin around it, kept until an atom has moved too far.

    The list holds the pairs of the skin too. Small molecules get all pairs. The width of a list has
    head room; once a list has grown, later lists of molecules of that padded size keep the width,
    so that shapes change rarely. Where the cell has changed a list is searched anew.

    Attributes:
        cutoff: range of the network in Å.
        skin: in Å. A list is kept until an atom is half a skin away from where it was searched; 0
            searches every time.
        searches: number of searches so far.
    """

    def __init__(self, cutoff: float, skin: float):
        """Start without a list.

        Args:
            cutoff: range of the network in Å.
            skin: in Å.

        Raises:
            InputError: the skin is negative or not finite.
        """
        if not (math.isfinite(skin) and skin >= 0):
            raise InputError(f"skin: got {skin}, expected a number of at least 0 (Å)")
        self.cutoff = cutoff
        self.skin = skin
        self.searches: int = 0
        self._widths: dict[int, int] = {}
        self._positions: np.ndarray | None = None
        self._cell: tuple[np.ndarray | None, Pbc] = (None, OPEN)
        self._list: Neighbors | None = None

    def update(
        self,
        positions: Float[np.ndarray, "atoms 3"],
        cell: Float[np.ndarray, "3 3"] | None = None,
        pbc: Pbc = OPEN,
    ) -> Neighbors:
        """The list at some positions: the last one if it still holds, else a new one.

        Args:
            positions: `[atoms, 3]` in Å, finite.
            cell: lattice vectors in Å as rows; None without periodicity.
            pbc: which directions are periodic.

        Returns:
            Neighbours as in a `Graph`; without a cell at most `padded_atoms(atoms)` wide.
        """
        if self._list is None or not self._still_holds(positions, cell, pbc):
            self._list = self._search(positions, cell, pbc)
            self._positions = positions.copy()
            self._cell = (None if cell is None else cell.copy(), pbc)
        return self._list

    def _still_holds(self, positions: np.ndarray, cell: np.ndarray | None, pbc: Pbc) -> bool:
        if self._positions is None or self._positions.shape != positions.shape:
            return False
        before, directions = self._cell
        if directions != pbc or not (before is None or np.array_equal(before, cell)):  # type: ignore[arg-type]
            return False
        if cell is None and padded_atoms(len(positions)) <= ALL_PAIRS_UP_TO:
            return True
        moved = np.sqrt(((positions - self._positions) ** 2).sum(axis=1).max())
        return bool(moved < self.skin / 2)

    def _search(self, positions: np.ndarray, cell: np.ndarray | None, pbc: Pbc) -> Neighbors:
        self.searches += 1
        size = padded_atoms(len(positions))
        all_pairs = cell is None and size <= ALL_PAIRS_UP_TO
        found = neighbor_matrix(
            positions, None if all_pairs else self.cutoff + self.skin, cell, pbc
        )
        if all_pairs:
            self._widths[size] = size
        elif found.width > self._widths.get(size, 0):
            roomy = _ROUNDED_TO * math.ceil(_HEAD_ROOM * found.width / _ROUNDED_TO)
            self._widths[size] = roomy if cell is not None else min(roomy, size)
        return found.widened(max(self._widths[size], found.width))

    @property
    def positions(self) -> Float[np.ndarray, "atoms 3"] | None:
        """Where the atoms were when the list was searched; None before the first search."""
        return self._positions

    def forget(self) -> None:
        """Drop the list, so that the next one is searched; widths are kept."""
        self._list = self._positions = None

    def state(self) -> dict[str, object]:
        """What `restore` needs to give the very same lists again; JSON takes it."""
        return {
            "positions": None if self._positions is None else self._positions.tolist(),
            "cell": None if self._cell[0] is None else self._cell[0].tolist(),
            "pbc": list(self._cell[1]),
            "widths": sorted(self._widths.items()),
        }

    def restore(self, state: dict[str, object]) -> None:
        """Take up where `state` was asked for.

        Args:
            state: the result of `state` of a list with the same cutoff and skin.
        """
        positions, widths = state["positions"], state["widths"]
        self._widths = {int(size): int(width) for size, width in widths}  # type: ignore[attr-defined]
        self._list = self._positions = None
        if positions is not None:
            cell, (first, second, third) = state["cell"], state["pbc"]  # type: ignore[misc]
            self.update(
                np.asarray(positions, dtype=np.float64),
                None if cell is None else np.asarray(cell, dtype=np.float64),
                (first, second, third),
            )
