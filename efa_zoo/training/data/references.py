"""Reference energies of the elements for a model that is fine-tuned."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Float64

from efa_zoo.base.errors import ConfigError
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.potential import Potential
from efa_zoo.structures.batch import Batch
from efa_zoo.structures.elements import ATOMIC_NUMBERS

if TYPE_CHECKING:
    from data_pipelines.structure import Structure

__all__ = ["References", "choose_references"]

_logger = logging.getLogger(__name__)

#: Labels are on a model's scale of energy if its mean error is below this, in eV per atom.
_SAME_SCALE = 0.1

_BATCH = 16


@dataclass(frozen=True)
class References:
    """Reference energies in eV by atomic number.

    Attributes:
        old: of the base model's scale of energy; elements that it does not have are added.
        new: of the scale of the new data.
        refitted: whether the two differ.
    """

    old: dict[int, float]
    new: dict[int, float]
    refitted: bool


def choose_references(
    potential: Potential,
    structures: Sequence[Structure],
    level_of_theory: str,
    wish: Literal["keep", "refit"] | None,
) -> References:
    """Keep a model's reference energies, or fit them to new data.

    Args:
        potential: the model.
        structures: labelled structures to fit to, at least one.
        level_of_theory: of the labels; empty where it is not known.
        wish: "keep", "refit", or None for a decision: by the levels of theory (what stands before
            a bracket in their names) where both are known, else by the model's mean error.

    Returns:
        Both sets, for all elements of model and structures.

    Raises:
        ConfigError: `wish` is anything else.
    """
    from data_pipelines.labels.energies import (
        extend_reference_energies,
        refit_reference_energies,
        relative_energies,
    )

    if wish not in ("keep", "refit", None):
        raise ConfigError(f"references: got {wish!r}, expected 'keep' or 'refit'")
    given = {ATOMIC_NUMBERS[s]: e for s, e in potential.card.reference_energies.items()}
    predicted = _network_energies(potential, structures)
    old = extend_reference_energies(structures, predicted, given)
    atoms = np.asarray([len(s.atomic_numbers) for s in structures])
    error = float(np.mean(np.abs(relative_energies(structures, old) - predicted) / atoms))
    if wish is None:
        refit = _other_level(level_of_theory, potential.card)
        refit = error > _SAME_SCALE if refit is None else refit
    else:
        refit = wish == "refit"
    _logger.info(
        "%s is off by %.3g eV per atom on average: reference energies are %s",
        potential.card.name,
        error,
        "fitted to the new data" if refit else "kept",
    )
    new = refit_reference_energies(structures, predicted, old) if refit else old
    return References(old, new, refit)


#: What cards and data sets say instead of a level of theory.
_UNKNOWN = frozenset({"", "unknown", "not given"})


def _other_level(level_of_theory: str, card: Card) -> bool | None:
    """Whether labels are of another level of theory than a model's; None if that is not known."""
    new, old = (
        level.partition("(")[0].strip().casefold()
        for level in (level_of_theory, card.data.level_of_theory)
    )
    return None if {new, old} & _UNKNOWN else new != old


@eqx.filter_jit
def _energies(network: EnergyModel, batch: Batch) -> Float[Array, " molecules"]:
    return jax.vmap(network)(batch.graph).energy


def _network_energies(
    potential: Potential, structures: Sequence[Structure]
) -> Float64[np.ndarray, " structures"]:
    """What the network says about structures, relative to their elements, in eV."""
    from data_pipelines.batches.batching import BatchPlan, NumpyBatches
    from data_pipelines.batches.buckets import choose_buckets
    from data_pipelines.batches.neighborhoods import Neighborhoods

    cutoff, network = potential.card.model.message_passing.cutoff, potential.network
    neighborhoods = Neighborhoods(cutoff, lambda: network.wave_reach)
    buckets = choose_buckets(structures, neighborhoods, _BATCH, max_buckets=1)
    spin = potential.card.model.spin_embedding
    plan = BatchPlan(structures, buckets, neighborhoods, shuffle=False, spin=spin)
    energies = np.zeros(len(structures))
    labels = {int(z): 0.0 for s in structures for z in s.atomic_numbers}
    for planned, batch in zip(plan(0), NumpyBatches(plan, labels)(0), strict=True):
        found = np.asarray(_energies(potential.network, batch), np.float64)
        energies[planned.members] = found[: len(planned.members)]
    return energies
