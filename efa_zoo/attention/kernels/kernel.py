"""What every kernel of attention is."""

from __future__ import annotations

import abc

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from efa_zoo.base.contracts import contract

__all__ = ["Kernel", "PeriodicKernel", "along", "deviations"]


class Kernel(eqx.Module):
    """What a pair of atoms weighs: one function of the distance for each frequency and degree.

    The kernel of degree l at the displacement r from the attending to the attended atom is
    i^l f_l(r²) R_lm(r), with the solid harmonics R_lm = r^l Y_lm in Racah's normalisation. All f_l
    are smooth functions of r², so nothing is singular where atoms coincide. The real part goes with
    the product q·k of two features of query and key, the imaginary part with their antisymmetric
    product.
    """

    @property
    @abc.abstractmethod
    def parameters(self) -> Float[Array, " size"]:
        """What tells the functions of one degree apart: frequencies or widths."""

    @property
    def size(self) -> int:
        """How many functions there are of each degree: half the features of query and key."""
        return self.parameters.shape[0]

    @abc.abstractmethod
    def factors(self) -> tuple[Float[Array, " size"], Float[Array, " size"]]:
        """Constant factors of even and of odd degrees, one for each function.

        Attention multiplies them into the query, which is cheaper than into all pairs of atoms.
        """

    @abc.abstractmethod
    def functions(
        self, squared_distances: Float[Array, "*shape"], degree: int
    ) -> tuple[Float[Array, "size *shape"], ...]:
        """Radial functions without these factors.

        Args:
            squared_distances: r² in Å².
            degree: largest degree L.

        Returns:
            One array per degree.
        """

    @contract
    def fields(
        self, squared_distances: Float[Array, "*shape"], degree: int
    ) -> tuple[Float[Array, "size *shape"], ...]:
        """Radial functions f_0 … f_L of all frequencies.

        Args:
            squared_distances: r² in Å².
            degree: largest degree L.

        Returns:
            One array per degree, in Å^-l for waves and in Å^-(2l+1) for Coulomb's law.
        """
        factors = [along(x, squared_distances) for x in self.factors()]
        functions = self.functions(squared_distances, degree)
        return tuple(factors[l % 2] * function for l, function in enumerate(functions))


def along(parameters: Float[Array, " size"], array: Float[Array, "*shape"]) -> Array:
    """Parameters with as many axes after their own as an array has."""
    return parameters.reshape(-1, *(1 for _ in array.shape))


class PeriodicKernel(Kernel):
    """A kernel that can be summed over the images of a cell, because it has a Fourier transform.

    With lattice vectors L, the cell's volume V and reciprocal vectors G,
    Σ_L i^l f_l(|r+L|²) R_lm(r+L) = 1/V Σ_G K_l(|G|) Y_lm(G/|G|) exp(iG·r).
    """

    @property
    def alike(self) -> bool:
        """Whether all functions of one degree are the same (static)."""
        return self.size == 1

    @abc.abstractmethod
    def transform(
        self, wave_numbers: Float[Array, " waves"], degree: int
    ) -> tuple[Float[Array, "{self.size} waves"], ...]:
        """Fourier transforms K_0 … K_L of all frequencies.

        Args:
            wave_numbers: k = |G| >= 0 in 1/Å.
            degree: largest degree L.

        Returns:
            One array per degree, for l > 0 zero at k = 0.
        """


def deviations(tolerance: float, degree: int) -> float:
    """Tell how many deviations hold all of ∫ x^l exp(-x²/2) dx but a share.

    Args:
        tolerance: the share.
        degree: the power l; smaller powers need fewer deviations.

    Returns:
        The upper bound of the integral.
    """
    x = np.linspace(0.0, 16.0, 16_001)
    density = x**degree * np.exp(-0.5 * x**2)
    beyond = 1 - np.cumsum(density) / density.sum()
    return float(x[np.argmax(beyond < tolerance)])
