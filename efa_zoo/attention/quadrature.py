"""Attention by quadrature over directions: linear in the number of atoms."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from efa_zoo._typing import contract
from efa_zoo.attention.rotary import rotary_phases, rotate_pairs

__all__ = ["attend_along", "attend_quadrature"]

#: Rotated query elements held at once; larger problems go through the grid in blocks.
_BLOCK_ELEMENTS = 4_000_000


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

    The grid is summed before anything else, in blocks that are recomputed in the backward pass,
    so that memory does not grow with atoms times grid points.

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
    # Only differences of positions matter; small angles keep float32 accurate.
    count = jnp.maximum(jnp.sum(mask), 1).astype(positions.dtype)
    positions = positions - jnp.sum(jnp.where(mask[:, None], positions, 0), axis=0) / count
    attend = functools.partial(
        attend_along, query, key, value, positions, frequencies, atom_mask=atom_mask
    )
    block = max(1, _BLOCK_ELEMENTS // (atoms * size))
    if block >= len(directions):
        attended = attend(jnp.asarray(directions, query.dtype))
        return jnp.einsum("igv,ga->iav", attended, jnp.asarray(weights, query.dtype))
    blocks = -(-len(directions) // block)
    missing = blocks * block - len(directions)

    def in_blocks(rows: np.ndarray) -> Array:
        padded = np.concatenate([rows, np.zeros((missing, rows.shape[1]))])
        return jnp.asarray(padded, query.dtype).reshape(blocks, block, -1)

    @jax.checkpoint
    def add_block(total: Array, points: tuple[Array, Array]) -> tuple[Array, None]:
        return total + jnp.einsum("igv,ga->iav", attend(points[0]), points[1]), None

    start = jnp.zeros((atoms, weights.shape[1], value.shape[1]), query.dtype)
    return jax.lax.scan(add_block, start, (in_blocks(directions), in_blocks(weights)))[0]
