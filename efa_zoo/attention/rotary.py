"""Euclidean rotary position encoding: phases along a direction rotate features two by two."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from efa_zoo.base.config import AttentionConfig, Coulomb, FrequencyConfig, Waves
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import ConfigError
from efa_zoo.ops.trigonometry import sine_and_cosine

__all__ = [
    "FrequencyFunction",
    "initial_frequencies",
    "linear_frequencies",
    "rotary_phases",
    "rotate_features",
]

#: A user's choice of frequencies: (their number, settings) to `[frequencies]` in 1/Å.
FrequencyFunction: TypeAlias = Callable[[int, FrequencyConfig], np.ndarray]


def linear_frequencies(num_frequencies: int, config: FrequencyConfig) -> np.ndarray:
    """Evenly spaced frequencies from 0 to `max_frequency / max_length` (paper, eq. 24).

    Args:
        num_frequencies: their number; a single one is the highest.
        config: highest phase and the length over which it is reached.

    Returns:
        `[frequencies]` in 1/Å, float64.
    """
    if num_frequencies == 1:
        return np.asarray([config.max_frequency / config.max_length])
    return np.linspace(0.0, config.max_frequency, num_frequencies) / config.max_length


def initial_frequencies(
    function: FrequencyFunction, number: int, config: AttentionConfig
) -> np.ndarray:
    """Evaluate the frequencies before training, none above what a grid is chosen for.

    Args:
        function: the user's choice.
        number: of frequencies.
        config: of the attention, whose kernel has frequencies.

    Returns:
        `[number]` in 1/Å, float64.

    Raises:
        ConfigError: the function gives other shapes, numbers that are not finite, or too high ones.
    """
    assert not isinstance(config.kernel, Coulomb)
    frequencies = config.kernel.frequencies
    with jax.ensure_compile_time_eval():
        values = np.asarray(function(number, frequencies), np.float64)
    if values.shape != (number,):
        raise ConfigError(f"frequency_function: got shape {values.shape}, expected ({number},)")
    if not np.isfinite(values).all():
        raise ConfigError(f"frequency_function: got {values.tolist()}, expected finite numbers")
    highest = float(np.max(np.abs(values)))
    limit = frequencies.max_frequency / frequencies.max_length
    has_grid = isinstance(config.kernel, Waves) and config.evaluation != "exact"
    if has_grid and math.isfinite(config.tolerance) and highest > limit * (1 + 1e-6):
        raise ConfigError(
            f"frequency_function: got a frequency of {highest:.4g} 1/Å, expected at most "
            f"max_frequency / max_length = {limit:.4g}, which the grid is chosen for"
        )
    return values


@contract
def rotary_phases(
    positions: Float[Array, "atoms 3"],
    directions: Float[Array, "directions 3"],
    frequencies: Float[Array, " frequencies"],
) -> tuple[
    Float[Array, "atoms directions frequencies"], Float[Array, "atoms directions frequencies"]
]:
    """Cosine and sine of the angles ω_c u·r.

    Args:
        positions: in Å.
        directions: unit vectors u.
        frequencies: ω in 1/Å.

    Returns:
        Cosines and sines.
    """
    angles = (positions @ directions.T)[..., None] * frequencies
    sine, cosine = sine_and_cosine(angles)
    return cosine, sine


@contract
def rotate_features(
    features: Float[Array, "atoms channels frequencies 2"],
    cosine: Float[Array, "atoms directions frequencies"],
    sine: Float[Array, "atoms directions frequencies"],
) -> Float[Array, "atoms directions channels frequencies 2"]:
    """Rotate features 2c and 2c + 1 by the angle of frequency c, along every direction.

    Args:
        features: parities and components merged into channels, two features of each frequency last.
        cosine: of the angles.
        sine: of the angles.

    Returns:
        The rotated features.
    """
    first, second = features[:, None, ..., 0], features[:, None, ..., 1]
    cosine, sine = cosine[:, :, None, :], sine[:, :, None, :]
    return jnp.stack([first * cosine - second * sine, first * sine + second * cosine], axis=-1)
