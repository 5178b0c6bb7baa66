r"""Compute the phases that Lebedev rules resolve: `python docs/compute_grid_limits.py`.

The program writes the table that `efa_zoo.attention.grids` reads. An entry is the largest phase b
such that for every smaller phase, every direction n and every order m

.. math::
    \Bigl|\sum_g \lambda_g\,e^{i b\,u_g\cdot n}\,Y_{lm}(u_g) - i^l j_l(b)\,Y_{lm}(n)\Bigr|
    < \text{tolerance},

with Y in e3x's default (Racah) normalization. Expanding the plane wave,
:math:`e^{ib\,u\cdot n} = \sum_k (2k+1)\,i^k j_k(b)\,P_k(u\cdot n)`, separates b from the sum over
the grid: the error is :math:`\sum_k i^k j_k(b)\,D_{k,lm}(n)` with the rule's defects
:math:`D_{k,lm}(n)`, which vanish by construction for :math:`k + l` up to the rule's precision,
and by antipodal symmetry for odd :math:`k + l`. So the defects are computed once per rule, and
the error at any phase is a short sum.

The rules are invariant under the octahedral group. Directions are sampled in its fundamental
domain, x <= y <= z; of the images of the domain only those under the three cyclic permutations of
the axes matter, since the other operations merely permute the Y_lm or change their signs.
"""

from __future__ import annotations

import argparse
import functools
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import spherical_jn

from efa_zoo.attention import grids
from efa_zoo.attention.grids import half_grid, lebedev_precision, lebedev_rules
from efa_zoo.ops.harmonics import constant_harmonics

_logger = logging.getLogger(__name__)

#: Tolerances and highest degree of the table.
TOLERANCES = (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)
MAX_DEGREE = 4

# A maximum between sampled directions is missed by at most some per cent, so the limits are
# computed for a tolerance smaller by this factor. Three times as many samples per radian move
# them by less than 0.01.
_MARGIN = 0.95
# Phases are searched on a grid of this step first, and evaluated this many at once.
_STEP = 0.25
_BATCH = 16
# Directions times points handled at once, to bound the memory to some 200 MB.
_CHUNK = 4_000_000

_Array = NDArray[np.float64]


def _harmonics(directions: _Array) -> list[_Array]:
    """Y_lm of unit vectors `[n, 3]`, an array `[n, 2l+1]` per degree."""
    values = constant_harmonics(directions, MAX_DEGREE)
    return [values[:, degree**2 : (degree + 1) ** 2] for degree in range(MAX_DEGREE + 1)]


def _directions(subdivisions: int) -> _Array:
    """Unit vectors that cover the triangle x <= y <= z, its corners and edges included."""
    i, j = np.indices((subdivisions + 1, subdivisions + 1)).reshape(2, -1)
    a, b = (x[i + j <= subdivisions] / subdivisions for x in (i, j))
    corners = np.array([[0, 0, 1], [0, 2**-0.5, 2**-0.5], [3**-0.5] * 3])
    points = np.stack([1 - a - b, a, b], axis=-1) @ corners
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


@functools.cache
def _cyclic_permutations() -> list[list[_Array]]:
    """Per degree the matrices `[2l+1, 2l+1]` that cyclically permute the axes under Y_l."""
    vectors = np.random.default_rng(0).normal(size=(50, 3))
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    before = _harmonics(vectors)
    permuted = [_harmonics(np.roll(vectors, shift, axis=-1)) for shift in range(3)]
    return [
        [np.asarray(np.linalg.lstsq(y, after[degree])[0], np.float64) for after in permuted]
        for degree, y in enumerate(before)
    ]


def _defects(num: int, fineness: float) -> list[tuple[list[int], _Array]]:
    """The defects of a rule, per degree l: the k that occur, and `[k, directions, 2l+1]`.

    The factor i^k is included relative to i^l, which is real because k + l is even.
    """
    points, weights = half_grid(num)
    precision = lebedev_precision(num)
    directions = _directions(math.ceil(fineness * (precision + 5)))
    weighted = [weights[:, None] * values for values in _harmonics(points)]
    exact = _harmonics(directions)
    # Limits lie below the precision, and j_k(b) is negligible for k beyond b by this much.
    highest = precision + 10 + math.ceil(10 * precision ** (1 / 3))
    orders = [
        [k for k in range(max(0, precision + 1 - degree), highest + 1) if (k + degree) % 2 == 0]
        for degree in range(MAX_DEGREE + 1)
    ]
    defects = [
        np.zeros((len(orders[degree]), len(directions), 2 * degree + 1))
        for degree in range(MAX_DEGREE + 1)
    ]
    chunk = max(1, _CHUNK // len(points))
    for start in range(0, len(directions), chunk):
        part = slice(start, start + chunk)
        cosines = directions[part] @ points.T
        previous, current = np.zeros_like(cosines), np.ones_like(cosines)
        for k in range(highest + 1):
            for degree in range(MAX_DEGREE + 1):
                if k not in orders[degree]:
                    continue
                defect = (2 * k + 1) * (current @ weighted[degree])
                if k == degree:
                    defect -= exact[degree][part]
                sign = (-1) ** ((k - degree) // 2)
                defects[degree][orders[degree].index(k), part] = sign * defect
            following = ((2 * k + 1) * cosines * current - k * previous) / (k + 1)
            previous, current = current, following
    return list(zip(orders, defects, strict=True))


def _errors(phases: _Array, orders: list[int], defects: _Array) -> _Array:
    """Largest error over directions and orders m at every phase."""
    size = defects.shape[-1]
    bessel = spherical_jn(np.array(orders)[None, :], phases[:, None])
    errors = (bessel @ defects.reshape(len(orders), -1)).reshape(len(phases), -1, size)
    matrices = _cyclic_permutations()[size // 2]
    return np.max([np.abs(errors @ matrix).max(axis=(1, 2)) for matrix in matrices], axis=0)


def rule_limits(num: int, fineness: float = 1.0) -> _Array:
    """The phases a rule resolves.

    Args:
        num: number of points of the rule.
        fineness: sampled directions per radian and unit of the rule's precision.

    Returns:
        Phases `[tolerances, degrees]` for `TOLERANCES` and degrees 0 to `MAX_DEGREE`, rounded
        down to 0.001.
    """
    limits = np.zeros((len(TOLERANCES), MAX_DEGREE + 1))
    grid = np.arange(0.0, lebedev_precision(num) + _STEP, _STEP)
    for degree, (orders, defects) in enumerate(_defects(num, fineness)):
        errors = np.concatenate(
            [_errors(grid[i : i + _BATCH], orders, defects) for i in range(0, len(grid), _BATCH)]
        )
        for i, tolerance in enumerate(TOLERANCES):
            failing = np.flatnonzero(errors >= _MARGIN * tolerance)
            assert failing.size, "the search has to reach the limit"
            if failing[0] == 0:
                continue
            low, high = grid[failing[0] - 1], grid[failing[0]]
            while high - low > 5e-4:
                inner = np.linspace(low, high, _BATCH)
                first = np.flatnonzero(_errors(inner, orders, defects) >= _MARGIN * tolerance)[0]
                low, high = inner[first - 1], inner[first]
            limits[i, degree] = math.floor(low * 1000) / 1000
    return limits


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the whole table, which takes some minutes on one core, and write it.

    Args:
        arguments: command line, `sys.argv` if not given.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument(
        "--out",
        type=Path,
        default=Path(grids.__file__).with_name("grid_limits.json"),
        metavar="FILE",
    )
    out: Path = parser.parse_args(arguments).out
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    lines = []
    for num in lebedev_rules():
        limits = rule_limits(num).tolist()
        _logger.info("%d: %s", num, limits)
        lines.append(f'"{num}": {json.dumps(limits)}')
    head = f'{{\n"tolerances": {json.dumps(TOLERANCES)},\n"phases": {{\n'
    out.write_text(head + ",\n".join(lines) + "\n}\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
