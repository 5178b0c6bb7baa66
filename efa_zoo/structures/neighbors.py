"""Pairs of neighbouring atoms as index matrices of static shapes.

One rule says where all pairs are listed: up to `ALL_PAIRS_UP_TO` padded atoms. Lists may always
hold more pairs than a network's cutoff, which the network masks by itself.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Int

from efa_zoo.base.errors import InputError

__all__ = [
    "ALL_PAIRS_UP_TO",
    "NeighborList",
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


def padded_atoms(atoms: int) -> int:
    """Round a number of atoms up to a common size: 8, 16, 24, 32, 48, 64, 96, 128 and so on."""
    size = 8
    while size < atoms:
        power = 1 << (size.bit_length() - 1)
        size = 2 * power if size > power or size == 8 else power + power // 2
    return size


def padded_neighbors(positions: Float[np.ndarray, "atoms 3"], cutoff: float) -> int:
    """Round a molecule's largest number of neighbours up to a power of two from 16 on.

    Args:
        positions: `[atoms, 3]` in Å.
        cutoff: in Å.

    Returns:
        The number, at most the padded number of atoms, which is where all pairs are listed: always
        for small molecules, which are not searched.
    """
    atoms = padded_atoms(len(positions))
    if atoms <= ALL_PAIRS_UP_TO:
        return atoms
    found, size = neighbor_matrix(positions, cutoff)[0].shape[1], 16
    while size < found:
        size *= 2
    return min(size, atoms)


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
    positions: Float[np.ndarray, "atoms 3"], cutoff: float | None
) -> tuple[Int[np.ndarray, "atoms neighbors"], Bool[np.ndarray, "atoms neighbors"]]:
    """List the neighbours of every atom as a dense index matrix, in ascending order.

    Args:
        positions: `[atoms, 3]` in Å, not periodic.
        cutoff: pairs closer than this (Å) are neighbours; None takes every other atom.

    Returns:
        `neighbors` (int32; padding points to the atom itself) and `mask`, both
        `[atoms, largest number of neighbours, at least 1]`.
    """
    atoms = len(positions)
    if cutoff is None:
        centers, others = np.nonzero(~np.eye(atoms, dtype=bool))
    else:
        # Imported here: vesin loads a compiled library, which `import efa_zoo` need not.
        from vesin import NeighborList

        centers, others = NeighborList(cutoff=float(cutoff), full_list=True).compute(
            points=np.ascontiguousarray(positions, dtype=np.float64),
            box=np.zeros((3, 3)),
            periodic=False,
            quantities="ij",
        )
        order = np.lexsort((others, centers))
        centers, others = centers[order], others[order]
    counts = np.bincount(centers.astype(np.int64), minlength=atoms)
    width = max(1, int(counts.max()))
    neighbors = np.broadcast_to(np.arange(atoms, dtype=np.int32)[:, None], (atoms, width)).copy()
    slots = np.arange(len(centers)) - np.repeat(np.cumsum(counts) - counts, counts)
    neighbors[centers, slots] = others
    return neighbors, np.arange(width) < counts[:, None]


class NeighborList:
    """Neighbours within the cutoff and a skin around it, kept until an atom has moved too far.

    The list holds the pairs of the skin too. Small molecules get all pairs. The width of a list has
    head room; once a list has grown, later lists of molecules of that padded size keep the width,
    so that shapes change rarely.

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
        self._list: tuple[np.ndarray, np.ndarray] | None = None

    def update(
        self, positions: Float[np.ndarray, "atoms 3"]
    ) -> tuple[Int[np.ndarray, "atoms neighbors"], Bool[np.ndarray, "atoms neighbors"]]:
        """The list at some positions: the last one if it still holds, else a new one.

        Args:
            positions: `[atoms, 3]` in Å, finite.

        Returns:
            Neighbours and mask as in a `Graph`, at most `padded_atoms(atoms)` neighbours wide.
        """
        if self._list is None or not self._still_holds(positions):
            self._list = self._search(positions)
            self._positions = positions.copy()
        return self._list

    def _still_holds(self, positions: np.ndarray) -> bool:
        if self._positions is None or self._positions.shape != positions.shape:
            return False
        if padded_atoms(len(positions)) <= ALL_PAIRS_UP_TO:
            return True
        moved = np.sqrt(((positions - self._positions) ** 2).sum(axis=1).max())
        return bool(moved < self.skin / 2)

    def _search(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.searches += 1
        atoms = len(positions)
        size = padded_atoms(atoms)
        all_pairs = size <= ALL_PAIRS_UP_TO
        reach = None if all_pairs else self.cutoff + self.skin
        found, found_mask = neighbor_matrix(positions, reach)
        needed = found.shape[1]
        if all_pairs:
            self._widths[size] = size
        elif needed > self._widths.get(size, 0):
            roomy = _ROUNDED_TO * math.ceil(_HEAD_ROOM * needed / _ROUNDED_TO)
            self._widths[size] = min(roomy, size)
        itself = np.arange(atoms, dtype=np.int32)[:, None]
        neighbors = np.broadcast_to(itself, (atoms, self._widths[size])).copy()
        mask = np.zeros(neighbors.shape, bool)
        neighbors[:, :needed] = found
        mask[:, :needed] = found_mask
        return neighbors, mask

    def state(self) -> dict[str, object]:
        """What `restore` needs to give the very same lists again; JSON takes it."""
        return {
            "positions": None if self._positions is None else self._positions.tolist(),
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
            self.update(np.asarray(positions, dtype=np.float64))
