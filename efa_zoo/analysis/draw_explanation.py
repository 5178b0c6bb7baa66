"""A picture of how strongly the atoms of a structure attend to each other."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import jax
import jax.numpy as jnp
import numpy as np

from efa_zoo.analysis.explain import BlockAttention, Explanation, heads_of, radial_functions_of
from efa_zoo.analysis.figures import picture_path, save_figure
from efa_zoo.base.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_explanation"]

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
        radial = np.asarray(radial_functions_of(kernel, jnp.asarray(distance), degree)[degree])
    heads = np.asarray(block.kernel.parameters)
    names, symbol, unit = heads_of(block.kernel)
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
