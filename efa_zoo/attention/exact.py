"""Attention integrated over the sphere in closed form: a sum over pairs of atoms, no grid."""

from __future__ import annotations

import e3x
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from efa_zoo.base.contracts import contract
from efa_zoo.ops.bessel import reduced_spherical_bessel_by_degree
from efa_zoo.ops.chunks import chunk_size, map_chunks

__all__ = ["attend_exact"]


@contract
def attend_exact(
    query: Float[Array, "atoms channels frequencies 2"],
    key: Float[Array, "atoms channels frequencies 2"],
    value: Float[Array, "atoms values"],
    positions: Float[Array, "atoms 3"],
    frequencies: Float[Array, " frequencies"],
    degree: int,
    atom_mask: Bool[Array, " atoms"] | None = None,
) -> Float[Array, "atoms components values"]:
    """Integrate attention along u against the spherical harmonics Y_lm(u), l ≤ degree, exactly.

    With r = r_j - r_i, (1/4π) ∫ exp(iω u·r) Y_lm(u) du = i^l j_l(ωr) Y_lm(r/|r|). The cosine of
    the phase goes with q·k, the sine with the antisymmetric product of the two features, so even
    degrees take the former and odd degrees the latter. In terms of solid harmonics and
    j_l(x)/x^l as a function of x² nothing is singular at r = 0 or ω = 0.

    Args:
        query: parities and components merged into channels, two features of each frequency last.
        key: the same of the key.
        value: all axes but the atoms merged.
        positions: in Å.
        frequencies: in 1/Å.
        degree: largest degree of the spherical harmonics (Racah's normalisation).
        atom_mask: False for atoms that nobody attends to.

    Returns:
        One result per component of the spherical harmonics.
    """
    if atom_mask is not None:
        value = jnp.where(atom_mask[:, None], value, 0)

    def attend(rows: tuple[Array, Array]) -> Array:
        return _attend_rows(*rows, key, value, positions, frequencies, degree)

    size = chunk_size(query.shape[0], positions.shape[0] * frequencies.shape[0], _CHUNK_OF_PHASES)
    return map_chunks(attend, (query, positions), size)


#: Pairs of atoms times frequencies of a chunk.
_CHUNK_OF_PHASES = 2**17


def _attend_rows(
    query: Float[Array, "rows channels frequencies 2"],
    own: Float[Array, "rows 3"],
    key: Float[Array, "atoms channels frequencies 2"],
    value: Float[Array, "atoms values"],
    positions: Float[Array, "atoms 3"],
    frequencies: Float[Array, " frequencies"],
    degree: int,
) -> Float[Array, "rows components values"]:
    """What some of the atoms get from all."""
    size = query.shape[1] * query.shape[2] * 2
    displacements = positions[None, :, :] - own[:, None, :]
    squared = jnp.sum(displacements**2, axis=-1) * (frequencies**2)[:, None, None]
    radial = reduced_spherical_bessel_by_degree(degree, squared)  # each [frequencies, rows, atoms]
    products = [jnp.einsum("ipcs,jpcs->cij", query, key) * size**-0.5]
    if degree > 0:
        turned = jnp.stack([-query[..., 1], query[..., 0]], axis=-1)
        products.append(jnp.einsum("ipcs,jpcs->cij", turned, key) * -(size**-0.5))
    kernels = []
    for l in range(degree + 1):
        factor = (-1.0) ** (l // 2) * frequencies**l if l else jnp.ones_like(frequencies)
        kernels.append(jnp.sum(factor[:, None, None] * radial[l] * products[l % 2], axis=0))
    if degree == 0:
        return jnp.einsum("ij,jv->iv", kernels[0], value)[:, None, :]
    solid = e3x.so3.solid_harmonics(displacements, degree).astype(value.dtype)
    solid = jnp.split(jnp.moveaxis(solid, -1, 0), [l * l for l in range(1, degree + 1)])
    attended = [
        jnp.einsum("aij,jv->iav", kernel * part, value)
        for kernel, part in zip(kernels, solid, strict=True)
    ]
    return jnp.concatenate(attended, axis=1)
