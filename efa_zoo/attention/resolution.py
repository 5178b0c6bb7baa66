"""Whether the grids of a model still resolve its frequencies, for trainable ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

import jax
import numpy as np

from efa_zoo.attention.grids import grid_for, max_phase
from efa_zoo.attention.module import EuclideanFastAttention
from efa_zoo.base.config import Waves
from efa_zoo.base.errors import ConfigError

__all__ = ["FrequencyReport", "check_frequencies"]

#: What layers that take a grid as it is (tolerance inf) are checked against.
_USUAL_TOLERANCE = 1e-5


@dataclass(frozen=True)
class FrequencyReport:
    """Frequencies of one attention layer against its grid.

    Attributes:
        layer: path of the layer in the model, such as "interactions.0.attention"; empty if the
            model is the layer itself.
        frequency: highest frequency |ω|, in 1/Å.
        phase: what it reaches over the distance that was asked for, in radians.
        grid: number of Lebedev points of the layer's quadrature.
        limit: largest phase that this grid resolves within the tolerance, in radians.
        sufficient_grid: smallest rule that resolves the phase, None if there is no such rule.
    """

    layer: str
    frequency: float
    phase: float
    grid: int
    limit: float
    sufficient_grid: int | None

    @property
    def resolved(self) -> bool:
        """The grid resolves the phase."""
        # Frequencies that started at the limit may lie above it by float32's rounding.
        return self.limit > 0 and self.phase <= self.limit * (1 + 1e-6)

    def __str__(self) -> str:
        name = self.layer or "attention"
        if self.resolved:
            return (
                f"{name}: phases reach {self.phase:.4g}, and the grid of {self.grid} points "
                f"resolves {self.limit:.4g}"
            )
        better = (
            "no Lebedev rule does; use exact evaluation"
            if self.sufficient_grid is None
            else f"a grid of {self.sufficient_grid} points does"
        )
        return (
            f"{name}: phases reach {self.phase:.4g}, more than the {self.limit:.4g} that the grid "
            f"of {self.grid} points resolves; {better}"
        )


def check_frequencies(
    model: object, *, distance: float | None = None, tolerance: float | None = None
) -> list[FrequencyReport]:
    """Compare the present frequencies of every attention layer with what its grid resolves.

    Trainable frequencies may grow beyond what the grid was chosen for, and then the quadrature
    breaks rotational symmetry without any other sign. Call this now and then while training,
    outside `jax.jit`.

    Args:
        model: any pytree that contains `EuclideanFastAttention` layers, for example an
            `EnergyModel`, or a layer itself. Layers of exact evaluation, or of other
            kernels than waves, have no grid and are left out.
        distance: largest distance between two atoms, in Å; each layer's `max_length` if None.
        tolerance: largest quadrature error; each layer's own if None (1e-5 where that is inf).

    Returns:
        One report per layer; the symmetry is broken where `report.resolved` is False.

    Raises:
        ConfigError: `distance` is not positive, or the table of limits has no entry for a
            layer's degree or the tolerance.
    """
    if distance is not None and not (math.isfinite(distance) and distance > 0):
        raise ConfigError(f"distance: got {distance} Å, expected a positive number")
    found, _ = jax.tree_util.tree_flatten_with_path(
        model, is_leaf=lambda node: isinstance(node, EuclideanFastAttention)
    )
    return [
        _report(jax.tree_util.keystr(path, simple=True, separator="."), layer, distance, tolerance)
        for path, layer in found
        if isinstance(layer, EuclideanFastAttention)
        and isinstance(layer.config.kernel, Waves)
        and layer.config.evaluation != "exact"
    ]


def _report(
    name: str, layer: EuclideanFastAttention, distance: float | None, tolerance: float | None
) -> FrequencyReport:
    config, degree = layer.config, layer.spherical_degree
    if tolerance is None:
        tolerance = config.tolerance if math.isfinite(config.tolerance) else _USUAL_TOLERANCE
    assert isinstance(config.kernel, Waves)
    frequency = float(np.max(np.abs(np.asarray(layer.current_frequencies(), np.float64))))
    phase = frequency * (config.kernel.frequencies.max_length if distance is None else distance)
    grid = len(layer.grid()[1])
    limit = max_phase(grid, tolerance, degree)
    try:
        sufficient = grid_for(phase, 1.0, tolerance, degree)
    except ConfigError:
        sufficient = None
    return FrequencyReport(name, frequency, phase, grid, limit, sufficient)
