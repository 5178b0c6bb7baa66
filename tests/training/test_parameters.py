"""What a recipe trains: frozen parameters, the slower body, and patterns without effect."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from regression import make_batch, small_model

from efa_zoo.base.config import TrainingConfig
from efa_zoo.base.errors import ConfigError
from efa_zoo.training import initial_state, training_step
from efa_zoo.training.parameters import trained_parameters
from efa_zoo.training.step import optimizer

_CONFIG = TrainingConfig(steps=10, warmup_steps=0, learning_rate=0.1)
_GRADIENT = {
    "embedding": {"weight": jnp.asarray([3.0, -4.0])},
    "readout": jnp.asarray([1.0, 2.0]),
    "element_bias": jnp.asarray([-2.0]),
}


def _updates(config: TrainingConfig, gradients: list[Any]) -> list[Any]:
    rule = optimizer(config)
    weights = jax.tree.map(jnp.ones_like, gradients[0])
    state, updates = rule.init(weights), []
    for gradient in gradients:
        update, state = rule.update(gradient, state, weights)
        updates.append(update)
    return updates


@pytest.mark.parametrize("name", ["adam", "adamw", "muon"])
def test_the_body_learns_by_its_fraction_of_the_rate(name: str) -> None:
    config = dataclasses.replace(
        _CONFIG, optimizer=name, weight_decay=0.0 if name == "adam" else 0.2
    )
    gradients = [_GRADIENT, jax.tree.map(lambda x: 0.3 * x + 0.1, _GRADIENT)]
    plain = _updates(config, gradients)
    slow = _updates(dataclasses.replace(config, body_rate=0.25), gradients)
    for one, other in zip(plain, slow, strict=True):
        np.testing.assert_array_equal(other["readout"], one["readout"])
        np.testing.assert_array_equal(other["element_bias"], one["element_bias"])
        np.testing.assert_array_equal(
            other["embedding"]["weight"], 0.25 * one["embedding"]["weight"]
        )


def test_frozen_parameters_get_no_update_and_do_not_count_when_clipping() -> None:
    config = dataclasses.replace(
        _CONFIG, frozen=("embedding.*",), clip_norm=3.0, optimizer="adamw", weight_decay=0.5
    )
    huge = {**_GRADIENT, "embedding": {"weight": jnp.asarray([1e9, jnp.nan])}}
    (update,) = _updates(config, [huge])
    np.testing.assert_array_equal(update["embedding"]["weight"], 0.0)
    # The norm of the others, 3, is within the limit: they are what they would be alone.
    alone = {name: _GRADIENT[name] for name in ("readout", "element_bias")}
    (expected,) = _updates(dataclasses.replace(config, frozen=()), [alone])
    for name, leaf in expected.items():
        np.testing.assert_array_equal(update[name], leaf)


def test_a_training_step_leaves_frozen_parameters_bit_for_bit() -> None:
    config = dataclasses.replace(_CONFIG, frozen=("mat*",))
    state = initial_state(small_model(), config)
    for seed in range(3):
        state, _ = training_step(make_batch(seed), state, config)
    np.testing.assert_array_equal(state.model.matrix, small_model().matrix)  # type: ignore[attr-defined]
    assert np.all(state.model.bias != 0)  # type: ignore[attr-defined]


def test_patterns_are_of_the_names_in_a_weights_file() -> None:
    def trained(*frozen: str) -> set[str]:
        return trained_parameters(_GRADIENT, dataclasses.replace(_CONFIG, frozen=frozen))

    assert trained() == {"embedding.weight", "readout", "element_bias"}
    assert trained("embedding.*") == {"readout", "element_bias"}
    assert trained("*bias", "read?ut") == {"embedding.weight"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frozen": ("embeding.*",)}, r"frozen: got 'embeding\.\*'.*mean 'embedding\.weight'"),
        ({"frozen": ("readout", "xyz")}, r"frozen: got 'xyz', which matches no parameter"),
        ({"frozen": ("*",)}, r"frozen: got \*, which matches every parameter"),
        ({"frozen": ("embedding.*", "*e*")}, "which matches every parameter"),
        ({"frozen": ("embedding.*",), "body_rate": 0.5}, "body_rate: got 0.5, expected 1, because"),
    ],
)
def test_a_part_of_a_recipe_without_effect_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    config = dataclasses.replace(_CONFIG, **changes)
    with pytest.raises(ConfigError, match=message) as caught:
        trained_parameters(_GRADIENT, config)
    assert "\n" not in str(caught.value)


def test_a_run_refuses_it_before_it_writes_anything() -> None:
    with pytest.raises(ConfigError, match="frozen"):
        initial_state(small_model(), dataclasses.replace(_CONFIG, frozen=("none",)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frozen": ("",)}, "frozen: got"),
        ({"body_rate": 0.0}, "body_rate: got 0.0, expected above 0"),
        ({"body_rate": 1.5}, "body_rate: got 1.5"),
        ({"patience": 0}, "patience: got 0, expected at least 1"),
    ],
)
def test_values_out_of_range_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(_CONFIG, **changes)
