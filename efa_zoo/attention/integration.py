"""Tensor integration: integral over the sphere of a tensor product of two functions on it."""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision, PrecisionLike
from jaxtyping import Array, Float, PRNGKeyArray

from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import InputError
from efa_zoo.nn.coupling import Coupling, Irreps

__all__ = ["TensorIntegration"]


class TensorIntegration(eqx.Module):
    """Σ_g w_g x(u_g) ⊗ y(u_g), coupled to irreps.

    The coupling is linear, so the grid is summed first and each product is coupled once.

    Attributes:
        weights: `[paths, features]`, or None if every coupling path has weight 1.
    """

    weights: Float[Array, "paths features"] | None
    coupling: Coupling = eqx.field(static=True)
    dtype: jnp.dtype | None = eqx.field(static=True)
    precision: PrecisionLike = eqx.field(static=True)

    def __init__(
        self,
        first: Irreps,
        second: Irreps,
        features: int,
        *,
        degree: int | None = None,
        pseudotensors: bool = True,
        trainable: bool = False,
        dtype: jnp.dtype | None = None,
        weights_dtype: jnp.dtype | None = None,
        precision: PrecisionLike = Precision.HIGHEST,
        key: PRNGKeyArray | None = None,
    ):
        """Set up the coupling.

        Args:
            first: largest degree and parities of the first function.
            second: the same of the second.
            features: number of features.
            degree: largest degree of the result, default the larger one of the factors.
            pseudotensors: keep pseudotensors that the product makes.
            trainable: one weight per coupling path and feature instead of 1.
            dtype: of the computation, default that of the inputs.
            weights_dtype: of the weights, default is JAX's default float.
            precision: of the sum over the grid; None takes JAX's default, which accelerators round.
            key: of the random weights, needed if `trainable`.

        Raises:
            InputError: the key is missing.
            ConfigError: the factors cannot give the wanted degree.
        """
        self.coupling = Coupling.of(first, second, degree, pseudotensors)
        self.weights = None
        if trainable:
            if key is None:
                raise InputError("key: got None, expected a random key because trainable is True")
            self.weights = self.coupling.init(features, key, weights_dtype)
        self.dtype = dtype
        self.precision = precision

    @property
    def irreps(self) -> Irreps:
        """Largest degree and parities of the result."""
        return self.coupling.output

    @contract
    def __call__(
        self,
        first: Float[
            Array | np.ndarray,
            "*#batch grid {self.coupling.first.parities} {self.coupling.first.components} features",
        ],
        second: Float[
            Array | np.ndarray,
            "*#batch grid {self.coupling.second.parities} {self.coupling.second.components} "
            "features",
        ],
        grid_weights: Float[Array | np.ndarray, " grid"],
    ) -> Float[
        Array,
        "... {self.coupling.output.parities} {self.coupling.output.components} features",
    ]:
        """Integrate the product of two functions given on a grid.

        Args:
            first: the first function at the grid points; leading axes broadcast.
            second: the second function.
            grid_weights: quadrature weights.

        Returns:
            The coupled integral, without the grid axis.
        """
        if self.dtype is not None:
            first, second, grid_weights = (
                x.astype(self.dtype) for x in (first, second, grid_weights)
            )
        first = first.reshape(*first.shape[:-3], -1, first.shape[-1])
        product = jnp.einsum(
            "g,...gaf,...gpmf->...apmf", grid_weights, first, second, precision=self.precision
        )
        return self.couple(product)

    def couple(
        self, product: Float[Array, "*batch components parities2 components2 features"]
    ) -> Float[Array, "*batch parities3 components3 features"]:
        """Couple a product that is integrated already."""
        weights = None if self.weights is None else self.weights.astype(product.dtype)
        return self.coupling.couple(product, weights)
