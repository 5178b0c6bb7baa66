"""Configuration as frozen dataclasses, nested so that invalid combinations cannot be written.

A zoo file's tables are read by `from_table`; `to_table` is its inverse.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from efa_zoo.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from efa_zoo._typing import JSON

__all__ = [
    "ACTIVATIONS",
    "CUTOFF_FUNCTIONS",
    "RADIAL_BASES",
    "AttentionConfig",
    "FrequencyConfig",
    "IntegrationConfig",
    "MessagePassingConfig",
    "ModelConfig",
    "TrainingConfig",
    "from_table",
    "to_table",
]

#: Gated equivariant activations of e3x, and the identity.
ACTIVATIONS: tuple[str, ...] = (
    "identity", "bent_identity", "celu", "elu", "gelu", "hard_silu", "hard_swish", "hard_tanh",
    "leaky_relu", "mish", "relu", "relu6", "selu", "serf", "shifted_softplus", "silu",
    "soft_sign", "swish",
)  # fmt: skip

#: Radial basis functions of e3x; `e3x_…` are those of which we have a more accurate form.
RADIAL_BASES: tuple[str, ...] = (
    "basic_bernstein", "basic_chebyshev", "basic_fourier", "basic_gaussian",
    "exponential_bernstein", "exponential_chebyshev", "exponential_fourier",
    "exponential_gaussian", "reciprocal_bernstein", "reciprocal_chebyshev",
    "reciprocal_fourier", "reciprocal_gaussian", "rectangular_window", "sinc", "smooth_window",
    "triangular_window", "e3x_basic_bernstein", "e3x_exponential_bernstein",
    "e3x_reciprocal_bernstein",
)  # fmt: skip

#: Cutoff functions of e3x, and none.
CUTOFF_FUNCTIONS: tuple[str, ...] = ("smooth_cutoff", "cosine_cutoff", "none")

Evaluation = Literal["auto", "exact", "quadrature"]


def _check(condition: bool, field: str, value: object, expected: str) -> None:
    if not condition:
        raise ConfigError(f"{field}: got {value!r}, expected {expected}")


def _check_choice(field: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        close = difflib.get_close_matches(str(value), choices, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ConfigError(f"{field}: got {value!r}, expected one of {', '.join(choices)}{hint}")


def _check_at_least(field: str, value: float, bound: float) -> None:
    _check(value >= bound, field, value, f"at least {bound}")


def _check_positive(field: str, value: float) -> None:
    _check(math.isfinite(value) and value > 0, field, value, "a positive number")


@dataclass(frozen=True, kw_only=True)
class MessagePassingConfig:
    """Local message passing.

    Attributes:
        cutoff: range in Å, above 0.
        degree: largest degree of the spherical harmonics of the pair vectors, at least 0.
        num_radial: number of radial basis functions, at least 1.
        radial_basis: one of `RADIAL_BASES`.
        radial_scale: above 0; `limit` (Å) of `basic_*`, `*_window` and `sinc` (None: the cutoff)
            or `gamma` (1/Å) of the `exponential_*` ones (None: 1). `reciprocal_*` have none.
        cutoff_function: one of `CUTOFF_FUNCTIONS`; "none" leaves the cutoff sharp.
    """

    cutoff: float = 5.0
    degree: int = 2
    num_radial: int = 32
    radial_basis: str = "reciprocal_bernstein"
    radial_scale: float | None = None
    cutoff_function: str = "smooth_cutoff"

    def __post_init__(self) -> None:
        _check_positive("cutoff", self.cutoff)
        _check_at_least("degree", self.degree, 0)
        _check_at_least("num_radial", self.num_radial, 1)
        _check_choice("radial_basis", self.radial_basis, RADIAL_BASES)
        if self.radial_scale is not None:
            _check_positive("radial_scale", self.radial_scale)
            _check(
                "reciprocal" not in self.radial_basis,
                "radial_scale",
                self.radial_scale,
                f"none, because {self.radial_basis} has no scale",
            )
        _check_choice("cutoff_function", self.cutoff_function, CUTOFF_FUNCTIONS)


@dataclass(frozen=True, kw_only=True)
class FrequencyConfig:
    """Frequencies of the rotary encoding, ω = linspace(0, max_frequency, pairs) / max_length.

    Attributes:
        max_frequency: phase (radians) that the highest frequency reaches over `max_length`,
            above 0.
        max_length: longest distance expected between two atoms, in Å, above 0.
        trainable: the frequencies are parameters.
    """

    max_frequency: float = math.pi
    max_length: float = 10.0
    trainable: bool = False

    def __post_init__(self) -> None:
        _check_positive("max_frequency", self.max_frequency)
        _check_positive("max_length", self.max_length)

    @classmethod
    def for_distance(
        cls, distance: float, pairs: int, *, trainable: bool = False
    ) -> FrequencyConfig:
        """Frequencies whose waves add up to 1/r, or any smooth function, over a distance.

        Evenly spaced waves repeat after r = 2π / Δω, and 1/r = Δω/π (1 + 2 Σ sinc(k Δω r)) up to
        there (Poisson's sum). The spacing Δω = 2π / (1.25 distance) leaves a margin. A wider one
        makes atoms that are far apart look close; a narrower one gives waves that differ little,
        of which training has to add large amounts of opposite sign.

        Args:
            distance: longest distance between two atoms that the network is to know, in Å, above 0.
            pairs: feature pairs, half of `AttentionConfig.query_key_features`, at least 2.
            trainable: the frequencies are parameters.

        Returns:
            Settings with `max_length` equal to the distance.

        Raises:
            ConfigError: a number is out of its range.
        """
        _check_positive("distance", distance)
        _check_at_least("pairs", pairs, 2)
        highest = 2 * math.pi / 1.25 * (pairs - 1)
        return cls(max_frequency=highest, max_length=distance, trainable=trainable)


@dataclass(frozen=True, kw_only=True)
class IntegrationConfig:
    """Tensor integration: attention along u is coupled with the spherical harmonics of u.

    Attributes:
        spherical_degree: largest degree of Y(u), at least 0; None takes that of the input features.
        degree: largest degree of the output, at least 0; None takes that of the input features.
        pseudotensors: keep pseudotensors in the output, None does as the input.
        trainable: one weight per coupling path and feature instead of the constant 1.
        degree_constants: factor on each degree of Y(u), `spherical_degree + 1` numbers.
    """

    spherical_degree: int | None = None
    degree: int | None = None
    pseudotensors: bool | None = None
    trainable: bool = False
    degree_constants: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if self.spherical_degree is not None:
            _check_at_least("spherical_degree", self.spherical_degree, 0)
        if self.degree is not None:
            _check_at_least("degree", self.degree, 0)
        if self.degree_constants is not None and self.spherical_degree is not None:
            _check(
                len(self.degree_constants) == self.spherical_degree + 1,
                "degree_constants",
                self.degree_constants,
                f"spherical_degree + 1 = {self.spherical_degree + 1} numbers",
            )


@dataclass(frozen=True, kw_only=True)
class AttentionConfig:
    """Euclidean fast attention.

    Attributes:
        query_key_features: even number of features of query and key, at least 2; None takes the
            input's.
        value_features: number of features of the value, at least 1; None takes the input's.
        query_key_degree: largest degree of query and key, at least 0; None takes the input's.
        value_degree: largest degree of the value, at least 0; None takes the input's.
        query_key_pseudotensors: keep (True) or drop (False) them, None does as the input.
        value_pseudotensors: keep (True) or drop (False) them, None does as the input.
        project: trainable projections to query, key and value.
        activation: gated activation on query and key, one of `ACTIVATIONS`.
        frequencies: frequencies of the rotary encoding.
        integration: tensor integration, None integrates the scalar kernel.
        evaluation: "exact" sums over pairs, "quadrature" over directions, "auto" takes the
            cheaper one for the static number of atoms.
        grid: number of Lebedev points, None picks the smallest grid within `tolerance`.
        tolerance: largest quadrature error of the kernel over distances to `max_length`, 1e-8 to
            1e-3; inf takes a given grid as it is.
    """

    query_key_features: int | None = None
    value_features: int | None = None
    query_key_degree: int | None = None
    value_degree: int | None = None
    query_key_pseudotensors: bool | None = None
    value_pseudotensors: bool | None = None
    project: bool = True
    activation: str = "identity"
    frequencies: FrequencyConfig = FrequencyConfig()
    integration: IntegrationConfig | None = None
    evaluation: Evaluation = "auto"
    grid: int | None = None
    tolerance: float = 1e-5

    def __post_init__(self) -> None:
        if self.query_key_features is not None:
            _check(
                self.query_key_features >= 2 and self.query_key_features % 2 == 0,
                "query_key_features",
                self.query_key_features,
                "an even number of at least 2",
            )
        if self.value_features is not None:
            _check_at_least("value_features", self.value_features, 1)
        for field in ("query_key_degree", "value_degree"):
            if getattr(self, field) is not None:
                _check_at_least(field, getattr(self, field), 0)
        if not self.project:
            for field in ("query_key_features", "value_features"):
                _check(
                    getattr(self, field) is None,
                    field,
                    getattr(self, field),
                    "none, because without projections the input's features are used",
                )
        _check_choice("activation", self.activation, ACTIVATIONS)
        _check_choice("evaluation", self.evaluation, typing.get_args(Evaluation))
        _check(
            1e-8 <= self.tolerance <= 1e-3
            or (self.tolerance == math.inf and self.grid is not None),
            "tolerance",
            self.tolerance,
            "1e-8 to 1e-3 (or inf with a given grid)",
        )
        if self.grid is not None:
            _check(
                self.evaluation != "exact",
                "grid",
                self.grid,
                "none, because exact evaluation needs no grid",
            )


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """An O(3)-equivariant message-passing network with or without attention.

    Attributes:
        features: number of features, at least 1; an even number where query and key take it.
        iterations: number of interaction blocks, at least 1; the last one produces scalars only.
        highest_atomic_number: elements 1 to this one are known, up to 118.
        message_passing: the local block.
        attention: the global block, None for a local network.
        attention_iterations: blocks that attend, counted from 0; None means all.
        attention_degree: largest degree of the features that attention sees in all but the last
            block, at least 0; None takes them as they are.
        attention_pseudotensors: whether attention sees pseudotensors in all but the last block,
            None takes the features as they are.
        emulate_attention: a dense layer in place of attention (ablation of the paper).
        combine: "switch" weighs local and global updates by a trainable constant, "sum" adds.
        direct_updates: messages and attended features reach the next block also past the
            perceptrons, unchanged. Interactions that are linear in what atoms send, like that of
            charges, then stay exact at any strength.
        residual_mlps: number of residual perceptrons after each block, at least 0.
        self_interaction: tensor product of the features with themselves after each block.
        dipole_embedding: atomic dipoles are the initial features of degree 1.
        zero_output: last layers start at zero, so that a new network predicts zero.
    """

    features: int = 32
    iterations: int = 2
    highest_atomic_number: int = 118
    message_passing: MessagePassingConfig = MessagePassingConfig()
    attention: AttentionConfig | None = None
    attention_iterations: tuple[int, ...] | None = None
    attention_degree: int | None = None
    attention_pseudotensors: bool | None = None
    emulate_attention: bool = False
    combine: Literal["switch", "sum"] = "switch"
    direct_updates: bool = False
    residual_mlps: int = 0
    self_interaction: bool = False
    dipole_embedding: bool = False
    zero_output: bool = True

    def __post_init__(self) -> None:
        _check_at_least("features", self.features, 1)
        _check_at_least("iterations", self.iterations, 1)
        _check(
            1 <= self.highest_atomic_number <= 118,
            "highest_atomic_number",
            self.highest_atomic_number,
            "1 to 118",
        )
        _check_at_least("residual_mlps", self.residual_mlps, 0)
        _check_choice("combine", self.combine, ("switch", "sum"))
        if self.attention is None:
            for field in ("attention_iterations", "attention_degree", "attention_pseudotensors"):
                _check(
                    getattr(self, field) is None,
                    field,
                    getattr(self, field),
                    "none, because the model has no attention",
                )
            _check(
                not self.emulate_attention,
                "emulate_attention",
                self.emulate_attention,
                "false, because the model has no attention to emulate",
            )
        elif self.attention.query_key_features is None and not self.emulate_attention:
            _check(
                self.features % 2 == 0,
                "features",
                self.features,
                "an even number, because query and key take it",
            )
        if self.attention_degree is not None:
            _check_at_least("attention_degree", self.attention_degree, 0)
        if self.attention_iterations is not None:
            chosen = self.attention_iterations
            _check(
                len(set(chosen)) == len(chosen) > 0
                and all(0 <= i < self.iterations for i in chosen),
                "attention_iterations",
                chosen,
                f"different numbers from 0 to {self.iterations - 1}",
            )

    def attends(self, iteration: int) -> bool:
        """Whether block `iteration` has a global part."""
        if self.attention is None:
            return False
        return self.attention_iterations is None or iteration in self.attention_iterations


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How a model is trained.

    Attributes:
        batch_size: molecules in a batch, at least 1.
        steps: number of optimiser steps, at least 1.
        learning_rate: peak learning rate, above 0.
        warmup_steps: steps of linear warm-up from zero, fewer than `steps`.
        final_learning_rate: learning rate at the end of the cosine decay, as a fraction of the
            peak, 0 to 1.
        optimizer: "adam", "adamw" or "muon" (maps between features by
            Muon, everything else by AdamW).
        weight_decay: decoupled weight decay (adamw and muon), at least 0.
        clip_norm: largest global norm of a gradient, above 0.
        average_decay: decay of the exponential moving average of the weights, 0 to below 1; 0
            switches it off.
        energy_weight: weight of the energy term, at least 0.
        force_weight: weight of the force term, at least 0; above 0 where `energy_weight` is 0.
        loss: "huber" (of `huber_delta`) or "squared".
        huber_delta: width in units of the residual, eV and eV/Å, above 0.
        isolated_share: share of the molecules of an epoch that are isolated ones, every kind
            equally often, by repeating them, 0 to below 1; 0 takes the data as they are.
            Interaction energies are differences to isolated molecules, of which data sets of pairs
            hold few.
        frozen: parameters that keep their values, as patterns of the names in a weights file:
            `"embedding.*"`, `"interactions.0.*"`.
        body_rate: learning rate of everything but the readout (the parameters `readout` and
            `element_bias`), as a fraction of `learning_rate`, above 0 and up to 1.
        validation_interval: steps between validations and checkpoints, at least 1.
        patience: validations in a row without a better one after which training stops early, at
            least 1; None never stops early.
        seed: of initial weights and of the order of the batches, at least 0.
    """

    batch_size: int = 16
    steps: int = 100_000
    learning_rate: float = 1e-3
    warmup_steps: int = 1_000
    final_learning_rate: float = 0.001
    optimizer: Literal["adam", "adamw", "muon"] = "adam"
    weight_decay: float = 0.0
    clip_norm: float = 10.0
    average_decay: float = 0.999
    energy_weight: float = 1.0
    force_weight: float = 1.0
    loss: Literal["huber", "squared"] = "huber"
    huber_delta: float = 0.05
    isolated_share: float = 0.0
    frozen: tuple[str, ...] = ()
    body_rate: float = 1.0
    validation_interval: int = 2_000
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("batch_size", "steps", "validation_interval"):
            _check_at_least(field, getattr(self, field), 1)
        for field in ("warmup_steps", "seed"):
            _check_at_least(field, getattr(self, field), 0)
        _check(
            self.warmup_steps < self.steps, "warmup_steps", self.warmup_steps, "fewer than steps"
        )
        for field in ("learning_rate", "clip_norm", "huber_delta"):
            _check_positive(field, getattr(self, field))
        for field in ("weight_decay", "energy_weight", "force_weight"):
            _check_at_least(field, getattr(self, field), 0)
        _check(
            self.energy_weight + self.force_weight > 0,
            "force_weight",
            self.force_weight,
            "a positive number where energy_weight is 0",
        )
        _check(
            0 <= self.final_learning_rate <= 1,
            "final_learning_rate",
            self.final_learning_rate,
            "0 to 1, a fraction of learning_rate",
        )
        _check(0 <= self.isolated_share < 1, "isolated_share", self.isolated_share, "0 to below 1")
        _check(all(self.frozen), "frozen", self.frozen, "patterns that are not empty")
        _check(0 < self.body_rate <= 1, "body_rate", self.body_rate, "above 0, up to 1")
        if self.patience is not None:
            _check_at_least("patience", self.patience, 1)
        _check(0 <= self.average_decay < 1, "average_decay", self.average_decay, "0 to below 1")
        _check_choice("optimizer", self.optimizer, ("adam", "adamw", "muon"))
        _check_choice("loss", self.loss, ("huber", "squared"))
        _check(
            self.optimizer != "adam" or self.weight_decay == 0,
            "weight_decay",
            self.weight_decay,
            "0, because the optimizer adam has none",
        )


_T = TypeVar("_T")


def from_table(cls: type[_T], table: Mapping[str, object], where: str = "") -> _T:
    """Build a configuration dataclass from a TOML table, recursively.

    Args:
        cls: a dataclass of this module, or one made of the same kinds of fields.
        table: keys and values as `tomllib` reads them.
        where: dotted path of the table, for messages.

    Returns:
        The dataclass.

    Raises:
        ConfigError: an unknown or missing key, a wrong type or a value out of range, with the
            dotted path of the key, the value and what was expected.
    """
    path = where or "the top level"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{path}: got {table!r}, expected a table")
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            close = difflib.get_close_matches(str(key), fields, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(fields)}"
            raise ConfigError(f"{path}: unknown key {key!r} ({hint})")
    values = {}
    for name, field in fields.items():
        dotted = f"{where}.{name}" if where else name
        if name in table:
            values[name] = _convert(hints[name], table[name], dotted)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{path}: missing key {name!r}")
    try:
        return cls(**values)
    except ConfigError as error:
        prefix = f"{where}." if where else ""
        raise ConfigError(f"{prefix}{error}") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check `value` against the type `hint` and convert tables and lists."""
    origin: Any = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        options = [option for option in arguments if option is not types.NoneType]
        if value is None and len(options) < len(arguments):
            return None
        if len(options) == 1:
            return _convert(options[0], value, where)
    if origin is Literal:
        _check_choice(where, value, arguments)
        return value
    if dataclasses.is_dataclass(hint):
        table = typing.cast("Mapping[str, Any]", value)
        return from_table(typing.cast("type", hint), table, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: got {value!r}, expected a list")
        return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: got {value!r}, expected a table")
        return {
            str(key): _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()
        }
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (bool, int, float, str):
        if type(value) is not hint:
            raise ConfigError(f"{where}: got {value!r}, expected {_TYPE_NAMES[hint]}")
        return value
    return value


_TYPE_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
}


def to_table(config: DataclassInstance) -> dict[str, JSON]:
    """The TOML table of a configuration dataclass; fields that are None are left out."""
    return {
        field.name: _plain(getattr(config, field.name))
        for field in dataclasses.fields(config)
        if getattr(config, field.name) is not None
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_table(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
