# pyright: strict
"""A small project that uses efa_zoo, as pyright sees it in its strictest mode.

The first part is right. In the second one every function makes a mistake that pyright must flag:
a comment that ignores nothing is an error itself (`reportUnnecessaryTypeIgnoreComment`). Shapes are
beyond a type checker; the mistakes of the last part are caught by the contracts while tracing.
`test_downstream.py` runs all of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import assert_type

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

import efa_zoo
from efa_zoo import (
    AttentionConfig,
    EnergyModel,
    Graph,
    ModelConfig,
    Outputs,
    Potential,
    Prediction,
)
from efa_zoo.attention import EuclideanFastAttention
from efa_zoo.base.config import FrequencyConfig, MessagePassingConfig, TrainingConfig, Waves
from efa_zoo.models.energy import energy_and_forces
from efa_zoo.nn import MLP, Dense, Embed, MessagePass
from efa_zoo.nn.coupling import Irreps
from efa_zoo.nn.pairs import pair_basis
from efa_zoo.training import (
    Batch,
    TrainingState,
    finetune,
    finetuning_recipe,
    initial_state,
    training_step,
)

SMALL = ModelConfig(
    features=4,
    iterations=1,
    highest_atomic_number=9,
    message_passing=MessagePassingConfig(cutoff=4.0, degree=1, num_radial=3),
    attention=AttentionConfig(
        evaluation="exact", kernel=Waves(frequencies=FrequencyConfig(max_length=20.0))
    ),
)
SHORT = TrainingConfig(steps=10, warmup_steps=2, batch_size=1)


# -------------------------------------------------------------------------------------------------
# As it is meant


def array(values: Array | np.ndarray) -> Array:
    """An array of JAX, whose own signature is not known in full."""
    return jax.numpy.asarray(values)  # pyright: ignore[reportUnknownMemberType]


class PartialCharges(eqx.Module):
    """A network of one's own, composed from the layers: a charge for every atom."""

    embed: Embed
    message_pass: MessagePass
    attention: EuclideanFastAttention
    refine: MLP
    readout: Dense
    config: MessagePassingConfig = eqx.field(static=True)

    def __init__(self, config: ModelConfig, *, key: PRNGKeyArray):
        keys = jax.random.split(key, 5)
        self.config = config.message_passing
        self.embed = Embed(config.highest_atomic_number, config.features, key=keys[0])
        self.message_pass = MessagePass(
            Irreps(0, False),
            config.features,
            basis_degree=self.config.degree,
            num_radial=self.config.num_radial,
            key=keys[1],
        )
        irreps = assert_type(self.message_pass.irreps, Irreps)
        attention = AttentionConfig() if config.attention is None else config.attention
        self.attention = EuclideanFastAttention(irreps, config.features, attention, key=keys[2])
        self.refine = MLP(self.attention.irreps, config.features, zero_output=False, key=keys[3])
        self.readout = Dense(self.attention.irreps, config.features, 1, key=keys[4])

    def __call__(self, graph: Graph) -> Float[Array, " atoms"]:
        positions = array(graph.positions)
        x = self.embed(array(graph.atomic_numbers))
        x = self.message_pass(x, pair_basis(graph, self.config))
        x = self.refine(self.attention(x, positions, graph.atom_mask))
        charges = self.readout(x)[:, 0, 0, 0]
        return charges - charges.mean() + graph.total_charge / graph.num_atoms


def charges(graph: Graph, key: PRNGKeyArray) -> Float[Array, " atoms"]:
    """Use the network of one's own."""
    return PartialCharges(SMALL, key=key)(graph)


def predict(name: str, graphs: Sequence[Graph]) -> tuple[float, list[str]]:
    """Load a model, and predict one structure and several."""
    model = assert_type(efa_zoo.load(name), Potential)
    assert model.card.domain is not None
    elements = assert_type(model.card.domain.elements, tuple[str, ...])
    one = assert_type(efa_zoo.predict(model, graphs[0]), Prediction)
    several = assert_type(efa_zoo.predict(model, graphs), list[Prediction])
    checked = efa_zoo.predict(name, graphs, on_error="return")
    refused = [str(item) for item in checked if isinstance(item, efa_zoo.InputError)]
    assert several[0].forces.shape == one.forces.shape
    assert set(elements) <= set(model.card.reference_energies)
    return assert_type(one.energy, float), refused


def energies(name: str, graph: Graph) -> Outputs:
    """Use the network as the function that it is."""
    network = assert_type(efa_zoo.load(name).network, EnergyModel)
    return energy_and_forces(network, graph)


def learn(name: str, batch: Batch) -> tuple[EnergyModel, float]:
    """Take one step of a loop of one's own."""
    state = assert_type(initial_state(efa_zoo.load(name).network, SHORT), TrainingState)
    state, loss = training_step(batch, state, SHORT)
    return state.model, float(loss)


def fine_tune(name: str, file: Path, out: Path) -> Potential:
    """Let a model learn from one's own structures."""
    recipe = finetuning_recipe(efa_zoo.load(name), replay=0.0, steps=20)
    tuned = finetune(name, file, out, recipe=recipe, replay=0.0, references="keep")
    assert_type(tuned.directory, Path)
    return efa_zoo.load(tuned.directory)


# -------------------------------------------------------------------------------------------------
# Mistakes that pyright flags


def misspelled_function(model: Potential, graph: Graph) -> object:
    return efa_zoo.pretict(model, graph)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


def misspelled_option() -> ModelConfig:
    return ModelConfig(feature=32)  # pyright: ignore[reportCallIssue]


def number_in_quotes() -> ModelConfig:
    return ModelConfig(features="32")  # pyright: ignore[reportArgumentType]


def unknown_choice() -> AttentionConfig:
    return AttentionConfig(evaluation="grid")  # pyright: ignore[reportArgumentType]


def options_in_place_of_a_table() -> ModelConfig:
    return ModelConfig(attention=FrequencyConfig())  # pyright: ignore[reportArgumentType]


def changed_configuration() -> None:
    SMALL.features = 8  # pyright: ignore[reportAttributeAccessIssue]


def forgotten_key() -> Dense:
    return Dense(Irreps(0, False), 4, 4)  # pyright: ignore[reportCallIssue]


def irreps_as_a_number(key: PRNGKeyArray) -> Dense:
    return Dense(1, 4, 4, key=key)  # pyright: ignore[reportArgumentType]


def list_in_place_of_an_array(layer: Dense) -> Array:
    return layer([[[0.0, 0.0, 0.0, 0.0]]])  # pyright: ignore[reportArgumentType]


def positions_in_place_of_a_molecule(network: EnergyModel, graph: Graph) -> Outputs:
    return network(graph.positions)  # pyright: ignore[reportArgumentType]


def energy_of_a_list(model: Potential, graph: Graph) -> float:
    return efa_zoo.predict(model, [graph]).energy  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


def energy_of_an_error(model: Potential, graph: Graph) -> float:
    (result,) = efa_zoo.predict(model, [graph], charge=99, on_error="return")
    return result.energy  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


def energy_as_text(model: Potential, graph: Graph) -> str:
    text: str = efa_zoo.predict(model, graph).energy  # pyright: ignore[reportAssignmentType]
    return "E = " + text


def unknown_answer(model: Potential, graph: Graph) -> Prediction:
    return efa_zoo.predict(model, graph, out_of_range="ignore")  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]


def batch_of_a_molecule(name: str, graph: Graph) -> object:
    state = initial_state(efa_zoo.load(name).network, SHORT)
    return training_step(graph, state, SHORT)[1]  # pyright: ignore[reportArgumentType]


# -------------------------------------------------------------------------------------------------
# Mistakes that the contracts catch: types fit, shapes and numbers do not


def too_many_features(layer: Dense) -> Array:
    return layer(array(np.zeros((3, 1, 1, 5), np.float32)))


def degree_that_does_not_exist(layer: EuclideanFastAttention, graph: Graph) -> Array:
    features = array(np.zeros((graph.num_atoms, 1, 5, 4), np.float32))
    return layer(features, array(graph.positions), graph.atom_mask)


def mask_of_another_molecule(layer: EuclideanFastAttention, graph: Graph) -> Array:
    features = array(np.zeros((graph.num_atoms, 1, 1, 4), np.float32))
    return layer(features, array(graph.positions), graph.atom_mask[1:])


def numbers_as_floats(embed: Embed, graph: Graph) -> Array:
    return embed(array(graph.positions)[:, 0])


def batch_without_vmap(network: EnergyModel, batch: Graph) -> Outputs:
    return network(batch)
