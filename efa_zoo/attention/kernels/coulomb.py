"""Coulomb's law of Gaussian charges as a kernel of attention."""

from __future__ import annotations

import functools
import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from efa_zoo.attention.grids import grid_for, harmonics_on_grid, lebedev_grid
from efa_zoo.attention.kernels.kernel import PeriodicKernel, along, deviations
from efa_zoo.base.config import Coulomb
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import ConfigError
from efa_zoo.ops.boys import boys_by_order

__all__ = ["CoulombKernel", "coulomb_waves", "coulomb_widths"]


class CoulombKernel(PeriodicKernel):
    """Potentials of charges and fields of multipoles, i^l h_l(r²) R_lm(r).

    h_0 = erf(r/√2σ)/r is Coulomb's law of a unit charge that is a Gaussian of width σ, and
    h_l R_lm = R_lm(-∇) h_0 its field of degree l, 1/r^(l+1) far away. The phase i^l is that of
    waves, of which the kernel is a sum. Energies are in units of the weights: Coulomb's constant,
    14.3996 eV Å/e², is left to them.

    Attributes:
        widths: σ in Å.
        equal: all widths are known to be the same (static).
    """

    widths: Float[Array, " widths"]
    equal: bool = eqx.field(static=True, default=False)

    @classmethod
    def of(cls, widths: Float[np.ndarray, " widths"], dtype: jnp.dtype | None) -> CoulombKernel:
        """Make the kernel of constant widths."""
        return cls(jnp.asarray(widths, dtype or float), bool(np.ptp(widths) < 1e-9))

    @property
    def alike(self) -> bool:
        """Whether all functions of one degree are the same."""
        return self.equal or self.size == 1

    @property
    def parameters(self) -> Float[Array, " widths"]:
        """Widths σ in Å."""
        return self.widths

    def factors(self) -> tuple[Float[Array, " widths"], Float[Array, " widths"]]:
        """Factors √(2/π)/σ and √(2/π)/σ³."""
        even = math.sqrt(2 / math.pi) / self.widths
        return even, even / self.widths**2

    @contract
    def functions(
        self, squared_distances: Float[Array, "*shape"], degree: int
    ) -> tuple[Float[Array, "widths *shape"], ...]:
        """Boys functions F_l(r²/2σ²), divided by σ^(2l) or, of odd degree, by σ^(2l-2)."""
        squares = along(self.widths**2, squared_distances)
        functions = boys_by_order(degree, squared_distances[None] * (0.5 / squares))
        return tuple(
            function / squares ** (l - l % 2) if l > 1 else function
            for l, function in enumerate(functions)
        )

    @contract
    def transform(
        self, wave_numbers: Float[Array, " waves"], degree: int
    ) -> tuple[Float[Array, "widths waves"], ...]:
        """Fourier transforms K_l(k) = 4π k^(l-2) exp(-σ²k²/2), see `PeriodicKernel`.

        At k = 0 they are zero: the charges of a cell are neutralised by a uniform background.
        """
        positive = jnp.where(wave_numbers > 0, wave_numbers, 1.0)
        scale = jnp.where(wave_numbers > 0, 4 * math.pi / positive**2, 0.0)
        damping = scale * jnp.exp(-0.5 * (wave_numbers * self.widths[:, None]) ** 2)
        return tuple(damping * positive**l for l in range(degree + 1))

    @contract
    def amplitudes(self, wave_numbers: Float[Array, " waves"]) -> Float[Array, "waves {self.size}"]:
        """Amplitudes exp(-σ²k²/2) of the waves that the kernel is a sum of.

        Args:
            wave_numbers: k in 1/Å.

        Returns:
            One per wave and width.
        """
        return jnp.exp(-0.5 * (wave_numbers[:, None] * self.widths) ** 2)


def coulomb_widths(number: int, config: Coulomb) -> np.ndarray:
    """Widths of a kernel: as they are given, or in a geometric row from the first to the last.

    Args:
        number: of widths; a single one is the first.
        config: the given widths.

    Returns:
        `[number]` in Å, float64.

    Raises:
        ConfigError: neither two nor as many widths are given.
    """
    widths = config.widths
    if len(widths) == 2:
        return np.geomspace(*widths, number)
    if len(widths) != number:
        raise ConfigError(
            f"widths: got {len(widths)} numbers, expected {number}, half the features of query and "
            "key, or the first and the last"
        )
    return np.asarray(widths)


@functools.cache
def coulomb_waves(
    widths: tuple[float, ...], max_length: float, tolerance: float, degree: int
) -> tuple[np.ndarray, np.ndarray]:
    r"""Plane waves whose sum is the kernel, within a distance.

    With Δω = 2π/P, up to the distance P

    .. math::
        i^l\,h_l(r^2)\,R_{lm}(r) = \frac{\Delta\omega}{\pi} \sum_{k=-\infty}^{\infty}
        e^{-\sigma^2\omega_k^2/2}\;|\omega_k|^l\; i^l j_l(|\omega_k| r)\,Y_{lm}, \qquad
        \omega_k = k\,\Delta\omega,

    but for what the images of the smeared charges at ±P, ±2P … reach, and every j_l is an integral
    over directions. Three errors, each less than `tolerance` times the sum of all amplitudes (for
    l = 0 that is the kernel's largest value, √(2/π)/σ): P is the largest distance and as many
    of the largest width that the images are gone, waves beyond the last one are too weak for the
    smallest width, and every wave has a Lebedev rule for its own phases.

    Args:
        widths: σ in Å.
        max_length: largest distance R in Å.
        tolerance: largest error, 1e-8 to 1e-3.
        degree: largest degree of the kernel.

    Returns:
        Wave vectors `[vectors, 3]` in 1/Å, and the weight of each (of the sum over k and of the
        rule over directions, ω^l and Y_lm in Racah's normalisation), `[vectors, components]`; the
        amplitudes exp(-σ²ω²/2) are left to `CoulombKernel.amplitudes`.

    Raises:
        ConfigError: no rule resolves the highest wave, or the tolerance or degree is out of range.
    """
    reach = deviations(tolerance, degree)
    spacing = 2 * math.pi / (max_length + reach * max(widths))
    vectors, weights = [np.zeros((1, 3))], [spacing / math.pi * np.eye(1, (degree + 1) ** 2)]
    degrees = np.repeat(np.arange(degree + 1), 2 * np.arange(degree + 1) + 1)
    for number in range(1, math.ceil(reach / (min(widths) * spacing)) + 1):
        frequency = number * spacing
        rule = grid_for(frequency * max_length, max_length, tolerance, degree)
        vectors.append(frequency * lebedev_grid(rule)[0])
        harmonics = harmonics_on_grid(rule, degree)
        weights.append(2 * spacing / math.pi * frequency**degrees * harmonics)
    found = np.concatenate(vectors), np.concatenate(weights)
    for array in found:
        array.flags.writeable = False
    return found
