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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from efa_zoo.analysis.figures import picture_path, save_figure
from efa_zoo.attention.kernels import CoulombKernel, Kernel
from efa_zoo.attention.module import EuclideanFastAttention
from efa_zoo.base.contracts import JSON
from efa_zoo.base.errors import InputError
from efa_zoo.models.checks import OnOutOfRange, check_structure
from efa_zoo.models.hub.registry import load
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.potential import Potential, cast
from efa_zoo.nn.pairs import pair_basis
from efa_zoo.structures.elements import symbol
from efa_zoo.structures.graph import Graph

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.axes import Axes

__all__ = ["BlockAttention", "Explanation", "draw_explanation", "explain"]


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
            | {_heads(block.kernel)[0]: _heads(block.kernel)[2] for block in self.blocks},
            "blocks": [
                {
                    "block": block.block,
                    _heads(block.kernel)[0]: np.asarray(block.kernel.parameters).tolist(),
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
    out_of_range: OnOutOfRange = "error",
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
        InputError: the model has no attention, or the structure is invalid.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    potential = model if isinstance(model, Potential) else load(model)
    layers = [block.attention for block in potential.network.interactions]
    if not any(isinstance(layer, EuclideanFastAttention) for layer in layers):
        raise InputError(f"model: got {potential.card.name}, expected a model with attention")
    molecule = check_structure(structure, potential.card, charge, out_of_range)
    cutoff = potential.card.model.message_passing.cutoff
    with jax.enable_x64(True):
        network = cast(potential.network, np.float64)
        graph = Graph.from_arrays(
            molecule.numbers,
            molecule.positions - molecule.positions.mean(axis=0),
            cutoff,
            total_charge=molecule.charge,
            atomic_dipoles=molecule.dipoles,
            dtype=np.float64,
        )
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
    radial = _radial_functions(kernel, distances, degree)
    factors = jnp.stack([(-1) ** (l // 2) * products[l % 2] for l in range(degree + 1)])
    return {
        "kernel": kernel,
        "weights": radial * factors,
        "values": value.reshape(len(value), -1),
        "strengths": jnp.sqrt(jnp.mean(factors**2, axis=(2, 3))),
    }


def _radial_functions(
    kernel: Kernel, distances: Float[Array, "*shape"], degree: int
) -> Float[Array, "degrees heads *shape"]:
    """What multiplies Y_lm of the direction, by degree and head."""
    fields = kernel.fields(distances**2, degree)
    return jnp.stack([field * distances**l if l else field for l, field in enumerate(fields)])


def _heads(kernel: Kernel) -> tuple[str, str, str]:
    """What tells the heads of a kernel apart: its name, its symbol and its unit."""
    if isinstance(kernel, CoulombKernel):
        return "widths", "width σ", "Å"
    return "frequencies", "frequency ω", "1/Å"


# ---------------------------------------------------------------------------------------------
# Drawing

#: Lines between atoms are drawn for the strongest weights only, this many at most.
_LINES = 40

#: Up to this many atoms are named in the picture.
_NAMED = 30


def draw_explanation(
    explanation: Explanation, path: str | os.PathLike[str], *, degree: int = 0
) -> Path:
    """Draw attention weights: between the atoms, as a matrix, over distance and by frequency.

    Args:
        explanation: what `explain` gives.
        path: picture to write, `.png`, `.pdf` or `.svg`.
        degree: of the weights, 0 for those without direction.

    Returns:
        The path.

    Raises:
        InputError: the picture's name has another ending, or a block has no such degree.
    """
    path = picture_path(path)
    if not 0 <= degree <= explanation.degree:
        raise InputError(f"degree: got {degree}, expected 0 to {explanation.degree}")
    # Imported here: only drawing needs it.
    from matplotlib.figure import Figure

    rows = len(explanation.blocks)
    figure = Figure(figsize=(16, 3.9 * rows + 0.4), layout="constrained")
    figure.suptitle(
        f"{explanation.name}: attention between the atoms"
        + (f" (degree {degree})" if degree else ""),
        fontsize=12,
    )
    panels = figure.subplots(rows, 4, squeeze=False, width_ratios=(1.15, 1, 1, 1.1))
    for axes, block in zip(panels, explanation.blocks, strict=True):
        _draw_structure(axes[0], explanation, block, degree)
        _draw_matrix(axes[1], explanation, block, degree)
        _draw_pairs(axes[2], explanation, block, degree)
        _draw_heads(axes[3], explanation, block, degree)
    return save_figure(figure, path)


def _draw_structure(
    axes: Axes, explanation: Explanation, block: BlockAttention, degree: int
) -> None:
    """The atoms seen from where they spread most, and lines as strong as the attention."""
    from ase.data import atomic_numbers, covalent_radii
    from ase.data.colors import jmol_colors

    numbers = [atomic_numbers[element] for element in explanation.symbols]
    centered = explanation.positions - explanation.positions.mean(axis=0)
    _, _, axes_of_spread = np.linalg.svd(centered, full_matrices=True)
    seen = centered @ axes_of_spread.T
    radii = covalent_radii[numbers]
    bonded = explanation.distances < 1.25 * (radii[:, None] + radii[None, :])

    weights = block.total(degree)
    # A line has no direction: what both atoms have for each other.
    mutual = (weights + (-1) ** degree * weights.T) / 2
    pairs = [(i, j) for i in range(len(seen)) for j in range(i)]
    pairs.sort(key=lambda pair: abs(mutual[pair]))
    largest = max((abs(mutual[pair]) for pair in pairs), default=0.0) or 1.0
    for i, j in pairs:
        if bonded[i, j]:
            axes.plot(*seen[[i, j], :2].T, color="0.8", lw=5, zorder=1, solid_capstyle="round")
    for i, j in pairs[-_LINES:]:
        share = abs(mutual[i, j]) / largest
        color = "#b2182b" if mutual[i, j] > 0 else "#2166ac"
        axes.plot(*seen[[i, j], :2].T, color=color, lw=0.3 + 3.2 * share, alpha=0.75 * share**0.5,
                  zorder=2)  # fmt: skip
    order = np.argsort(seen[:, 2])
    size = float(np.clip(24 - 0.4 * len(order), 8, 20))
    for layer, i in enumerate(order):
        color = jmol_colors[numbers[i]]
        axes.plot(*seen[i, :2], "o", ms=size * (0.75 + 0.5 * radii[i]), color=color,
                  mec="0.25", mew=0.8, zorder=3 + layer)  # fmt: skip
        if len(order) <= _NAMED:
            text = "white" if color @ (0.3, 0.59, 0.11) < 0.55 else "black"
            axes.text(seen[i, 0], seen[i, 1], f"{explanation.symbols[i]}{i}", fontsize=0.4 * size,
                      color=text, ha="center", va="center", zorder=3.5 + layer)  # fmt: skip
    axes.plot([], [], color="#b2182b", lw=2, label="positive")
    axes.plot([], [], color="#2166ac", lw=2, label="negative")
    axes.legend(loc="lower center", ncols=2, frameon=False, fontsize=8, title="weight",
                title_fontsize=8, bbox_to_anchor=(0.5, -0.12))  # fmt: skip
    axes.set_title(f"block {block.block}: strongest weights", fontsize=10)
    axes.set_aspect("equal", adjustable="datalim")
    axes.margins(0.12)
    axes.set_axis_off()


def _draw_matrix(axes: Axes, explanation: Explanation, block: BlockAttention, degree: int) -> None:
    weights = block.total(degree)
    # The diagonal, an atom's weight for itself, is often the largest by far.
    others = weights[~np.eye(len(weights), dtype=bool)]
    limit = float(np.abs(others).max()) if others.size else float(np.abs(weights).max())
    image = axes.imshow(weights, cmap="RdBu_r", vmin=-(limit or 1.0), vmax=limit or 1.0)
    if len(weights) <= _NAMED:
        names = [f"{element}{i}" for i, element in enumerate(explanation.symbols)]
        size = 8 if len(names) <= 14 else 6
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=size)
        axes.set_yticks(range(len(names)), names, fontsize=size)
    axes.set_xlabel("attended atom j")
    axes.set_ylabel("attending atom i")
    axes.set_title("weight, all heads", fontsize=10)
    bar = axes.figure.colorbar(image, ax=axes, shrink=0.85, extend="both")
    bar.ax.tick_params(labelsize=8)


def _draw_pairs(axes: Axes, explanation: Explanation, block: BlockAttention, degree: int) -> None:
    """Each pair of atoms over its distance; heavy atoms stand out."""
    different = ~np.eye(len(explanation.symbols), dtype=bool)
    distances, weights = explanation.distances[different], block.total(degree)[different]
    hydrogens = np.asarray([element == "H" for element in explanation.symbols]).astype(int)
    count = (hydrogens[:, None] + hydrogens[None, :])[different]
    axes.axhline(0, color="0.85", lw=1, zorder=0)
    for kind, label, color in (
        (2, "H, H", "0.65"), (1, "H, other", "#56b4e9"), (0, "other, other", "#d55e00")
    ):  # fmt: skip
        if (count == kind).any():
            axes.plot(distances[count == kind], weights[count == kind], "o", ms=4, alpha=0.8,
                      mew=0, color=color, label=label)  # fmt: skip
    _over_distance(axes, explanation, label_at="bottom")
    axes.set_ylabel("weight, all heads")
    axes.set_title("pairs of atoms", fontsize=10)
    axes.margins(y=0.16)
    if distances.size:
        axes.legend(
            loc="upper center",
            ncols=3,
            frameon=False,
            fontsize=8,
            handletextpad=0.1,
            columnspacing=0.9,
        )


def _draw_heads(axes: Axes, explanation: Explanation, block: BlockAttention, degree: int) -> None:
    """The typical weight of every frequency as a function of distance."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    distance = np.linspace(0, _longest(explanation), 300)
    with jax.enable_x64(True):
        kernel = jax.tree.map(lambda x: jnp.asarray(x, float), block.kernel)
        radial = np.asarray(_radial_functions(kernel, jnp.asarray(distance), degree)[degree])
    heads = np.asarray(block.kernel.parameters)
    names, symbol, unit = _heads(block.kernel)
    colors = ScalarMappable(Normalize(0, float(np.abs(heads).max()) or 1.0), "viridis")
    axes.axhline(0, color="0.85", lw=1, zorder=0)
    for head, strength, curve in zip(heads, block.strengths[degree], radial, strict=True):
        axes.plot(distance, strength * curve, color=colors.to_rgba(abs(head)), lw=1.2)
    _over_distance(axes, explanation, label_at="top")
    axes.set_ylabel("typical weight of one head")
    axes.set_title(f"{len(radial)} {names}", fontsize=10)
    bar = axes.figure.colorbar(colors, ax=axes, shrink=0.85, label=f"{symbol} ({unit})")
    bar.ax.tick_params(labelsize=8)


def _longest(explanation: Explanation) -> float:
    """Where an axis of distances ends: beyond the atoms, and beyond the local part."""
    return max(1.05 * float(explanation.distances.max()), 1.6 * (explanation.cutoff or 0.0), 1.0)


def _over_distance(
    axes: Axes, explanation: Explanation, *, label_at: Literal["top", "bottom"]
) -> None:
    axes.set_xlim(0, _longest(explanation))
    axes.set_xlabel("distance (Å)")
    if explanation.cutoff is not None:
        axes.axvline(explanation.cutoff, color="0.4", lw=1, ls=":", zorder=0)
        height = {"top": 0.98, "bottom": 0.02}[label_at]
        axes.annotate("cutoff of the local part", (explanation.cutoff, height), rotation=90,
                      xycoords=("data", "axes fraction"), xytext=(3, 0), va=label_at,
                      textcoords="offset points", fontsize=7.5, color="0.35")  # fmt: skip
