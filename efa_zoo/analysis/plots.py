"""Pictures of models: how training went, and predicted against labelled values."""

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
from efa_zoo.base.contracts import JSON
from efa_zoo.base.errors import DataError, InputError

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.axes import Axes

    from efa_zoo.models.checks import OutOfRange
    from efa_zoo.models.potential import Potential
    from efa_zoo.models.prediction import Prediction

__all__ = [
    "Parity",
    "TrainingLog",
    "draw_learning_curves",
    "draw_parity",
    "parity_of_split",
    "parity_of_structures",
    "read_log",
]


# ---------------------------------------------------------------------------------------------
# Learning curves


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


# ---------------------------------------------------------------------------------------------
# Parity


@dataclass(frozen=True, kw_only=True, eq=False)
class Parity:
    """Predicted against labelled values.

    Attributes:
        name: of the model.
        source: of the labels: a split or files.
        energies: `[structures, 2]`, label and prediction in eV, both relative to the model's
            reference energies, so that molecules of all sizes share an axis.
        forces: `[components, 2]`, label and prediction in eV/Å, of the structures that have them.
    """

    name: str
    source: str
    energies: Float[np.ndarray, "structures 2"]
    forces: Float[np.ndarray, "components 2"]

    def to_dict(self) -> dict[str, JSON]:
        """Numbers of values and errors, for JSON; energies in eV, forces in eV/Å."""
        return {
            "model": self.name,
            "source": self.source,
            "structures": len(self.energies),
            "force_components": len(self.forces),
            **{
                f"{kind}_{error}": value
                for kind, pairs in (("energy", self.energies), ("force", self.forces))
                for error, value in _errors(pairs).items()
            },
        }

    def __str__(self) -> str:
        lines = [f"{self.name}: {len(self.energies)} structures of {self.source}"]
        for kind, unit, pairs in (
            ("energy", "meV", self.energies),
            ("forces", "meV/Å", self.forces),
        ):
            if len(pairs):
                mae, rmse = (1e3 * value for value in _errors(pairs).values())
                lines.append(f"{kind}: MAE {mae:.2f}, RMSE {rmse:.2f} {unit}")
        return "\n".join(lines)


def parity_of_structures(
    model: Potential | str | os.PathLike[str],
    structures: Sequence[Atoms],
    *,
    source: str = "structures",
    charge: int | None = None,
    out_of_range: OutOfRange = "error",
) -> Parity:
    """Predict structures that carry labels.

    Args:
        model: a loaded model, or what `efa_zoo.load` takes.
        structures: ASE atoms whose calculator holds an energy (eV) and maybe forces (eV/Å), as
            `ase.io.read` gives them.
        source: what the structures are, for the picture.
        charge: total charge in units of e of every structure; None takes the structure's own.
        out_of_range: whether a structure outside what the model knows raises or only warns.

    Returns:
        Labels and predictions.

    Raises:
        InputError: a structure has no energy, or is outside what the model knows.
    """
    if not structures:
        raise InputError("structures: got none, expected at least one")
    labels = []
    for index, atoms in enumerate(structures):
        found = atoms.calc.results if atoms.calc is not None else {}
        if found.get("energy") is None:
            raise InputError(
                f"structure {index}: energy: none given, expected a label (in an extxyz file: "
                "energy=... in the header)"
            )
        labels.append((float(found["energy"]), found.get("forces")))
    from efa_zoo.models.hub.registry import load
    from efa_zoo.models.inference import predict

    potential = load(model)
    predictions = predict(potential, structures, charge=charge, out_of_range=out_of_range)
    numbers = [atoms.get_atomic_numbers() for atoms in structures]
    return _parity(potential, numbers, labels, predictions, source)


def parity_of_split(
    model: Potential | str | os.PathLike[str],
    split: str = "test",
    *,
    data_dir: str | os.PathLike[str] | None = None,
) -> Parity:
    """Predict a split of the data that a model was trained on.

    Args:
        model: a loaded model, or what `efa_zoo.load` takes.
        split: name of the split.
        data_dir: where data sets lie.

    Returns:
        Labels and predictions.

    Raises:
        DataError: the data set or the split is missing.
    """
    from data_pipelines import load_split
    from efa_zoo.analysis.evaluation import predict_structures
    from efa_zoo.models.hub.registry import load

    potential = load(model)
    data = potential.card.data.name
    structures = load_split(data, split, data_dir=data_dir)
    numbers = [s.atomic_numbers for s in structures]
    labels = [(float(s.energy), s.forces) for s in structures]
    predictions = predict_structures(potential, structures)
    return _parity(potential, numbers, labels, predictions, f"{data}, {split} split")


def _parity(
    potential: Potential,
    numbers: Sequence[np.ndarray],
    labels: Sequence[tuple[float, np.ndarray | None]],
    predictions: Sequence[Prediction],
    source: str,
) -> Parity:
    energies, forces = [], [np.zeros((0, 2))]
    for z, (energy, label), found in zip(numbers, labels, predictions, strict=True):
        references = potential.card.energies_of_elements(z).sum()
        energies.append(np.asarray([energy, found.energy]) - references)
        if label is not None:
            forces.append(np.stack([np.ravel(label), found.forces.ravel()], axis=1))
    return Parity(
        name=potential.card.name,
        source=source,
        energies=np.asarray(energies),
        forces=np.concatenate(forces),
    )


def _errors(pairs: np.ndarray) -> dict[str, float]:
    if not len(pairs):
        return {}
    error = pairs[:, 1] - pairs[:, 0]
    return {"mae": float(np.abs(error).mean()), "rmse": float(np.sqrt((error**2).mean()))}


#: From this many points on, a picture shows their density instead.
_MANY = 3_000


def draw_parity(parity: Parity, path: str | os.PathLike[str]) -> Path:
    """Draw predicted against labelled energies and forces, and their differences below.

    Args:
        parity: labels and predictions.
        path: picture to write, `.png`, `.pdf` or `.svg`.

    Returns:
        The path.

    Raises:
        InputError: the picture's name has another ending.
    """
    path = picture_path(path)
    # Imported here: only drawing needs it.
    from matplotlib.figure import Figure

    kinds = [("energy", "eV", "meV", parity.energies)]
    if len(parity.forces):
        kinds.append(("force component", "eV/Å", "meV/Å", parity.forces))
    figure = Figure(figsize=(5.2 * len(kinds), 6.4), layout="constrained")
    figure.suptitle(f"{parity.name}: {parity.source}", fontsize=12)
    panels = figure.subplots(2, len(kinds), squeeze=False, height_ratios=(3, 1), sharex="col")
    for (upper, lower), (kind, unit, small, pairs) in zip(panels.T, kinds, strict=True):
        _draw_points(upper, pairs[:, 0], pairs[:, 1])
        low, high = float(pairs.min()), float(pairs.max())
        upper.axline((low, low), slope=1, color="0.3", lw=0.8, zorder=3)
        margin = 0.04 * (high - low) or 1.0
        upper.set_xlim(low - margin, high + margin)
        upper.set_ylim(low - margin, high + margin)
        mae, rmse = (1e3 * value for value in _errors(pairs).values())
        numbers = f"MAE {mae:.3g} {small}\nRMSE {rmse:.3g} {small}\n{len(pairs)} values"
        upper.text(0.04, 0.96, numbers, transform=upper.transAxes, va="top", fontsize=9)
        upper.set_ylabel(f"predicted {kind} ({unit})")
        error = 1e3 * (pairs[:, 1] - pairs[:, 0])
        _draw_points(lower, pairs[:, 0], error)
        lower.axhline(0, color="0.3", lw=0.8, zorder=3)
        limit = 1.05 * float(np.abs(error).max()) or 1.0
        lower.set_ylim(-limit, limit)
        lower.set_xlabel(f"labelled {kind} ({unit})")
        lower.set_ylabel(f"difference\n({small})")
    panels[0, 0].set_title("energy relative to the reference energies", fontsize=10)
    if len(kinds) > 1:
        panels[0, 1].set_title("forces", fontsize=10)
    return save_figure(figure, path)


def _draw_points(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    axes.grid(color="0.93", lw=0.6)
    axes.set_axisbelow(True)
    if len(x) <= _MANY:
        axes.plot(x, y, "o", ms=3.5, mew=0, alpha=0.5, color=COLORS[0], rasterized=True)
        return
    # Points in the order of their density, so that the crowd is not hidden by the few.
    counts, x_edges, y_edges = np.histogram2d(x, y, bins=120)
    column = np.clip(np.digitize(x, x_edges) - 1, 0, 119)
    row = np.clip(np.digitize(y, y_edges) - 1, 0, 119)
    density = np.log10(counts[column, row])
    order = np.argsort(density, kind="stable")
    axes.scatter(x[order], y[order], c=density[order], s=5, linewidths=0, cmap="viridis",
                 rasterized=True)  # fmt: skip
