r"""Lebedev rules on the unit sphere, and which phases they resolve.

A rule with points u_g and weights λ_g (summing to 1) stands in for the average over all
directions, (1/4π)∫ f(u) du. What attention averages is a plane wave times a spherical harmonic,
e^{iω u·r} Y_lm(u), and a rule does that well up to a largest phase b = ω|r|, which depends on the
tolerance and on the degree l. Beyond that limit the error grows quickly to order one, without any
sign of it in the result; hence the functions here that pick a rule or refuse one.

Phases follow this project's convention for frequencies: `max_frequency` is dimensionless, the
phase that the largest frequency ω = max_frequency / max_length reaches at the distance
`max_length` (Å). Two atoms may well be further apart than that; at distance d the phase is
max_frequency · d / max_length.

Points and weights come from SciPy; the limits come from a table computed by
`docs/compute_grid_limits.py`.
"""

from __future__ import annotations

import functools
import importlib.resources
import json
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from efa_zoo.base.errors import ConfigError
from efa_zoo.ops.harmonics import constant_harmonics

__all__ = [
    "check_grid",
    "grid_for",
    "half_grid",
    "harmonics_on_grid",
    "lebedev_grid",
    "lebedev_precision",
    "lebedev_rules",
    "max_phase",
]

_PRECISIONS = {
    6: 3,
    14: 5,
    26: 7,
    38: 9,
    50: 11,
    74: 13,
    86: 15,
    110: 17,
    146: 19,
    170: 21,
    194: 23,
    230: 25,
    266: 27,
    302: 29,
    350: 31,
    434: 35,
    590: 41,
    770: 47,
    974: 53,
    1202: 59,
    1454: 65,
    1730: 71,
    2030: 77,
    2354: 83,
    2702: 89,
    3074: 95,
    3470: 101,
    3890: 107,
    4334: 113,
    4802: 119,
    5294: 125,
    5810: 131,
}

_LIMITS_FILE = "grid_limits.json"

_Array = NDArray[np.float64]


def lebedev_rules() -> tuple[int, ...]:
    """The numbers of points of all Lebedev rules, smallest first."""
    return tuple(_PRECISIONS)


def _check_rule(num: int) -> None:
    if num in _PRECISIONS:
        return
    rules = lebedev_rules()
    below = [rule for rule in rules if rule < num][-2:]
    above = [rule for rule in rules if rule > num][:2]
    near = ", ".join(str(rule) for rule in below + above)
    raise ConfigError(f"grid is {num}, expected the size of a Lebedev rule; close ones: {near}")


def lebedev_precision(num: int) -> int:
    """The highest polynomial degree that a rule integrates exactly.

    Args:
        num: number of points, one of `lebedev_rules()`.

    Returns:
        The degree.

    Raises:
        ConfigError: if there is no such rule.
    """
    _check_rule(num)
    return _PRECISIONS[num]


@functools.cache
def lebedev_grid(num: int) -> tuple[_Array, _Array]:
    """Points and weights of a Lebedev rule, in SciPy's order.

    Args:
        num: number of points, one of `lebedev_rules()`.

    Returns:
        Unit vectors `[num, 3]` and weights `[num]` that sum to 1, as read-only float64 NumPy
        arrays whatever JAX's precision settings. Some rules (74, 230, 266) have negative weights.

    Raises:
        ConfigError: if there is no such rule.
    """
    _check_rule(num)
    from scipy.integrate import lebedev_rule  # exact evaluation does without

    components, weights = lebedev_rule(_PRECISIONS[num])
    points = np.ascontiguousarray(components.T)
    assert points.shape == (num, 3)
    points /= np.linalg.norm(points, axis=-1, keepdims=True)
    weights /= math.fsum(weights)
    points.flags.writeable = False
    weights.flags.writeable = False
    return points, weights


@functools.cache
def harmonics_on_grid(num: int, degree: int) -> _Array:
    """Spherical harmonics at the points of a Lebedev rule, times the points' weights.

    Args:
        num: number of points, one of `lebedev_rules()`.
        degree: largest degree.

    Returns:
        `[num, (degree + 1)²]` in e3x's order and default (Racah) normalisation, a read-only
        float64 NumPy array.

    Raises:
        ConfigError: if there is no such rule.
    """
    points, weights = lebedev_grid(num)
    values = weights[:, None] * constant_harmonics(points, degree)
    values.flags.writeable = False
    return values


@functools.cache
def half_grid(num: int) -> tuple[_Array, _Array]:
    r"""One point of every antipodal pair of a Lebedev rule, with the weight of both.

    All Lebedev rules contain -u with every u, at the same weight. The phases of the two are
    opposite, so their factors e^{iω u·r} are complex conjugates: sines and cosines need to be
    computed for half the points only. An average over the full rule follows as

    - even degree l: Σ_g λ_g e^{iθ_g} Y_lm(u_g) = Σ_half λ cos θ Y_lm, and
    - odd degree l: the same with i sin θ in place of cos θ.

    The other part cancels between u and -u **only in the full rule**: summing a rotary product
    (which has both parts) over the half rule leaves it in.

    Args:
        num: number of points of the full rule, one of `lebedev_rules()`.

    Returns:
        Unit vectors `[num/2, 3]`, whose last coordinate that is not zero is positive, and
        weights `[num/2]` that sum to 1, as read-only float64 NumPy arrays.

    Raises:
        ConfigError: if there is no such rule.
    """
    points, weights = lebedev_grid(num)
    # Coordinates of the tables are either exactly zero up to rounding or far from it.
    signs = np.sign(np.where(np.abs(points) < 1e-8, 0.0, points))
    kept = signs @ np.array([1, 2, 4]) > 0
    half_points, half_weights = points[kept], 2.0 * weights[kept]
    assert half_points.shape == (num // 2, 3)
    half_weights /= math.fsum(half_weights)
    half_points.flags.writeable = False
    half_weights.flags.writeable = False
    return half_points, half_weights


@dataclass(frozen=True)
class _Limits:
    """The table: `phases[num][i][l]` for tolerances[i] (loosest first) and degree l."""

    tolerances: tuple[float, ...]
    phases: dict[int, tuple[tuple[float, ...], ...]]

    @property
    def max_degree(self) -> int:
        return len(next(iter(self.phases.values()))[0]) - 1


@functools.cache
def _limits() -> _Limits:
    text = importlib.resources.files("efa_zoo.attention").joinpath(_LIMITS_FILE).read_text("utf-8")
    table = json.loads(text)
    return _Limits(
        tolerances=tuple(table["tolerances"]),
        phases={
            int(num): tuple(tuple(row) for row in rows) for num, rows in table["phases"].items()
        },
    )


def max_phase(num: int, tolerance: float = 1e-5, degree: int = 0) -> float:
    r"""The largest phase that a rule resolves.

    Below it, for every direction and order m, the rule gives
    (1/4π)∫ e^{ib u·n} Y_lm(u) du = i^l j_l(b) Y_lm(n) with an absolute error below `tolerance`,
    for Y in e3x's default (Racah) normalization, Σ_m Y_lm² = 1, which is the one that the tensor
    integration uses. In float32, rounding errors of about 1e-7 come on top.

    Args:
        num: number of points, one of `lebedev_rules()`.
        tolerance: largest absolute error, at least 1e-8. The table has whole decades from 1e-3;
            values in between are taken as the next stricter decade.
        degree: highest degree l of Y, 0 to 4; the limit holds for all degrees up to this one.

    Returns:
        The phase b (dimensionless); 0 if the rule does not even integrate Y itself.

    Raises:
        ConfigError: if there is no such rule, or no table for the tolerance or degree.
    """
    _check_rule(num)
    table = _limits()
    # The factor forgives the rounding of values like 10.0**-5.
    column = [i for i, value in enumerate(table.tolerances) if value <= tolerance * (1 + 1e-9)]
    if not column:
        raise ConfigError(
            f"tolerance is {tolerance}, expected at least {table.tolerances[-1]:g}; "
            "exact evaluation has no such limit"
        )
    if not 0 <= degree <= table.max_degree:
        raise ConfigError(
            f"degree of the spherical harmonics is {degree}, expected 0 to {table.max_degree}; "
            "exact evaluation has no such limit"
        )
    return min(table.phases[num][column[0]][: degree + 1])


def _phase(max_frequency: float, max_length: float, distance: float | None) -> float:
    """The largest phase of the given frequencies at the given distance, after checking both."""
    if not (math.isfinite(max_frequency) and max_frequency >= 0):
        raise ConfigError(f"max_frequency is {max_frequency}, expected a finite number >= 0")
    if not (math.isfinite(max_length) and max_length > 0):
        raise ConfigError(f"max_length is {max_length} Å, expected a finite number > 0")
    if distance is None:
        return max_frequency
    if not (math.isfinite(distance) and distance >= 0):
        raise ConfigError(f"distance is {distance} Å, expected a finite number >= 0")
    return max_frequency / max_length * distance


def _smallest_rule(phase: float, tolerance: float, degree: int) -> int:
    for num in lebedev_rules():
        limit = max_phase(num, tolerance, degree)
        if limit > 0 and phase <= limit:
            return num
    largest = max(max_phase(num, tolerance, degree) for num in lebedev_rules())
    raise ConfigError(
        f"phase is {phase:.4g} (max_frequency / max_length * distance), expected at most "
        f"{largest:.4g}: no Lebedev rule resolves more at tolerance {tolerance:g} and degree "
        f"{degree}; use exact evaluation, a lower max_frequency or a larger max_length"
    )


def grid_for(
    max_frequency: float,
    max_length: float,
    tolerance: float = 1e-5,
    degree: int = 0,
    *,
    distance: float | None = None,
) -> int:
    """The smallest Lebedev rule that resolves all phases up to a distance.

    Args:
        max_frequency: phase of the largest frequency at `max_length`, dimensionless.
        max_length: the length that scales frequencies, in Å.
        tolerance: largest absolute error, see `max_phase`.
        degree: highest degree of the spherical harmonics, 0 for attention without tensor
            integration.
        distance: the largest distance between two atoms, in Å; `max_length` if not given.

    Returns:
        The rule's number of points.

    Raises:
        ConfigError: if no rule resolves the phase (the message says what the best one resolves),
            or an argument is out of range.
    """
    return _smallest_rule(_phase(max_frequency, max_length, distance), tolerance, degree)


def check_grid(
    num: int,
    max_frequency: float,
    max_length: float,
    tolerance: float = 1e-5,
    degree: int = 0,
    *,
    distance: float | None = None,
) -> None:
    """Refuse a rule that does not resolve all phases up to a distance.

    Args:
        num: number of points, one of `lebedev_rules()`.
        max_frequency: phase of the largest frequency at `max_length`, dimensionless.
        max_length: the length that scales frequencies, in Å.
        tolerance: largest absolute error, see `max_phase`.
        degree: highest degree of the spherical harmonics.
        distance: the largest distance between two atoms, in Å; `max_length` if not given.

    Raises:
        ConfigError: if the rule does not resolve the phase (the message names the smallest rule
            that does), if no rule does, or an argument is out of range.
    """
    phase = _phase(max_frequency, max_length, distance)
    limit = max_phase(num, tolerance, degree)
    if limit > 0 and phase <= limit:
        return
    better = _smallest_rule(phase, tolerance, degree)
    raise ConfigError(
        f"grid is {num}, which resolves phases up to {limit:.4g} at tolerance {tolerance:g} and "
        f"degree {degree}; max_frequency / max_length * distance is {phase:.4g}, "
        f"expected a grid of at least {better} points"
    )
