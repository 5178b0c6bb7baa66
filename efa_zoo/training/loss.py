"""Loss and errors of a batch."""

from __future__ import annotations

from typing import TypeVar

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from efa_zoo.base.config import TrainingConfig
from efa_zoo.base.contracts import contract
from efa_zoo.models.energy import Network, batch_energy_and_forces, molecules_at_once
from efa_zoo.ops.chunks import sum_chunks
from efa_zoo.structures.batch import Batch

__all__ = ["batch_errors", "batch_loss", "batch_loss_and_gradient"]

_Network = TypeVar("_Network", bound=Network)


def _residuals(model: Network, batch: Batch) -> tuple[Array, Array, Array]:
    """Residuals of energy `[molecules]` and forces, and the mask of force components."""
    outputs = batch_energy_and_forces(model, batch.graph)
    energy = jnp.where(batch.molecule_mask, outputs.energy - batch.energy, 0)
    mask = batch.graph.atom_mask[..., None]
    assert outputs.forces is not None
    return energy, jnp.where(mask, outputs.forces - batch.forces, 0), mask


@contract
def batch_loss(model: Network, batch: Batch, config: TrainingConfig) -> Float[Array, ""]:
    """Weighted mean of the energy loss per molecule and the force loss per component.

    Args:
        model: gives atomic energies in eV.
        batch: molecules and labels.
        config: kind of loss and weights.

    Returns:
        The loss; padding does not contribute.
    """
    return _share_of_loss(model, batch, config, _weights(batch, config))


def batch_loss_and_gradient(
    model: _Network, batch: Batch, config: TrainingConfig
) -> tuple[Float[Array, ""], _Network]:
    """The loss and its gradient with respect to the floating-point leaves of the model.

    The same as `eqx.filter_value_and_grad(batch_loss)`, but on a CPU the molecules are taken a few
    at a time: this is faster and needs less memory.

    Args:
        model: gives atomic energies in eV.
        batch: molecules and labels.
        config: kind of loss and weights.

    Returns:
        The loss, and a pytree like the model with the gradient.
    """
    weights = _weights(batch, config)

    def part(molecules: Batch) -> tuple[Array, _Network]:
        return eqx.filter_value_and_grad(_share_of_loss)(model, molecules, config, weights)

    size = molecules_at_once(batch.graph)
    gradient = eqx.filter(model, eqx.is_inexact_array)
    return sum_chunks(part, batch, size, remat=False, like=(batch.energy[0], gradient))


def _weights(batch: Batch, config: TrainingConfig) -> tuple[Array, Array]:
    """Weight of a molecule's energy and of a component of a force in the loss of a batch."""
    molecules = jnp.maximum(jnp.sum(batch.molecule_mask), 1)
    components = jnp.maximum(3 * jnp.sum(batch.graph.atom_mask), 1)
    return config.energy_weight / molecules, config.force_weight / components


def _share_of_loss(
    model: Network, batch: Batch, config: TrainingConfig, weights: tuple[Array, Array]
) -> Float[Array, ""]:
    """What some molecules contribute to the loss of their batch."""
    energy, forces, _ = _residuals(model, batch)

    def penalty(x: Array) -> Array:
        if config.loss == "squared":
            return x**2
        # Pseudo-Huber: smooth, quadratic within delta and linear beyond.
        return config.huber_delta * (jnp.sqrt(1 + (x / config.huber_delta) ** 2) - 1)

    energy_weight, force_weight = (weight.astype(energy.dtype) for weight in weights)
    return energy_weight * jnp.sum(penalty(energy)) + force_weight * jnp.sum(penalty(forces))


@contract
def batch_errors(model: Network, batch: Batch) -> dict[str, Float[Array, ""]]:
    """Sums from which mean errors over many batches follow.

    Args:
        model: gives atomic energies in eV.
        batch: molecules and labels.

    Returns:
        Sums of absolute and squared residuals of energies and force components, and counts.
    """
    energy, forces, mask = _residuals(model, batch)
    return {
        "molecules": jnp.sum(batch.molecule_mask).astype(energy.dtype),
        "components": 3 * jnp.sum(mask).astype(energy.dtype),
        "energy_absolute": jnp.sum(jnp.abs(energy)),
        "energy_squared": jnp.sum(energy**2),
        "force_absolute": jnp.sum(jnp.abs(forces)),
        "force_squared": jnp.sum(forces**2),
    }
