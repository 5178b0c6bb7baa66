"""Scalars out of two sets of features."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from efa_zoo.base.contracts import contract
from efa_zoo.nn.coupling import Irreps
from efa_zoo.nn.dense import Dense, change_irreps

__all__ = ["InnerProduct"]


class InnerProduct(eqx.Module):
    """Inner products of linear maps of two sets of features, Σ_lm x_lm y_lm / √(2l+1).

    Of an atom's charges and dipoles with the potentials and fields at its place these are their
    energies.

    Attributes:
        first: map of the first features.
        second: map of the second features.
    """

    first: Dense
    second: Dense
    irreps: Irreps = eqx.field(static=True)

    def __init__(
        self,
        first: Irreps,
        first_features: int,
        second: Irreps,
        second_features: int,
        features: int,
        *,
        key: PRNGKeyArray,
        dtype: jnp.dtype | None = None,
    ):
        """Make the layer with random weights.

        Args:
            first: largest degree and parities of the first features.
            first_features: their number.
            second: the same of the second features.
            second_features: their number.
            features: number of products.
            key: of the random weights.
            dtype: of the weights.
        """
        # What only one of the two has gives no scalar.
        self.irreps = Irreps(
            min(first.degree, second.degree), first.pseudotensors and second.pseudotensors
        )
        keys = jax.random.split(key)
        self.first = Dense(self.irreps, first_features, features, key=keys[0], dtype=dtype)
        self.second = Dense(self.irreps, second_features, features, key=keys[1], dtype=dtype)

    @contract
    def __call__(
        self,
        first: Float[Array, "atoms parities1 components1 {self.first.weight.shape[-2]}"],
        second: Float[Array, "atoms parities2 components2 {self.second.weight.shape[-2]}"],
    ) -> Float[Array, "atoms 1 1 features"]:
        """Multiply features of the same atoms to scalars."""
        first = self.first(change_irreps(first, self.irreps))
        second = self.second(change_irreps(second, self.irreps))
        degrees = np.arange(self.irreps.degree + 1)
        factors = np.repeat((2 * degrees + 1) ** -0.5, 2 * degrees + 1)
        factors = jnp.asarray(factors, first.dtype)[:, None]
        return jnp.sum(factors * first * second, axis=(1, 2), keepdims=True)
