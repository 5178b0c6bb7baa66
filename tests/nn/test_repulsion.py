"""The repulsion of screened nuclei: ZBL's formula, its end, and derivatives that stay finite."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.constants import e, epsilon_0, pi

from efa_zoo.nn import screened_repulsion
from efa_zoo.structures.elements import COVALENT_RADII
from efa_zoo.structures.graph import Graph


def pair(first: int, second: int, distance: float, **padding: int) -> Graph:
    positions = [[0.0, 0.0, 0.0], [0.0, 0.6 * distance, 0.8 * distance]]
    return Graph.from_arrays([first, second], positions, None, dtype=np.float64, **padding)


def at(graph: Graph, distance: jax.Array) -> jax.Array:
    positions = jnp.stack([jnp.zeros(3), jnp.array([0.0, 0.6, 0.8]) * distance])
    return screened_repulsion(eqx.tree_at(lambda g: g.positions, graph, positions)).sum()


@pytest.mark.parametrize(("first", "second"), [(1, 1), (1, 8), (6, 17)])
def test_it_is_the_universal_screening_within_an_envelope(
    x64: None, first: int, second: int
) -> None:
    end = COVALENT_RADII[first] + COVALENT_RADII[second]
    r = 0.4 * end
    length = 0.46850 / (first**0.23 + second**0.23)
    screening = np.dot(
        [0.18175, 0.50986, 0.28022, 0.02817],
        np.exp(-np.array([3.19980, 0.94229, 0.40290, 0.20162]) * r / length),
    )
    coulomb = first * second * e / (4 * pi * epsilon_0) * 1e10 / r
    x = 0.4
    envelope = 1 - 28 * x**6 + 48 * x**7 - 21 * x**8
    energies = screened_repulsion(pair(first, second, r))
    np.testing.assert_allclose(energies.sum(), coulomb * screening * envelope, rtol=1e-9)
    np.testing.assert_allclose(energies[0], energies[1])
    assert not screened_repulsion(pair(first, second, 1.0001 * end)).any()


def test_it_ends_smoothly_in_two_derivatives(x64: None) -> None:
    graph = pair(6, 8, 1.0)
    end = COVALENT_RADII[6] + COVALENT_RADII[8]
    slope, curvature = jax.grad(at, 1), jax.grad(jax.grad(at, 1), 1)
    inside = jnp.asarray(end - 1e-5)
    assert abs(float(slope(graph, inside))) < 1e-6
    assert abs(float(curvature(graph, inside))) < 1e-1
    assert float(curvature(graph, jnp.asarray(0.9 * end))) > 1
    step = 1e-5
    r = jnp.asarray(0.8)
    by_differences = (at(graph, r + step) - at(graph, r - step)) / (2 * step)
    np.testing.assert_allclose(slope(graph, r), by_differences, rtol=1e-7)


def test_padding_is_inert(x64: None) -> None:
    alone, padded = pair(7, 1, 0.7), pair(7, 1, 0.7, num_atoms=5, num_neighbors=4)

    def total(positions: jax.Array, graph: Graph) -> jax.Array:
        return screened_repulsion(eqx.tree_at(lambda g: g.positions, graph, positions)).sum()

    hessian = jax.hessian(total)(jnp.asarray(padded.positions), padded)
    expected = jax.hessian(total)(jnp.asarray(alone.positions), alone)
    np.testing.assert_allclose(hessian[:2, :, :2], expected, atol=1e-9)
    assert not hessian[2:].any()
    assert not screened_repulsion(padded)[2:].any()
