"""Steps of the optimiser: schedule, options, and the average of the weights."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from regression import make_batch, small_model

from efa_zoo.base.config import TrainingConfig
from efa_zoo.training import TrainingState, initial_state, training_step
from efa_zoo.training.step import learning_rate, optimizer

_CONFIG = TrainingConfig(steps=10, warmup_steps=0, learning_rate=0.1)


def _updates(config: TrainingConfig, gradients: list[Any]) -> list[Any]:
    """Updates that an optimiser makes of gradients, the weights being ones."""
    rule = optimizer(config)
    weights = jax.tree.map(jnp.ones_like, gradients[0])
    state, updates = rule.init(weights), []
    for gradient in gradients:
        update, state = rule.update(gradient, state, weights)
        updates.append(update)
    return updates


def test_learning_rate_warms_up_and_decays() -> None:
    config = TrainingConfig(steps=100, warmup_steps=10, learning_rate=0.2, final_learning_rate=0.01)
    rate = learning_rate(config)
    np.testing.assert_allclose([rate(0), rate(5), rate(10)], [0, 0.1, 0.2], atol=1e-7)
    middle = 0.2 * (0.01 + 0.99 / 2)
    np.testing.assert_allclose([rate(55), rate(100)], [middle, 0.002], rtol=1e-5)


def test_adam_takes_steps_of_the_learning_rate() -> None:
    (update,) = _updates(_CONFIG, [jnp.asarray([3.0, -4.0])])
    np.testing.assert_allclose(update, [-0.1, 0.1], rtol=1e-5)


def test_gradients_are_clipped_by_their_norm() -> None:
    # Of the second, larger gradient Adam makes more where nothing is clipped.
    gradients = [jnp.asarray([0.3, 0.4]), jnp.asarray([30.0, 0.0])]
    clipped = _updates(dataclasses.replace(_CONFIG, clip_norm=0.5), gradients)
    by_hand = _updates(_CONFIG, [gradients[0], jnp.asarray([0.5, 0.0])])
    free = _updates(_CONFIG, gradients)
    np.testing.assert_allclose(clipped[1], by_hand[1], rtol=1e-6)
    assert not np.allclose(clipped[1], free[1], rtol=1e-2)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_weight_decay_pulls_to_zero(name: str) -> None:
    config = dataclasses.replace(_CONFIG, optimizer=name)
    decays = dataclasses.replace(config, weight_decay=0.3)
    gradient = {"matrix": jnp.eye(2)[None], "bias": jnp.ones(2)}
    (plain,), (decayed,) = (_updates(c, [gradient]) for c in (config, decays))
    for leaf in gradient:
        np.testing.assert_allclose(decayed[leaf] - plain[leaf], -0.1 * 0.3, rtol=1e-4)


def test_muon_turns_maps_between_features_and_nothing_else() -> None:
    config = dataclasses.replace(_CONFIG, optimizer="muon")
    rng = np.random.default_rng(0)
    gradient = {
        "dense": jnp.asarray(rng.normal(size=(2, 2, 4, 4)), jnp.float32),
        "embedding": jnp.asarray(rng.normal(size=(5, 4)), jnp.float32),
        "bias": jnp.ones(3),
        "switch": jnp.ones(()),
    }
    (update,) = _updates(config, [gradient])
    (adam,) = _updates(dataclasses.replace(config, optimizer="adamw"), [gradient])
    singular = np.linalg.svd(np.asarray(update["dense"]), compute_uv=False)
    assert singular.max() / singular.min() < 2  # all directions are learned alike
    assert np.linalg.svd(np.asarray(adam["dense"]), compute_uv=False).min() < singular.min()
    # Tables and vectors are learned by Adam (with Nesterov's momentum): all alike in size.
    factor = update["switch"] / adam["switch"]
    assert factor > 0
    for name in ("embedding", "bias"):
        np.testing.assert_allclose(update[name], factor * adam[name], rtol=1e-3)


def _run(config: TrainingConfig, steps: int) -> tuple[list[TrainingState], list[float]]:
    state = initial_state(small_model(), config)
    states, losses = [], []
    for seed in range(steps):
        state, loss = training_step(make_batch(seed), state, config)
        # A copy, because the next step gives up the buffers.
        states.append(jax.tree.map(np.array, state))
        losses.append(float(loss))
    return states, losses


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.999])
def test_average_of_the_weights(decay: float) -> None:
    config = dataclasses.replace(_CONFIG, average_decay=decay)
    states, _ = _run(config, 4)
    # The first average is the first weights: those before training have no part in it.
    average = np.full_like(small_model().matrix, np.nan)  # type: ignore[attr-defined]
    for number, state in enumerate(states, start=1):
        weight = min(decay, (number - 1) / (number + 8))
        average = state.model.matrix + (weight * (average - state.model.matrix) if weight else 0)
        np.testing.assert_allclose(state.average.matrix, average, rtol=1e-5)
        assert state.step == number
    assert np.allclose(states[-1].average.matrix, states[-1].model.matrix) == (decay == 0)


def test_a_step_leaves_model_and_batch_to_the_caller() -> None:
    model, batch = small_model(), make_batch(0)
    before = jax.tree.map(np.array, eqx.filter(model, eqx.is_array))
    config = dataclasses.replace(_CONFIG, learning_rate=1e-3)
    state = initial_state(model, config)
    state, first = training_step(batch, state, config)
    _, second = training_step(batch, state, config)
    assert second < first
    for a, b in zip(jax.tree.leaves(model), jax.tree.leaves(before), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    "option",
    [
        {"loss": "squared"},
        {"huber_delta": 1.0},
        {"energy_weight": 0.0},
        {"force_weight": 0.0},
        {"learning_rate": 0.01},
        {"final_learning_rate": 1.0},
        {"warmup_steps": 3},
        {"optimizer": "muon"},
        {"optimizer": "adamw", "weight_decay": 0.5},
        {"clip_norm": 1e-3},
    ],
    ids=str,
)
def test_every_option_changes_the_weights(option: dict[str, Any]) -> None:
    usual, _ = _default_run()
    changed, _ = _run(dataclasses.replace(_CONFIG, **option), 2)
    assert not np.allclose(changed[-1].model.matrix, usual[-1].model.matrix, rtol=1e-4)


@functools.cache
def _default_run() -> tuple[list[TrainingState], list[float]]:
    return _run(_CONFIG, 2)
