"""Attention by quadrature over directions: linear in the number of atoms."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from efa_zoo.attention.rotary import rotary_phases, rotate_features
from efa_zoo.base.contracts import contract
from efa_zoo.ops.chunks import chunk_size, map_chunks, sum_chunks
from efa_zoo.ops.sharding import sum_over_shards
from efa_zoo.ops.trigonometry import sine_and_cosine

__all__ = ["attend_along", "attend_quadrature", "attend_wave_vectors"]


@contract
def attend_along(
    query: Float[Array, "atoms channels frequencies 2"],
    key: Float[Array, "atoms channels frequencies 2"],
    value: Float[Array, "atoms values"],
    positions: Float[Array, "atoms 3"],
    frequencies: Float[Array, " frequencies"],
    directions: Float[Array, "directions 3"],
    atom_mask: Bool[Array, " atoms"] | None = None,
) -> Float[Array, "atoms directions values"]:
    """Linear attention along each direction, B_u,i = D^(-1/2) q̃_i · Σ_j k̃_j ⊗ v_j.

    Args:
        query: parities and components merged into channels, two features of each frequency last.
        key: the same of the key.
        value: all axes but the atoms merged.
        positions: in Å.
        frequencies: in 1/Å.
        directions: unit vectors.
        atom_mask: False for atoms that nobody attends to.

    Returns:
        One result per direction (deferred integration).
    """
    atoms, size = query.shape[0], int(np.prod(query.shape[1:]))
    if atom_mask is not None:
        value = jnp.where(atom_mask[:, None], value, 0)
    cosine, sine = rotary_phases(positions, directions, frequencies)
    rotated = [
        rotate_features(x, cosine, sine).reshape(atoms, directions.shape[0], size)
        for x in (query, key)
    ]
    key_value = jnp.einsum("jgd,jv->gdv", rotated[1], value)
    return jnp.einsum("igd,gdv->igv", rotated[0] * size**-0.5, key_value)


@contract
def attend_quadrature(
    query: Float[Array, "atoms channels frequencies 2"],
    key: Float[Array, "atoms channels frequencies 2"],
    value: Float[Array, "atoms values"],
    positions: Float[Array, "atoms 3"],
    frequencies: Float[Array, " frequencies"],
    directions: Float[np.ndarray, "directions 3"],
    weights: Float[np.ndarray, "directions components"],
    atom_mask: Bool[Array, " atoms"] | None = None,
) -> Float[Array, "atoms components values"]:
    """Integrate attention along directions against functions on the sphere, Σ_g w_ga B_g.

    Two passes over chunks of atoms, which are recomputed in the backward pass: the first sums keys
    times values for every direction, the second asks them. Memory is that of the features plus
    that of the sums, and never atoms times grid points.

    Args:
        query: parities and components merged into channels, two features of each frequency last.
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
    kept, even, odd = _opposites_together(directions, weights)
    return _attend(
        query, key, value, positions, frequencies, directions[kept], even, odd, None, atom_mask
    )


@contract
def attend_wave_vectors(
    query: Float[Array, "atoms channels frequencies 2"],
    key: Float[Array, "atoms channels frequencies 2"],
    value: Float[Array, "atoms values"],
    positions: Float[Array, "atoms 3"],
    vectors: Float[np.ndarray, "vectors 3"],
    weights: Float[np.ndarray, "vectors components"],
    amplitudes: Float[Array, "vectors frequencies"],
    atom_mask: Bool[Array, " atoms"] | None = None,
) -> Float[Array, "atoms components values"]:
    """Attend with the kernels Σ_k w_ka A_kc exp(i k·r), sums of plane waves common to all features.

    Time and memory are as for `attend_quadrature`, but all features share the phases.

    Args:
        query: parities and components merged into channels, two features of each kernel last.
        key: the same of the key.
        value: all axes but the atoms merged.
        positions: in Å.
        vectors: wave vectors k in 1/Å.
        weights: w, of each vector and component.
        amplitudes: A, of each vector and kernel; the same for k and -k.
        atom_mask: False for atoms that nobody attends to.

    Returns:
        One result per component.
    """
    kept, even, odd = _opposites_together(vectors, weights)
    one = jnp.ones(1, positions.dtype)
    return _attend(
        query, key, value, positions, one, vectors[kept], even, odd, amplitudes[kept], atom_mask
    )


def _attend(
    query: Float[Array, "atoms channels frequencies 2"],
    key: Float[Array, "atoms channels frequencies 2"],
    value: Float[Array, "atoms values"],
    positions: Float[Array, "atoms 3"],
    frequencies: Float[Array, " frequencies|1"],
    directions: Float[np.ndarray, "points 3"],
    even: Float[np.ndarray, "points components"],
    odd: Float[np.ndarray, "points components"],
    amplitudes: Float[Array, "points frequencies"] | None,
    atom_mask: Bool[Array, " atoms"] | None,
) -> Float[Array, "atoms components values"]:
    """Attend along one direction of every two opposite ones."""
    atoms, size = query.shape[0], int(np.prod(query.shape[1:]))
    mask = jnp.ones(atoms, bool) if atom_mask is None else atom_mask
    value = jnp.where(mask[:, None], value, 0)
    # Only differences of positions matter; small angles keep float32 accurate.
    count = jnp.maximum(sum_over_shards(jnp.sum(mask)), 1).astype(positions.dtype)
    center = sum_over_shards(jnp.sum(jnp.where(mask[:, None], positions, 0), axis=0)) / count
    positions = positions - center

    with_odd = bool(odd.any())
    with_even = bool(even.any()) or not with_odd

    def attend(grid: tuple[Array, Array, Array, Array | None]) -> Array:
        points, even, odd, amplitudes = grid
        chunk = chunk_size(atoms, points.shape[0] * 2 * size, _CHUNK_OF_ROTATED)

        def keys_values(rows: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            key, value, positions = rows
            sine, cosine = _phases(positions, points, frequencies)
            return (
                _outer_over_atoms(_scaled(key, sine), value),
                _outer_over_atoms(_scaled(key, cosine), value),
            )

        def queried(rows: tuple[Array, Array]) -> Array:
            # Cosine and sine of the difference of two atoms' angles, by those of the angles.
            query, positions = rows
            sine, cosine = _phases(positions, points, frequencies)
            if amplitudes is not None:
                sine, cosine = (x * amplitudes[:, :, None] for x in (sine, cosine))
            attended = []
            if with_even:
                attended.append(_over_grid(_scaled(query, cosine), cosines, even))
                attended.append(_over_grid(_scaled(query, sine), sines, even))
            if with_odd:
                turned = jnp.stack([-query[..., 1], query[..., 0]], axis=-1)
                attended.append(_over_grid(_scaled(turned, sine), cosines, odd))
                attended.append(_over_grid(_scaled(turned, cosine), -sines, odd))
            return sum(attended[1:], start=attended[0])

        sums = sum_chunks(keys_values, (key, value, positions), chunk)
        sines, cosines = (sum_over_shards(x) for x in sums)
        return map_chunks(queried, (query * size**-0.5, positions), chunk)

    grid = (
        jnp.asarray(directions, query.dtype),
        jnp.asarray(even, query.dtype),
        jnp.asarray(odd, query.dtype),
        None if amplitudes is None else amplitudes.astype(query.dtype),
    )
    points = chunk_size(len(directions), 2 * size * value.shape[1], _CHUNK_OF_SUMS)
    return sum_chunks(attend, grid, points)


def _opposites_together(
    directions: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One direction of every two opposite ones, and what its even and odd part count.

    Attention along a direction is the sum of a part that does not change when the direction is
    reversed, the cosine of phases, and one that changes sign, the sine. The former counts with the
    sum of the weights of the two directions, the latter with their difference. Rules for the sphere
    that are symmetric under inversion so take half of the directions, and functions on the sphere
    of even or odd degree one of the parts.

    Returns:
        Numbers of the directions that are kept, weights of the even parts, weights of the odd ones.
    """
    rounded = [tuple(direction) for direction in np.round(directions, 9) + 0.0]
    number = {direction: i for i, direction in enumerate(rounded)}
    opposite = [number.get(tuple(-x + 0.0 for x in direction)) for direction in rounded]
    kept, even, odd = [], [], []
    for i, j in enumerate(opposite):
        other = np.zeros_like(weights[i])
        if j is not None and j != i and opposite[j] == i:
            if j < i:
                continue
            other = weights[j]
        kept.append(i)
        even.append(weights[i] + other)
        odd.append(weights[i] - other)
    rounding = 1e-12 * np.max(np.abs(weights), initial=0)
    even, odd = (np.where(np.abs(part) > rounding, part, 0) for part in (even, odd))
    return np.asarray(kept), even, odd


def _phases(
    positions: Float[Array, "atoms 3"],
    points: Float[Array, "points 3"],
    frequencies: Float[Array, " frequencies"],
) -> tuple[Float[Array, "points frequencies atoms"], Float[Array, "points frequencies atoms"]]:
    """Sines and cosines of the atoms' angles.

    Atoms come last, so that what is done for every direction runs over contiguous memory.
    """
    return sine_and_cosine((points @ positions.T)[:, None, :] * frequencies[:, None])


def _scaled(
    features: Float[Array, "atoms channels frequencies 2"],
    phases: Float[Array, "points frequencies atoms"],
) -> Float[Array, "points features atoms"]:
    """Features times sines or cosines."""
    product = jnp.moveaxis(features, 0, -1) * phases[:, None, :, None, :]
    return product.reshape(phases.shape[0], -1, phases.shape[-1])


def _outer_over_atoms(
    rotated: Float[Array, "points features atoms"], value: Float[Array, "atoms values"]
) -> Float[Array, "points features values"]:
    return jnp.einsum("gdj,jv->gdv", rotated, value)


def _over_grid(
    rotated: Float[Array, "points features atoms"],
    sums: Float[Array, "points features values"],
    factors: Float[Array, "points components"],
) -> Float[Array, "atoms components values"]:
    """Products over features, added up over the grid for each function on the sphere."""
    atoms, values = rotated.shape[-1], sums.shape[-1]
    if factors.shape[1] > 1:
        along = jnp.einsum("gdi,gdv->giv", rotated, sums)
        return jnp.einsum("giv,ga->iav", along, factors)
    # In this order XLA need not transpose the larger array.
    weighted = (factors[:, :, None] * sums).reshape(-1, values)
    product = weighted.T @ rotated.reshape(-1, atoms)
    return jax.lax.optimization_barrier(product).T[:, None, :]


#: Rotated elements of a chunk: atoms times grid points times query features.
_CHUNK_OF_ROTATED = 2**20

#: Elements of the key-value sums that are held at once.
_CHUNK_OF_SUMS = 2**23
