"""Constructor keywords of the reference implementation, and the configuration they stand for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import jax
import numpy as np
from jax.lax import PrecisionLike

from efa_zoo.attention.rotary import FrequencyFunction, linear_frequencies
from efa_zoo.base.config import (
    AttentionConfig,
    Evaluation,
    FrequencyConfig,
    IntegrationConfig,
    MessagePassingConfig,
    ModelConfig,
    Waves,
)
from efa_zoo.base.errors import ConfigError
from efa_zoo.interop.reference._names import NETWORK_NAMES, reference_names
from efa_zoo.interop.reference._values import (
    activation_name,
    float_dtype,
    lebedev_rule,
    read,
    required,
)

__all__ = ["AttentionOptions", "ModelOptions", "TensorIntegrationOptions"]


@dataclass(frozen=True, kw_only=True)
class AttentionOptions:
    """Keywords of the reference's `EuclideanFastAttention`, with its defaults.

    Flags that are None count as False, as they do there. `epe_num_frequencies` is only handed to
    `epe_frequencies_init_fn`. `param_dtype` is checked and has no effect: here the dtype of
    parameters and inputs decides.
    """

    lebedev_num: int | None = 6
    parametrized: bool | None = True
    num_features_qk: int | None = None
    max_degree_qk: int | None = None
    include_pseudotensors_qk: bool | None = None
    num_features_v: int | None = None
    max_degree_v: int | None = None
    include_pseudotensors_v: bool | None = None
    activation_fn: object = None
    tensor_integration: bool | None = False
    ti_max_degree_sph: int | None = None
    ti_include_pseudotensors: bool | None = None
    ti_max_degree: int | None = None
    ti_parametrize_coupling_paths: bool | None = False
    ti_degree_scaling_constants: tuple[float, ...] | None = None
    epe_frequencies_init_fn: object = None
    epe_num_frequencies: int | None = None
    epe_max_frequency: float | None = None
    epe_max_length: float | None = None
    epe_frequencies_trainable: bool | None = False
    param_dtype: object = None

    def __post_init__(self) -> None:
        float_dtype("param_dtype", self.param_dtype)
        activation_name("activation_fn", self.activation_fn)
        function = self.epe_frequencies_init_fn
        if function is not None and not callable(function):
            raise ConfigError(
                f"epe_frequencies_init_fn: got {function!r}, expected a function or none"
            )
        if self.tensor_integration:
            return
        for name, value in (
            ("ti_max_degree_sph", self.ti_max_degree_sph),
            ("ti_include_pseudotensors", self.ti_include_pseudotensors),
            ("ti_max_degree", self.ti_max_degree),
            ("ti_parametrize_coupling_paths", self.ti_parametrize_coupling_paths or None),
        ):
            if value is not None:
                raise ConfigError(
                    f"{name}: got {value!r}, expected none, because tensor_integration is off"
                )

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> AttentionOptions:
        """Read the keywords; raises ConfigError."""
        return read(cls, config)

    def to_config(self, evaluation: Evaluation) -> AttentionConfig:
        """The configuration of our layer; raises ConfigError."""
        integration = None
        with reference_names("attention"):
            if self.tensor_integration:
                integration = IntegrationConfig(
                    spherical_degree=self.ti_max_degree_sph,
                    degree=self.ti_max_degree,
                    pseudotensors=self.ti_include_pseudotensors,
                    trainable=bool(self.ti_parametrize_coupling_paths),
                    degree_constants=self.ti_degree_scaling_constants,
                )
            frequencies = FrequencyConfig(
                max_frequency=required("epe_max_frequency", self.epe_max_frequency),
                max_length=required("epe_max_length", self.epe_max_length),
                trainable=bool(self.epe_frequencies_trainable),
            )
            grid: dict[str, Any] = {}
            if evaluation != "exact":
                points = required("lebedev_num", self.lebedev_num)
                grid = {"grid": lebedev_rule(points), "tolerance": math.inf}
            return AttentionConfig(
                query_key_features=self.num_features_qk,
                value_features=self.num_features_v,
                query_key_degree=self.max_degree_qk,
                value_degree=self.max_degree_v,
                query_key_pseudotensors=self.include_pseudotensors_qk,
                value_pseudotensors=self.include_pseudotensors_v,
                project=bool(self.parametrized),
                activation=activation_name("activation_fn", self.activation_fn),
                kernel=Waves(frequencies=frequencies),
                integration=integration,
                evaluation=evaluation,
                **grid,
            )

    @property
    def frequency_function(self) -> FrequencyFunction:
        """The function that gives the frequencies."""
        if self.epe_frequencies_init_fn is None:
            return linear_frequencies
        function = cast("Callable[..., Any]", self.epe_frequencies_init_fn)
        return _ReferenceFrequencies(function, self.epe_num_frequencies)


@dataclass(frozen=True, kw_only=True)
class TensorIntegrationOptions:
    """Keywords of the reference's `TensorIntegration`, with its defaults.

    Flags that are None count as False, as they do there. `param_dtype` is checked and has no
    effect: here the parameters keep their dtype.
    """

    max_degree: int | None = None
    include_pseudotensors: bool | None = True
    cartesian_order: bool | None = True
    dtype: object = None
    param_dtype: object = None
    precision: object = None
    kernel_init: object = None
    parametrize_coupling_paths: bool | None = False

    def __post_init__(self) -> None:
        float_dtype("dtype", self.dtype)
        float_dtype("param_dtype", self.param_dtype)
        if not self.cartesian_order:
            raise ConfigError(
                f"cartesian_order: got {self.cartesian_order!r}, expected true, the only order of "
                "components here"
            )
        if self.kernel_init is not None:
            raise ConfigError(
                f"kernel_init: got {self.kernel_init!r}, expected none, because the parameters "
                "are given"
            )
        try:
            jax.lax.Precision(self.precision)
        except (ValueError, KeyError, TypeError):
            known = ", ".join(sorted({value.name.lower() for value in jax.lax.Precision}))
            raise ConfigError(
                f"precision: got {self.precision!r}, expected none or one of {known}"
            ) from None

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> TensorIntegrationOptions:
        """Read the keywords; raises ConfigError."""
        return read(cls, config)

    @property
    def kernel_dtype(self) -> np.dtype | None:
        """Floating-point type that the kernel is rounded to, if any."""
        return float_dtype("dtype", self.dtype)

    @property
    def lax_precision(self) -> PrecisionLike:
        """Precision of the products."""
        return None if self.precision is None else jax.lax.Precision(self.precision)


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Keywords of the reference's `EnergyModel`, with its defaults.

    Flags that are None count as False, as they do there; `era_include_pseudotensors` = None keeps
    what the features have. `iterated_tensor_products` and `era_num_frequencies` have no effect
    there, and none here.
    """

    cutoff: float = 5.0
    cutoff_fn: str | None = "smooth_cutoff"
    num_features: int = 32
    num_iterations: int = 2
    num_post_residual_mlps: int = 0
    self_interaction: bool | None = False
    atomic_dipole_embedding: bool | None = False
    mp_max_degree: int = 2
    radial_basis_fn: str = "reciprocal_bernstein"
    mp_num_basis_fn: int = 32
    iterated_tensor_products: bool | None = False
    era_tensor_integration: bool | None = False
    era_ti_max_degree_sph: int | None = None
    era_ti_max_degree: int | None = None
    era_ti_parametrize_coupling_paths: bool | None = False
    era_ti_degree_scaling_constants: tuple[float, ...] | None = None
    era_use_in_iterations: tuple[int, ...] | None = None
    era_max_degree: int | None = None
    era_include_pseudotensors: bool | None = False
    era_activation_fn: object = None
    era_num_frequencies: int | None = None
    era_max_frequency: float | None = None
    era_max_length: float | None = None
    era_lebedev_num: int | None = None
    era_qk_num_features: int | None = None
    era_v_num_features: int | None = None
    output_is_zero_at_init: bool | None = True
    use_switch: bool | None = True
    emulate_era_block: bool | None = False
    zmax: int = 118

    def __post_init__(self) -> None:
        activation_name("era_activation_fn", self.era_activation_fn)
        if not 2 <= self.zmax <= 119:
            raise ConfigError(f"zmax: got {self.zmax}, expected 2 to 119")

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> ModelOptions:
        """Read the keywords; raises ConfigError."""
        return read(cls, config)

    def to_config(self, evaluation: Evaluation) -> ModelConfig:
        """The configuration of our network; raises ConfigError.

        Numbers in `era_use_in_iterations` that no iteration has are left out. The embedding has
        `zmax` rows, so the highest atomic number that works is `zmax` - 1.
        """
        attending = sorted(set(self.era_use_in_iterations or ()) & set(range(self.num_iterations)))
        attention: dict[str, Any] = {}
        if attending:
            attention = {
                "attention": self._attention(evaluation),
                "attention_iterations": tuple(attending),
                "attention_degree": self.era_max_degree,
                "attention_pseudotensors": self.era_include_pseudotensors,
                "emulate_attention": bool(self.emulate_era_block),
            }
        fixed_range = not self.radial_basis_fn.startswith(("exponential_", "reciprocal_"))
        # Theirs are e3x's Bernstein polynomials; ours differ from them in the seventh digit.
        prefix = "e3x_" if self.radial_basis_fn.endswith("_bernstein") else ""
        with reference_names("model"):
            message_passing = MessagePassingConfig(
                cutoff=self.cutoff,
                degree=self.mp_max_degree,
                num_radial=self.mp_num_basis_fn,
                radial_basis=prefix + self.radial_basis_fn,
                radial_scale=1.0 if fixed_range else None,
                cutoff_function=self.cutoff_fn or "none",
            )
            return ModelConfig(
                features=self.num_features,
                iterations=self.num_iterations,
                highest_atomic_number=self.zmax - 1,
                message_passing=message_passing,
                combine="switch" if self.use_switch else "sum",
                residual_mlps=self.num_post_residual_mlps,
                self_interaction=bool(self.self_interaction),
                dipole_embedding=bool(self.atomic_dipole_embedding),
                zero_output=bool(self.output_is_zero_at_init),
                **attention,
            )

    def _attention(self, evaluation: Evaluation) -> AttentionConfig:
        if self.emulate_era_block:
            return AttentionConfig()
        with reference_names("network"):
            values = {name: getattr(self, source) for name, source in NETWORK_NAMES.items()}
            return AttentionOptions(**values).to_config(evaluation)


@dataclass(frozen=True)
class _ReferenceFrequencies:
    """A frequency function of the reference's signature, called in ours; equal by content."""

    function: Callable[..., Any]
    num_frequencies: int | None

    def __call__(self, number: int, config: FrequencyConfig) -> np.ndarray:
        dtype = jax.dtypes.canonicalize_dtype(float)
        return self.function(
            None, self.num_frequencies, 2 * number, config.max_frequency, config.max_length, dtype
        )
