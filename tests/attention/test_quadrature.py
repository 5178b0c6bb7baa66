"""Attention by quadrature: its definition, its convergence to the exact form, its chunks."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from sphere import Inputs, attention_along, integral
from symmetry import MOTIONS, assert_close, quick_jit

from efa_zoo.attention import attend_exact, attend_quadrature
from efa_zoo.attention import quadrature as quadrature_module
from efa_zoo.attention.grids import lebedev_grid
from efa_zoo.attention.kernels import WaveKernel
from efa_zoo.attention.rotary import linear_frequencies, rotary_phases, rotate_features
from efa_zoo.base.config import FrequencyConfig
from efa_zoo.base.contracts import CONTRACTS


@functools.cache
def _grid(points: int, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions of a Lebedev rule, and weights times spherical harmonics."""
    directions, weights = lebedev_grid(points)
    with jax.enable_x64(True):
        harmonics = np.asarray(e3x.so3.spherical_harmonics(jnp.asarray(directions), degree))
    return directions, weights[:, None] * harmonics


def _attend(*arguments: Any) -> jax.Array:
    """`attend_quadrature`, compiled for the grid at hand."""
    directions, weights = arguments[5:7]
    arrays, mask = arguments[:5], arguments[7:]
    return quick_jit(lambda *arrays: attend_quadrature(*arrays, directions, weights, *mask))(
        *arrays
    )


def test_rotary_encoding_is_a_complex_phase(x64: None) -> None:
    inputs = Inputs.random()
    directions = lebedev_grid(6)[0]
    cosine, sine = rotary_phases(
        jnp.asarray(inputs.positions), jnp.asarray(directions), jnp.asarray(inputs.frequencies)
    )
    angles = (inputs.positions @ directions.T)[..., None] * inputs.frequencies
    assert_close(cosine + 1j * sine, np.exp(1j * angles), 1e-14)
    rotated = np.asarray(rotate_features(jnp.asarray(inputs.query), cosine, sine))
    number = inputs.query[..., 0] + 1j * inputs.query[..., 1]
    expected = number[:, None] * np.exp(1j * angles)[:, :, None]
    assert_close(rotated[..., 0] + 1j * rotated[..., 1], expected, 1e-14)


def test_linear_frequencies() -> None:
    config = FrequencyConfig(max_frequency=6.0, max_length=2.0)
    np.testing.assert_allclose(linear_frequencies(4, config), [0, 1, 2, 3])
    np.testing.assert_allclose(linear_frequencies(1, config), [3])


def test_is_the_weighted_sum_over_directions(x64: None) -> None:
    inputs = Inputs.random(1)
    directions, weights = _grid(26, 2)
    expected = np.einsum("ga,igv->iav", weights, attention_along(inputs, directions))
    assert_close(_attend(*inputs.arrays, directions, weights), expected, 1e-13)


def test_any_directions_and_weights_do(x64: None) -> None:
    # No two opposite; two opposite with different weights; one twice.
    inputs, rng = Inputs.random(9), np.random.default_rng(9)
    directions = rng.normal(size=(5, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions = np.concatenate([directions, -directions[1:3], directions[3:4]])
    weights = rng.normal(size=(len(directions), 2))
    expected = np.einsum("ga,igv->iav", weights, attention_along(inputs, directions))
    assert_close(_attend(*inputs.arrays, directions, weights), expected, 1e-13)


@pytest.mark.parametrize("points", [6, 26, 50, 302, 5810])
def test_a_symmetric_rule_takes_half_of_its_directions(points: int) -> None:
    directions, weights = _grid(points, 2)
    kept, even, odd = quadrature_module._opposites_together(directions, weights)
    assert len(kept) == points // 2
    degrees = np.repeat([0, 1, 2], [1, 3, 5])
    assert not even[:, degrees == 1].any()
    assert not odd[:, degrees != 1].any()
    np.testing.assert_allclose(even[:, 0].sum(), weights[:, 0].sum())


def test_converges_to_the_exact_form(x64: None) -> None:
    inputs = Inputs.random(2)
    inputs.positions[:] *= 1.5
    grids = [_grid(points, 3) for points in (26, 50, 110, 194, 302)]

    @quick_jit
    def evaluate(*arrays: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        exact = attend_exact(*arrays[:4], WaveKernel(arrays[4]), 3)
        return exact, [attend_quadrature(*arrays, *grid) for grid in grids]

    exact, results = map(np.asarray, evaluate(*inputs.arrays))
    assert_close(exact, integral(inputs, 3), 1e-11)
    for degree in range(4):
        own = slice(degree**2, (degree + 1) ** 2)
        scale = np.abs(exact[:, own]).max()
        errors = np.abs(results - exact)[:, :, own].max(axis=(1, 2, 3)) / scale
        assert all(after < 0.1 * before for before, after in itertools.pairwise(errors[:4]))
        assert errors[0] > 1e-3
        assert errors[-1] < 1e-12


@pytest.mark.parametrize(("atoms", "points"), [(1, 26), (2, 7), (100, 5), (100, 26)])
def test_chunks_do_not_change_values_or_gradients(
    x64: None, monkeypatch: pytest.MonkeyPatch, atoms: int, points: int
) -> None:
    inputs = Inputs.random(3)
    directions, weights = _grid(26, 1)

    def result(*arrays: jax.Array) -> jax.Array:
        return jnp.sum(jnp.sin(attend_quadrature(*arrays, directions, weights)))

    value_and_grad = jax.value_and_grad(result, argnums=(0, 1, 2, 3, 4))
    whole = quick_jit(value_and_grad)(*inputs.arrays)
    size, values = inputs.query[0].size, inputs.value.shape[1]
    monkeypatch.setattr(quadrature_module, "_CHUNK_OF_ROTATED", atoms * points * size)
    monkeypatch.setattr(quadrature_module, "_CHUNK_OF_SUMS", points * size * values)
    # A new function, because the old one is compiled already.
    chunked = quick_jit(lambda *arrays: value_and_grad(*arrays))(*inputs.arrays)
    cut = atoms < len(inputs.positions) or points < 26
    assert ("scan" in str(jax.make_jaxpr(result)(*inputs.arrays))) == cut
    for before, after in zip(jax.tree.leaves(whole), jax.tree.leaves(chunked), strict=True):
        assert_close(after, before, 1e-12)


def test_translation_is_exact(x64: None) -> None:
    # A coarse grid breaks rotations, never translations.
    inputs = Inputs.random(4)
    shifted = inputs._replace(positions=inputs.positions + np.array([3.0, -1.0, 2.0]))
    before = _attend(*inputs.arrays, *_grid(6, 1))
    assert_close(_attend(*shifted.arrays, *_grid(6, 1)), before, 1e-13)


def test_far_from_the_origin_float32_stays_accurate() -> None:
    inputs = Inputs.random(5)
    shift = np.array([512.0, -256.0, 128.0])
    # Positions that float32 holds exactly, so that only the phases could lose digits.
    positions = np.round(inputs.positions * 64) / 64
    near, far = (
        [jnp.asarray(x, jnp.float32) for x in inputs._replace(positions=p)]
        for p in (positions, positions + shift)
    )
    before = _attend(*near, *_grid(26, 1))
    assert_close(_attend(*far, *_grid(26, 1)), before, 3e-5)


@pytest.mark.parametrize("reflects", [False, True])
def test_equivariant_on_a_fine_grid(x64: None, reflects: bool) -> None:
    inputs, motion = Inputs.random(6), MOTIONS[reflects]
    before = np.asarray(_attend(*inputs.arrays, *_grid(434, 2)))
    moved = inputs._replace(positions=motion.vectors(inputs.positions))
    after = _attend(*moved.arrays, *_grid(434, 2))
    assert_close(after, motion.features(before[:, None])[:, 0], 1e-12)


def test_masked_atoms_count_neither_as_sources_nor_for_the_center(x64: None) -> None:
    inputs = Inputs.random(7, atoms=4)
    inputs.positions[3] = 1e6
    mask = jnp.asarray([True, True, True, False])
    masked = _attend(*inputs.arrays, *_grid(14, 1), mask)
    three = Inputs(*(x[:3] for x in inputs[:4]), inputs.frequencies)
    assert_close(masked[:3], _attend(*three.arrays, *_grid(14, 1)), 1e-13)


def test_nothing_but_padding_is_finite() -> None:
    inputs = [jnp.zeros_like(jnp.asarray(x, jnp.float32)) for x in Inputs.random(8)]
    result = _attend(*inputs, *_grid(14, 1), jnp.zeros(3, bool))
    np.testing.assert_array_equal(result, 0)


@pytest.mark.skipif(not CONTRACTS, reason="contracts are off")
def test_wrong_inputs_are_refused_by_name() -> None:
    directions, weights = _grid(6, 1)
    arrays = [jnp.asarray(x, jnp.float32) for x in Inputs.random()]
    wrong: list[tuple[int, np.ndarray, str]] = [
        (0, np.zeros((3, 2, 3, 3), np.float32), "query"),
        (1, np.zeros((3, 1, 3, 2), np.float32), "key"),
        (3, np.zeros((3, 3), np.int32), "positions"),
        (5, np.zeros((6, 2)), "directions"),
        (6, np.zeros((5, 4)), "weights"),
    ]
    for place, array, name in wrong:
        arguments = [*arrays, directions, weights]
        arguments[place] = jnp.asarray(array) if place < 5 else array
        with pytest.raises(TypeCheckError, match=name):
            attend_quadrature(*arguments)
