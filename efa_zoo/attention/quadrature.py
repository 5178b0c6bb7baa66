"""Attention by quadrature over directions: linear in the number of atoms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from efa_zoo._typing import contract
from efa_zoo.attention.rotary import rotary_phases, rotate_pairs
from efa_zoo.attention.trigonometry import sine_and_cosine
from efa_zoo.blocks import block_size, map_blocks, sum_blocks

__all__ = ["attend_along", "attend_quadrature"]


@contract
def attend_along(
    query: Float[Array, "atoms channels pairs 2"],
    key: Float[Array, "atoms channels pairs 2"],
    value: Float[Array, "atoms values"],
    positions: Float[Array, "atoms 3"],
    frequencies: Float[Array, " pairs"],
    directions: Float[Array, "directions 3"],
    atom_mask: Bool[Array, " atoms"] | None = None,
) -> Float[Array, "atoms directions values"]:
    """Linear attention along each direction, B_u,i = D^(-1/2) q̃_i · Σ_j k̃_j ⊗ v_j.

    Args:
        query: parities and components merged into channels, features split into pairs.
        key: the same of the key.
        value: all axes but the atoms merged.
        positions: in Å.
        frequencies: in 1/Å.
        directions: unit vectors.
        atom_mask: False for atoms that nobody attends to.

    Returns:
        One result per direction (deferred integration).
    """
    atoms, channels, pairs, _ = query.shape
    size = channels * pairs * 2
    if atom_mask is not None:
        value = jnp.where(atom_mask[:, None], value, 0)
    cosine, sine = rotary_phases(positions, directions, frequencies)
    rotated = [
        rotate_pairs(x, cosine, sine).reshape(atoms, directions.shape[0], size)
        for x in (query, key)
    ]
    key_value = jnp.einsum("jgd,jv->gdv", rotated[1], value)
    return jnp.einsum("igd,gdv->igv", rotated[0] * size**-0.5, key_value)


@contract
def attend_quadrature(
    query: Float[Array, "atoms channels pairs 2"],
    key: Float[Array, "atoms channels pairs 2"],
    value: Float[Array, "atoms values"],
    positions: Float[Array, "atoms 3"],
    frequencies: Float[Array, " pairs"],
    directions: Float[np.ndarray, "directions 3"],
    weights: Float[np.ndarray, "directions components"],
    atom_mask: Bool[Array, " atoms"] | None = None,
) -> Float[Array, "atoms components values"]:
    """Integrate attention along directions against functions on the sphere, Σ_g w_ga B_g.

    Two passes over blocks of atoms, which are recomputed in the backward pass: the first sums keys
    times values for every direction, the second asks them. Memory is that of the features plus
    that of the sums, and never atoms times grid points.

    Args:
        query: parities and components merged into channels, features split into pairs.
        key: the same of the key.
        value: all axes but the atoms merged.
        positions: in Å.
        frequencies: in 1/Å.
        directions: unit vectors of the grid.
        weights: quadrature weight times the value of each function on the sphere.
        atom_mask: False for atoms that nobody attends to.

    Returns:
        One result per function on the sphere.
    """
    atoms, size = query.shape[0], int(np.prod(query.shape[1:]))
    mask = jnp.ones(atoms, bool) if atom_mask is None else atom_mask
    value = jnp.where(mask[:, None], value, 0)
    # Only differences of positions matter; small angles keep float32 accurate.
    count = jnp.maximum(jnp.sum(mask), 1).astype(positions.dtype)
    positions = positions - jnp.sum(jnp.where(mask[:, None], positions, 0), axis=0) / count

    # Atoms come last, so that what is done for every direction runs over contiguous memory; the
    # two features of a pair stay apart, because products over them do not care for their order.
    def rotated(features: Array, positions: Array, points: Array) -> tuple[Array, Array]:
        first, second = jnp.moveaxis(features, (3, 0), (0, 3))[
            :, None
        ]  # [1, channels, pairs, atoms]
        angles = (points @ positions.T)[:, None, None, :] * frequencies[:, None]
        sine, cosine = sine_and_cosine(angles)
        shape = (points.shape[0], size // 2, features.shape[0])
        return (
            (first * cosine - second * sine).reshape(shape),
            (first * sine + second * cosine).reshape(shape),
        )

    def attend(grid: tuple[Array, Array]) -> Array:
        points, factors = grid
        block = block_size(atoms, points.shape[0] * size, _BLOCK_OF_ROTATED)

        def keys_values(rows: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            key, value, positions = rows
            first, second = rotated(key, positions, points)
            return _outer_over_atoms(first, value), _outer_over_atoms(second, value)

        def queried(rows: tuple[Array, Array]) -> Array:
            query, positions = rows
            first, second = rotated(query * size**-0.5, positions, points)
            if factors.shape[1] == 1:
                firsts, seconds = (factors[:, :, None] * part for part in sums)
                along = _product_over_grid(first, firsts) + _product_over_grid(second, seconds)
                return along[:, None, :]
            along = _product_over_features(first, sums[0])
            along = along + _product_over_features(second, sums[1])
            return jnp.einsum("giv,ga->iav", along, factors)

        sums = sum_blocks(keys_values, (key, value, positions), block)
        return map_blocks(queried, (query, positions), block)

    grid = jnp.asarray(directions, query.dtype), jnp.asarray(weights, query.dtype)
    points = block_size(len(directions), size * value.shape[1], _BLOCK_OF_SUMS)
    return sum_blocks(attend, grid, points)


def _outer_over_atoms(
    rotated: Float[Array, "points features atoms"], value: Float[Array, "atoms values"]
) -> Float[Array, "points features values"]:
    return jnp.einsum("gdj,jv->gdv", rotated, value)


def _product_over_features(
    rotated: Float[Array, "points features atoms"], sums: Float[Array, "points features values"]
) -> Float[Array, "points atoms values"]:
    return jnp.einsum("gdi,gdv->giv", rotated, sums)


def _product_over_grid(
    rotated: Float[Array, "points features atoms"], sums: Float[Array, "points features values"]
) -> Float[Array, "atoms values"]:
    """Product over points and features; in this order XLA need not transpose the larger array."""
    atoms, values = rotated.shape[-1], sums.shape[-1]
    product = sums.reshape(-1, values).T @ rotated.reshape(-1, atoms)
    return jax.lax.optimization_barrier(product).T


#: Rotated elements of a block: atoms times grid points times query features.
_BLOCK_OF_ROTATED = 2**20

#: Elements of the key-value sums that are held at once.
_BLOCK_OF_SUMS = 2**23
