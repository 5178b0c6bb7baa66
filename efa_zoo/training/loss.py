"""Loss and errors of a batch."""

from __future__ import annotations

import functools
from typing import NamedTuple, TypeVar

import equinox as eqx
import jax.numpy as jnp
from jax.sharding import Mesh
from jaxtyping import Array, Float

from efa_zoo.base.config import TrainingConfig
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import ConfigError
from efa_zoo.models.energy import Network, batch_energy_and_forces, molecules_at_once
from efa_zoo.models.parallel.devices import by_device
from efa_zoo.ops.chunks import sum_chunks
from efa_zoo.ops.platforms import by_platform
from efa_zoo.structures.batch import Batch

__all__ = ["batch_errors", "batch_loss", "batch_loss_and_gradient"]

_Network = TypeVar("_Network", bound=Network)


class _Residuals(NamedTuple):
    """Prediction minus label of one kind, zero for padding.

    Attributes:
        values: molecules first.
        mask: broadcasts to `values`, False for padding.
        weight: in the loss.
    """

    values: Array
    mask: Array
    weight: float


def _residuals(model: Network, batch: Batch, config: TrainingConfig) -> dict[str, _Residuals]:
    """Residuals by kind, of what is labelled and what the network gives."""
    outputs = batch_energy_and_forces(model, batch.graph)
    molecules, atoms = jnp.asarray(batch.molecule_mask), batch.graph.atom_mask
    found = {
        "energy": (outputs.energy, batch.energy, molecules, config.energy_weight),
        "force": (outputs.forces, batch.forces, atoms[..., None], config.force_weight),
        "charge": (outputs.charges, batch.charges, atoms, config.charge_weight),
        "dipole": (outputs.dipole, batch.dipole, molecules[:, None], config.dipole_weight),
        "stress": (outputs.stress, batch.stress, molecules[:, None], config.stress_weight),
    }
    residuals = {}
    for kind, (given, label, mask, weight) in found.items():
        if given is not None and label is not None:
            residuals[kind] = _Residuals(jnp.where(mask, given - label, 0), mask, weight)
        elif weight > 0 and kind in ("charge", "dipole", "stress"):
            missing = "label" if given is not None else "output of the network"
            raise ConfigError(
                f"{kind}_weight: got {weight}, expected 0, because there is no {missing}"
            )
    return residuals


@contract
def batch_loss(model: Network, batch: Batch, config: TrainingConfig) -> Float[Array, ""]:
    """Compute the weighted mean of the losses per molecule, force component and other output.

    Args:
        model: gives atomic energies in eV.
        batch: molecules and labels.
        config: kind of loss and weights.

    Returns:
        The loss; padding does not contribute.
    """
    return _share_of_loss(model, batch, config, _counts(batch))


def batch_loss_and_gradient(
    model: _Network, batch: Batch, config: TrainingConfig, mesh: Mesh | None = None
) -> tuple[Float[Array, ""], _Network]:
    """The loss and its gradient with respect to the floating-point leaves of the model.

    The same as `eqx.filter_value_and_grad(batch_loss)`, but on a CPU the molecules are taken a few
    at a time: this is faster and needs less memory.

    Args:
        model: gives atomic energies in eV.
        batch: molecules and labels.
        config: kind of loss and weights.
        mesh: of the devices that the molecules are dealt to; None is one.

    Returns:
        The loss, and a pytree like the model with the gradient.
    """

    def of_device(
        shared: tuple[_Network, dict[str, Array]], molecules: Batch
    ) -> tuple[Array, _Network]:
        model, counts = shared

        def part(few: Batch) -> tuple[Array, _Network]:
            return eqx.filter_value_and_grad(_share_of_loss)(model, few, config, counts)

        size = molecules_at_once(molecules.graph)
        gradient = eqx.filter(model, eqx.is_inexact_array)
        return sum_chunks(part, molecules, size, remat=False, like=(molecules.energy[0], gradient))

    of_platform = functools.partial(by_platform, of_device)
    return by_device(of_platform, mesh, total=True)((model, _counts(batch)), batch)


def _counts(batch: Batch) -> dict[str, Array]:
    """How many numbers of each kind a batch has."""
    molecules = jnp.maximum(jnp.sum(batch.molecule_mask), 1)
    atoms = jnp.maximum(jnp.sum(batch.graph.atom_mask), 1)
    return {
        "energy": molecules,
        "force": 3 * atoms,
        "charge": atoms,
        "dipole": 3 * molecules,
        "stress": 6 * molecules,
    }


def _share_of_loss(
    model: Network, batch: Batch, config: TrainingConfig, counts: dict[str, Array]
) -> Float[Array, ""]:
    """What some molecules contribute to the loss of their batch."""

    def penalty(x: Array) -> Array:
        if config.loss == "squared":
            return x**2
        # Pseudo-Huber: smooth, quadratic within delta and linear beyond.
        return config.huber_delta * (jnp.sqrt(1 + (x / config.huber_delta) ** 2) - 1)

    loss = jnp.zeros((), batch.energy.dtype)
    for kind, (values, _, weight) in _residuals(model, batch, config).items():
        if kind in ("energy", "force") or weight > 0:
            loss = loss + (weight / counts[kind]).astype(values.dtype) * jnp.sum(penalty(values))
    return loss


@contract
def batch_errors(model: Network, batch: Batch) -> dict[str, Float[Array, ""]]:
    """Sums from which mean errors over many batches follow.

    Args:
        model: gives atomic energies in eV.
        batch: molecules and labels.

    Returns:
        Sums of absolute and squared residuals and counts, of energies, components of forces, and of
        charges and components of dipoles and stress where there are labels and outputs.
    """
    sums = {"molecules": jnp.sum(batch.molecule_mask).astype(batch.energy.dtype)}
    for kind, (values, mask, _) in _residuals(model, batch, TrainingConfig()).items():
        sums[f"{kind}_count"] = jnp.sum(jnp.broadcast_to(mask, values.shape)).astype(values.dtype)
        sums[f"{kind}_absolute"] = jnp.sum(jnp.abs(values))
        sums[f"{kind}_squared"] = jnp.sum(values**2)
    return sums
