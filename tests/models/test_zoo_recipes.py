"""Recipes of the zoo, trained or not: each describes a network, and siblings are of equal size."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import pytest

import efa_zoo
from efa_zoo.models.mpnn import EnergyModel

RECIPES = efa_zoo.list_models(trained=False)
LOCAL = [name for name in RECIPES if name.startswith("mpnn_") and "_efa_" not in name]


@functools.cache
def parameters(name: str) -> int:
    """Number of parameters, without computing any."""
    config = efa_zoo.card(name).model
    network = eqx.filter_eval_shape(EnergyModel, config, key=jax.random.key(0))
    leaves = jax.tree.leaves(network)
    return sum(leaf.size for leaf in leaves if isinstance(leaf, jax.ShapeDtypeStruct))


def sibling(name: str) -> str:
    """The model with attention that a local one is compared with."""
    stem = name.removeprefix("mpnn_").partition("_t")[0]
    return f"mpnn_efa_{name.removeprefix('mpnn_')}" if stem != "chains" else "mpnn_efa_chains"


def test_every_experiment_has_its_recipes() -> None:
    experiments = {
        "two_atoms", "cluster16", "cluster32", "charge_dipole", "nacl", "cumulene", "sn2", "dimers",
    }  # fmt: skip
    pairs = {f"mpnn_{start}{name}" for name in experiments for start in ("", "efa_")}
    assert pairs <= set(RECIPES)
    assert "mpnn_efa_charge_dipole_scalar" in RECIPES


@pytest.mark.parametrize("name", LOCAL)
def test_local_siblings_differ_in_attention_only_and_not_in_size(name: str) -> None:
    other = sibling(name)
    local, attentive = efa_zoo.card(name), efa_zoo.card(other)
    assert local.model.attention is None
    assert attentive.model.attention is not None
    assert local.model.message_passing == attentive.model.message_passing
    assert local.model.dipole_embedding == attentive.model.dipole_embedding
    assert local.data == attentive.data
    # That of the dimers is 7% smaller: two residual perceptrons come nearest to the attention.
    rel = 0.08 if name == "mpnn_dimers" else 0.02
    assert parameters(name) == pytest.approx(parameters(other), rel=rel)


def test_attention_without_directions_is_of_equal_size_too() -> None:
    scalar, full = "mpnn_efa_charge_dipole_scalar", "mpnn_efa_charge_dipole"
    attention = efa_zoo.card(scalar).model.attention
    assert attention is not None
    assert attention.integration is None
    assert parameters(scalar) == pytest.approx(parameters(full), rel=0.02)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_says_what_it_is(name: str) -> None:
    card = efa_zoo.card(name)
    assert card.training is not None
    assert card.description and card.limits and card.data.citation and card.data.splits
