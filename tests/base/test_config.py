"""Configurations: tables and back, and what is refused."""

from __future__ import annotations

import dataclasses
import math
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import hypothesis
import numpy as np
import pytest
import tomlkit
from hypothesis import strategies as st
from strategies import model_configs, training_configs

from efa_zoo.base.config import (
    AttentionConfig,
    Coulomb,
    FrequencyConfig,
    IntegrationConfig,
    MessagePassingConfig,
    ModelConfig,
    TrainingConfig,
    WindowedWaves,
    from_table,
    to_table,
)
from efa_zoo.base.errors import ConfigError


@hypothesis.settings(max_examples=50, derandomize=True, deadline=None, database=None)
@hypothesis.given(model_configs() | training_configs())
def test_a_table_in_toml_gives_the_configuration_back(
    config: ModelConfig | TrainingConfig,
) -> None:
    again = from_table(type(config), tomllib.loads(tomlkit.dumps(to_table(config))))
    assert again == config
    assert hash(again) == hash(config)
    assert repr(again) == repr(config)  # the types count too, 1 and 1.0 compare equal


def test_defaults_come_from_an_empty_table() -> None:
    for cls in (ModelConfig, TrainingConfig, AttentionConfig):
        assert from_table(cls, {}) == cls()
    assert from_table(ModelConfig, {"attention": {}}).attention == AttentionConfig()
    assert to_table(ModelConfig())["message_passing"]["cutoff"] == 5.0
    assert "attention" not in to_table(ModelConfig())


def test_integers_are_numbers_and_lists_are_tuples() -> None:
    config = from_table(MessagePassingConfig, {"cutoff": 4})
    assert type(config.cutoff) is float
    integration = from_table(IntegrationConfig, {"degree_constants": [1, 2.5]})
    assert repr(integration.degree_constants) == "(1.0, 2.5)"


def test_a_table_of_one_kind_of_several_names_it() -> None:
    kernel = Coulomb(widths=(1.0, 2.0), trainable=True)
    table = to_table(AttentionConfig(kernel=kernel))
    assert table["kernel"] == {
        "kind": "coulomb", "widths": [1.0, 2.0], "trainable": True, "max_length": 20.0
    }  # fmt: skip
    assert from_table(AttentionConfig, table).kernel == kernel
    assert from_table(Coulomb, to_table(kernel)) == kernel
    with pytest.raises(ConfigError, match=r"^kind: got 'waves', expected one of coulomb"):
        from_table(Coulomb, {"kind": "waves"})


def test_configurations_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ModelConfig().features = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        # Unknown keys, with a suggestion where one is close.
        ({"feature": 3}, "the top level: unknown key 'feature' (did you mean 'features'?)"),
        ({"xyz": 3}, "the top level: unknown key 'xyz' (known keys: features, iterations,"),
        (
            {"attention": {"kernel": {"kind": "waves", "frequencies": {"max_lenght": 3.0}}}},
            "model.attention.kernel.frequencies: unknown key 'max_lenght' (did you mean "
            "'max_length'?)",
        ),
        # Tables of one kind of several.
        (
            {"attention": {"kernel": {"widths": [1.0]}}},
            "model.attention.kernel: missing key 'kind', expected one of waves, windowed_waves, "
            "coulomb",
        ),
        (
            {"attention": {"kernel": {"kind": "coulom"}}},
            "model.attention.kernel.kind: got 'coulom', expected one of waves, windowed_waves, "
            "coulomb (did you mean 'coulomb'?)",
        ),
        (
            {"attention": {"kernel": {"kind": "coulomb", "width": 1.0}}},
            "model.attention.kernel: unknown key 'width' (did you mean 'widths'?)",
        ),
        (
            {"attention": {"kernel": {"kind": "coulomb", "widths": [1.0, 0.0]}}},
            "model.attention.kernel.widths: got 0.0, expected a positive number",
        ),
        ({"attention": {"kernel": "coulomb"}}, "model.attention.kernel: got 'coulomb', expected a"),
        # Wrong types.
        ({"features": "many"}, "model.features: got 'many', expected an integer"),
        ({"features": 3.5}, "model.features: got 3.5, expected an integer"),
        ({"features": True}, "model.features: got True, expected an integer"),
        ({"zero_output": 1}, "model.zero_output: got 1, expected true or false"),
        ({"message_passing": 3}, "model.message_passing: got 3, expected a table"),
        (
            {"message_passing": {"cutoff": True}},
            "model.message_passing.cutoff: got True, expected a number",
        ),
        (
            {"message_passing": {"radial_basis": 3}},
            "model.message_passing.radial_basis: got 3, expected a string",
        ),
        (
            {"attention": {}, "attention_iterations": [0, "a"]},
            "model.attention_iterations[1]: got 'a', expected an integer",
        ),
        (
            {"attention": {}, "attention_iterations": 0},
            "model.attention_iterations: got 0, expected a list",
        ),
        # Values out of range.
        ({"iterations": 0}, "model.iterations: got 0, expected at least 1"),
        (
            {"message_passing": {"cutoff": -1.0}},
            "model.message_passing.cutoff: got -1.0, expected a positive number",
        ),
        (
            {"message_passing": {"radial_basis": "reciprocal_bernstien"}},
            "model.message_passing.radial_basis: got 'reciprocal_bernstien', expected one of",
        ),
        (
            {"combine": "swich"},
            "model.combine: got 'swich', expected one of switch, sum (did you mean 'switch'?)",
        ),
        (
            {"attention": {"evaluation": "fast"}},
            "model.attention.evaluation: got 'fast', expected one of auto, exact, quadrature",
        ),
    ],
)
def test_a_wrong_table_is_refused_by_path_value_and_what_is_right(
    table: dict[str, Any], message: str
) -> None:
    where = "" if message.startswith("the top level") else "model"
    with pytest.raises(ConfigError, match="^" + re.escape(message)) as caught:
        from_table(ModelConfig, table, where)
    assert "\n" not in str(caught.value)


@dataclasses.dataclass(frozen=True)
class _Needs:
    value: int
    weights: Mapping[str, float] = dataclasses.field(default_factory=dict)


def test_missing_keys_and_nested_mappings() -> None:
    assert from_table(_Needs, {"value": 1, "weights": {"a": 2}}) == _Needs(1, {"a": 2.0})
    assert to_table(_Needs(1, {"a": 2.0})) == {"value": 1, "weights": {"a": 2.0}}
    with pytest.raises(ConfigError, match=r"^here: missing key 'value'$"):
        from_table(_Needs, {}, "here")
    with pytest.raises(ConfigError, match=r"^here\.weights\.a: got 'b', expected a number$"):
        from_table(_Needs, {"value": 1, "weights": {"a": "b"}}, "here")
    with pytest.raises(ConfigError, match=r"^weights: got 1, expected a table$"):
        from_table(_Needs, {"value": 1, "weights": 1})
    with pytest.raises(ConfigError, match=r"^the top level: got \[\], expected a table$"):
        from_table(_Needs, [])  # type: ignore[arg-type]


_ATTENTION = AttentionConfig()


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (MessagePassingConfig, {"cutoff": math.inf}, "cutoff: got inf, expected a positive"),
        (MessagePassingConfig, {"cutoff": math.nan}, "cutoff: got nan"),
        (MessagePassingConfig, {"degree": -1}, "degree: got -1, expected at least 0"),
        (MessagePassingConfig, {"num_radial": 0}, "num_radial: got 0"),
        (MessagePassingConfig, {"cutoff_function": "sharp"}, "cutoff_function: got 'sharp'"),
        (
            MessagePassingConfig,
            {"radial_basis": "sinc", "radial_scale": 0.0},
            "radial_scale: got 0.0",
        ),
        (
            MessagePassingConfig,
            {"radial_scale": 2.0},
            "radial_scale: got 2.0, expected none, because reciprocal_bernstein has no scale",
        ),
        (FrequencyConfig, {"max_frequency": 0.0}, "max_frequency: got 0.0"),
        (FrequencyConfig, {"max_length": -1.0}, "max_length: got -1.0"),
        (WindowedWaves, {"width": 0.0}, "width: got 0.0"),
        (Coulomb, {"widths": ()}, "widths: got (), expected at least one width"),
        (Coulomb, {"max_length": -1.0}, "max_length: got -1.0"),
        (IntegrationConfig, {"spherical_degree": -1}, "spherical_degree: got -1"),
        (IntegrationConfig, {"degree": -1}, "degree: got -1"),
        (
            IntegrationConfig,
            {"spherical_degree": 1, "degree_constants": (1.0,)},
            "degree_constants: got (1.0,), expected spherical_degree + 1 = 2 numbers",
        ),
        (AttentionConfig, {"query_key_features": 3}, "query_key_features: got 3, expected an even"),
        (AttentionConfig, {"query_key_features": 0}, "query_key_features: got 0"),
        (AttentionConfig, {"value_features": 0}, "value_features: got 0"),
        (AttentionConfig, {"query_key_degree": -1}, "query_key_degree: got -1"),
        (AttentionConfig, {"value_degree": -1}, "value_degree: got -1"),
        (AttentionConfig, {"activation": "tanh"}, "activation: got 'tanh'"),
        (
            AttentionConfig,
            {"project": False, "query_key_features": 4},
            "query_key_features: got 4, expected none",
        ),
        (
            AttentionConfig,
            {"project": False, "value_features": 4},
            "value_features: got 4, expected none",
        ),
        (AttentionConfig, {"tolerance": 1e-9}, "tolerance: got 1e-09, expected 1e-8 to 1e-3"),
        (AttentionConfig, {"tolerance": math.inf}, "tolerance: got inf"),
        (AttentionConfig, {"evaluation": "exact", "grid": 50}, "grid: got 50, expected none"),
        (ModelConfig, {"features": 0}, "features: got 0"),
        (ModelConfig, {"highest_atomic_number": 119}, "highest_atomic_number: got 119"),
        (ModelConfig, {"highest_atomic_number": 0}, "highest_atomic_number: got 0"),
        (ModelConfig, {"residual_mlps": -1}, "residual_mlps: got -1"),
        (ModelConfig, {"attention_iterations": (0,)}, "attention_iterations: got (0,)"),
        (ModelConfig, {"attention_degree": 1}, "attention_degree: got 1"),
        (ModelConfig, {"attention_pseudotensors": True}, "attention_pseudotensors: got True"),
        (ModelConfig, {"emulate_attention": True}, "emulate_attention: got True"),
        (ModelConfig, {"last_attention_degree": 1}, "last_attention_degree: got 1, expected none"),
        (ModelConfig, {"attention_after_messages": True}, "attention_after_messages: got True"),
        (
            ModelConfig,
            {"attention": _ATTENTION, "last_attention_degree": -1},
            "last_attention_degree: got -1",
        ),
        (
            ModelConfig,
            {"features": 3, "attention": _ATTENTION},
            "features: got 3, expected an even number",
        ),
        (
            ModelConfig,
            {"features": 3, "attention": AttentionConfig(project=False)},
            "features: got 3, expected an even number",
        ),
        (
            ModelConfig,
            {"attention": _ATTENTION, "attention_iterations": (2,)},
            "attention_iterations: got (2,), expected different numbers from 0 to 1",
        ),
        (
            ModelConfig,
            {"attention": _ATTENTION, "attention_iterations": ()},
            "attention_iterations: got ()",
        ),
        (
            ModelConfig,
            {"attention": _ATTENTION, "attention_iterations": (0, 0)},
            "attention_iterations: got (0, 0)",
        ),
        (
            ModelConfig,
            {"attention": _ATTENTION, "attention_degree": -1},
            "attention_degree: got -1",
        ),
        (TrainingConfig, {"batch_size": 0}, "batch_size: got 0"),
        (TrainingConfig, {"steps": 0}, "steps: got 0"),
        (TrainingConfig, {"steps": 5, "warmup_steps": 5}, "warmup_steps: got 5"),
        (TrainingConfig, {"learning_rate": math.nan}, "learning_rate: got nan"),
        (TrainingConfig, {"clip_norm": 0.0}, "clip_norm: got 0.0"),
        (TrainingConfig, {"huber_delta": 0.0}, "huber_delta: got 0.0"),
        (TrainingConfig, {"weight_decay": 0.1}, "weight_decay: got 0.1, expected 0, because"),
        (TrainingConfig, {"average_decay": 1.0}, "average_decay: got 1.0"),
        (TrainingConfig, {"final_learning_rate": 1.5}, "final_learning_rate: got 1.5"),
        (TrainingConfig, {"isolated_share": 1.0}, "isolated_share: got 1.0"),
        (TrainingConfig, {"energy_weight": -1.0}, "energy_weight: got -1.0"),
        (
            TrainingConfig,
            {"energy_weight": 0.0, "force_weight": 0.0},
            "force_weight: got 0.0, expected a positive number",
        ),
        (TrainingConfig, {"optimizer": "sgd"}, "optimizer: got 'sgd'"),
        (TrainingConfig, {"loss": "cubic"}, "loss: got 'cubic'"),
        (TrainingConfig, {"seed": -1}, "seed: got -1"),
        (TrainingConfig, {"validation_interval": 0}, "validation_interval: got 0"),
    ],
)
def test_values_out_of_range_are_refused_by_name(
    make: type, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match="^" + re.escape(message)):
        make(**options)


@hypothesis.settings(max_examples=20, derandomize=True, deadline=None, database=None)
@hypothesis.given(st.sets(st.integers(0, 3), min_size=1).map(tuple))
def test_blocks_that_attend(chosen: tuple[int, ...]) -> None:
    config = ModelConfig(iterations=4, attention=_ATTENTION, attention_iterations=chosen)
    assert [config.attends(i) for i in range(4)] == [i in chosen for i in range(4)]
    assert all(ModelConfig(attention=_ATTENTION).attends(i) for i in range(2))
    assert not ModelConfig().attends(0)


@hypothesis.given(distance=st.floats(1.0, 100.0), place=st.floats(0.05, 1.0))
def test_frequencies_for_a_distance_add_up_to_coulombs_law(distance: float, place: float) -> None:
    number = 20_000
    config = FrequencyConfig.for_distance(distance, number)
    frequencies = np.linspace(0.0, config.max_frequency, number) / config.max_length
    r = place * distance
    waves = np.sinc(frequencies * r / np.pi)
    sum_of_waves = frequencies[1] / np.pi * (2 * waves.sum() - waves[0])
    assert sum_of_waves * r == pytest.approx(1, abs=1e-3)


def test_frequencies_for_a_distance_repeat_beyond_it() -> None:
    config = FrequencyConfig.for_distance(12.0, 8, trainable=True)
    assert config.trainable
    assert config.max_length == 12.0
    assert config.max_frequency / 7 / 12.0 * 15.0 == pytest.approx(2 * math.pi)


@pytest.mark.parametrize(
    ("distance", "number", "field"), [(0.0, 8, "distance"), (9.0, 1, "num_frequencies")]
)
def test_frequencies_for_no_distance_are_refused(distance: float, number: int, field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        FrequencyConfig.for_distance(distance, number)
