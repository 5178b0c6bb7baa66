"""Waves averaged over all directions as kernels of attention, and waves in a window."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from efa_zoo.attention.kernels.kernel import Kernel, PeriodicKernel, along
from efa_zoo.base.contracts import contract
from efa_zoo.ops.bessel import reduced_spherical_bessel_by_degree
from efa_zoo.ops.modified_bessel import scaled_modified_spherical_bessel

__all__ = ["WaveKernel", "WindowedWaveKernel"]


class _Waves(Kernel):
    frequencies: Float[Array, " frequencies"]

    @property
    def parameters(self) -> Float[Array, " frequencies"]:
        """Frequencies ω in 1/Å."""
        return self.frequencies

    def factors(self) -> tuple[Float[Array, " frequencies"], Float[Array, " frequencies"]]:
        """One, and the frequencies."""
        return jnp.ones_like(self.frequencies), self.frequencies


class WaveKernel(_Waves):
    """Waves averaged over all directions, i^l j_l(ωr) Y_lm(r/|r|).

    Attributes:
        frequencies: ω in 1/Å.
    """

    @contract
    def functions(
        self, squared_distances: Float[Array, "*shape"], degree: int
    ) -> tuple[Float[Array, "frequencies *shape"], ...]:
        """Functions j_l(ωr)/r^l, those of odd degree divided by ω."""
        return _wave_functions(self.frequencies, squared_distances, degree)


class WindowedWaveKernel(_Waves, PeriodicKernel):
    """Waves that a Gaussian window ends, i^l j_l(ωr) Y_lm(r/|r|) exp(-r²/2s²).

    Attributes:
        frequencies: ω in 1/Å.
        width: s in Å.
    """

    width: Float[Array, ""]

    @contract
    def functions(
        self, squared_distances: Float[Array, "*shape"], degree: int
    ) -> tuple[Float[Array, "frequencies *shape"], ...]:
        """Functions j_l(ωr)/r^l exp(-r²/2s²), those of odd degree divided by ω."""
        window = jnp.exp(squared_distances * (-0.5 / self.width**2))
        functions = _wave_functions(self.frequencies, squared_distances, degree)
        return tuple(function * window for function in functions)

    @contract
    def transform(
        self, wave_numbers: Float[Array, " waves"], degree: int
    ) -> tuple[Float[Array, "frequencies waves"], ...]:
        r"""Fourier transforms of all frequencies, see `PeriodicKernel`.

        .. math::
            K_l(k) = (2\pi)^{3/2} s^3\, e^{-s^2(\omega^2 + k^2)/2}\; i_l(s^2 \omega k)

        with the modified spherical Bessel functions i_l, for frequencies of either sign.
        """
        signs = jnp.where(self.frequencies < 0, -1.0, 1.0).astype(wave_numbers.dtype)[:, None]
        frequencies, square = signs * self.frequencies[:, None], self.width**2
        bands = jnp.exp(-0.5 * square * (frequencies - wave_numbers) ** 2)
        bands = (2 * math.pi) ** 1.5 * self.width**3 * bands
        bessel = scaled_modified_spherical_bessel(degree, square * frequencies * wave_numbers)
        return tuple(bands * value * (signs if l % 2 else 1.0) for l, value in enumerate(bessel))


def _wave_functions(frequencies: Array, squared_distances: Array, degree: int) -> tuple[Array, ...]:
    """Functions ω^l g_l(ω² r²) with g_l(x²) = j_l(x)/x^l, those of odd degree divided by ω."""
    squares = along(frequencies**2, squared_distances)
    functions = reduced_spherical_bessel_by_degree(degree, squared_distances * squares)
    return tuple(
        squares ** (l // 2) * function if l > 1 else function
        for l, function in enumerate(functions)
    )
