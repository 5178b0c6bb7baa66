"""The sample project does what it says, and its wrong shapes and types are caught while tracing."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from commands import example
from jaxtyping import TypeCheckError
from typed import downstream

import efa_zoo
from efa_zoo import EnergyModel, Graph
from efa_zoo.attention import EuclideanFastAttention
from efa_zoo.nn import Dense, Embed
from efa_zoo.nn.coupling import Irreps
from efa_zoo.structures.graph import stack
from efa_zoo.training import Batch


@pytest.fixture(scope="module")
def graph() -> Graph:
    return Graph.from_ase(example("ammonium_water"), 4.0, total_charge=1)


# -------------------------------------------------------------------------------------------------
# As it is meant


def test_a_composed_network_gives_charges(graph: Graph) -> None:
    charges = jax.jit(downstream.charges)(graph, jax.random.key(0))
    assert charges.shape == (graph.num_atoms,)
    assert float(charges.sum()) == pytest.approx(1.0, abs=1e-5)
    assert np.ptp(charges) > 1e-3


def test_models_predict(zoo: Path, graph: Graph) -> None:
    energy, refused = downstream.predict("toy", [graph])
    assert np.isfinite(energy)
    assert refused == []
    model = efa_zoo.load("toy")
    with pytest.raises(AttributeError, match="energy"):
        downstream.energy_of_an_error(model, graph)
    outputs = jax.eval_shape(lambda: downstream.energies("toy", graph))
    assert outputs.atomic_energies.shape == (graph.num_atoms,)
    assert outputs.forces.shape == (graph.num_atoms, 3)


def test_a_loop_of_ones_own_takes_a_step(zoo: Path, graph: Graph) -> None:
    before = efa_zoo.load("toy").network
    batch = Batch(
        graph=stack([graph]),
        energy=np.zeros(1, np.float32),
        forces=np.zeros((1, graph.num_atoms, 3), np.float32),
        molecule_mask=np.ones(1, bool),
    )
    after, loss = downstream.learn("toy", batch)
    assert loss > 0
    assert jax.tree.structure(after) == jax.tree.structure(before)


def test_a_model_is_fine_tuned(zoo: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(12):
        atoms = example("ammonium_water")
        atoms.positions += 0.02 * rng.standard_normal(atoms.positions.shape)
        label = efa_zoo.predict("toy", atoms)
        atoms.calc = SinglePointCalculator(atoms, energy=label.energy, forces=label.forces)
        frames.append(atoms)
    write(tmp_path / "mine.extxyz", frames)
    tuned = downstream.fine_tune("toy", tmp_path / "mine.extxyz", tmp_path / "tuned")
    assert tuned.card.name == "tuned"


# -------------------------------------------------------------------------------------------------
# Mistakes

LAYER = Dense(Irreps(0, False), 4, 4, key=jax.random.key(0))
EMBED = Embed(9, 4, key=jax.random.key(0))
ATTENTION = EuclideanFastAttention(
    Irreps(0, False), 4, efa_zoo.AttentionConfig(evaluation="exact"), key=jax.random.key(0)
)
NETWORK = EnergyModel(downstream.SMALL, key=jax.random.key(0))


@pytest.mark.parametrize(
    "mistake",
    [
        lambda graph: downstream.too_many_features(LAYER),
        lambda graph: downstream.list_in_place_of_an_array(LAYER),
        lambda graph: downstream.degree_that_does_not_exist(ATTENTION, graph),
        lambda graph: downstream.mask_of_another_molecule(ATTENTION, graph),
        lambda graph: downstream.numbers_as_floats(EMBED, graph),
        lambda graph: downstream.positions_in_place_of_a_molecule(NETWORK, graph),
        lambda graph: downstream.batch_without_vmap(
            NETWORK, jax.tree.map(lambda leaf: jax.numpy.stack([leaf, leaf]), graph)
        ),
    ],
)
def test_wrong_shapes_and_types_are_caught_while_tracing(
    mistake: Callable[[Graph], Any], graph: Graph
) -> None:
    with pytest.raises(TypeCheckError):
        eqx.filter_eval_shape(mistake, graph)


@pytest.mark.parametrize(
    ("mistake", "error"),
    [
        (downstream.misspelled_option, TypeError),
        (downstream.unknown_choice, efa_zoo.ConfigError),
        (downstream.options_in_place_of_a_table, AttributeError),
        (downstream.changed_configuration, dataclasses.FrozenInstanceError),
        (downstream.forgotten_key, TypeError),
        (lambda: downstream.irreps_as_a_number(jax.random.key(0)), AttributeError),
        (downstream.number_in_quotes, TypeError),
    ],
)
def test_other_mistakes_fail_where_they_are_made(
    mistake: Callable[[], object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        mistake()


def test_wrong_arguments_of_the_models_fail_where_they_are_made(zoo: Path, graph: Graph) -> None:
    model = efa_zoo.load("toy")
    with pytest.raises(AttributeError, match="pretict"):
        downstream.misspelled_function(model, graph)
    with pytest.raises(efa_zoo.InputError, match="out_of_range"):
        downstream.unknown_answer(model, graph)
    with pytest.raises(AttributeError, match="energy"):
        downstream.energy_of_a_list(model, graph)
    with pytest.raises(TypeError, match="str"):
        downstream.energy_as_text(model, graph)
    with pytest.raises(AttributeError):
        downstream.batch_of_a_molecule("toy", graph)
