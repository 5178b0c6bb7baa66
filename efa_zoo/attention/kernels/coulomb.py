"""Coulomb's law of Gaussian charges as a kernel of attention."""

from __future__ import annotations

import numpy as np
from jaxtyping import Array, Float

from efa_zoo.attention.kernels.kernel import Kernel
from efa_zoo.base.config import Coulomb
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import ConfigError
from efa_zoo.ops.boys import coulomb_fields

__all__ = ["CoulombKernel", "coulomb_widths"]


class CoulombKernel(Kernel):
    """Potentials of charges and fields of multipoles, i^l h_l(r²) R_lm(r).

    h_0 = erf(r/√2σ)/r is Coulomb's law of a unit charge that is a Gaussian of width σ, and
    h_l R_lm = R_lm(-∇) h_0 its field of degree l, 1/r^(l+1) far away. The phase i^l is that of
    waves, of which the kernel is a sum. Energies are in units of the weights: Coulomb's constant,
    14.3996 eV Å/e², is left to them.

    Attributes:
        widths: σ in Å.
    """

    widths: Float[Array, " widths"]

    @property
    def parameters(self) -> Float[Array, " widths"]:
        """Widths σ in Å."""
        return self.widths

    @contract
    def fields(
        self, squared_distances: Float[Array, "*shape"], degree: int
    ) -> tuple[Float[Array, "widths *shape"], ...]:
        """Functions h_l(r²) of `efa_zoo.ops.boys`, in Å^-(2l+1)."""
        widths = self.widths.reshape(-1, *(1 for _ in squared_distances.shape))
        return coulomb_fields(degree, squared_distances[None], widths)


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
