"""Attention by its definition, integrated over the sphere by a dense product rule."""

from __future__ import annotations

import functools
from typing import NamedTuple

import e3x
import jax
import jax.numpy as jnp
import numpy as np


class Inputs(NamedTuple):
    """Random queries, keys and values of a molecule."""

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    positions: np.ndarray
    frequencies: np.ndarray

    @classmethod
    def random(
        cls,
        seed: int = 0,
        atoms: int = 3,
        channels: int = 2,
        num_frequencies: int = 3,
        values: int = 2,
    ) -> Inputs:
        rng = np.random.default_rng(seed)
        query, key = rng.normal(size=(2, atoms, channels, num_frequencies, 2))
        return cls(
            query,
            key,
            rng.normal(size=(atoms, values)),
            2 * rng.normal(size=(atoms, 3)),
            np.linspace(0, 1.3, num_frequencies),
        )

    @property
    def arrays(self) -> tuple[jax.Array, ...]:
        return tuple(jnp.asarray(array) for array in self)


@functools.cache
def sphere_rule(points: int) -> tuple[np.ndarray, np.ndarray]:
    """Gauss–Legendre in the cosine of the polar angle times equidistant azimuths."""
    cosine, weights = np.polynomial.legendre.leggauss(points)
    azimuth = 2 * np.pi * np.arange(2 * points) / (2 * points)
    sine = np.sqrt(1 - cosine**2)
    directions = np.stack(
        [
            np.outer(sine, np.cos(azimuth)),
            np.outer(sine, np.sin(azimuth)),
            np.outer(cosine, np.ones_like(azimuth)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    return directions, np.repeat(weights / 2, 2 * points) / (2 * points)


@functools.cache
def harmonics(points: int, degree: int) -> np.ndarray:
    """Spherical harmonics in e3x's convention on `sphere_rule`."""
    directions, _ = sphere_rule(points)
    with jax.enable_x64(True):
        return np.asarray(e3x.so3.spherical_harmonics(jnp.asarray(directions), degree))


def attention_along(inputs: Inputs, directions: np.ndarray) -> np.ndarray:
    """The definition, with two features as one complex number, `[atoms, directions, values]`."""
    query, key = (x[..., 0] + 1j * x[..., 1] for x in (inputs.query, inputs.key))
    phases = np.exp(1j * (inputs.positions @ directions.T)[..., None] * inputs.frequencies)
    size = 2 * np.prod(query.shape[1:])
    products = np.einsum(
        "icp,igp,jcp,jgp->ijg", query, phases, key.conj(), phases.conj(), optimize=True
    )
    return np.einsum("ijg,jv->igv", products.real, inputs.value) / np.sqrt(size)


def integral(inputs: Inputs, degree: int, points: int = 24) -> np.ndarray:
    """The integral over the sphere by a dense product rule, `[atoms, components, values]`."""
    directions, weights = sphere_rule(points)
    along = attention_along(inputs, directions)
    return np.einsum("g,ga,igv->iav", weights, harmonics(points, degree), along)
