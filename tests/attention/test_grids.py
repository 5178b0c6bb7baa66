"""Lebedev rules: exactness, symmetry, and the table of phases they resolve."""

from __future__ import annotations

import functools
import itertools
import json
import math
from pathlib import Path

import compute_grid_limits as grid_limits
import e3x
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.special import sph_harm_y_all, spherical_jn

from efa_zoo.attention import grids
from efa_zoo.attention.grids import (
    check_grid,
    grid_for,
    half_grid,
    harmonics_on_grid,
    lebedev_grid,
    lebedev_precision,
    lebedev_rules,
    max_phase,
)
from efa_zoo.base.errors import ConfigError

_TOLERANCES = [1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8]
_SMALL_RULES = [num for num in lebedev_rules() if num <= 1202]


@functools.cache
def _directions(num: int) -> np.ndarray:
    """Random directions, and the symmetry axes where the error is often largest."""
    axes = [[0, 0, 1], [0, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]]
    directions = np.concatenate([axes, np.random.default_rng(3).normal(size=(num, 3))])
    return directions / np.linalg.norm(directions, axis=-1, keepdims=True)


def _harmonics(directions: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
        return np.asarray(e3x.so3.spherical_harmonics(jnp.asarray(directions), 4))


@functools.cache
def _harmonics_on_grid(num: int) -> np.ndarray:
    return _harmonics(lebedev_grid(num)[0])


@functools.cache
def _harmonics_on_directions(num: int) -> np.ndarray:
    return _harmonics(_directions(num))


def _error(num: int, phase: float, degree: int, directions: int) -> float:
    """Quadrature error straight from its definition, worst over directions and orders."""
    points, weights = lebedev_grid(num)
    own = slice(degree**2, (degree + 1) ** 2)
    waves = np.exp(1j * phase * _directions(directions) @ points.T)
    value = waves @ (weights[:, None] * _harmonics_on_grid(num)[:, own])
    exact = spherical_jn(degree, phase) * _harmonics_on_directions(directions)[:, own]
    return float(np.abs(value - 1j**degree * exact).max())


def _ordered(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Points and weights as rows, sorted."""
    rows = np.concatenate([points, weights[:, None]], axis=-1)
    keys = np.round(rows, 9) + 0.0
    return rows[np.lexsort(keys.T)]


def test_the_rules_are_those_of_e3x() -> None:
    # Asking e3x for every precision yields every rule it has.
    with jax.enable_x64(True):
        found = {p: e3x.so3.lebedev_quadrature(precision=p) for p in range(3, 132, 2)}
    rules = {len(rule[1]): (precision, rule) for precision, rule in found.items()}
    assert tuple(sorted(rules)) == lebedev_rules()
    for num, (precision, rule) in rules.items():
        assert lebedev_precision(num) == precision
        theirs = _ordered(*map(np.asarray, rule))
        np.testing.assert_allclose(_ordered(*lebedev_grid(num)), theirs, rtol=0, atol=1e-14)


def test_harmonics_on_a_grid_are_computed_once() -> None:
    values = harmonics_on_grid(50, 4)
    assert harmonics_on_grid(50, 4) is values
    weights = lebedev_grid(50)[1]
    np.testing.assert_allclose(values, weights[:, None] * _harmonics_on_grid(50), atol=1e-16)
    with pytest.raises(ValueError, match="read-only"):
        values[0] = 0


@pytest.mark.parametrize("num", lebedev_rules())
def test_grid_is_a_read_only_float64_table(num: int) -> None:
    points, weights = lebedev_grid(num)
    assert isinstance(points, np.ndarray)
    assert isinstance(weights, np.ndarray)
    assert points.dtype == weights.dtype == np.float64
    assert points.shape == (num, 3)
    assert weights.shape == (num,)
    assert abs(math.fsum(weights) - 1) < 1e-15
    np.testing.assert_allclose(np.linalg.norm(points, axis=-1), 1, atol=4e-16)
    assert lebedev_grid(num)[0] is points
    for array in (*lebedev_grid(num), *half_grid(num)):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


@pytest.mark.parametrize("num", _SMALL_RULES)
def test_harmonics_up_to_the_precision_are_integrated(num: int) -> None:
    points, weights = lebedev_grid(num)
    precision = lebedev_precision(num)
    polar = np.arctan2(np.hypot(points[:, 0], points[:, 1]), points[:, 2])
    azimuth = np.arctan2(points[:, 1], points[:, 0])
    # Racah's normalization, so that values are at most 1.
    values = sph_harm_y_all(precision, precision, polar, azimuth)
    values *= np.sqrt(4 * np.pi / (2 * np.arange(precision + 1) + 1))[:, None, None]
    integrals = values @ weights
    integrals[0, 0] -= 1
    assert np.abs(integrals).max() < 3e-14


@pytest.mark.parametrize("num", lebedev_rules())
def test_half_grid_holds_one_of_each_pair(num: int) -> None:
    points, weights = lebedev_grid(num)
    half_points, half_weights = half_grid(num)
    assert half_points.shape == (num // 2, 3)
    assert abs(math.fsum(half_weights) - 1) < 1e-15

    both = _ordered(np.concatenate([half_points, -half_points]), np.tile(half_weights / 2, 2))
    np.testing.assert_allclose(both, _ordered(points, weights), atol=1e-15)


def test_half_grid_integrates_even_and_odd_parts() -> None:
    (points, weights), (half_points, half_weights) = lebedev_grid(50), half_grid(50)
    r = np.array([0.4, -1.0, 2.0])
    full = np.sum(weights * np.exp(1j * points @ r))
    np.testing.assert_allclose(full, half_weights @ np.cos(half_points @ r), atol=1e-15)
    full = np.sum(weights * np.exp(1j * points @ r) * points[:, 1])
    half = 1j * half_weights @ (np.sin(half_points @ r) * half_points[:, 1])
    np.testing.assert_allclose(full, half, atol=1e-15)


def test_grid_may_be_read_first_inside_jit() -> None:
    lebedev_grid.cache_clear()
    half_grid.cache_clear()

    @jax.jit
    def integral(x: jax.Array) -> jax.Array:
        points, weights = half_grid(26)
        return jnp.asarray(weights, x.dtype) @ jnp.cos(jnp.asarray(points, x.dtype) @ x)

    value = jax.vmap(jax.grad(integral))(jnp.eye(3))
    np.testing.assert_allclose(value, np.eye(3) * -spherical_jn(1, 1.0), atol=1e-5)
    assert isinstance(lebedev_grid(26)[0], np.ndarray)
    assert lebedev_grid(26)[0].dtype == np.float64


def test_unknown_rule_names_close_ones() -> None:
    with pytest.raises(ConfigError, match=r"grid is 100, .* close ones: 74, 86, 110, 146"):
        lebedev_grid(100)
    with pytest.raises(ConfigError, match=r"close ones: 6, 14$"):
        half_grid(0)
    with pytest.raises(ConfigError, match=r"close ones: 5294, 5810$"):
        max_phase(6000)


@pytest.mark.parametrize("num", [6, 14, 50, 74])
def test_table_is_what_its_program_computes(num: int) -> None:
    shipped = json.loads(Path(grids.__file__).with_name("grid_limits.json").read_text())
    assert tuple(shipped["tolerances"]) == grid_limits.TOLERANCES
    assert tuple(map(int, shipped["phases"])) == lebedev_rules()
    np.testing.assert_allclose(shipped["phases"][str(num)], grid_limits.rule_limits(num), atol=2e-3)


@pytest.mark.parametrize("degree", range(5))
@pytest.mark.parametrize("num", [26, 50, 110, 194, 302])
def test_error_stays_below_the_tolerance_up_to_the_limit(num: int, degree: int) -> None:
    for tolerance in (1e-3, 1e-5, 1e-8):
        limit = max_phase(num, tolerance, degree)
        for phase in np.linspace(0.0, limit, 8):
            assert _error(num, phase, degree, 300) < tolerance


@pytest.mark.parametrize("num", [50, 194, 590, 1202])
@pytest.mark.parametrize("tolerance", [1e-3, 1e-5, 1e-7])
def test_limit_is_not_far_below_the_true_one(num: int, tolerance: float) -> None:
    limit = max_phase(num, tolerance, 0)
    assert _error(num, limit, 0, 300) < tolerance
    assert _error(num, 1.03 * limit, 0, 300) > tolerance


def test_limits_at_the_usual_tolerance() -> None:
    # The reference implementation lists 50: pi, 86: 2 pi, 194: 4 pi for the same tolerance.
    assert max_phase(50) > math.pi
    assert max_phase(86) > 2 * math.pi
    assert max_phase(194) > 4 * math.pi
    # What it lists for 350 points is more than they resolve.
    assert max_phase(350) < 6.5 * math.pi
    assert _error(350, 6.5 * math.pi, 0, 300) > 1e-5


def test_limits_are_ordered() -> None:
    table = np.array(
        [
            [[max_phase(num, tol, degree) for degree in range(5)] for tol in _TOLERANCES]
            for num in lebedev_rules()
        ]
    )
    assert np.all(np.diff(table, axis=0) >= 0)
    assert np.all(np.diff(table, axis=1) <= 0)
    assert np.all(np.diff(table, axis=2) <= 0)
    precisions = np.array([lebedev_precision(num) for num in lebedev_rules()])
    assert np.all(table < precisions[:, None, None])


@pytest.mark.parametrize("degree", range(4))
def test_error_falls_with_the_rule(degree: int) -> None:
    errors = [_error(num, 9.0, degree, 300) for num in (50, 110, 194, 302, 434)]
    assert all(after < 0.3 * before for before, after in itertools.pairwise(errors))
    assert errors[-1] < 1e-12


def test_tolerance_between_decades_is_taken_strictly() -> None:
    assert max_phase(110, 5e-6) == max_phase(110, 1e-6)
    assert max_phase(110, 10.0**-6) == max_phase(110, 1e-6)
    assert max_phase(110, 0.5) == max_phase(110, 1e-3)
    assert max_phase(110, 1e-5) > max_phase(110, 9.9e-6)


def test_grid_for_known_cases() -> None:
    assert grid_for(math.pi, 10.0) == 50
    assert grid_for(4 * math.pi, 10.0) == 194
    assert grid_for(0.0, 10.0) == 6
    # A rule of precision 3 cannot integrate Y_4 even at phase zero.
    assert grid_for(0.0, 10.0, degree=4) == 14
    # At three times max_length the phase is three times as large.
    assert grid_for(math.pi, 10.0, distance=30.0) == grid_for(3 * math.pi, 10.0) == 146
    assert grid_for(math.pi, 10.0, distance=1.0) < 50


@hypothesis.given(
    phase=st.floats(0.0, 95.0),
    length=st.floats(0.1, 100.0),
    tolerance=st.floats(1e-8, 1e-2),
    degree=st.integers(0, 4),
)
def test_grid_for_is_the_smallest_that_passes(
    phase: float, length: float, tolerance: float, degree: int
) -> None:
    num = grid_for(phase, length, tolerance, degree)
    check_grid(num, phase, length, tolerance, degree)
    assert phase <= max_phase(num, tolerance, degree)
    smaller = [rule for rule in lebedev_rules() if rule < num]
    if smaller:
        with pytest.raises(ConfigError, match=f"at least {num} points"):
            check_grid(smaller[-1], phase, length, tolerance, degree)


@pytest.mark.parametrize("num", lebedev_rules())
def test_the_largest_phase_itself_is_accepted(num: int) -> None:
    assert grid_for(max_phase(num), 1.0) == num


def test_errors_say_what_would_do() -> None:
    with pytest.raises(ConfigError, match=r"grid is 50, .* 4\.002 .* 12\.57, .* 194 points"):
        check_grid(50, 4 * math.pi, 10.0)
    largest = max_phase(5810)
    with pytest.raises(ConfigError, match=f"phase is 1000 .* at most {largest:.4g}: no Lebedev"):
        grid_for(100.0, 1.0, distance=10.0)
    with pytest.raises(ConfigError, match="no Lebedev rule"):
        check_grid(50, 1000.0, 1.0)
    with pytest.raises(ConfigError, match="tolerance is 1e-09, expected at least 1e-08"):
        grid_for(1.0, 1.0, 1e-9)
    with pytest.raises(ConfigError, match="degree of the spherical harmonics is 5"):
        grid_for(1.0, 1.0, degree=5)
    with pytest.raises(ConfigError, match="max_frequency is nan"):
        grid_for(math.nan, 1.0)
    with pytest.raises(ConfigError, match=r"max_length is 0\.0 Å"):
        grid_for(1.0, 0.0)
    with pytest.raises(ConfigError, match=r"distance is -1\.0 Å"):
        grid_for(1.0, 1.0, distance=-1.0)


def test_program_writes_the_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_limits, "lebedev_rules", lambda: (6, 14))
    out = tmp_path / "limits.json"
    grid_limits.main(["--out", str(out)])
    assert set(json.loads(out.read_text())["phases"]) == {"6", "14"}
