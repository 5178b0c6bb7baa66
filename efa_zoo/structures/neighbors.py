"""Neighbours of moving atoms in static shapes, so that compiled functions can be used again."""

from __future__ import annotations

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import InputError
from efa_zoo.structures.graph import Graph, neighbor_matrix

__all__ = ["NeighborList", "padded_atoms", "within_cutoff"]

#: Up to this padded number of atoms all pairs are listed, which never needs a search.
_ALL_PAIRS_UP_TO = 32

#: Room for more neighbours than were found, and what the room is rounded up to.
_HEAD_ROOM = 1.25
_ROUNDED_TO = 8


def padded_atoms(atoms: int) -> int:
    """The common padded size of molecules: 8, 16, 24, 32, 48, 64, 96, 128 … atoms."""
    size = 8
    while size < atoms:
        power = 1 << (size.bit_length() - 1)
        size = 2 * power if size > power or size == 8 else power + power // 2
    return size


@contract
def within_cutoff(graph: Graph, cutoff: float) -> Graph:
    """Mask the pairs of a list that are not closer than the cutoff.

    With it a list may hold more pairs than the network knows, whatever its cutoff function.

    Args:
        graph: one molecule whose list has at least the pairs within the cutoff.
        cutoff: in Å.

    Returns:
        The molecule with a smaller `neighbor_mask`.
    """
    positions = jnp.asarray(graph.positions)
    displacements = positions[jnp.asarray(graph.neighbors)] - positions[:, None, :]
    close = jnp.sum(displacements**2, axis=-1) < cutoff**2
    return eqx.tree_at(lambda g: g.neighbor_mask, graph, jnp.asarray(graph.neighbor_mask) & close)


class NeighborList:
    """Neighbours within the cutoff and a skin around it, kept until an atom has moved too far.

    Give the network `within_cutoff(graph, cutoff)`: the list holds the pairs of the skin too.
    Small molecules get all pairs. The width of a list has head room; once a list has grown, later
    lists of molecules of that padded size keep the width, so that shapes change rarely.

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
        if padded_atoms(len(positions)) <= _ALL_PAIRS_UP_TO:
            return True
        moved = np.sqrt(((positions - self._positions) ** 2).sum(axis=1).max())
        return bool(moved < self.skin / 2)

    def _search(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.searches += 1
        atoms = len(positions)
        size = padded_atoms(atoms)
        all_pairs = size <= _ALL_PAIRS_UP_TO
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
