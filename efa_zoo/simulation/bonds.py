"""Which bonds a simulation made or broke, judged by distances."""

from __future__ import annotations

from typing import TYPE_CHECKING

from efa_zoo.structures.bonding import bonded_pairs
from efa_zoo.structures.cells import check_cell

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["changed_bonds"]

#: Two atoms are bonded below the first multiple of the sum of their covalent radii and apart above
#: the second; between them nothing is said.
_BONDED, _APART = 1.25, 1.5


def changed_bonds(before: Atoms, after: Atoms) -> tuple[str, ...]:
    """Compare the bonds of two structures of the same atoms.

    Args:
        before: the first structure.
        after: the second one, atoms in the same order.

    Returns:
        Sentences such as "N0-H1 broken" and "H1-O5 made", in the order of the atoms.
    """
    first, last = _pairs(before, _BONDED), _pairs(after, _BONDED)
    broken = dict.fromkeys(first - _pairs(after, _APART), "broken")
    made = dict.fromkeys(last - _pairs(before, _APART), "made")
    symbols = before.get_chemical_symbols()
    return tuple(
        f"{symbols[i]}{i}-{symbols[j]}{j} {what}"
        for (i, j), what in sorted({**broken, **made}.items())
    )


def _pairs(atoms: Atoms, factor: float) -> set[tuple[int, int]]:
    """Find the pairs of atoms closer than a multiple of the sum of their covalent radii."""
    cell, pbc = check_cell(atoms.cell.array, atoms.pbc)
    found = bonded_pairs(atoms.numbers, atoms.get_positions(), cell, pbc, factor=factor)
    return {(min(pair), max(pair)) for pair in found.tolist() if pair[0] != pair[1]}
