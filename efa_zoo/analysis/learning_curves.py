"""How training went: its log, and a picture of loss and errors over the steps."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from efa_zoo.analysis.figures import COLORS, picture_path, save_figure
from efa_zoo.base.errors import DataError, InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["TrainingLog", "draw_learning_curves", "read_log"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainingLog:
    """What a training run wrote down at every validation.

    Attributes:
        name: of the run, the name of its folder.
        steps: `[rows]`, training steps done.
        columns: `[rows]` each: `train_loss`, `energy_mae`, `energy_rmse` (eV), `force_mae`,
            `force_rmse` (eV/Å), and whatever else the log holds; NaN where nothing was written.
    """

    name: str
    steps: Int[np.ndarray, " rows"]
    columns: Mapping[str, Float[np.ndarray, " rows"]]


def read_log(run: str | os.PathLike[str]) -> TrainingLog:
    """Read the log of a training run.

    Args:
        run: folder of the run, or its `log.csv`.

    Returns:
        The log.

    Raises:
        DataError: there is no log, it is empty, or it is no log of a training.
    """
    path = Path(run)
    if path.is_dir():
        path = path / "log.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise DataError(f"{path}: cannot read the training log ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a training log ({error})") from error
    if not rows:
        raise DataError(f"{path}: holds no validation yet")
    missing = {"step", "train_loss", "energy_mae", "force_mae"} - set(rows[0])
    if missing:
        raise DataError(f"{path}: not a training log, has no column {', '.join(sorted(missing))}")
    try:
        table = {name: np.asarray([float(row[name] or "nan") for row in rows]) for name in rows[0]}
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: not a training log ({error})") from error
    steps = table.pop("step").astype(int)
    return TrainingLog(name=path.resolve().parent.name, steps=steps, columns=table)


def draw_learning_curves(logs: Sequence[TrainingLog], path: str | os.PathLike[str]) -> Path:
    """Draw training loss and validation errors over the steps of one run or of several.

    Args:
        logs: at least one.
        path: picture to write, `.png`, `.pdf` or `.svg`.

    Returns:
        The path.

    Raises:
        InputError: no logs, or the picture's name has another ending.
    """
    path = picture_path(path)
    if not logs:
        raise InputError("logs: got none, expected at least one training run")
    # Imported here: only drawing needs it.
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    figure = Figure(figsize=(12, 4.2), layout="constrained")
    loss, energy, force = figure.subplots(1, 3)
    for index, log in enumerate(logs):
        color = COLORS[index % len(COLORS)]
        for axes, column, scale in (
            (loss, "train_loss", 1.0),
            (energy, "energy_mae", 1e3),
            (force, "force_mae", 1e3),
        ):
            _draw_curve(axes, log, column, scale, color, log.name)
            _draw_curve(axes, log, f"reminder_{column}", scale, color, "", ls=":")
    loss.set_ylabel("training loss")
    energy.set_ylabel("energy MAE (meV)")
    force.set_ylabel("force MAE (meV/Å)")
    loss.set_title("training", fontsize=10)
    for axes in (energy, force):
        axes.set_title("validation", fontsize=10)
    for axes in (loss, energy, force):
        axes.set_xlabel("step")
        axes.margins(y=0.12)
        axes.grid(color="0.92", which="both", lw=0.6)
        axes.set_axisbelow(True)
        axes.locator_params(axis="x", nbins=5)
        axes.yaxis.set_major_formatter(FuncFormatter(_some_numbers))
        axes.yaxis.set_minor_formatter(FuncFormatter(_some_numbers))
        axes.tick_params(which="both", labelsize=8.5)
    if any("reminder_energy_mae" in log.columns for log in logs):
        energy.plot([], [], color="0.3", ls=":", label="original data")
    handles, labels = energy.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=9)
    return save_figure(figure, path)


def _some_numbers(value: float, position: int | None) -> str:
    """Labels of a logarithmic axis that leave each other room."""
    text = f"{value:g}"
    return text if text.replace(".", "").lstrip("0")[:1] in "1246" else ""


def _draw_curve(
    axes: Axes, log: TrainingLog, column: str, scale: float, color: str, label: str, ls: str = "-"
) -> None:
    values = log.columns.get(column)
    if values is None:
        return
    values = np.where(values > 0, scale * values, np.nan)
    axes.plot(log.steps, values, ls=ls, color=color, lw=1.5, marker="o" if len(values) < 3 else "",
              label=label or None)  # fmt: skip
    axes.set_yscale("log")
    if column.endswith("_mae") and ls == "-" and np.isfinite(values).any():
        best = int(np.nanargmin(values))
        axes.plot(log.steps[best], values[best], "o", color=color, ms=5)
        axes.annotate(
            f"{values[best]:.3g}",
            (log.steps[best], values[best]),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=color,
        )
