"""How well a model's uncertainties fit its errors, and how much it refuses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import norm, spearmanr

from efa_zoo.models.hub.cards import Card
from efa_zoo.models.inputs.bonds import unknown_bonds
from efa_zoo.models.prediction import Prediction

if TYPE_CHECKING:
    from data_pipelines.structure import Structure

#: Confidences at which intervals are compared with errors.
CONFIDENCES = tuple(round(0.1 * i, 1) for i in range(1, 10))


def uncertainty_quality(
    structures: Sequence[Structure], predictions: Sequence[Prediction], card: Card
) -> dict[str, dict[str, Any]]:
    """Compare uncertainties with errors.

    Args:
        structures: with labels.
        predictions: of them.
        card: of the model.

    Returns:
        For `energy` and `force` (components), as `interval_quality` gives it, and for `energy` also
        the share of structures that are `refused` because of an atom with unknown bonds or
        surroundings; empty where a prediction has no uncertainty.
    """
    if not structures or any(p.energy_uncertainty is None for p in predictions):
        return {}
    pairs = list(zip(structures, predictions, strict=True))
    energies = np.asarray([p.energy - s.energy for s, p in pairs])
    sigmas = np.asarray([p.energy_uncertainty for p in predictions], np.float64)
    forces = np.concatenate([(p.forces - s.forces).ravel() for s, p in pairs])
    components = np.concatenate(
        [np.repeat(np.asarray(p.force_uncertainty), 3) for p in predictions]
    )
    refused = np.mean(
        [
            not np.all(np.asarray(p.extrapolation) <= 1)
            or unknown_bonds(s.molecule(s.multiplicity or None), card) is not None
            for s, p in pairs
        ]
    )
    return {
        "energy": {**interval_quality(energies, sigmas), "refused": float(refused)},
        "force": interval_quality(forces, components),
    }


def interval_quality(errors: np.ndarray, sigmas: np.ndarray) -> dict[str, Any]:
    """Compare errors with standard deviations that were predicted for them.

    Args:
        errors: signed.
        sigmas: as many.

    Returns:
        `spearman`, the rank correlation of |error| and σ; `coverage`, the share of errors within
        ±σ, 0.683 at best; `miscalibration`, the area between the calibration curve and the
        diagonal; and `curve`, the shares of errors in intervals that should hold 10, 20, … 90 % of
        them.
    """
    sizes = np.abs(errors)
    shares = [float(np.mean(sizes <= norm.ppf((1 + c) / 2) * sigmas)) for c in CONFIDENCES]
    expected = np.asarray([0.0, *CONFIDENCES, 1.0])
    found = np.asarray([0.0, *shares, 1.0])
    varied = len(sizes) > 1 and np.ptp(sizes) > 0 and np.ptp(sigmas) > 0
    rank: Any = spearmanr(sizes, sigmas) if varied else None  # whose type SciPy hides
    return {
        "spearman": float(rank.statistic) if varied else 0.0,
        "coverage": float(np.mean(sizes <= sigmas)),
        "miscalibration": float(np.trapezoid(np.abs(found - expected), expected)),
        "curve": [round(share, 4) for share in shares],
    }


def quality_lines(tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Write the tables of several splits as text."""
    lines = [
        f"{'uncertainty':28}{'Spearman':>11}{'within σ':>12}{'area':>9}{'refused':>12}",
    ]
    for split, table in tables.items():
        for kind, row in table.items():
            refused = f"{100 * row['refused']:11.2f}%" if "refused" in row else ""
            lines.append(
                f"{f'  {split}, {kind}':28}{row['spearman']:11.3f}{100 * row['coverage']:11.1f}%"
                f"{row['miscalibration']:9.3f}{refused}"
            )
    return lines
