"""A profile: a quantity over a coordinate, of models and of the truth; printed and drawn."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from jaxtyping import Float

from efa_zoo.analysis.figures import picture_path, save_figure

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

__all__ = ["Scan", "draw_scans"]

#: Colours of models with attention and of local ones.
_ATTENTIVE = ("#c0392b", "#e08e0b", "#8e44ad")
_LOCAL = ("#2471a3", "#17a589", "#7fb3d5", "#34495e")

_LINES = 15

#: Most panels side by side.
_COLUMNS = 3


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
        local: names of the models that are blind beyond their cutoff; they are drawn in blues, the
            others in reds.
        logarithmic: whether the quantity, which is then positive, has a logarithmic axis.
    """

    title: str
    coordinate: str
    quantity: str
    coordinates: Float[np.ndarray, " points"]
    models: Mapping[str, Float[np.ndarray, " points"]]
    truth: Float[np.ndarray, " points"] | None = None
    truth_name: str = "truth"
    style: Literal["line", "marks", "points"] = "line"
    local: frozenset[str] = frozenset()
    logarithmic: bool = False

    @property
    def span(self) -> float | None:
        """Largest minus smallest truth; None without a truth."""
        if self.truth is None or np.isnan(self.truth).all():
            return None
        return float(np.nanmax(self.truth) - np.nanmin(self.truth))

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
        if self.deviations:
            lines.append(
                f"largest deviation from {self.truth_name}, which spans {self.span:.5f}: "
                + ", ".join(f"{name} {value:.5f}" for name, value in self.deviations.items())
            )
        return "\n".join(lines)


def draw_scans(scans: Sequence[Scan], path: str | os.PathLike[str]) -> Path:
    """Draw profiles side by side, the truth in grey.

    Args:
        scans: at least one; from the fourth on in rows of two or three.
        path: picture to write, `.png`, `.pdf` or `.svg`.

    Returns:
        The path.

    Raises:
        InputError: the picture's name has another ending.
    """
    path = picture_path(path)
    # Imported here: only drawing needs it.
    from matplotlib.figure import Figure

    columns = 2 if len(scans) == 4 else min(len(scans), _COLUMNS)
    rows = -(-len(scans) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.6 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    handles: dict[str, Artist] = {}
    for axes, found in zip(panels, scans, strict=False):
        _draw(axes, found)
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    for axes in panels[len(scans) :]:
        axes.set_visible(False)
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside upper center",
        ncols=min(len(handles), 2 * columns),
        frameon=False,
    )
    return save_figure(figure, path)


def _draw(axes: Axes, found: Scan) -> None:
    """Draw one profile."""
    if found.logarithmic:
        axes.set_yscale("log")
    else:
        axes.axhline(0, color="0.85", lw=1, zorder=0)
    if found.truth is not None and found.style == "points":
        axes.plot(found.coordinates, found.truth, color="0.55", lw=1, label=found.truth_name)
    elif found.truth is not None and found.style == "marks":
        ring: dict[str, Any] = {"mfc": "none", "mec": "0.45", "mew": 1.5, "ms": 11}
        axes.plot(found.coordinates, found.truth, "o", label=found.truth_name, **ring)
    elif found.truth is not None:
        axes.plot(found.coordinates, found.truth, "o", color="0.55", ms=4.5, label=found.truth_name)
    marks = {"line": "-", "marks": "o-", "points": "."}[found.style]
    # Local models first, so that those with attention are drawn over them.
    names = sorted(found.models, key=lambda name: name not in found.local)
    for name in names:
        kin = [other for other in found.models if (other in found.local) == (name in found.local)]
        palette = _LOCAL if name in found.local else _ATTENTIVE
        color = palette[kin.index(name) % len(palette)]
        axes.plot(
            found.coordinates,
            found.models[name],
            marks,
            color=color,
            lw=1.8,
            ms=2.5 if found.style == "points" else 4,
            label=name,
        )
    axes.set_title(found.title, fontsize=11)
    axes.set_xlabel(found.coordinate)
    axes.set_ylabel(found.quantity)
