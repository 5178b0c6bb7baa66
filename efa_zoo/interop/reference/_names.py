"""Names of the reference's options, and of our fields that they become."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from efa_zoo.base.errors import ConfigError

__all__ = ["NETWORK_NAMES", "reference_names"]

# Names of our fields in messages, and of the reference's options that they come from.
_ATTENTION_NAMES = {
    "query_key_features": "num_features_qk",
    "value_features": "num_features_v",
    "query_key_degree": "max_degree_qk",
    "value_degree": "max_degree_v",
    "activation": "activation_fn",
    "max_frequency": "epe_max_frequency",
    "max_length": "epe_max_length",
    "spherical_degree": "ti_max_degree_sph",
    "degree": "ti_max_degree",
    "degree_constants": "ti_degree_scaling_constants",
    "frequency_function": "epe_frequencies_init_fn",
}
_MODEL_NAMES = {
    "features": "num_features",
    "iterations": "num_iterations",
    "degree": "mp_max_degree",
    "num_radial": "mp_num_basis_fn",
    "radial_basis": "radial_basis_fn",
    "cutoff_function": "cutoff_fn",
    "attention_degree": "era_max_degree",
    "residual_mlps": "num_post_residual_mlps",
}
_INTEGRATION_NAMES = {"degree": "max_degree"}
# Options of the attention module, and of the network that hands them to it.
NETWORK_NAMES = {
    "lebedev_num": "era_lebedev_num",
    "num_features_qk": "era_qk_num_features",
    "num_features_v": "era_v_num_features",
    "activation_fn": "era_activation_fn",
    "tensor_integration": "era_tensor_integration",
    "ti_max_degree_sph": "era_ti_max_degree_sph",
    "ti_max_degree": "era_ti_max_degree",
    "ti_parametrize_coupling_paths": "era_ti_parametrize_coupling_paths",
    "ti_degree_scaling_constants": "era_ti_degree_scaling_constants",
    "epe_num_frequencies": "era_num_frequencies",
    "epe_max_frequency": "era_max_frequency",
    "epe_max_length": "era_max_length",
}


@contextlib.contextmanager
def reference_names(kind: str) -> Generator[None]:
    """Name the reference's options instead of our fields in a `ConfigError` of the block.

    Args:
        kind: whose options: "attention", "integration", "model", or "network" for the options of
            the attention that a model hands on.
    """
    names = {
        "attention": _ATTENTION_NAMES,
        "integration": _INTEGRATION_NAMES,
        "model": _MODEL_NAMES,
        "network": NETWORK_NAMES,
    }[kind]
    try:
        yield
    except ConfigError as error:
        field, separator, rest = str(error).partition(": ")
        raise ConfigError(f"{names.get(field, field)}{separator}{rest}") from None
