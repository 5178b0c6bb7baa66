"""What the two evaluations of attention cost, to choose between them."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["AttentionCost"]

#: The exact form keeps rotations to rounding errors, which is worth this much more time.
_WORTH_OF_EXACTNESS = 2.0


class AttentionCost(NamedTuple):
    """Time of a gradient of attention, as forces need it, from the sizes of a layer.

    A pair of atoms costs a Bessel function of each frequency and degree, the product of query and
    key at each frequency, and a sum over values. A direction costs every atom the rotation of
    query and key, and their products with the values. A function of the Coulomb kernel costs four
    fifths of a Bessel function, and one of its wave vectors what a direction does (measured on one
    core), so the same numbers stand for both. The constants were fitted to times of two
    cores (x86-64 with AVX2, float32, XLA of JAX 0.10) and hold within a factor of two there;
    `python tests/benchmarks --case crossover` compares them with the machine at hand.

    Attributes:
        channels: parities times components of query and key.
        frequencies: each turns two features of query and key in every channel.
        values: parities times components times features of the values.
        degree: largest degree of the spherical harmonics.
        directions: of the grid, or wave vectors of the Coulomb kernel.
    """

    channels: int
    frequencies: int
    values: int
    degree: int
    directions: int

    @property
    def exact(self) -> float:
        """Nanoseconds per pair of atoms of the exact form."""
        products = 1.25 * self.channels * (2 if self.degree else 1)
        of_pairs = self.frequencies * (13 + 4 * self.degree + products)
        return of_pairs + 0.25 * self._components * self.values

    @property
    def quadrature(self) -> float:
        """Nanoseconds per atom of the quadrature."""
        features = 2 * self.channels * self.frequencies
        products = 0.14 * features * self.values
        weighted = 0.3 * self._components * self.values if self.degree else 0
        return self.directions * (7 * features + products + weighted)

    @property
    def exact_up_to(self) -> int:
        """Largest number of atoms of a molecule for which the exact form is to be taken."""
        return int(_WORTH_OF_EXACTNESS * self.quadrature / self.exact)

    @property
    def _components(self) -> int:
        return (self.degree + 1) ** 2
