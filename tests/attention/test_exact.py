"""Attention in closed form against an integral over the sphere, and its derivatives."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from scipy.spatial.transform import Rotation
from sphere import Inputs, attention_along, integral, sphere_rule
from symmetry import MOTIONS, assert_close, quick_jit

from efa_zoo.attention import attend_exact
from efa_zoo.attention.kernels import WaveKernel
from efa_zoo.attention.quadrature import attend_along
from efa_zoo.base.contracts import CONTRACTS


def _exact(degree: int, *arrays: jax.Array) -> jax.Array:
    query, key, value, positions, frequencies = arrays
    return attend_exact(query, key, value, positions, WaveKernel(frequencies), degree)


_jitted = [quick_jit(functools.partial(_exact, degree)) for degree in range(4)]


def test_matches_a_dense_quadrature(x64: None) -> None:
    for seed in range(2):
        inputs = Inputs.random(seed)
        expected = integral(inputs, 3)
        assert_close(expected, integral(inputs, 3, 18), 1e-12)  # it has converged
        for degree in range(4):
            components = expected[:, : (degree + 1) ** 2]
            assert_close(_jitted[degree](*inputs.arrays), components, 1e-12)


def test_along_a_direction_is_the_definition(x64: None) -> None:
    inputs = Inputs.random()
    directions = sphere_rule(3)[0]
    along = attend_along(*inputs.arrays, jnp.asarray(directions))
    assert_close(along, attention_along(inputs, directions), 1e-14)


def test_two_atoms_and_one_pair_by_hand(x64: None) -> None:
    distance, frequency = 1.7, 0.9
    inputs = Inputs(
        query=np.array([[[[1.0, 0.0]]], [[[0.0, 0.0]]]]),
        key=np.array([[[[2.0, 0.0]]], [[[3.0, 4.0]]]]),
        value=np.array([[5.0], [7.0]]),
        positions=np.array([[0.0, 0.0, 0.0], [0.0, 0.0, distance]]),
        frequencies=np.array([frequency]),
    )
    x = frequency * distance
    j0, j1 = np.sin(x) / x, np.sin(x) / x**2 - np.cos(x) / x
    result = np.asarray(_jitted[1](*inputs.arrays))
    # Of itself 1·2·5, of the other atom q·k = 3 and, for degree 1, q × k = 4.
    assert_close(result[0, 0], [(10 + 3 * 7 * j0) / np.sqrt(2)], 1e-15)
    assert_close(np.abs(result[0, 1:, 0]).sum(), 4 * 7 * j1 / np.sqrt(2), 1e-15)
    assert_close(result[1], np.zeros((4, 1)), 1e-15)


@pytest.mark.parametrize("reflects", [False, True])
def test_equivariant(x64: None, reflects: bool) -> None:
    inputs, motion = Inputs.random(4, atoms=4), MOTIONS[reflects]
    result = np.asarray(_jitted[3](*inputs.arrays))
    moved = _jitted[3](*inputs._replace(positions=motion.vectors(inputs.positions)).arrays)
    assert_close(moved, motion.features(result[:, None])[:, 0], 1e-12)


def test_equivariant_under_many_rotations(x64: None) -> None:
    inputs = Inputs.random(5)
    rotations = Rotation.random(5, rng=np.random.default_rng(0)).as_matrix()
    result = _jitted[0](*inputs.arrays)
    for rotation in rotations:
        moved = inputs._replace(positions=inputs.positions @ rotation)
        assert_close(_jitted[0](*moved.arrays), result, 1e-12)


def test_translation_and_permutation(x64: None) -> None:
    inputs = Inputs.random(6)
    result = np.asarray(_jitted[2](*inputs.arrays))
    shifted = inputs._replace(positions=inputs.positions + np.array([3.0, -1.0, 2.0]))
    assert_close(_jitted[2](*shifted.arrays), result, 1e-12)
    order = np.array([2, 0, 1])
    permuted = Inputs(*(x[order] for x in inputs[:4]), inputs.frequencies)
    assert_close(_jitted[2](*permuted.arrays), result[order], 1e-13)


def test_nobody_attends_to_masked_atoms(x64: None) -> None:
    inputs = Inputs.random(7, atoms=4)
    mask = jnp.asarray([True, True, True, False])
    masked = quick_jit(
        lambda *arrays, frequencies: attend_exact(*arrays, WaveKernel(frequencies), 1, mask)
    )(*inputs.arrays[:4], frequencies=inputs.arrays[4])
    alone = _jitted[1](*Inputs(*(x[:3] for x in inputs[:4]), inputs.frequencies).arrays)
    assert_close(masked[:3], alone, 1e-14)


def test_derivatives_of_second_order(x64: None) -> None:
    inputs = Inputs.random(8, atoms=2, channels=1, num_frequencies=2, values=1).arrays
    rng = np.random.default_rng(1)
    direction = tuple(jnp.asarray(rng.normal(size=array.shape)) for array in inputs)

    @quick_jit
    def derive(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        """Value, gradient, and derivative of the gradient along the direction."""

        def result(*arrays: jax.Array) -> jax.Array:
            return jnp.sum(jnp.sin(_exact(3, *arrays)))

        value_and_grad = jax.value_and_grad(result, argnums=range(5))
        (value, gradient), (_, second) = jax.jvp(value_and_grad, arrays, direction)
        return value, gradient, second

    step = 1e-5
    before, after = (
        derive(*(x + sign * step * t for x, t in zip(inputs, direction, strict=True)))
        for sign in (-1, 1)
    )
    _, gradient, second = derive(*inputs)
    slope = sum(jnp.sum(g * t) for g, t in zip(gradient, direction, strict=True))
    assert_close((after[0] - before[0]) / (2 * step), slope, 1e-8)
    for a, b, expected in zip(after[1], before[1], second, strict=True):
        assert_close((a - b) / (2 * step), expected, 1e-8)


def test_smooth_where_atoms_coincide_and_frequencies_vanish(x64: None) -> None:
    # The first frequency is zero already.
    inputs = Inputs.random(9, atoms=3, channels=1, num_frequencies=2, values=1)
    inputs.positions[1] = inputs.positions[0]
    query, key, value, positions, frequencies = inputs.arrays

    def result(positions: jax.Array, frequencies: jax.Array) -> jax.Array:
        outputs = attend_exact(query, key, value, positions, WaveKernel(frequencies), 3)
        return jnp.sum(jnp.sin(outputs))

    gradient = quick_jit(jax.grad(result, argnums=(0, 1)))
    hessian = quick_jit(jax.hessian(result, argnums=(0, 1)))(positions, frequencies)
    for leaf in jax.tree.leaves(hessian):
        assert np.all(np.isfinite(leaf))
    # Central differences of the gradient, across the point where the atoms coincide.
    step = 1e-5
    for change in (jnp.zeros((3, 3)).at[1, 2].set(step), jnp.zeros((3, 3)).at[0, 0].set(step)):
        after = gradient(positions + change, frequencies)
        before = gradient(positions - change, frequencies)
        direction = change / step
        expected = jnp.einsum("abcd,cd->ab", hessian[0][0], direction)
        assert_close((after[0] - before[0]) / (2 * step), expected, 1e-8)
        expected = jnp.einsum("acd,cd->a", hessian[1][0], direction)
        assert_close((after[1] - before[1]) / (2 * step), expected, 1e-8)
    change = jnp.asarray([step, 0.0])
    after, before = (gradient(positions, frequencies + s * change)[1] for s in (1, -1))
    assert_close((after - before) / (2 * step), hessian[1][1][:, 0], 1e-8)


def test_float32_is_close_to_float64() -> None:
    with jax.enable_x64(True):
        inputs = Inputs.random(10, atoms=4)
        expected = np.asarray(_jitted[3](*inputs.arrays))
    single = [jnp.asarray(x, jnp.float32) for x in inputs]
    assert_close(quick_jit(functools.partial(_exact, 3))(*single), expected, 1e-5)


@pytest.mark.skipif(not CONTRACTS, reason="contracts are off")
@pytest.mark.parametrize("jit", [False, True])
def test_wrong_inputs_are_refused_by_name(jit: bool) -> None:
    right = dict(zip(Inputs._fields, (np.float32(x) for x in Inputs.random()), strict=True))
    wrong = {
        "query": np.zeros((3, 2, 3), np.float32),
        "key": np.zeros((3, 2, 4, 2), np.float32),
        "value": np.zeros((2, 2), np.float32),
        "positions": np.zeros((3, 2), np.float32),
    }

    def call(frequencies: jax.Array, degree: int = 1, **arrays: jax.Array) -> jax.Array:
        return attend_exact(**arrays, kernel=WaveKernel(frequencies), degree=degree)

    for name, array in wrong.items():
        arguments = {key: jnp.asarray(value) for key, value in (right | {name: array}).items()}
        with pytest.raises(TypeCheckError, match=name):
            (jax.jit(call) if jit else call)(**arguments)
    with pytest.raises(TypeCheckError, match="degree"):
        call(**{k: jnp.asarray(v) for k, v in right.items()}, degree=1.0)  # type: ignore[arg-type]
