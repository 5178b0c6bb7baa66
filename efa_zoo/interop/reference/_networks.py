"""The reference implementation's networks and layers as ours."""

from __future__ import annotations

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from efa_zoo.attention.integration import TensorIntegration
from efa_zoo.attention.module import EuclideanFastAttention
from efa_zoo.attention.rotary import FrequencyFunction
from efa_zoo.base.config import AttentionConfig, Evaluation, Waves
from efa_zoo.base.errors import WeightsError
from efa_zoo.interop.reference._names import reference_names
from efa_zoo.interop.reference._options import (
    AttentionOptions,
    ModelOptions,
    TensorIntegrationOptions,
)
from efa_zoo.interop.reference._parameters import (
    Leaves,
    attention_recipe,
    check,
    dense_input,
    flatten,
    integration_recipe,
    make,
    model_recipe,
)
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.nn.coupling import Irreps

__all__ = [
    "DeferredAttention",
    "DeferredTensorIntegration",
    "attention",
    "energy_model",
    "tensor_integration",
]


class DeferredAttention(eqx.Module):
    """Attention without projections, whose parameters do not tell the inputs it is made for.

    Called like an `EuclideanFastAttention`, it makes the layer for the irreps of its inputs.

    Attributes:
        parameters: the reference's parameters by path.
        config: all options.
        frequency_function: gives the frequencies.
    """

    parameters: dict[str, Array]
    config: AttentionConfig = eqx.field(static=True)
    frequency_function: FrequencyFunction = eqx.field(static=True)

    def for_inputs(self, irreps: Irreps, features: int) -> EuclideanFastAttention:
        """The layer for inputs of these irreps and number of features.

        Raises:
            ConfigError: an option does not fit the inputs.
            WeightsError: a parameter does not fit them.
        """
        return _attention(self.parameters, self.config, self.frequency_function, irreps, features)

    def __call__(
        self,
        features: Float[Array, "atoms parities components features"],
        positions: Float[Array, "atoms 3"],
        atom_mask: Bool[Array, " atoms"] | None = None,
    ) -> Float[Array, "atoms out_parities out_components features"]:
        """Attend within one molecule, see `EuclideanFastAttention`."""
        layer = self.for_inputs(Irreps.of(features), features.shape[-1])
        return layer(features, positions, atom_mask)


class DeferredTensorIntegration(eqx.Module):
    """Tensor integration without weights, which can be made for any two functions.

    Called like a `TensorIntegration`, it makes the layer for the irreps of the functions.

    Attributes:
        options: the reference's keywords.
    """

    options: TensorIntegrationOptions = eqx.field(static=True)

    def __call__(
        self,
        first: Float[Array | np.ndarray, "*#batch grid parities1 components1 features"],
        second: Float[Array | np.ndarray, "*#batch grid parities2 components2 features"],
        grid_weights: Float[Array | np.ndarray, " grid"],
    ) -> Float[Array, "... parities3 components3 features"]:
        """Integrate the product of two functions given on a grid, see `TensorIntegration`."""
        first, second = jnp.asarray(first), jnp.asarray(second)
        layer = _integration(self.options, Irreps.of(first), Irreps.of(second), first.shape[-1])
        return layer(first, second, grid_weights)


def attention(
    params: Mapping[str, object] | None,
    config: Mapping[str, object],
    *,
    evaluation: Evaluation = "quadrature",
) -> EuclideanFastAttention | DeferredAttention:
    """The reference's `EuclideanFastAttention` as our layer.

    Args:
        params: its "params" dictionary; empty or None where it has no parameters.
        config: its constructor keywords.
        evaluation: how to integrate over directions, see `AttentionConfig`.

    Returns:
        The layer. Without projections (`parametrized=False`) the inputs are only known when it
        is called, so a `DeferredAttention` that makes it then.

    Raises:
        ConfigError: an option is unknown, of the wrong type, or has no counterpart here.
        WeightsError: a parameter is missing, not expected or of the wrong shape.
    """
    options = AttentionOptions.of(config)
    ours, function = options.to_config(evaluation), options.frequency_function
    leaves = flatten(params)
    if ours.project:
        return _attention(leaves, ours, function, *dense_input(leaves, "Dense_0"))
    names = ["frequencies"] if _has_trainable_frequencies(ours) else []
    if ours.integration is not None and ours.integration.trainable:
        names.append("TensorIntegration_0/kernel")
    check(leaves, dict.fromkeys(names))
    arrays = {path: jnp.asarray(leaf) for path, leaf in leaves.items()}
    return DeferredAttention(arrays, ours, function)


def tensor_integration(
    params: Mapping[str, object] | None, config: Mapping[str, object]
) -> TensorIntegration | DeferredTensorIntegration:
    """The reference's `TensorIntegration` as our layer.

    Args:
        params: its "params" dictionary; empty or None where it has no parameters.
        config: its constructor keywords.

    Returns:
        The layer, called with the two functions and the grid's weights. Without trainable
        coupling paths the inputs are only known when it is called, so a
        `DeferredTensorIntegration` that makes it then.

    Raises:
        ConfigError: an option is unknown, of the wrong type, or has no counterpart here.
        WeightsError: a parameter is missing, not expected or of the wrong shape.
    """
    options = TensorIntegrationOptions.of(config)
    leaves = flatten(params)
    if not options.parametrize_coupling_paths:
        check(leaves, {})
        return DeferredTensorIntegration(options)
    check(leaves, {"kernel": None})
    shape = tuple(leaves["kernel"].shape)
    if len(shape) != 7 or not {shape[0], shape[2], shape[4]} <= {1, 2} or 0 in shape:
        raise WeightsError(
            f"params: kernel has shape {shape}, expected (1 or 2, degree1 + 1, 1 or 2, degree2 + "
            "1, 1 or 2, degree3 + 1, features)"
        )
    first, second = Irreps(shape[1] - 1, shape[0] == 2), Irreps(shape[3] - 1, shape[2] == 2)
    layer = eqx.filter_eval_shape(_integration, options, first, second, shape[-1])
    kernel = jnp.asarray(leaves["kernel"], options.kernel_dtype)
    return make(integration_recipe(layer), {"kernel": kernel})


def energy_model(
    params: Mapping[str, object],
    config: Mapping[str, object],
    *,
    evaluation: Evaluation = "quadrature",
) -> EnergyModel:
    """The reference's `EnergyModel` as our network.

    Its `zmax` is the number of rows of the embedding, counted from 0, so elements up to
    `zmax` - 1 work; the entry of `zmax` in its element bias is left out.

    Args:
        params: its "params" dictionary.
        config: its constructor keywords.
        evaluation: how attention integrates over directions, see `AttentionConfig`.

    Returns:
        The network.

    Raises:
        ConfigError: an option is unknown, of the wrong type, or has no counterpart here.
        WeightsError: a parameter is missing, not expected or of the wrong shape.
    """
    ours = ModelOptions.of(config).to_config(evaluation)
    with reference_names("network"), reference_names("attention"):
        network = eqx.filter_eval_shape(EnergyModel, ours, key=jax.random.key(0))
    return make(model_recipe(network), flatten(params))


def _has_trainable_frequencies(config: AttentionConfig) -> bool:
    return isinstance(config.kernel, Waves) and config.kernel.frequencies.trainable


def _attention(
    leaves: Leaves,
    config: AttentionConfig,
    function: FrequencyFunction,
    irreps: Irreps,
    features: int,
) -> EuclideanFastAttention:
    with reference_names("attention"):
        layer = eqx.filter_eval_shape(
            EuclideanFastAttention,
            irreps,
            features,
            config,
            frequency_function=function,
            key=jax.random.key(0),
        )
    return make(attention_recipe(layer), leaves)


def _integration(
    options: TensorIntegrationOptions, first: Irreps, second: Irreps, features: int
) -> TensorIntegration:
    # There, a narrower dtype rounds the kernel and a wider one promotes the result.
    wider = options.kernel_dtype == np.float64
    with reference_names("integration"):
        return TensorIntegration(
            first,
            second,
            features,
            degree=options.max_degree,
            pseudotensors=bool(options.include_pseudotensors),
            trainable=bool(options.parametrize_coupling_paths),
            dtype=options.kernel_dtype if wider else None,
            precision=options.lax_precision,
            key=jax.random.key(0),
        )
