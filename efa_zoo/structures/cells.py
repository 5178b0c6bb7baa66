"""Cells of periodic structures: checks, volumes, and the wave vectors that fit a cell.

Rows of a cell are its lattice vectors, as in ASE. A wave vector is stored as three integers n and
is 2π n · (cell⁻¹)ᵀ, so that it follows the cell wherever that goes.
"""

from __future__ import annotations

import functools
import math
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from efa_zoo.base.errors import InputError

__all__ = [
    "OPEN",
    "Pbc",
    "check_cell",
    "padded_waves",
    "same_for_all",
    "wave_vectors",
]

#: Which of the three directions are periodic.
Pbc: TypeAlias = tuple[bool, bool, bool]

#: A structure without periodicity.
OPEN: Pbc = (False, False, False)

#: Least distance in Å between opposite faces of a cell: nothing that repeats closer is a structure.
_THINNEST = 1.0

#: Longest lattice vector in Å: single precision resolves positions badly beyond.
_LONGEST = 1e4

#: Wave vectors beyond which memory would end first.
_MOST_WAVES = 2_000_000


def check_cell(cell: object, pbc: object) -> tuple[Float[np.ndarray, "3 3"] | None, Pbc]:
    """Take the cell of a structure.

    Args:
        cell: three lattice vectors in Å, as rows; None for a structure without.
        pbc: which directions are periodic, one answer or three; None takes all of them if there
            is a cell.

    Returns:
        The cell in float64 and the periodic directions. Where some directions are not periodic,
        their vectors, of which nothing depends, are replaced by unit vectors perpendicular to the
        periodic ones. None without periodic directions.

    Raises:
        InputError: a shape or type is wrong, a vector of a periodic direction is zero, not finite
            or beyond 10,000 Å, or the cell is singular, left-handed or thinner than 1 Å.
    """
    periodic = _check_pbc(cell is not None if pbc is None else pbc)
    if not any(periodic):
        return None, OPEN
    try:
        given = np.asarray(cell)
    except (TypeError, ValueError) as error:
        raise InputError(f"cell: not an array of numbers ({error})") from error
    if given.shape != (3, 3) or given.dtype.kind not in "iuf":
        raise InputError(
            f"cell: got shape {given.shape} of {given.dtype}, expected three vectors (Å) because "
            f"pbc is {list(periodic)}"
        )
    vectors = given.astype(np.float64)
    for axis in np.flatnonzero(periodic).tolist():
        length = float(np.linalg.norm(vectors[axis]))
        if not 0 < length <= _LONGEST:
            expected = "another one than zero" if length == 0 else f"one of at most {_LONGEST:g} Å"
            raise InputError(
                f"cell: vector {axis} is {vectors[axis].tolist()}, but pbc says that this "
                f"direction is periodic, expected {expected}"
            )
    vectors = _completed(vectors, periodic)
    volume = float(np.linalg.det(vectors))
    lengths = np.linalg.norm(vectors, axis=1)
    if abs(volume) < 1e-6 * float(np.prod(lengths)):
        raise InputError(
            f"cell: got {vectors.tolist()}, which is singular, expected three independent vectors"
        )
    if volume < 0:
        raise InputError(
            f"cell: got {vectors.tolist()}, which is left-handed (its determinant is {volume:.4g} "
            "Å³), expected a right-handed one: swap two vectors"
        )
    heights = 1 / np.linalg.norm(np.linalg.inv(vectors), axis=0)
    thin = int(np.argmin(np.where(periodic, heights, np.inf)))
    if heights[thin] < _THINNEST:
        raise InputError(
            f"cell: is {heights[thin]:.3g} Å thick along vector {thin}, expected at least "
            f"{_THINNEST:g} Å"
        )
    return vectors, periodic


def _check_pbc(pbc: object) -> Pbc:
    given = np.asarray(pbc)
    if given.dtype.kind != "b" or given.shape not in ((), (3,)):
        raise InputError(f"pbc: got {pbc!r}, expected one or three of True and False")
    first, second, third = np.broadcast_to(given, 3).tolist()
    return first, second, third


def _completed(vectors: np.ndarray, periodic: Pbc) -> np.ndarray:
    """The cell with unit vectors for directions that are not periodic."""
    if all(periodic):
        return vectors
    vectors = vectors.copy()
    kept = np.flatnonzero(periodic).tolist()
    for axis in np.flatnonzero(~np.asarray(periodic)).tolist():
        # The right-hand side of the kept vectors, or for a single one any perpendicular vector.
        _, _, basis = np.linalg.svd(vectors[kept])
        vectors[axis] = basis[-1]
        kept.append(axis)
    if np.linalg.det(vectors) < 0:
        vectors[kept[-1]] *= -1
    return vectors


def wave_vectors(cell: Float[np.ndarray, "3 3"], reach: float) -> Int[np.ndarray, "waves 3"]:
    """List the wave vectors that fit a cell, one of every two opposite ones, without zero.

    Args:
        cell: lattice vectors in Å, as rows.
        reach: length of the longest in 1/Å.

    Returns:
        Integers n of the wave vectors 2π n · (cell⁻¹)ᵀ, shortest first, int32.

    Raises:
        InputError: there are more than two million.
    """
    return _wave_vectors(np.ascontiguousarray(cell, np.float64).tobytes(), float(reach))


@functools.lru_cache(maxsize=256)
def _wave_vectors(cell: bytes, reach: float) -> np.ndarray:
    vectors = np.frombuffer(cell, np.float64).reshape(3, 3)
    number = abs(float(np.linalg.det(vectors))) * reach**3 / (12 * math.pi**2)
    if number > _MOST_WAVES:
        raise InputError(
            f"cell: its {number:.3g} wave vectors up to {reach:.3g} 1/Å are too many, expected at "
            f"most {_MOST_WAVES:,}; give the kernel of attention larger widths"
        )
    most = np.floor(reach * np.linalg.norm(vectors, axis=1) / (2 * math.pi)).astype(int)
    x, y, z = (np.arange(-count, count + 1) for count in most)
    n = np.stack(np.meshgrid(x[x >= 0], y, z, indexing="ij"), axis=-1).reshape(-1, 3)
    half = (n[:, 0] > 0) | ((n[:, 0] == 0) & ((n[:, 1] > 0) | ((n[:, 1] == 0) & (n[:, 2] > 0))))
    n = n[half]
    lengths = 2 * math.pi * np.linalg.norm(n @ np.linalg.inv(vectors).T, axis=1)
    order = np.argsort(lengths, kind="stable")
    found = n[order[lengths[order] <= reach]].astype(np.int32)
    found.flags.writeable = False
    return found


def padded_waves(number: int) -> int:
    """Round a number of wave vectors up to a common size: 16, 24, 32, 48, 64, 96 and so on."""
    size = 16
    while size < number:
        power = 1 << (size.bit_length() - 1)
        size = 2 * power if size > power else power + power // 2
    return size


def same_for_all(name: str, values: list[Pbc]) -> Pbc:
    """Take what all structures of a batch share.

    Args:
        name: what it is, for messages.
        values: of the structures.

    Returns:
        The value, `OPEN` for none.

    Raises:
        InputError: they differ.
    """
    for value in values:
        if value != values[0]:
            first, other = list(values[0]), list(value)
            raise InputError(f"{name}: got {first} and {other} in one batch, expected one of them")
    return values[0] if values else OPEN
