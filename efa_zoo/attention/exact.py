"""Attention in closed form: a sum over pairs of atoms, no grid."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from efa_zoo.attention.kernels import Kernel
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import InputError
from efa_zoo.ops.chunks import chunk_size, map_chunks
from efa_zoo.ops.harmonics import solid_harmonics
from efa_zoo.ops.sharding import all_atoms

__all__ = ["PairFunctions", "attend_exact", "pair_functions"]


class PairFunctions(eqx.Module):
    """Functions of the displacements of all pairs, which layers of one kernel have in common.

    Attributes:
        radial: without the kernel's constant factors, one array for each degree.
        solid: solid harmonics up to the largest degree, None for degree 0.
    """

    radial: tuple[Float[Array, "size rows atoms"], ...]
    solid: Float[Array, "components rows atoms"] | None


@contract
def pair_functions(
    own: Float[Array, "rows 3"], positions: Float[Array, "atoms 3"], kernel: Kernel, degree: int
) -> PairFunctions | None:
    """Evaluate what the exact form needs of all pairs, unless they are too many at a time.

    Args:
        own: positions of the atoms that attend, in Å.
        positions: of those that are attended to.
        kernel: one function of the distance for each two features of query and key.
        degree: largest degree of the spherical harmonics.

    Returns:
        The functions, or None where the pairs are to be taken in chunks.
    """
    rows = own.shape[0]
    size = chunk_size(rows, positions.shape[0] * kernel.size, _CHUNK_OF_PHASES)
    if not isinstance(rows, int) or size < rows:
        return None
    return _functions(own, positions, kernel, degree)


@contract
def attend_exact(
    query: Float[Array, "atoms channels frequencies 2"],
    key: Float[Array, "atoms channels frequencies 2"],
    value: Float[Array, "atoms values"],
    positions: Float[Array, "atoms 3"],
    kernel: Kernel,
    degree: int,
    atom_mask: Bool[Array, " atoms"] | None = None,
    functions: PairFunctions | None = None,
) -> Float[Array, "atoms components values"]:
    """Sum over all atoms what a kernel makes of query, key, value and distance.

    The kernel of degree l is i^l f_l(r²) R_lm(r) with r = r_j - r_i. Its real part goes with q·k,
    its imaginary part with the antisymmetric product of the two features, so even degrees take the
    former and odd degrees the latter. For waves, f_l R_lm = j_l(ωr) Y_lm(r/|r|), this is attention
    along u integrated over all u against the spherical harmonics Y_lm(u) exactly, because
    (1/4π) ∫ exp(iω u·r) Y_lm(u) du = i^l j_l(ωr) Y_lm(r/|r|).

    Args:
        query: parities and components merged into channels, two features of each frequency last.
        key: the same of the key.
        value: all axes but the atoms merged.
        positions: in Å.
        kernel: one function of the distance for each two features of query and key.
        degree: largest degree of the spherical harmonics (Racah's normalisation).
        atom_mask: False for atoms that nobody attends to.
        functions: what `pair_functions` gives for the same positions, kernel and degree.

    Returns:
        One result per component of the spherical harmonics.

    Raises:
        InputError: the kernel is for another number of features.
    """
    if kernel.size != query.shape[2]:
        raise InputError(
            f"kernel: got {kernel.size} functions, expected {query.shape[2]}, one for each two "
            "features of query and key"
        )
    if atom_mask is not None:
        value = jnp.where(atom_mask[:, None], value, 0)
    own = positions
    key, value, positions = (all_atoms(x) for x in (key, value, positions))

    if functions is not None:
        return _attend_rows(query, key, value, kernel, functions)

    def attend(rows: tuple[Array, Array]) -> Array:
        query, own = rows
        functions = _functions(own, positions, kernel, degree)
        return _attend_rows(query, key, value, kernel, functions)

    size = chunk_size(query.shape[0], positions.shape[0] * kernel.size, _CHUNK_OF_PHASES)
    return map_chunks(attend, (query, own), size)


#: Pairs of atoms times frequencies of a chunk.
_CHUNK_OF_PHASES = 2**17


def _functions(own: Array, positions: Array, kernel: Kernel, degree: int) -> PairFunctions:
    displacements = positions[None, :, :] - own[:, None, :]
    squared = jnp.sum(displacements**2, axis=-1)
    radial = kernel.functions(squared, degree)
    if degree == 0:
        return PairFunctions(radial, None)
    x, y, z = (displacements[..., axis] for axis in range(3))
    return PairFunctions(radial, jnp.stack(solid_harmonics(x, y, z, degree)))


def _attend_rows(
    query: Float[Array, "rows channels frequencies 2"],
    key: Float[Array, "atoms channels frequencies 2"],
    value: Float[Array, "atoms values"],
    kernel: Kernel,
    functions: PairFunctions,
) -> Float[Array, "rows components values"]:
    """What some of the atoms get from all."""
    size = query.shape[1] * query.shape[2] * 2
    even, odd = (factor[:, None] * size**-0.5 for factor in kernel.factors())
    products = [jnp.einsum("ipcs,jpcs->cij", query * even, key)]
    if functions.solid is not None:
        turned = jnp.stack([query[..., 1], -query[..., 0]], axis=-1)
        products.append(jnp.einsum("ipcs,jpcs->cij", turned * odd, key))
    weights = [
        (-1.0) ** (l // 2) * jnp.sum(function * products[l % 2], axis=0)
        for l, function in enumerate(functions.radial)
    ]
    if functions.solid is None:
        return jnp.einsum("ij,jv->iv", weights[0], value)[:, None, :]
    solid = jnp.split(functions.solid, [l * l for l in range(1, len(weights))])
    attended = [
        jnp.einsum("aij,jv->iav", weight * own, value)
        for weight, own in zip(weights, solid, strict=True)
    ]
    return jnp.concatenate(attended, axis=1)
