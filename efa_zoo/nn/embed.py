"""Initial features of the atoms."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from efa_zoo.base.contracts import contract

__all__ = ["Embed"]


class Embed(eqx.Module):
    """Trainable scalar features of each element.

    Attributes:
        weight: `[highest_atomic_number + 1, features]`; row 0 belongs to padding.
    """

    weight: Float[Array, "elements features"]

    def __init__(
        self,
        highest_atomic_number: int,
        features: int,
        *,
        key: PRNGKeyArray,
        dtype: jnp.dtype | None = None,
    ):
        """Make the layer with random weights.

        Args:
            highest_atomic_number: elements 1 to this one are known.
            features: number of features.
            key: of the random weights (normal of variance 1 / features).
            dtype: of the weights.
        """
        shape = (highest_atomic_number + 1, features)
        self.weight = jax.random.normal(key, shape, dtype) / math.sqrt(features)

    @contract
    def __call__(self, atomic_numbers: Int[Array, " atoms"]) -> Float[Array, "atoms 1 1 features"]:
        """Look the elements up; an unknown one gives NaN, never another element's features."""
        rows = self.weight.at[atomic_numbers].get(mode="fill", fill_value=jnp.nan)
        return rows[:, None, None, :]
