"""Predicted against labelled energies and forces, as numbers and as a picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from efa_zoo.analysis.figures import COLORS, picture_path, save_figure
from efa_zoo.base.contracts import JSON
from efa_zoo.base.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms
    from matplotlib.axes import Axes

    from efa_zoo.models.hub.cards import Card
    from efa_zoo.models.inputs.checks import OutOfRange
    from efa_zoo.models.potential import Potential
    from efa_zoo.models.prediction import Prediction

__all__ = ["Parity", "draw_parity", "parity_of", "parity_of_split", "parity_of_structures"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Parity:
    """Predicted against labelled values.

    Attributes:
        name: of the model.
        source: of the labels: a split or files.
        energies: `[structures, 2]`, label and prediction in eV, both relative to the model's
            reference energies, so that molecules of all sizes share an axis.
        forces: `[components, 2]`, label and prediction in eV/Å, of the structures that have them.
        energy_uncertainties: `[structures]`, predicted standard deviations in eV; None where the
            model is not calibrated.
        force_uncertainties: `[components]` in eV/Å, likewise.
    """

    name: str
    source: str
    energies: Float[np.ndarray, "structures 2"]
    forces: Float[np.ndarray, "components 2"]
    energy_uncertainties: Float[np.ndarray, " structures"] | None = None
    force_uncertainties: Float[np.ndarray, " components"] | None = None

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
            **{
                f"{kind}_{quality}": row[quality]
                for kind, row in self._uncertainty().items()
                for quality in ("spearman", "coverage", "miscalibration")
            },
        }

    def _uncertainty(self) -> dict[str, dict[str, Any]]:
        """How well the uncertainties fit the errors, as far as there are any."""
        from efa_zoo.analysis.evaluation.uncertainty import interval_quality

        return {
            kind: interval_quality(pairs[:, 1] - pairs[:, 0], sigmas)
            for kind, pairs, sigmas in (
                ("energy", self.energies, self.energy_uncertainties),
                ("force", self.forces, self.force_uncertainties),
            )
            if sigmas is not None and len(pairs)
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
        for kind, row in self._uncertainty().items():
            lines.append(
                f"{kind} uncertainty: {100 * row['coverage']:.1f}% of errors within σ, Spearman "
                f"correlation with them {row['spearman']:.2f}"
            )
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
    return parity_of(potential.card, numbers, labels, predictions, source)


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
    return parity_of(potential.card, numbers, labels, predictions, f"{data}, {split} split")


def parity_of(
    card: Card,
    numbers: Sequence[np.ndarray],
    labels: Sequence[tuple[float, np.ndarray | None]],
    predictions: Sequence[Prediction],
    source: str,
) -> Parity:
    """Put predictions beside labels.

    Args:
        card: of the model.
        numbers: `[atoms]`, atomic numbers of each structure.
        labels: energy in eV, and forces in eV/Å or None, of each.
        predictions: of each.
        source: what the structures are.

    Returns:
        Labels and predictions.
    """
    energies, forces = [], [np.zeros((0, 2))]
    sigmas: list[np.ndarray] = []
    calibrated = all(found.force_uncertainty is not None for found in predictions)
    for z, (energy, label), found in zip(numbers, labels, predictions, strict=True):
        references = card.energies_of_elements(z).sum()
        energies.append(np.asarray([energy, found.energy]) - references)
        if label is not None:
            forces.append(np.stack([np.ravel(label), found.forces.ravel()], axis=1))
            if found.force_uncertainty is not None:
                sigmas.append(np.repeat(found.force_uncertainty, 3))
    return Parity(
        name=card.name,
        source=source,
        energies=np.asarray(energies),
        forces=np.concatenate(forces),
        energy_uncertainties=(
            np.asarray([found.energy_uncertainty for found in predictions], np.float64)
            if calibrated
            else None
        ),
        force_uncertainties=np.concatenate([np.zeros(0), *sigmas]) if calibrated else None,
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

    kinds = [("energy", "eV", "meV", parity.energies, parity.energy_uncertainties)]
    if len(parity.forces):
        forces = parity.forces, parity.force_uncertainties
        kinds.append(("force component", "eV/Å", "meV/Å", *forces))
    figure = Figure(figsize=(5.2 * len(kinds), 6.4), layout="constrained")
    figure.suptitle(f"{parity.name}: {parity.source}", fontsize=12)
    panels = figure.subplots(2, len(kinds), squeeze=False, height_ratios=(3, 1), sharex="col")
    for (upper, lower), (kind, unit, small, pairs, sigmas) in zip(panels.T, kinds, strict=True):
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
        if sigmas is not None:
            _draw_intervals(lower, pairs[:, 0], 1e3 * sigmas)
            within = 100 * np.mean(np.abs(error) <= 1e3 * sigmas)
            lower.set_title(f"{within:.0f}% within the predicted ±σ (grey)", fontsize=8)
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


def _draw_intervals(axes: Axes, x: np.ndarray, sigmas: np.ndarray) -> None:
    """Medians of predicted standard deviations along an axis, on both sides of zero."""
    order = np.argsort(x, kind="stable")
    parts = np.array_split(order, max(1, min(40, len(x) // 20)))
    centers = [float(np.median(x[part])) for part in parts]
    medians = np.asarray([float(np.median(sigmas[part])) for part in parts])
    axes.fill_between(centers, -medians, medians, color="0.8", lw=0, zorder=1)


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
