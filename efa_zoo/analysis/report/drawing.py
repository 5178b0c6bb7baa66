"""Pictures of a report, as data that stand in the page."""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Callable, Mapping
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial.distance import pdist, squareform

from efa_zoo.analysis.evaluation.uncertainty import CONFIDENCES
from efa_zoo.analysis.figures import COLORS, save_figure
from efa_zoo.analysis.learning_curves import TrainingLog, draw_learning_curves
from efa_zoo.analysis.parity import draw_parity, parity_of
from efa_zoo.structures.elements import symbol

if TYPE_CHECKING:
    from efa_zoo.analysis.report.findings import Part
    from efa_zoo.models.hub.cards import Card

__all__ = ["calibration_picture", "curves_picture", "parity_picture", "structure_picture"]

#: Atoms are bonded where they are closer than this many sums of covalent radii.
_BOND = 1.2

#: Length in Å of the arrow of the largest error in a picture.
_ARROW = 1.5


def curves_picture(log: TrainingLog) -> str:
    """Draw learning curves.

    Args:
        log: of a run.

    Returns:
        The picture as a data URI.
    """
    return _embedded(lambda path: draw_learning_curves([log], path))


def parity_picture(part: Part, card: Card) -> str:
    """Draw predictions over labels.

    Args:
        part: structures and predictions.
        card: of the model, whose reference energies are subtracted.

    Returns:
        The picture as a data URI.
    """
    parity = parity_of(
        card,
        [s.atomic_numbers for s in part.structures],
        [(s.energy, s.forces) for s in part.structures],
        part.predictions,
        part.name,
    )
    return _embedded(lambda path: draw_parity(parity, path))


def calibration_picture(tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Draw which share of the errors lies in intervals that should hold 10, 20, … 90 % of them.

    Args:
        tables: of each part for `energy` and `force`, as `uncertainty_quality` gives them.

    Returns:
        The picture as a data URI.
    """
    # Imported here: only drawing needs it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    expected = 100 * np.asarray([0.0, *CONFIDENCES, 1.0])
    for axes, kind, title in zip(
        figure.subplots(1, 2), ("energy", "force"), ("energies", "force components"), strict=True
    ):
        axes.plot((0, 100), (0, 100), color="0.6", lw=1, ls="--")
        for color, (name, table) in zip(cycle(COLORS), tables.items(), strict=False):
            found = 100 * np.asarray([0.0, *table[kind]["curve"], 1.0])
            axes.plot(expected, found, color=color, lw=1.6, marker="o", ms=3, label=name)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("should be in the interval (%)")
        axes.set_ylabel("errors in it (%)")
        axes.set_aspect("equal")
        axes.set_xlim(0, 100)
        axes.set_ylim(0, 100)
        axes.text(6, 90, "too cautious", fontsize=8, color="0.45")
        axes.text(94, 6, "too sure", fontsize=8, color="0.45", ha="right")
        axes.legend(fontsize=8, loc="center right", bbox_to_anchor=(1.0, 0.3), frameon=False)
    return _embedded(lambda path: save_figure(figure, path))


def structure_picture(numbers: np.ndarray, positions: np.ndarray, errors: np.ndarray) -> str:
    """Draw a structure in the plane that it extends in most, with errors as arrows.

    Args:
        numbers: `[atoms]`, atomic numbers.
        positions: `[atoms, 3]` in Å.
        errors: `[atoms, 3]` of the forces; the longest arrow is 1.5 Å whatever it stands for.

    Returns:
        The picture as a data URI.
    """
    # Imported here: only drawing needs them.
    from ase.data import covalent_radii
    from ase.data.colors import jmol_colors
    from matplotlib.figure import Figure
    from matplotlib.patches import Circle

    centered = positions - positions.mean(axis=0)
    axes_of_extent = np.linalg.svd(centered, full_matrices=True)[2]
    places, arrows = centered @ axes_of_extent.T, errors @ axes_of_extent.T
    radii = covalent_radii[numbers]
    distances = squareform(pdist(positions)) if len(positions) > 1 else np.zeros((1, 1))
    longest = float(np.linalg.norm(errors, axis=1).max()) or 1.0
    figure = Figure(figsize=(3.2, 3.2))
    axes = figure.add_axes((0, 0, 1, 1))
    for i, j in np.argwhere(np.triu(distances < _BOND * (radii[:, None] + radii), 1)):
        depth = float(min(places[i, 2], places[j, 2]))
        axes.plot(*places[[i, j], :2].T, color="0.45", lw=3, zorder=depth, solid_capstyle="round")
    front = float(places[:, 2].max()) + 1.0
    for number, place, arrow, radius in zip(numbers, places, arrows, radii, strict=True):
        circle = Circle(
            (place[0], place[1]),
            0.6 * float(radius),
            facecolor=tuple(jmol_colors[number].tolist()),
            edgecolor="0.2",
            lw=0.8,
            zorder=float(place[2]) + 0.01,
        )
        axes.add_patch(circle)
        axes.annotate(symbol(int(number)), place[:2], ha="center", va="center", fontsize=7,
                      zorder=float(place[2]) + 0.02)  # fmt: skip
        end = place[:2] + _ARROW * arrow[:2] / longest
        axes.annotate("", end, place[:2], zorder=front,
                      arrowprops={"arrowstyle": "->", "color": "#d55e00", "lw": 1.4})  # fmt: skip
    half = float(np.abs(places[:, :2]).max()) + _ARROW
    axes.set_xlim(-half, half)
    axes.set_ylim(-half, half)
    axes.set_aspect("equal")
    axes.axis("off")
    return _embedded(lambda path: figure.savefig(path, dpi=110))


def _embedded(draw: Callable[[Path], object]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture.png"
        draw(path)
        return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
