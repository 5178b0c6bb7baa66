"""How strongly the atoms of a structure attend to each other, and how that depends on distance.

Euclidean fast attention integrated over all directions is a sum over pairs of atoms,

    y_i = Σ_j Σ_c W_c,ij v_j,    W_c,ij = j_0(ω_c r_ij) (q_i · k_j)_c / √D,

with one term per frequency ω_c; tensor integration adds terms of higher degree l, with j_l in place
of j_0 and the spherical harmonics of the direction from i to j as a factor. The weights W are what
this file computes, whichever way the model itself evaluates its attention.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from efa_zoo.attention.kernels import CoulombKernel, Kernel
from efa_zoo.attention.module import EuclideanFastAttention
from efa_zoo.base.contracts import JSON
from efa_zoo.base.errors import InputError
from efa_zoo.models.hub.registry import load
from efa_zoo.models.inputs.checks import OutOfRange, check_structure
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.potential import Potential, cast
from efa_zoo.nn.pairs import pair_basis
from efa_zoo.structures.elements import symbol
from efa_zoo.structures.graph import Graph, pack_one

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["BlockAttention", "Explanation", "explain"]


@dataclass(frozen=True, kw_only=True, eq=False)
class BlockAttention:
    """Attention weights of one block of the network.

    Attributes:
        block: number of the block, counted from 0.
        kernel: what the heads make of distances: the waves of their frequencies (1/Å), or Coulomb's
            law of their widths (Å).
        weights: `[degrees, heads, atoms, atoms]`, what atom j (last axis) has for atom i, without
            unit; for degree l, the factor of Y_lm of the direction from i to j (Racah's
            normalisation). Models without tensor integration have degree 0 only.
        values: `[atoms, features]`, what is summed with these weights.
        strengths: `[degrees, heads]`, root mean square over pairs of atoms of what multiplies
            the kernel's function of the distance, for waves j_l(ω r).
    """

    block: int
    kernel: Kernel
    weights: Float[np.ndarray, "degrees heads atoms atoms"]
    values: Float[np.ndarray, "atoms features"]
    strengths: Float[np.ndarray, "degrees heads"]

    def total(self, degree: int = 0) -> Float[np.ndarray, "atoms atoms"]:
        """Weights of one degree, summed over the heads."""
        return self.weights[degree].sum(axis=0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Explanation:
    """Attention within one structure.

    Attributes:
        name: of the model.
        symbols: elements of the atoms.
        positions: `[atoms, 3]` in Å.
        distances: `[atoms, atoms]` in Å.
        cutoff: how far the model's message passing reaches, in Å; None has no limit.
        blocks: the blocks that attend.
    """

    name: str
    symbols: tuple[str, ...]
    positions: Float[np.ndarray, "atoms 3"]
    distances: Float[np.ndarray, "atoms atoms"]
    cutoff: float | None
    blocks: tuple[BlockAttention, ...]

    @property
    def degree(self) -> int:
        """Highest degree that every block has."""
        return min(len(block.weights) for block in self.blocks) - 1

    def to_dict(self) -> dict[str, JSON]:
        """Plain numbers in nested dictionaries, for JSON."""
        return {
            "model": self.name,
            "symbols": list(self.symbols),
            "positions": self.positions.tolist(),
            "cutoff": self.cutoff,
            "units": {"positions": "Å", "cutoff": "Å", "weights": "1"}
            | {heads_of(block.kernel)[0]: heads_of(block.kernel)[2] for block in self.blocks},
            "blocks": [
                {
                    "block": block.block,
                    heads_of(block.kernel)[0]: np.asarray(block.kernel.parameters).tolist(),
                    "weights": block.weights.tolist(),
                }
                for block in self.blocks
            ],
        }

    def __str__(self) -> str:
        lines = [f"{self.name}: strongest attention between different atoms"]
        lines.append(f"{'block':>5}  {'atom':>6}  {'attends to':>10}  {'distance (Å)':>12}  weight")
        for block in self.blocks:
            weights = block.total() * (1 - np.eye(len(self.symbols)))
            strongest = np.argsort(-np.abs(weights), axis=None)[:5]
            for i, j in zip(*np.unravel_index(strongest, weights.shape), strict=True):
                if i != j:
                    lines.append(
                        f"{block.block:5}  {self.symbols[i] + str(i):>6}  "
                        f"{self.symbols[j] + str(j):>10}  {self.distances[i, j]:12.2f}"
                        f"  {weights[i, j]:+.4f}"
                    )
        return "\n".join(lines)


def explain(
    model: Potential | str | os.PathLike[str],
    structure: Atoms | Graph,
    *,
    charge: int | None = None,
    out_of_range: OutOfRange = "error",
) -> Explanation:
    """Compute how strongly the atoms of a structure attend to each other.

    Args:
        model: a loaded model, or what `efa_zoo.load` takes.
        structure: ASE atoms or a `Graph`, positions in Å.
        charge: total charge in units of e; None takes the structure's own.
        out_of_range: whether a structure outside what the model knows raises or only warns.

    Returns:
        The attention weights of every block.

    Raises:
        InputError: the model has no attention, or the structure is invalid or periodic.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    potential = load(model)
    layers = [block.attention for block in potential.network.interactions]
    if not any(isinstance(layer, EuclideanFastAttention) for layer in layers):
        raise InputError(f"model: got {potential.card.name}, expected a model with attention")
    molecule = check_structure(structure, potential.card, charge, out_of_range)
    if molecule.cell is not None:
        raise InputError(
            f"pbc: got {list(molecule.pbc)}, expected a structure without a cell, where every pair "
            "of atoms has one distance"
        )
    cutoff = potential.card.model.message_passing.cutoff
    with jax.enable_x64(True):
        network = cast(potential.network, np.float64)
        atoms = molecule.num_atoms
        graph = pack_one(molecule, atoms, atoms, reach=cutoff, dtype=np.float64)
        found = jax.device_get(_weights(network, jax.tree.map(jnp.asarray, graph)))
    numbers = [i for i, layer in enumerate(layers) if isinstance(layer, EuclideanFastAttention)]
    blocks = tuple(
        BlockAttention(block=number, **arrays)
        for number, arrays in zip(numbers, found, strict=True)
    )
    displacements = molecule.positions[None] - molecule.positions[:, None]
    return Explanation(
        name=potential.card.name,
        symbols=tuple(symbol(number) for number in molecule.numbers.tolist()),
        positions=molecule.positions,
        distances=np.linalg.norm(displacements, axis=-1),
        cutoff=cutoff,
        blocks=blocks,
    )


@eqx.filter_jit
def _weights(network: EnergyModel, graph: Graph) -> list[dict[str, Any]]:
    """The arrays of `BlockAttention` for every block that attends."""
    positions, mask = jnp.asarray(graph.positions), graph.atom_mask
    x = network.initial_features(graph)
    pairs = pair_basis(graph, network.config.message_passing)
    found = []
    for block in network.interactions:
        if isinstance(block.attention, EuclideanFastAttention):
            seen = block.seen_by_attention(x, pairs)
            found.append(_weights_of_layer(block.attention, seen, positions))
        x = block(x, pairs, positions, mask)
    return found


def _weights_of_layer(
    layer: EuclideanFastAttention,
    features: Float[Array, "atoms parities components features"],
    positions: Float[Array, "atoms 3"],
) -> dict[str, Any]:
    query, key, value = layer.query_key_value(features)
    kernel = layer.kernel(features.dtype)
    distances = jnp.sqrt(jnp.sum((positions[None] - positions[:, None]) ** 2, axis=-1))
    scale = (query.shape[1] * query.shape[2] * 2) ** -0.5
    turned = jnp.stack([-query[..., 1], query[..., 0]], axis=-1)
    # Cosines of the phase go with q·k and even degrees, sines with the turned product and odd ones.
    products = [
        scale * jnp.einsum("ipcs,jpcs->cij", query, key),
        -scale * jnp.einsum("ipcs,jpcs->cij", turned, key),
    ]
    degree = layer.spherical_degree
    radial = radial_functions_of(kernel, distances, degree)
    factors = jnp.stack([(-1) ** (l // 2) * products[l % 2] for l in range(degree + 1)])
    return {
        "kernel": kernel,
        "weights": radial * factors,
        "values": value.reshape(len(value), -1),
        "strengths": jnp.sqrt(jnp.mean(factors**2, axis=(2, 3))),
    }


def radial_functions_of(
    kernel: Kernel, distances: Float[Array, "*shape"], degree: int
) -> Float[Array, "degrees heads *shape"]:
    """What multiplies Y_lm of the direction, by degree and head."""
    fields = kernel.fields(distances**2, degree)
    return jnp.stack([field * distances**l if l else field for l, field in enumerate(fields)])


def heads_of(kernel: Kernel) -> tuple[str, str, str]:
    """What tells the heads of a kernel apart: its name, its symbol and its unit."""
    if isinstance(kernel, CoulombKernel):
        return "widths", "width σ", "Å"
    return "frequencies", "frequency ω", "1/Å"
