r"""Attention in a cell: every atom attends to all images of all atoms, by sums over wave vectors.

A kernel with a Fourier transform, summed over the images of a pair of atoms, is a sum over the wave
vectors that fit the cell (Poisson's sum),

.. math::
    \sum_L i^l f_l(|r+L|^2)\,R_{lm}(r+L) = \frac1V \sum_G K_l(|G|)\,Y_{lm}(G)\,e^{iG\cdot r},

and :math:`e^{iG\cdot(r_j - r_i)}` is a product of what queries and keys carry: per wave vector a
sum of keys times values over atoms, then a product with the queries. Transforms fall off like
Gaussians; a smooth factor takes them from what the tolerance allows to exactly zero at the reach of
a layer. So the result does not depend on which vectors are listed beyond, nor on how the lattice
is described, and energies stay smooth where a cell that grows gets new ones.
"""

from __future__ import annotations

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from efa_zoo.attention.kernels import PeriodicKernel, coulomb_widths, deviations
from efa_zoo.base.config import Coulomb, KernelConfig, Waves
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import ConfigError, InputError
from efa_zoo.ops.chunks import chunk_size, map_chunks, sum_chunks
from efa_zoo.ops.harmonics import spherical_harmonics
from efa_zoo.ops.sharding import sum_over_shards
from efa_zoo.ops.trigonometry import sine_and_cosine
from efa_zoo.structures.graph import Graph

__all__ = ["Lattice", "attend_reciprocal", "invertible", "lattice_of", "wave_reach"]

#: Share of the reach from which on the smooth factor leaves one.
_TAPERED_FROM = 0.92


class Lattice(eqx.Module):
    """What attention needs of one cell and of the atoms in it.

    Attributes:
        vectors: wave vectors G in 1/Å, first zero, then one of every two opposite ones.
        multiplicities: how many wave vectors each stands for: 1 for zero, 2 for others, 0 for
            padding.
        integers: n of the wave vectors, in the type of the positions.
        places: of the atoms, in units of the lattice vectors.
        volume: of the cell in Å³.
        kinds: of the atoms, None for all different. Atoms of one kind have the same key and value.
        num_kinds: how many kinds there may be (static).
    """

    vectors: Float[Array, "waves 3"]
    multiplicities: Float[Array, " waves"]
    integers: Float[Array, "waves 3"]
    places: Float[Array, "atoms 3"]
    volume: Float[Array, ""]
    kinds: Int[Array, " atoms"] | None = None
    num_kinds: int = eqx.field(static=True, default=0)

    def with_kinds(self, kinds: Int[Array, " atoms"], number: int) -> Lattice:
        """Tell that atoms of one kind, 0 to `number` - 1, have the same key and value.

        Each wave then takes a sum over atoms for every kind, not for every product of a feature of
        the key and one of the value.
        """
        return dataclasses.replace(self, kinds=kinds, num_kinds=number)

    def phases(
        self, integers: Float[Array, "some_waves 3"]
    ) -> tuple[Float[Array, "some_waves atoms"], Float[Array, "some_waves atoms"]]:
        """Sines and cosines of G·r of every atom, for some of the wave vectors."""
        turns = jnp.matmul(integers, self.places.T, precision="highest")
        # Whole turns are left out, so that float32 resolves what remains.
        turns = turns - jax.lax.stop_gradient(jnp.round(turns))
        return sine_and_cosine(2 * math.pi * turns)


def wave_reach(config: KernelConfig, number: int, tolerance: float, degree: int) -> float:
    """Tell how far wave vectors must reach for the sums of a kernel.

    Args:
        config: the kernel.
        number: how many functions of each degree it has.
        tolerance: largest error of a function, as a share of the largest value of the one of
            degree 0 and the same width or frequency.
        degree: largest degree.

    Returns:
        Length of the longest wave vector in 1/Å.

    Raises:
        ConfigError: the kernel cannot be summed over images, or is trainable, so that the wave
            vectors it needs are not known.
    """
    if isinstance(config, Waves):
        raise ConfigError(
            f"kernel: got {config.kind}, which do not fall off with distance, so that their sum "
            "over the images of a cell does not exist, expected windowed_waves or coulomb"
        )
    trainable = config.trainable if isinstance(config, Coulomb) else config.frequencies.trainable
    if trainable:
        raise ConfigError(
            f"kernel: got {config.kind} with trainable parameters, expected constant ones in a "
            "cell, whose wave vectors are chosen for them"
        )
    tolerance = min(tolerance, 1e-3)
    if isinstance(config, Coulomb):
        longest = deviations(tolerance, degree) / float(np.min(coulomb_widths(number, config)))
    else:
        highest = config.frequencies.max_frequency / config.frequencies.max_length
        longest = highest + deviations(tolerance, degree + 2) / config.width
    return longest / _TAPERED_FROM


def invertible(cell: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """Give a unit cell for one of zeros, as where a chunk of structures is filled up."""
    return jnp.where(jnp.any(cell != 0), cell, jnp.eye(3, dtype=cell.dtype))


@contract
def lattice_of(graph: Graph, reach: float) -> Lattice:
    """Take wave vectors and phases of a structure that is periodic in three directions.

    Args:
        graph: one structure, with wave vectors.
        reach: how far they must reach, in 1/Å.

    Returns:
        The lattice; differentiable in positions and cell.

    Raises:
        InputError: not all directions are periodic, or the graph does not list all wave vectors
            within reach.
    """
    if graph.cell is None or not all(graph.pbc):
        raise InputError(
            f"pbc: got {list(graph.pbc)}, expected three periodic directions or none for a model "
            "with attention, whose sums over images are known for these only"
        )
    if graph.waves is None or graph.wave_reach < reach:
        raise InputError(
            f"graph: lists wave vectors up to {graph.wave_reach:.6g} 1/Å, expected at least the "
            f"network's wave_reach of {reach:.6g} 1/Å"
        )
    cell = invertible(jnp.asarray(graph.cell))
    inverse = jnp.linalg.inv(cell)
    listed = jnp.asarray(graph.waves).astype(cell.dtype)
    integers = jnp.concatenate([jnp.zeros((1, 3), cell.dtype), listed])
    counts = jnp.where(jnp.any(listed != 0, axis=1), 2.0, 0.0)
    with jax.default_matmul_precision("highest"):
        places = jnp.asarray(graph.positions) @ inverse
        vectors = 2 * math.pi * integers @ inverse.T
    return Lattice(
        vectors=vectors,
        multiplicities=jnp.concatenate([jnp.ones(1), counts]).astype(cell.dtype),
        integers=integers,
        places=places,
        volume=jnp.abs(jnp.linalg.det(cell)),
    )


@contract
def attend_reciprocal(
    query: Float[Array, "atoms channels frequencies 2"],
    key: Float[Array, "atoms channels frequencies 2"],
    value: Float[Array, "atoms values"],
    lattice: Lattice,
    kernel: PeriodicKernel,
    degree: int,
    reach: float,
    atom_mask: Bool[Array, " atoms"] | None = None,
) -> Float[Array, "atoms components values"]:
    """Sum over all images of all atoms what a kernel makes of query, key, value and distance.

    The same as `attend_exact` with the kernel summed over the images of each pair, those of an atom
    itself among them; work is that of atoms times wave vectors.

    Args:
        query: parities and components merged into channels, two features of each frequency last.
        key: the same of the key.
        value: all axes but the atoms merged.
        lattice: wave vectors and phases of the atoms.
        kernel: one function of the distance for each two features of query and key.
        degree: largest degree of the spherical harmonics (Racah's normalisation).
        reach: wave vectors beyond this (1/Å) do not count; those near it do in part.
        atom_mask: False for atoms that nobody attends to.

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
    atoms, size, values = query.shape[0], int(np.prod(query.shape[1:])), value.shape[1]
    if atom_mask is not None:
        value = jnp.where(atom_mask[:, None], value, 0)
    query = query * size**-0.5
    # The features of a query, turned for odd degrees, as for the exact form.
    turned = jnp.stack([query[..., 1], -query[..., 0]], axis=-1)
    by_parity = [query, turned][: 1 + (degree > 0)]
    columns = (1 if kernel.alike else kernel.size) * lattice.num_kinds
    if lattice.kinds is not None and lattice.num_kinds + columns < 2 * size * values:
        mask = jnp.ones(atoms, bool) if atom_mask is None else atom_mask
        return _attend_to_kinds(by_parity, key, value, lattice, kernel, degree, reach, mask)
    queries = [x.reshape(atoms, size) for x in by_parity]
    products = (key.reshape(atoms, size, 1) * value[:, None, :]).reshape(atoms, size * values)
    weights, harmonics = _weights(lattice, kernel, degree, reach)
    components = (degree + 1) ** 2

    def attend(waves: tuple[Array, list[Array], Array]) -> Array:
        integers, weights, harmonics = waves
        sine, cosine = lattice.phases(integers)
        sums = [sum_over_shards(x @ products).reshape(-1, size, values) for x in (cosine, sine)]

        def queried(rows: tuple[Array, Array, list[Array]]) -> Array:
            sine, cosine, queries = rows
            attended = []
            for l in range(degree + 1):
                # cos(φ_j - φ_i) or sin(φ_j - φ_i), by sines and cosines of both.
                weight = jnp.repeat(weights[l], 2, axis=1)  # two features of each frequency
                weight = jnp.tile(weight, (1, query.shape[1]))[..., None]
                of_cosine, of_sine = (weight * part for part in sums)
                for m in range(l * l, (l + 1) ** 2):
                    along = harmonics[:, m, None, None]
                    own = (of_cosine, of_sine) if l % 2 == 0 else (of_sine, -of_cosine)
                    first, second = ((along * x).reshape(-1, size * values) for x in own)
                    field = cosine @ first + sine @ second
                    field = field.reshape(-1, size, values)
                    attended.append(jnp.einsum("id,idv->iv", queries[l % 2], field))
            return jnp.stack(attended, axis=1)

        chunk = chunk_size(atoms, size * values, _CHUNK_OF_FIELDS)
        return map_chunks(queried, (sine.T, cosine.T, queries), chunk)

    elements = (components + 3) * size * values + 2 * atoms
    chunk = chunk_size(lattice.integers.shape[0], elements, _CHUNK_OF_SUMS)
    return sum_chunks(attend, (lattice.integers, weights, harmonics), chunk)


def _attend_to_kinds(
    queries: list[Array],
    key: Array,
    value: Array,
    lattice: Lattice,
    kernel: PeriodicKernel,
    degree: int,
    reach: float,
    atom_mask: Array,
) -> Array:
    """The same with one sum over atoms for each kind, and one field of each kind at every atom."""
    assert lattice.kinds is not None
    number, atoms = lattice.num_kinds, len(queries[0])
    of_kind = jax.nn.one_hot(lattice.kinds, number, dtype=value.dtype) * atom_mask[:, None]
    counts = jnp.maximum(sum_over_shards(jnp.sum(of_kind, axis=0)), 1)

    def of_kinds(x: Array) -> Array:
        sums = sum_over_shards(of_kind.T @ x.reshape(atoms, -1)) / counts[:, None]
        return sums.reshape(number, *x.shape[1:])

    key, value = of_kinds(key), of_kinds(value)
    strengths = [jnp.einsum("acfp,kcfp->afk", query, key) for query in queries]
    weights, harmonics = _weights(lattice, kernel, degree, reach)
    if kernel.alike:
        weights = [weight[:, :1] for weight in weights]
        strengths = [jnp.sum(strength, axis=1, keepdims=True) for strength in strengths]

    def fields(waves: tuple[Array, list[Array], Array]) -> Array:
        integers, weights, harmonics = waves
        sine, cosine = lattice.phases(integers)
        sums = [sum_over_shards(x @ of_kind)[:, None, :] for x in (cosine, sine)]
        found = []
        for l in range(degree + 1):
            own = sums if l % 2 == 0 else [sums[1], -sums[0]]
            for m in range(l * l, (l + 1) ** 2):
                along = (weights[l] * harmonics[:, m, None])[..., None]
                first, second = ((along * x).reshape(len(integers), -1) for x in own)
                found.append(cosine.T @ first + sine.T @ second)
        return jnp.stack(found)

    columns = weights[0].shape[1] * number
    elements = 2 * ((degree + 1) ** 2 + 1) * columns + 2 * atoms
    chunk = chunk_size(lattice.integers.shape[0], elements, _CHUNK_OF_PHASES)
    found = sum_chunks(fields, (lattice.integers, weights, harmonics), chunk)
    degrees = [l for l in range(degree + 1) for _ in range(2 * l + 1)]
    attended = [
        jnp.sum(strengths[l % 2] * field.reshape(atoms, -1, number), axis=1) @ value
        for l, field in zip(degrees, found, strict=True)
    ]
    return jnp.stack(attended, axis=1)


#: Numbers of the fields at atoms, and of the sums at wave vectors, that are held at once.
_CHUNK_OF_FIELDS = 2**21
_CHUNK_OF_SUMS = 2**22

#: Numbers of the phases of atoms and the sums and fields of kinds that are held at once.
_CHUNK_OF_PHASES = 2**21


def _weights(
    lattice: Lattice, kernel: PeriodicKernel, degree: int, reach: float
) -> tuple[list[Array], Array]:
    """Transforms `[waves, frequencies]` of each degree over the volume, and the harmonics."""
    waves = lattice.multiplicities > 0
    nonzero = waves & jnp.any(lattice.vectors != 0, axis=1)
    # Zero and padding get a unit vector, where no derivative is singular.
    one = jnp.eye(3, dtype=lattice.vectors.dtype)[0]
    vectors = jnp.where(nonzero[:, None], lattice.vectors, one)
    lengths = jnp.sqrt(jnp.sum(vectors**2, axis=1))
    unit = vectors / lengths[:, None]
    numbers = jnp.where(nonzero, lengths, 0.0)
    scale = lattice.multiplicities * _taper(numbers / reach) / lattice.volume
    transforms = kernel.transform(numbers, degree)
    harmonics = spherical_harmonics(unit[:, 0], unit[:, 1], unit[:, 2], degree)
    return [scale[:, None] * transform.T for transform in transforms], jnp.stack(harmonics, axis=1)


def _taper(share: Array) -> Array:
    """One up to a share of the reach, zero from the reach on, with three smooth derivatives."""
    x = jnp.clip((1 - share) / (1 - _TAPERED_FROM), 0.0, 1.0)
    return x**4 * (35 - 84 * x + 70 * x**2 - 20 * x**3)
