"""Loss and errors of a batch."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from efa_zoo._typing import contract
from efa_zoo.config import TrainingConfig
from efa_zoo.energy import energy_and_forces
from efa_zoo.graph import Graph
from efa_zoo.training.batch import Batch

__all__ = ["batch_errors", "batch_loss"]

Model = Callable[[Graph], Float[Array, " atoms"]]


def _residuals(model: Model, batch: Batch) -> tuple[Array, Array, Array]:
    """Residuals of energy `[molecules]` and forces, and the mask of force components."""
    atomic_energies, forces = jax.vmap(lambda graph: energy_and_forces(model, graph))(batch.graph)
    energy = jnp.where(batch.molecule_mask, jnp.sum(atomic_energies, axis=1) - batch.energy, 0)
    mask = batch.graph.atom_mask[..., None]
    return energy, jnp.where(mask, forces - batch.forces, 0), mask


@contract
def batch_loss(model: Model, batch: Batch, config: TrainingConfig) -> Float[Array, ""]:
    """Weighted mean of the energy loss per molecule and the force loss per component.

    Args:
        model: gives atomic energies in eV.
        batch: molecules and labels.
        config: kind of loss and weights.

    Returns:
        The loss; padding does not contribute.
    """
    energy, forces, mask = _residuals(model, batch)

    def penalty(x: Array) -> Array:
        if config.loss == "squared":
            return x**2
        # Pseudo-Huber: smooth, quadratic within delta and linear beyond.
        return config.huber_delta * (jnp.sqrt(1 + (x / config.huber_delta) ** 2) - 1)

    molecules = jnp.maximum(jnp.sum(batch.molecule_mask), 1)
    components = jnp.maximum(3 * jnp.sum(mask), 1)
    energy_loss = jnp.sum(penalty(energy)) / molecules
    force_loss = jnp.sum(penalty(forces)) / components
    return config.energy_weight * energy_loss + config.force_weight * force_loss


@contract
def batch_errors(model: Model, batch: Batch) -> dict[str, Float[Array, ""]]:
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
