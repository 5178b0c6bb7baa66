"""Linear maps of equivariant features, `[..., parity, (degree + 1)², features]` as in e3x."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import e3x
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from efa_zoo.base.config import ACTIVATIONS
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import ConfigError
from efa_zoo.nn.coupling import Irreps

__all__ = ["MLP", "Dense", "activation", "change_irreps"]

#: Accelerators would round the factors of float32 products, and lose the symmetry.
_PRECISION = jax.lax.Precision.HIGHEST

Features: TypeAlias = Float[Array, "... parities components features"]


def activation(name: str) -> Callable[[Array], Array]:
    """A gated equivariant activation of e3x by name.

    Raises:
        ConfigError: the name is not in `efa_zoo.base.config.ACTIVATIONS`.
    """
    if name not in ACTIVATIONS:
        raise ConfigError(f"activation: got {name!r}, expected one of {', '.join(ACTIVATIONS)}")
    return (lambda features: features) if name == "identity" else getattr(e3x.nn, name)


def change_irreps(features: Features, irreps: Irreps) -> Features:
    """Cut or pad features to another largest degree and set of parities."""
    if Irreps.of(features) == irreps:
        return features
    return e3x.nn.change_max_degree_or_type(
        features, max_degree=irreps.degree, include_pseudotensors=irreps.pseudotensors
    )


class Dense(eqx.Module):
    """Linear map of the features, one matrix per degree and parity; only scalars get a bias.

    Attributes:
        weight: `[parity, degree + 1, in_features, out_features]`.
        bias: `[out_features]` of the proper scalars, or None.
    """

    weight: Float[Array, "parities degrees in_features out_features"]
    bias: Float[Array, " out_features"] | None
    irreps: Irreps = eqx.field(static=True)

    def __init__(
        self,
        irreps: Irreps,
        in_features: int,
        out_features: int,
        *,
        use_bias: bool = True,
        zero: bool = False,
        key: PRNGKeyArray,
        dtype: jnp.dtype | None = None,
    ):
        """Make the layer with random weights.

        Args:
            irreps: largest degree and parities of the input.
            in_features: number of input features.
            out_features: number of output features.
            use_bias: add a trainable bias to the proper scalars.
            zero: start from zero weights.
            key: of the random weights (LeCun normal).
            dtype: of the weights, default is JAX's default float.
        """
        shape = (irreps.parities, irreps.degree + 1, in_features, out_features)
        scale = 0 if zero else 1 / (math.sqrt(in_features) * 0.8796256610342398)
        self.weight = scale * jax.random.truncated_normal(key, -2, 2, shape, dtype)
        self.bias = jnp.zeros(out_features, self.weight.dtype) if use_bias else None
        self.irreps = irreps

    @contract
    def __call__(
        self,
        features: Float[
            Array,
            "... {self.irreps.parities} {self.irreps.components} {self.weight.shape[-2]}",
        ],
    ) -> Float[Array, "... {self.irreps.parities} {self.irreps.components} out_features"]:
        """Apply the map to features of the layer's irreps."""
        if self.irreps == Irreps(0, False):
            output = jnp.matmul(features, self.weight[0, 0], precision=_PRECISION)
            return output if self.bias is None else output + self.bias
        sizes = [2 * l + 1 for l in range(self.irreps.degree + 1)]
        parts = jnp.split(features, np.cumsum(sizes)[:-1], axis=-2)
        output = jnp.concatenate(
            [
                jnp.einsum("...pmi,pio->...pmo", part, self.weight[:, l], precision=_PRECISION)
                for l, part in enumerate(parts)
            ],
            axis=-2,
        )
        return output if self.bias is None else output.at[..., 0, 0, :].add(self.bias)


class MLP(eqx.Module):
    """Two dense layers with a gated activation between them.

    Attributes:
        first: dense layer before the activation.
        second: dense layer after it.
    """

    first: Dense
    second: Dense

    def __init__(
        self,
        irreps: Irreps,
        features: int,
        *,
        zero_output: bool,
        key: PRNGKeyArray,
        dtype: jnp.dtype | None = None,
    ):
        """Make the layer with random weights.

        Args:
            irreps: largest degree and parities of input and output.
            features: number of input, hidden and output features.
            zero_output: the second layer starts at zero.
            key: of the random weights.
            dtype: of the weights.
        """
        key1, key2 = jax.random.split(key)
        self.first = Dense(irreps, features, features, key=key1, dtype=dtype)
        self.second = Dense(irreps, features, features, zero=zero_output, key=key2, dtype=dtype)

    @contract
    def __call__(
        self, features: Float[Array, "... parities components features"]
    ) -> Float[Array, "... parities components features"]:
        """Apply the perceptron."""
        return self.second(e3x.nn.silu(self.first(features)))
