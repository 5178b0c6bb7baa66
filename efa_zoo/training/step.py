"""The state of a training run and one step of it."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from efa_zoo.base.config import TrainingConfig
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.structures.batch import Batch
from efa_zoo.training.loss import batch_loss_and_gradient
from efa_zoo.training.parameters import body_mask, frozen_mask, trained_parameters

__all__ = ["TrainingState", "initial_state", "learning_rate", "optimizer", "training_step"]


class TrainingState(eqx.Module):
    """Everything a training run carries from step to step.

    Attributes:
        step: number of steps taken.
        model: the network being optimised.
        average: exponential moving average of its weights (the network itself if there is none).
        optimizer: state of the optimiser.
    """

    step: Int[Array, ""]
    model: EnergyModel
    average: EnergyModel
    optimizer: optax.OptState


def learning_rate(config: TrainingConfig) -> optax.Schedule:
    """Linear warm-up to the peak, then cosine decay to a fraction of it."""
    return optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=config.learning_rate,
        warmup_steps=config.warmup_steps,
        decay_steps=config.steps,
        end_value=config.learning_rate * config.final_learning_rate,
    )


def optimizer(config: TrainingConfig) -> optax.GradientTransformation:
    """Gradient clipping, then the optimiser of the recipe.

    Frozen parameters count neither in the norm nor in the update. Updates are proportional to the
    learning rate, so the slower rate of the body is a factor on them.
    """
    rate = learning_rate(config)
    if config.optimizer == "adam":
        rule = optax.adam(rate)
    elif config.optimizer == "adamw":
        rule = optax.adamw(rate, weight_decay=config.weight_decay)
    else:
        rule = optax.contrib.muon(
            rate,
            weight_decay=config.weight_decay,
            adam_weight_decay=config.weight_decay,
            muon_weight_dimension_numbers=_matrices,
        )
    parts = [optax.clip_by_global_norm(config.clip_norm), rule]
    if config.body_rate != 1:
        parts.append(optax.masked(optax.scale(config.body_rate), body_mask))
    if config.frozen:
        stop = optax.masked(optax.set_to_zero(), lambda tree: frozen_mask(tree, config))
        parts = [stop, *parts, stop]
    return optax.chain(*parts)


def _matrices(weights: Any) -> Any:
    """Which weights are stacks of matrices between features, for Muon.

    Dense layers and radial filters have shape `[..., in, out]`; embeddings and coupling weights
    (two axes) are tables, not maps.
    """
    matrix = optax.contrib.MuonDimensionNumbers(reduction_axis=-2, output_axis=-1)
    return jax.tree.map(lambda weight: matrix if weight.ndim > 2 else None, weights)


def initial_state(model: EnergyModel, config: TrainingConfig) -> TrainingState:
    """State before the first step.

    Args:
        model: initial network.
        config: the recipe.

    Raises:
        ConfigError: a part of the recipe has no effect on this network's parameters.
    """
    trained_parameters(model, config)
    # Copies, because a step gives up the buffers of its state; the caller keeps the model.
    own, average = (
        jax.tree.map(lambda leaf: leaf.copy() if eqx.is_array(leaf) else leaf, model)
        for _ in range(2)
    )
    return TrainingState(
        step=jnp.zeros((), jnp.int32),
        model=own,
        average=average,
        optimizer=optimizer(config).init(eqx.filter(own, eqx.is_inexact_array)),
    )


@eqx.filter_jit(donate="all-except-first")
def training_step(
    batch: Batch, state: TrainingState, config: TrainingConfig, mesh: Mesh | None = None
) -> tuple[TrainingState, Float[Array, ""]]:
    """One optimiser step.

    Args:
        batch: molecules and labels.
        state: before the step; its buffers are given up.
        config: the recipe.
        mesh: of the devices that the batch is dealt to, and that hold the state; None is one.

    Returns:
        The state after the step, and the loss before it.
    """
    gradient: Any
    loss, gradient = batch_loss_and_gradient(state.model, batch, config, mesh)
    weights = eqx.filter(state.model, eqx.is_inexact_array)
    updates, optimizer_state = optimizer(config).update(gradient, state.optimizer, weights)
    model = eqx.apply_updates(state.model, updates)
    # The average starts short and grows to its full length, so early weights are forgotten; the
    # first step replaces the initial ones, so that it is unbiased. In this form a weight that never
    # changes is its own average, to the last bit.
    step = state.step + 1
    decay = jnp.minimum(config.average_decay, (step - 1) / (step + 8)).astype(loss.dtype)

    def averaged(old: Any, new: Any) -> Any:
        if not eqx.is_inexact_array(new):
            return new
        return jnp.where(decay > 0, old + (1 - decay) * (new - old), new)

    average = jax.tree.map(averaged, state.average, model)
    return TrainingState(step, model, average, optimizer_state), loss
