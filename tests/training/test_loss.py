"""Losses and errors by hand, with padding."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from regression import make_batch, small_model
from symmetry import assert_close

from efa_zoo.base.config import (
    AttentionConfig,
    FrequencyConfig,
    IntegrationConfig,
    MessagePassingConfig,
    ModelConfig,
    TrainingConfig,
    Waves,
)
from efa_zoo.base.contracts import CONTRACTS
from efa_zoo.models import energy as energy_module
from efa_zoo.models.energy import energy_and_forces
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.structures.graph import stack
from efa_zoo.training import Batch, batch_errors, batch_loss
from efa_zoo.training.loss import batch_loss_and_gradient

# Compiled: operation by operation takes longer than the whole.
_loss = eqx.filter_jit(batch_loss)
_loss_and_gradient = eqx.filter_jit(eqx.filter_value_and_grad(batch_loss))
_predict = eqx.filter_jit(
    lambda model, graphs: jax.vmap(lambda graph: energy_and_forces(model, graph))(graphs)
)


def _residuals(model: EnergyModel, batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Residuals of true molecules' energies and of true atoms' force components."""
    outputs = _predict(model, batch.graph)
    true_molecules = np.asarray(batch.molecule_mask)
    true_atoms = np.asarray(batch.graph.atomic_numbers) > 0
    energy = np.asarray(outputs.energy) - batch.energy
    return energy[true_molecules], (np.asarray(outputs.forces) - batch.forces)[true_atoms].ravel()


def test_squared_loss(x64: None) -> None:
    model, batch = small_model(), make_batch(0)
    energy, forces = _residuals(model, batch)
    config = TrainingConfig(loss="squared", energy_weight=0.3, force_weight=0.7)
    expected = 0.3 * np.mean(energy**2) + 0.7 * np.mean(forces**2)
    np.testing.assert_allclose(_loss(model, batch, config), expected, rtol=1e-12)
    only_energy = TrainingConfig(loss="squared", energy_weight=2.0, force_weight=0.0)
    expected = 2 * np.mean(energy**2)
    np.testing.assert_allclose(_loss(model, batch, only_energy), expected, rtol=1e-12)


def test_huber_loss_is_quadratic_near_and_linear_far(x64: None) -> None:
    model, batch = small_model(), make_batch(1)
    energy, forces = _residuals(model, batch)
    delta = 0.05
    config = TrainingConfig(loss="huber", huber_delta=delta)

    def pseudo_huber(x: np.ndarray) -> np.ndarray:
        return np.hypot(delta, x) - delta

    expected = np.mean(pseudo_huber(energy)) + np.mean(pseudo_huber(forces))
    np.testing.assert_allclose(_loss(model, batch, config), expected, rtol=1e-12)
    wide = TrainingConfig(loss="huber", huber_delta=1e4)
    expected = (np.mean(energy**2) + np.mean(forces**2)) / 2e4
    np.testing.assert_allclose(_loss(model, batch, wide), expected, rtol=1e-5)
    narrow = TrainingConfig(loss="huber", huber_delta=1e-9)
    expected = np.mean(np.abs(energy)) + np.mean(np.abs(forces))
    np.testing.assert_allclose(_loss(model, batch, narrow), expected, rtol=1e-6)


def test_a_program_for_a_gpu_gives_the_same_gradient(x64: None) -> None:
    """Lowered for CUDA, which each operation has a form of its own for, and run here."""
    kernel = Waves(frequencies=FrequencyConfig(max_frequency=3.0, max_length=8.0))
    attention = AttentionConfig(kernel=kernel, integration=IntegrationConfig(spherical_degree=1))
    config = ModelConfig(
        features=4,
        iterations=3,
        highest_atomic_number=9,
        message_passing=MessagePassingConfig(cutoff=4.0, degree=1, num_radial=4),
        attention=attention,
    )
    model = EnergyModel(config, key=jax.random.key(0))
    arrays, rest = eqx.partition(model, eqx.is_array)
    batch = make_batch(3)

    def gradient(arrays: Any, batch: Batch) -> Any:
        whole = eqx.combine(arrays, rest)
        return batch_loss_and_gradient(whole, batch, TrainingConfig(loss="squared"))

    leaves, structure = jax.tree.flatten((arrays, batch))

    def flat(*leaves: Any) -> Any:
        return jax.tree.leaves(gradient(*jax.tree.unflatten(structure, leaves)))

    export = jax.export.export(
        jax.jit(flat),
        platforms=("cuda",),
        disabled_checks=(jax.export.DisabledSafetyCheck.platform(),),  # it runs on any
    )
    program = export(*leaves)
    found = program.call(*leaves)
    expected = jax.jit(flat)(*leaves)
    assert "optimization_barrier" not in program.mlir_module()
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs, 1e-10)


def test_padding_changes_neither_loss_nor_gradient(x64: None) -> None:
    model, batch = small_model(), make_batch(2, empty=0)
    more = Batch(
        graph=stack(
            [jax.tree.map(lambda leaf, i=i: leaf[i], batch.graph) for i in range(2)]
            + [jax.tree.map(lambda leaf: np.zeros_like(leaf[0]), batch.graph)],
            num_atoms=6,
            num_neighbors=5,
        ),
        # Labels of padding are never looked at, whatever they are.
        energy=np.append(batch.energy, np.nan),
        forces=np.pad(batch.forces, ((0, 1), (0, 2), (0, 0)), constant_values=np.nan),
        molecule_mask=np.array([True, True, False]),
    )
    config = TrainingConfig()
    results = [_loss_and_gradient(model, some, config) for some in (batch, more)]
    for a, b in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_batch_that_is_cut_has_the_same_loss_and_gradient(
    x64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, batch = small_model(), make_batch(0)
    config = TrainingConfig(loss="huber", energy_weight=0.3)
    expected = _loss_and_gradient(model, batch, config)
    monkeypatch.setattr(energy_module, "_PAIRS_WORTH_CUTTING", 0)
    monkeypatch.setattr(energy_module, "_PAIRS_AT_ONCE", 1)
    found = eqx.filter_jit(batch_loss_and_gradient)(model, batch, config)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_nothing_but_padding_has_no_loss() -> None:
    model, batch = small_model(), make_batch(3, molecules=1)
    empty = jax.tree.map(np.zeros_like, batch)
    loss, gradient = _loss_and_gradient(model, empty, TrainingConfig())
    assert loss == 0
    assert all(not leaf.any() for leaf in jax.tree.leaves(gradient))


def test_sums_of_errors(x64: None) -> None:
    model, batch = small_model(), make_batch(4)
    energy, forces = _residuals(model, batch)
    expected = {
        "molecules": len(energy),
        "energy_count": len(energy),
        "force_count": len(forces),
        "energy_absolute": np.abs(energy).sum(),
        "energy_squared": (energy**2).sum(),
        "force_absolute": np.abs(forces).sum(),
        "force_squared": (forces**2).sum(),
    }
    found = eqx.filter_jit(batch_errors)(model, batch)
    assert set(found) == set(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-12, err_msg=name)


@pytest.mark.skipif(not CONTRACTS, reason="contracts are off")
def test_wrong_arguments_are_refused_by_name() -> None:
    model, batch, config = small_model(), make_batch(5), TrainingConfig()
    with pytest.raises(TypeCheckError, match="batch"):
        batch_loss(model, batch.graph, config)  # type: ignore[arg-type]
    with pytest.raises(TypeCheckError, match="config"):
        batch_loss(model, batch, "huber")  # type: ignore[arg-type]
    assert batch.shape == (3, 4, 3)
