"""Draw the pictures of docs/idea.md and docs/design.md.

The first show what a local model misses, and directions that add up; the others the way of a
structure to its prediction, and of a batch to a step of training.

    python docs/draw_ideas.py

needs the extra `plot`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch

import efa_zoo
from efa_zoo import Graph
from efa_zoo.analysis.figures import COLORS, save_figure
from efa_zoo.attention.grids import lebedev_grid, max_phase

IMAGES = Path(__file__).parent / "images"

#: Coulomb's constant e²/(4πε₀) in eV Å.
COULOMB = 14.399645


def ion_pair(distance: float) -> Graph:
    """Chloride and fluoride."""
    positions = [[0.0, 0.0, 0.0], [distance, 0.0, 0.0]]
    return Graph.from_arrays([17, 9], positions, None, total_charge=-2, dtype=np.float64)


def draw_force(axes: Axes) -> None:
    """The force between two anions over their distance, of a local and of a global model."""
    distances = np.linspace(3.4, 15.0, 59)
    graphs = [ion_pair(distance) for distance in distances]
    names = ("mpnn_dimers", "mpnn_efa_dimers")
    cutoff = efa_zoo.card(names[0]).model.message_passing.cutoff
    axes.axvspan(cutoff, 15, color="0.95", lw=0)
    axes.text((cutoff + 15) / 2, 1.42, "beyond the cutoff", ha="center", color="0.35")
    axes.plot(distances, COULOMB / distances**2, color="0.55", lw=5, label="Coulomb's law")
    for name, color, label in zip(names, COLORS, ("local", "with attention"), strict=False):
        found = efa_zoo.predict(name, graphs, out_of_range="warn")
        axes.plot(distances, [p.forces[1, 0] for p in found], color=color, lw=2, label=label)
    axes.set(xlim=(3.4, 15), ylim=(-0.1, 1.6), xlabel="distance (Å)", ylabel="force (eV/Å)")
    axes.set_title("Force between chloride and fluoride")
    axes.legend(frameon=False, loc="center right")


def draw_reach(axes: Axes) -> None:
    """A chain of atoms: what one of them hears of through messages, and through attention."""
    spacing, cutoff, steps = 2.2, 3.0, 2
    x = spacing * np.arange(10)
    graph = Graph.from_arrays([6] * 10, np.stack([x, 0 * x, 0 * x], -1).tolist(), cutoff)
    hops = np.full(len(x), 99)
    hops[0] = 0
    for step in range(steps):
        for i in np.flatnonzero(hops == step):
            near = np.asarray(graph.neighbors)[i][np.asarray(graph.neighbor_mask)[i]]
            hops[near] = np.minimum(hops[near], step + 1)
    local, everywhere = COLORS[0], COLORS[1]
    for row, (title, seen) in enumerate((("two steps of messages", hops <= steps),
                                         ("one step of attention", hops < 100))):  # fmt: skip
        y, color = -6.5 * row, (local, everywhere)[row]
        axes.text(3.4, y + 1.4, title, color=color)
        for j in np.flatnonzero(seen)[1:]:
            start = x[j - 1] if row == 0 else x[0]
            axes.annotate(
                "", (start, y), (x[j], y), zorder=1,
                arrowprops={"arrowstyle": "-", "color": color, "lw": 1.6,
                            "connectionstyle": "arc3,rad=0" if row == 0 else "arc3,rad=-0.22"},
            )  # fmt: skip
        for atom, hears in zip(x, seen, strict=True):
            axes.add_patch(Circle((atom, y), 0.55, fc=color if hears else "white", ec="0.3"))
    axes.add_patch(Circle((0, 0), cutoff, fill=False, ls=":", ec="0.5"))
    axes.text(0, 1.5, "cutoff", color="0.4", ha="center", fontsize=10)
    axes.set(xlim=(-3.2, 21), ylim=(-10, 3.2), aspect="equal")
    axes.set_title("Whom the first atom hears of")
    axes.axis("off")


def draw_waves(axes: Axes) -> None:
    """Plane waves along directions, and their mean over all directions."""
    b = np.linspace(0, 12, 400)
    for cosine in np.linspace(0, 1, 7):
        axes.plot(b, np.cos(b * cosine), color=COLORS[5], lw=1, alpha=0.6)
    axes.plot([], [], color=COLORS[5], lw=1.5, label="one direction: cos(ω u·r)")
    axes.plot(b, np.sinc(b / np.pi), color="black", lw=2.5, label="all directions: sinc(ω r)")
    axes.set(xlim=(0, 12), ylim=(-1.1, 1.75), xlabel="phase ω r", ylabel="kernel")
    axes.set_title("Waves along directions …")
    axes.legend(frameon=False, loc="upper right")


def draw_sums(axes: Axes) -> None:
    """Sums over the directions of grids, for many orientations of the two atoms."""
    b = np.linspace(0, 12, 400)
    rng = np.random.default_rng(0)
    orientations = rng.normal(size=(60, 3))
    orientations /= np.linalg.norm(orientations, axis=-1, keepdims=True)
    for num, color in zip((6, 26, 86), (COLORS[3], COLORS[4], COLORS[2]), strict=True):
        directions, weights = lebedev_grid(num)
        kernel = np.cos(b[:, None, None] * (orientations @ directions.T)) @ weights
        axes.fill_between(b, kernel.min(1), kernel.max(1), color=color, alpha=0.55, lw=0,
                          label=f"{num} directions")  # fmt: skip
        limit = max_phase(num, 1e-3)
        if limit > 0:
            axes.plot([limit], [np.sinc(limit / np.pi)], "o", color=color, mec="black", zorder=4)
    axes.plot(b, np.sinc(b / np.pi), color="black", lw=1.5)
    axes.plot([], [], "o", color="white", mec="black", label="error reaches 10⁻³")
    axes.set(xlim=(0, 12), ylim=(-1.1, 2.0), xlabel="phase ω r", ylabel="kernel")
    axes.set_title("… add up to sinc, the more the further")
    axes.legend(frameon=False, loc="upper center", ncols=2, fontsize=10, columnspacing=1)


#: What a structure becomes, and what is done in between.
STRUCTURE = (
    "file, ASE atoms or graph",
    "checked: elements, charge and distances that the model knows",
    "molecule, float64",
    "packed: centred, neighbours within the cutoff, padded to a common size",
    "graph of a batch",
    "network of one molecule, mapped over the batch; forces are its gradient",
    "outputs",
    "unpacked: padding cut off, reference energies added in float64, numbers finite",
    "prediction in eV and eV/Å",
)

#: What a data set becomes, and what is done in between.
BATCH = (
    "data set or file",
    "read: units, labels, splits",
    "labelled structures",
    "sorted into buckets: a few shapes, so that little is compiled and wasted",
    "members of a batch",
    "packed: neighbours within the cutoff, padded; energies relative to references",
    "batch: graph, labels, masks",
    "loss of the outputs, a few molecules at a time, and its gradient",
    "gradient",
    "step: clipped, optimised, averaged",
    "network and its average",
)


def draw_way(axes: Axes, steps: Sequence[str]) -> None:
    """Things in boxes from top to bottom, and beside the arrows what makes one of the other."""
    for row, text in enumerate(steps):
        y = -0.8 * row
        if row % 2:
            axes.annotate("", (2, y - 0.42), (2, y + 0.42), arrowprops={"arrowstyle": "-|>",
                          "color": "0.35", "lw": 1.4})  # fmt: skip
            axes.text(2.25, y, text, va="center", fontsize=10, color="0.25")
        else:
            box = FancyBboxPatch((0, y - 0.3), 4, 0.6, boxstyle="round,pad=0.05",
                                 fc=COLORS[5], ec="0.3", alpha=0.35)  # fmt: skip
            axes.add_patch(box)
            axes.text(2, y, text, ha="center", va="center")
    axes.set(xlim=(-0.15, 12.4), ylim=(-0.8 * len(steps) + 0.3, 0.5))
    axes.axis("off")


IDEAS = {"reach": draw_reach, "force": draw_force, "waves": draw_waves, "sums": draw_sums}
WAYS = {"structure": STRUCTURE, "batch": BATCH}


def main() -> None:
    """Draw all of them, each by itself: on a narrow page they stand below each other."""
    # Neither dates nor random names: the same pictures are the same files.
    os.environ["SOURCE_DATE_EPOCH"] = "0"
    mpl.rcParams |= {"svg.hashsalt": "efa_zoo", "font.size": 11}
    for name, draw in IDEAS.items():
        figure = Figure(figsize=(4.5, 3.5), layout="constrained")
        draw(figure.subplots())
        save_figure(figure, IMAGES / f"idea_{name}.svg")
    for name, steps in WAYS.items():
        figure = Figure(figsize=(7.5, 0.42 * len(steps)), layout="constrained")
        draw_way(figure.subplots(), steps)
        save_figure(figure, IMAGES / f"way_{name}.svg")


if __name__ == "__main__":
    main()
