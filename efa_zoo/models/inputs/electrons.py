"""Structures whose ground state has unpaired electrons, though the number of electrons is even.

A model that knows closed shells only takes an even number of electrons for a singlet. For O₂,
carbene and most single atoms that is an excited state, and so would be whatever the model says.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from jaxtyping import Float, Int

from efa_zoo.structures.elements import symbol

__all__ = ["open_shell"]

#: Molecules with a triplet ground state, by their atoms in alphabetical order and their charge
#: (K. P. Huber, G. Herzberg, Constants of Diatomic Molecules, 1979; NIST Chemistry WebBook).
_TRIPLETS: dict[tuple[str, ...], int] = {
    **dict.fromkeys(
        [
            ("O", "O"),
            ("O", "S"),
            ("S", "S"),
            ("O", "Se"),
            ("S", "Se"),
            ("Se", "Se"),
            ("B", "B"),
            ("Al", "Al"),
            ("Si", "Si"),
            ("H", "N"),
            ("H", "P"),
            ("F", "N"),
            ("Cl", "N"),
            ("F", "P"),
            ("Cl", "P"),
            ("C", "H", "H"),
        ],
        0,
    ),
    ("H", "O"): 1,
    ("H", "S"): 1,
    ("H", "H", "N"): 1,
    ("N", "O"): -1,
}

_LARGEST = max(map(len, _TRIPLETS))

#: Even numbers of electrons of single atoms and ions whose ground state is a singlet.
_CLOSED = frozenset({0, 2, 4, 10, 12, 18, 20, 30, 36, 38, 46, 48, 54, 56, 70, 80, 86, 88})

#: Covalent radii in Å (B. Cordero et al., Dalton Trans. 2832 (2008)) of the elements above.
_RADII = {
    "H": 0.31, "B": 0.84, "C": 0.76, "N": 0.71, "O": 0.66, "F": 0.57, "Al": 1.21, "Si": 1.11,
    "P": 1.07, "S": 1.05, "Cl": 1.02, "Ge": 1.20, "As": 1.19, "Se": 1.20, "Br": 1.20, "I": 1.39,
}  # fmt: skip
_OTHER_RADIUS = 1.5

#: Atoms closer than this multiple of the sum of their radii are parts of one molecule.
_BONDED = 1.25


def open_shell(
    numbers: Int[np.ndarray, " atoms"], positions: Float[np.ndarray, "atoms 3"], charge: int
) -> str | None:
    """Name what of a structure has a ground state with unpaired electrons, if that is known.

    Args:
        numbers: atomic numbers.
        positions: in Å.
        charge: total charge in units of e.

    Returns:
        A formula such as "O2" or "C", or None. Parts of a structure are not looked at: in one that
        comes apart or reacts they are none with electrons of their own.
    """
    if len(numbers) > _LARGEST:
        return None
    symbols = [symbol(int(number)) for number in numbers]
    electrons = int(numbers.sum()) - charge
    if len(symbols) == 1:
        return None if electrons % 2 or electrons in _CLOSED else symbols[0]
    names = tuple(sorted(symbols))
    if _TRIPLETS.get(names) != charge or not _is_one_molecule(symbols, positions):
        return None
    return _formula(names)


def _is_one_molecule(symbols: list[str], positions: np.ndarray) -> bool:
    """Whether every atom of two or three is bonded to another one."""
    radii = np.asarray([_RADII.get(name, _OTHER_RADIUS) for name in symbols])
    vectors = positions[:, None] - positions
    bonded = np.sqrt((vectors**2).sum(axis=-1)) < _BONDED * (radii[:, None] + radii)
    return bool((bonded.sum(axis=1) > 1).all())  # each is near itself


def _formula(names: tuple[str, ...]) -> str:
    return "".join(
        f"{name}{count if count > 1 else ''}" for name, count in sorted(Counter(names).items())
    )
