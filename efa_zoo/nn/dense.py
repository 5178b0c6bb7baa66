"""Linear maps of equivariant features, `[..., parity, (degree + 1)², features]` as in e3x."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
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
from efa_zoo.ops.contractions import degreewise_product, matrix_product

__all__ = ["MLP", "Dense", "activation", "add", "apply_together", "change_irreps"]

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
    own = Irreps.of(features)
    if irreps.degree < own.degree:
        features = features[..., : irreps.components, :]
    if own.pseudotensors and not irreps.pseudotensors:
        proper, pseudo = features[..., :1, :, :], features[..., 1:, :, :]
        odd = _parities(min(own.degree, irreps.degree))[:, None] == 1
        features = jnp.where(odd, pseudo, proper) if odd.any() else proper
    added = irreps.pseudotensors and not own.pseudotensors
    if added and min(own.degree, irreps.degree) > 0:
        belongs = _parities(min(own.degree, irreps.degree)) == np.arange(2)[:, None]
        features, added = jnp.where(belongs[..., None], features, 0), False
    missing = max(irreps.components - own.components, 0)
    if added or missing:
        edges = [(0, 0, 0)] * (features.ndim - 3)
        edges += [(0, int(added), 0), (0, missing, 0), (0, 0, 0)]
        features = jax.lax.pad(features, jnp.zeros((), features.dtype), edges)
    return features


def add(*features: Features) -> Features:
    """Add features of any largest degrees and sets of parities."""
    irreps = functools.reduce(Irreps.union, map(Irreps.of, features))
    parts = [change_irreps(part, irreps) for part in features]
    return sum(parts[1:], start=parts[0])


def _parities(degree: int) -> np.ndarray:
    """Parity of the proper tensor of each component, 0 is even."""
    degrees = np.arange(degree + 1)
    return np.repeat(degrees % 2, 2 * degrees + 1)


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
        return _apply(self.weight, self.bias, features)


def apply_together(layers: Sequence[Dense], features: Features) -> Features:
    """Apply layers of the same irreps to the same features, as one product.

    Args:
        layers: all of them with a bias, or none.
        features: of the layers' irreps.

    Returns:
        The outputs of all layers side by side.
    """
    weight = jnp.concatenate([layer.weight for layer in layers], axis=-1)
    biases = [layer.bias for layer in layers if layer.bias is not None]
    return _apply(weight, jnp.concatenate(biases) if biases else None, features)


def _apply(weight: Array, bias: Array | None, features: Array) -> Array:
    *batch, parities, components, width = features.shape
    if parities == components == 1:
        output = matrix_product(features.reshape(-1, width), weight[0, 0])
        output = output.reshape(*batch, 1, 1, weight.shape[-1])
        return output if bias is None else output + bias
    rows = features.reshape(math.prod(batch), parities, components, width)
    output = degreewise_product(rows, weight)
    output = output.reshape(*batch, parities, components, weight.shape[-1])
    if bias is None:
        return output
    zero = jnp.zeros((), bias.dtype)
    edges = ((0, parities - 1, 0), (0, components - 1, 0), (0, 0, 0))
    return output + jax.lax.pad(bias[None, None], zero, edges)


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
