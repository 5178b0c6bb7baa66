"""The reference implementation's calling conventions: one row of atoms for all molecules."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int

from efa_zoo.attention.flat import flat_layout
from efa_zoo.attention.quadrature import attend_along
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import InputError
from efa_zoo.models.energy import energy_and_forces
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.nn.coupling import Irreps
from efa_zoo.nn.dense import change_irreps
from efa_zoo.structures.flat import FlatLayout
from efa_zoo.structures.graph import Graph, Shape, pack
from efa_zoo.structures.molecule import Molecule
from efa_zoo.structures.neighbors import Neighbors

__all__ = ["evaluate_flat", "rope_attention_flat"]


@contract
def rope_attention_flat(
    *,
    q: Float[Array | np.ndarray, "atoms qk_parities qk_components qk_features"],
    k: Float[Array | np.ndarray, "atoms qk_parities qk_components qk_features"],
    v: Float[Array | np.ndarray, "atoms v_parities v_components v_features"],
    pos: Float[Array | np.ndarray, "atoms 3"],
    theta: Float[Array | np.ndarray, " frequencies"],
    grid_u: Float[Array | np.ndarray, "directions 3"],
    grid_w: Float[Array | np.ndarray, " directions"],
    batch_segments: Int[Array | np.ndarray, " atoms"],
    graph_mask: Bool[Array | np.ndarray, " molecules"],
    include_pseudotensors_qk: bool | None = None,
    include_pseudotensors_v: bool | None = None,
    max_degree_qk: int | None = None,
    max_degree_v: int | None = None,
    do_integration: bool = True,
    max_atoms: int | None = None,
) -> Float[Array, "atoms *directions out_parities out_components v_features"]:
    """Linear attention with Euclidean rotary encoding on a given grid.

    Args:
        q: queries, with an even number of features.
        k: keys.
        v: values.
        pos: positions in Å.
        theta: frequencies in 1/Å, one per pair of features.
        grid_u: directions.
        grid_w: their quadrature weights.
        batch_segments: molecule of each atom; with one molecule it is not looked at.
        graph_mask: one entry per molecule; only its length matters.
        include_pseudotensors_qk: keep (True, padding with zeros where there are none) or drop
            (False) pseudotensors of query and key; None leaves them as they are.
        include_pseudotensors_v: the same of the value.
        max_degree_qk: drop higher degrees of query and key.
        max_degree_v: drop higher degrees of the value.
        do_integration: sum over the grid; otherwise the result has a directions axis.
        max_atoms: see `attend_flat`.

    Returns:
        `[atoms, parity, (degree + 1)², features]`, or `[atoms, directions, ...]`.

    Raises:
        InputError: a degree is not there, the number of features is odd or does not fit the
            frequencies, or as for `attend_flat`.
    """
    features = q.shape[-1]
    if features != 2 * theta.shape[0]:
        raise InputError(
            f"theta: got {theta.shape[0]} frequencies, expected one per pair of the {features} "
            "features of q"
        )
    irreps_qk = _restrict(q, max_degree_qk, include_pseudotensors_qk, "max_degree_qk")
    irreps_v = _restrict(v, max_degree_v, include_pseudotensors_v, "max_degree_v")
    layout = flat_layout(batch_segments, graph_mask, max_atoms)
    theta, grid_u, grid_w = (jnp.asarray(x) for x in (theta, grid_u, grid_w))

    def attend(q: Array, k: Array, v: Array, pos: Array, mask: Array) -> Array:
        shape = (q.shape[0], -1, features // 2, 2)
        q, k = (change_irreps(x, irreps_qk).reshape(shape) for x in (q, k))
        v = change_irreps(v, irreps_v)
        y = attend_along(q, k, v.reshape(v.shape[0], -1), pos, theta, grid_u, mask)
        if do_integration:
            return jnp.einsum("igv,g->iv", y, grid_w).reshape(v.shape)
        return y.reshape(*y.shape[:2], *v.shape[1:])

    q, k, v, pos = (layout.to_dense(x) for x in (q, k, v, pos))
    return layout.to_flat(jax.vmap(attend)(q, k, v, pos, layout.mask))


def _restrict(
    features: Array | np.ndarray, degree: int | None, pseudotensors: bool | None, option: str
) -> Irreps:
    present = Irreps.of(features)
    if degree is None:
        degree = present.degree
    if not 0 <= degree <= present.degree:
        raise InputError(f"{option}: got {degree}, expected 0 to {present.degree}")
    return Irreps(degree, present.pseudotensors if pseudotensors is None else pseudotensors)


@contract
def evaluate_flat(
    model: EnergyModel,
    *,
    atomic_numbers: Int[Array | np.ndarray, " atoms"],
    positions: Float[Array | np.ndarray, "atoms 3"],
    dst_idx: Int[Array | np.ndarray, " pairs"],
    src_idx: Int[Array | np.ndarray, " pairs"],
    batch_segments: Int[Array | np.ndarray, " atoms"] | None = None,
    graph_mask: Bool[Array | np.ndarray, " molecules"] | None = None,
    atomic_dipoles: Float[Array | np.ndarray, "atoms 3"] | None = None,
) -> tuple[Float[Array, " graphs"], Float[Array, "atoms 3"]]:
    """Energies and forces of a flat batch with a given list of pairs.

    Computes in the wider one of the dtypes of model and positions. Everything but `positions`,
    `atomic_dipoles` and the model's weights must be known outside `jax.jit`.

    Args:
        model: the network.
        atomic_numbers: of all atoms; those of padding molecules are not looked at.
        positions: in Å.
        dst_idx: atom that each message goes to; pairs with an index past the last atom are
            padding.
        src_idx: neighbour that the message comes from, in the same molecule.
        batch_segments: molecule of each atom; None is a single molecule.
        graph_mask: True for molecules, False for padding; not used if `batch_segments` is None.
        atomic_dipoles: in e·Å; not used by a network that does not embed them.

    Returns:
        Energies of the molecules in eV, relative to the elements' reference energies, and forces
        on the atoms in eV/Å. Both are zero for padding.

    Raises:
        InputError: an argument is missing or traced, an atomic number is unknown, a segment or an
            index is out of range, a pair is listed twice, connects an atom to itself or atoms of
            different molecules.
    """
    numbers = _known("atomic_numbers", atomic_numbers)
    if batch_segments is None:
        segments, kept = np.zeros(numbers.shape, np.int32), np.ones(1, bool)
    elif graph_mask is None:
        raise InputError("graph_mask: got None, expected one entry per molecule")
    else:
        segments = _known("batch_segments", batch_segments)
        kept = _known("graph_mask", graph_mask)
    layout = FlatLayout.of(segments, len(kept))
    real = kept[segments]
    highest = model.config.highest_atomic_number
    for atom in np.flatnonzero(real & ((numbers < 1) | (numbers > highest)))[:1]:
        raise InputError(
            f"atomic_numbers: got {numbers[atom]} of atom {atom}, expected 1 to {highest}"
        )
    pairs = _pairs(_known("dst_idx", dst_idx), _known("src_idx", src_idx), segments, real)
    dtype = jnp.result_type(positions, *jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    graphs = _batch(np.where(real, numbers, 0), pairs, layout)
    vectors = {"positions": positions}
    if model.dipole_embedding is not None and atomic_dipoles is not None:
        vectors["atomic_dipoles"] = atomic_dipoles
    dense = {name: layout.to_dense(rows).astype(dtype) for name, rows in vectors.items()}
    energies, forces = _energies_and_forces(
        _cast(model, dtype), dataclasses.replace(graphs, **dense)
    )
    return energies, layout.to_flat(forces)


@eqx.filter_jit
def _energies_and_forces(model: EnergyModel, graphs: Graph) -> tuple[Array, Array]:
    outputs = jax.vmap(functools.partial(energy_and_forces, model))(graphs)
    assert outputs.forces is not None
    return outputs.energy, outputs.forces


def _cast(model: EnergyModel, dtype: Any) -> EnergyModel:
    return jax.tree.map(lambda x: x.astype(dtype) if eqx.is_inexact_array(x) else x, model)


def _known(name: str, values: Array | np.ndarray) -> np.ndarray:
    if isinstance(values, Tracer):
        raise InputError(f"{name}: is traced (inside jax.jit), expected known values")
    return np.asarray(values)


def _pairs(
    centers: np.ndarray, others: np.ndarray, segments: np.ndarray, real: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The pairs within real molecules, ordered by their first and then their second atom."""
    atoms = len(segments)
    used = centers < atoms
    centers, others = centers[used], others[used]
    for name, index in (("dst_idx", centers), ("src_idx", others)):
        for value in index[(index < 0) | (index >= atoms)][:1]:
            raise InputError(f"{name}: got {value}, expected 0 to {atoms - 1}")
    used = real[centers]
    centers, others = centers[used], others[used]
    order = np.lexsort((others, centers))
    centers, others = centers[order], others[order]
    repeated = np.zeros(len(centers), bool)
    repeated[1:] = (centers[1:] == centers[:-1]) & (others[1:] == others[:-1])
    for wrong, expected in (
        (segments[centers] != segments[others], "atoms of the same molecule"),
        (centers == others, "two different atoms"),
        (repeated, "every pair once"),
    ):
        for pair in np.flatnonzero(wrong)[:1]:
            raise InputError(
                f"dst_idx, src_idx: got the pair {centers[pair]}, {others[pair]}, expected "
                f"{expected}"
            )
    return centers, others


def _batch(numbers: np.ndarray, pairs: tuple[np.ndarray, np.ndarray], layout: FlatLayout) -> Graph:
    """A dense batch with ordered pairs as its neighbours, all atoms at the origin."""
    count, atoms = layout.num_molecules, layout.max_atoms
    places = np.asarray(layout.places)
    centers, others = pairs
    counts = np.bincount(places[centers], minlength=count * atoms)
    slots = np.arange(len(centers)) - np.searchsorted(centers, centers)
    width = max(1, int(counts.max()))
    neighbors = np.tile(np.arange(atoms, dtype=np.int32), count)[:, None].repeat(width, axis=1)
    neighbors[places[centers], slots] = places[others] % atoms
    mask = np.arange(width) < counts[:, None]
    dense = np.zeros(count * atoms, np.int32)
    dense[places] = numbers
    rows = (count, atoms, width)
    return pack(
        [
            Molecule(numbers=z, positions=np.zeros((atoms, 3)), charge=0)
            for z in dense.reshape(count, atoms)
        ],
        Shape(*rows),
        reach=math.inf,
        lists=list(map(Neighbors, neighbors.reshape(rows), mask.reshape(rows))),
        centered=False,
    )
