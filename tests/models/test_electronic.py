"""Charge and spin as inputs, charges and dipole as outputs, and the fixed repulsion."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from scipy.spatial.transform import Rotation
from symmetry import quick_jit

from efa_zoo import EnergyModel, Graph, MessagePassingConfig, ModelConfig, Outputs, TrainingConfig
from efa_zoo.base.errors import ConfigError, InputError
from efa_zoo.models.energy import energy_and_forces
from efa_zoo.nn import screened_repulsion
from efa_zoo.structures.graph import stack
from efa_zoo.training import Batch, batch_loss, initial_state, training_step

CONFIG = ModelConfig(
    features=8,
    iterations=2,
    highest_atomic_number=8,
    message_passing=MessagePassingConfig(cutoff=4.0, degree=1, num_radial=6),
    charge_embedding=True,
    spin_embedding=True,
    atomic_charges=True,
    atomic_dipoles=True,
    zero_output=False,
)


def water_dimer() -> Atoms:
    second = molecule("H2O")
    second.positions += [0.3, 0.2, 2.9]
    return molecule("H2O") + second


def graph(
    atoms: Atoms, charge: int = 0, multiplicity: int | None = None, dtype: type = np.float32
) -> Graph:
    if multiplicity is None:
        multiplicity = 1 + (int(atoms.numbers.sum()) - charge) % 2
    return Graph.from_ase(
        atoms, 4.0, total_charge=charge, multiplicity=multiplicity, num_atoms=14, dtype=dtype
    )


@pytest.fixture(scope="module")
def network() -> EnergyModel:
    return EnergyModel(CONFIG, key=jax.random.key(0))


@quick_jit
def evaluate(network: EnergyModel, graph: Graph) -> Outputs:
    return energy_and_forces(network, graph)


@pytest.mark.parametrize("charge", [-2, -1, 0, 1])
def test_charges_add_up_to_the_total_charge(network: EnergyModel, charge: int) -> None:
    outputs = evaluate(network, graph(water_dimer(), charge))
    assert outputs.charges is not None
    assert float(outputs.charges.sum()) == pytest.approx(charge, abs=1e-6)
    assert not outputs.charges[6:].any()


def test_charge_and_spin_change_everything(network: EnergyModel) -> None:
    states = [(0, 1), (1, 2), (-1, 2), (0, 3)]
    outputs = [evaluate(network, graph(water_dimer(), *state)) for state in states]
    energies = [float(out.energy) for out in outputs]
    assert len({round(energy, 3) for energy in energies}) == 4
    assert all(np.abs(out.forces - outputs[0].forces).max() > 1e-4 for out in outputs[1:])


def test_the_dipole_is_that_of_charges_and_atoms_and_turns_with_the_molecule(x64: None) -> None:
    model = EnergyModel(CONFIG, key=jax.random.key(1))
    atoms = water_dimer()
    matrix = Rotation.from_rotvec([0.3, -1.0, 0.5]).as_matrix()
    turned = atoms.copy()
    turned.positions = atoms.positions @ matrix.T + [5.0, -3.0, 1.0]
    found, moved = (evaluate(model, graph(a, 1, dtype=np.float64)) for a in (atoms, turned))
    np.testing.assert_allclose(moved.dipole, matrix @ found.dipole, atol=1e-10)
    np.testing.assert_allclose(moved.charges, found.charges, atol=1e-10)
    without = eqx.tree_at(lambda m: m.dipole_readout, model, jnp.zeros_like(model.dipole_readout))
    of_charges = evaluate(without, graph(atoms, 1, dtype=np.float64)).dipole
    centered = atoms.positions - atoms.positions.mean(axis=0)
    np.testing.assert_allclose(of_charges, found.charges[:6] @ centered, atol=1e-10)
    assert np.abs(found.dipole - of_charges).max() > 1e-3


def test_padding_and_batches_change_nothing(x64: None) -> None:
    model = EnergyModel(CONFIG, key=jax.random.key(1))
    alone = Graph.from_ase(water_dimer(), 4.0, total_charge=1, multiplicity=2, dtype=np.float64)
    batch = stack([graph(water_dimer(), 1, dtype=np.float64), graph(molecule("H2O"), 0)])
    whole = quick_jit(jax.vmap(energy_and_forces, in_axes=(None, 0)))(model, batch)
    expected = evaluate(model, alone)
    for name in ("atomic_energies", "forces", "charges"):
        np.testing.assert_allclose(getattr(whole, name)[0, :6], getattr(expected, name), atol=1e-10)
    np.testing.assert_allclose(whole.dipole[0], expected.dipole, atol=1e-10)
    assert not whole.forces[0, 6:].any()


def test_what_is_embedded_must_be_given_and_nothing_else(network: EnergyModel) -> None:
    unknown = Graph.from_ase(water_dimer(), 4.0)
    with pytest.raises(InputError, match="unpaired_electrons: got None"):
        network(unknown)
    plain = EnergyModel(dataclasses.replace(CONFIG, spin_embedding=False), key=jax.random.key(0))
    with pytest.raises(InputError, match="unpaired_electrons: given"):
        plain(graph(water_dimer()))


def test_options_leave_the_other_weights_of_a_seed_alone() -> None:
    off = dict.fromkeys(
        ("charge_embedding", "spin_embedding", "atomic_charges", "atomic_dipoles"), False
    )
    plain = EnergyModel(dataclasses.replace(CONFIG, **off), key=jax.random.key(0))
    full = EnergyModel(CONFIG, key=jax.random.key(0))
    for a, b in zip(
        jax.tree.leaves((plain.interactions, plain.embedding, plain.readout)),
        jax.tree.leaves((full.interactions, full.embedding, full.readout)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_repulsion_is_added_as_it_is() -> None:
    close = molecule("H2O")
    close.positions *= 0.4
    given = Graph.from_ase(close, 5.0)
    config = ModelConfig(features=4, iterations=1, highest_atomic_number=8)
    plain, repelling = (
        EnergyModel(dataclasses.replace(config, repulsion=on), key=jax.random.key(0))
        for on in (False, True)
    )
    added = repelling(given).atomic_energies - plain(given).atomic_energies
    np.testing.assert_allclose(added, screened_repulsion(given), rtol=1e-6)
    assert added.sum() > 10


def test_dipoles_of_atoms_need_charges_and_vectors() -> None:
    with pytest.raises(ConfigError, match="atomic_dipoles: got True"):
        ModelConfig(atomic_dipoles=True)
    with pytest.raises(ConfigError, match="atomic_dipoles: got True"):
        dataclasses.replace(CONFIG, iterations=1)


# -------------------------------------------------------------------------------------------
# Training


def labelled(states: Sequence[tuple[Atoms, int, int]], energies: Sequence[float]) -> Batch:
    graphs = stack([graph(*state) for state in states])
    molecules = len(states)
    charges = np.zeros((molecules, 14), np.float32)
    for row, (atoms, charge, _) in enumerate(states):
        charges[row, : len(atoms)] = charge / len(atoms)
    return Batch(
        graph=graphs,
        energy=np.asarray(energies, np.float32),
        forces=np.zeros((molecules, 14, 3), np.float32),
        molecule_mask=np.ones(molecules, bool),
        charges=charges,
        dipole=np.zeros((molecules, 3), np.float32),
    )


def test_a_network_learns_what_charge_and_spin_cost() -> None:
    dimer, benzene = water_dimer(), molecule("C6H6")
    states = [(dimer, 0, 1), (dimer, 1, 2), (dimer, -1, 2), (benzene, 0, 1), (benzene, 0, 3)]
    wanted = [0.0, 1.2, 0.3, 0.0, 0.4]
    batch = labelled(states, wanted)
    config = TrainingConfig(
        steps=250, warmup_steps=10, learning_rate=0.02, force_weight=0.0, charge_weight=0.1
    )
    state = initial_state(EnergyModel(CONFIG, key=jax.random.key(0)), config)
    for _ in range(config.steps):
        state, _ = training_step(batch, state, config)
    outputs = eqx.filter_jit(lambda m, graphs: jax.vmap(m)(graphs))(state.model, batch.graph)
    np.testing.assert_allclose(outputs.energy, wanted, atol=0.1)
    np.testing.assert_allclose(outputs.charges.sum(axis=1), [0, 1, -1, 0, 0], atol=1e-6)


def test_labels_or_outputs_that_are_missing_are_refused(network: EnergyModel) -> None:
    batch = labelled([(water_dimer(), 0, 1)], [0.0])
    config = TrainingConfig(charge_weight=1.0, dipole_weight=1.0)
    loss = functools.partial(eqx.filter_eval_shape, batch_loss)
    assert loss(network, batch, config).shape == ()
    with pytest.raises(
        ConfigError, match=r"dipole_weight: got 1\.0, expected 0, because there is no label"
    ):
        loss(network, dataclasses.replace(batch, dipole=None), config)
    plain = EnergyModel(
        dataclasses.replace(CONFIG, atomic_charges=False, atomic_dipoles=False),
        key=jax.random.key(0),
    )
    with pytest.raises(ConfigError, match=r"charge_weight: got 1\.0"):
        loss(plain, batch, config)
