"""Tensor products of features with themselves."""

from __future__ import annotations

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from efa_zoo.base.contracts import contract
from efa_zoo.nn.coupling import Coupling, Irreps
from efa_zoo.nn.dense import Dense

__all__ = ["TensorDense"]


class TensorDense(eqx.Module):
    """Tensor product of two linear maps of the same features.

    Attributes:
        dense: to the two factors.
        weights: `[paths, features]`, one per coupling path.
    """

    dense: Dense
    weights: Float[Array, "paths features"]
    coupling: Coupling = eqx.field(static=True)

    def __init__(
        self,
        irreps: Irreps,
        features: int,
        *,
        degree: int | None = None,
        pseudotensors: bool = True,
        key: PRNGKeyArray,
        dtype: jnp.dtype | None = None,
    ):
        """Make the layer with random weights.

        Args:
            irreps: largest degree and parities of the input.
            features: number of features.
            degree: largest degree of the output, default that of the input.
            pseudotensors: keep pseudotensors that the product makes.
            key: of the random weights.
            dtype: of the weights.
        """
        key1, key2 = jax.random.split(key)
        self.dense = Dense(irreps, features, 2 * features, key=key1, dtype=dtype)
        self.coupling = Coupling.of(irreps, irreps, degree, pseudotensors)
        self.weights = self.coupling.init(features, key2, dtype)

    @property
    def irreps(self) -> Irreps:
        """Largest degree and parities of the output."""
        return self.coupling.output

    @contract
    def __call__(
        self,
        features: Float[
            Array, "... {self.coupling.first.parities} {self.coupling.first.components} features"
        ],
    ) -> Float[
        Array, "... {self.coupling.output.parities} {self.coupling.output.components} features"
    ]:
        """Multiply the two maps."""
        batch = features.shape[:-3]
        both = self.dense(features).reshape(-1, *features.shape[-3:-1], 2 * features.shape[-1])
        first, second = jnp.split(both, 2, axis=-1)
        first = first.reshape(first.shape[0], 1, -1, 1, first.shape[-1])
        coupled = self.coupling.couple_channels(first * second[:, :, None], self.weights)
        return coupled.reshape(*batch, *coupled.shape[1:])
