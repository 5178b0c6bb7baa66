"""A profile: a quantity over a coordinate, of models and of the truth; printed and drawn."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float

from efa_zoo._figures import picture_path, save_figure

__all__ = ["Scan", "draw_scans"]

_COLORS = ("#c0392b", "#2471a3", "#1e8449", "#7d3c98", "#b9770e", "#117a65")
_LINES = 15


@dataclass(frozen=True, eq=False)
class Scan:
    """A quantity over a coordinate.

    Attributes:
        title: what is shown.
        coordinate: what it runs over, with its unit.
        quantity: what is given, with its unit.
        coordinates: `[points]`, ascending.
        models: by name of the model `[points]`.
        truth: `[points]`, or None where there is none to compare with.
        truth_name: where the truth comes from.
        style: "line" joins the points of a model, "marks" shows them too, "points" only them.
    """

    title: str
    coordinate: str
    quantity: str
    coordinates: Float[np.ndarray, " points"]
    models: Mapping[str, Float[np.ndarray, " points"]]
    truth: Float[np.ndarray, " points"] | None = None
    truth_name: str = "truth"
    style: Literal["line", "marks", "points"] = "line"

    @property
    def deviations(self) -> dict[str, float]:
        """Largest deviation from the truth by name of the model; empty without a truth."""
        if self.truth is None or np.isnan(self.truth).all():
            return {}
        return {
            name: float(np.nanmax(np.abs(values - self.truth)))
            for name, values in self.models.items()
        }

    def __str__(self) -> str:
        columns = dict(self.models) | ({} if self.truth is None else {self.truth_name: self.truth})
        widths = [max(len(name), 10) + 2 for name in columns]
        first = max(len(self.coordinate), 14)
        names = "".join(name.rjust(width) for name, width in zip(columns, widths, strict=True))
        lines = [f"{self.title}: {self.quantity}", f"{self.coordinate:>{first}}{names}"]
        for i in range(0, len(self.coordinates), -(-len(self.coordinates) // _LINES)):
            values = "".join(
                f"{column[i]:{width}.5f}"
                for column, width in zip(columns.values(), widths, strict=True)
            )
            lines.append(f"{self.coordinates[i]:{first}.2f}{values}")
        if self.truth is not None and self.deviations:
            lines.append(
                f"largest deviation from {self.truth_name}, which spans "
                f"{np.nanmax(self.truth) - np.nanmin(self.truth):.5f}: "
                + ", ".join(f"{name} {value:.5f}" for name, value in self.deviations.items())
            )
        return "\n".join(lines)


def draw_scans(scans: Sequence[Scan], path: str | os.PathLike[str]) -> Path:
    """Draw profiles side by side, the truth in grey.

    Args:
        scans: at least one.
        path: picture to write, `.png`, `.pdf` or `.svg`.

    Returns:
        The path.

    Raises:
        InputError: the picture's name has another ending.
    """
    path = picture_path(path)
    # Imported here: only drawing needs it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(scans), 3.8), layout="constrained")
    panels = figure.subplots(1, len(scans), squeeze=False)[0]
    marks = {"line": "-", "marks": "o-", "points": "."}
    for axes, found in zip(panels, scans, strict=True):
        axes.axhline(0, color="0.85", lw=1, zorder=0)
        if found.truth is not None and found.style == "points":
            axes.plot(found.coordinates, found.truth, color="0.55", lw=1, label=found.truth_name)
        elif found.truth is not None:
            axes.plot(
                found.coordinates, found.truth, "o", color="0.55", ms=4.5, label=found.truth_name
            )
        for i, (name, values) in enumerate(found.models.items()):
            color = _COLORS[i % len(_COLORS)]
            axes.plot(
                found.coordinates, values, marks[found.style], color=color, lw=1.8, ms=4, label=name
            )
        axes.set_title(found.title)
        axes.set_xlabel(found.coordinate)
        if axes is panels[0] or found.quantity != scans[0].quantity:
            axes.set_ylabel(found.quantity)
    panels[0].legend(frameon=False)
    return save_figure(figure, path)
