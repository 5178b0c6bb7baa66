"""The shipped models: whole, reproducible, symmetric, with forces that are gradients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import ase.io
import e3x
import jax
import numpy as np
import pytest
from ase import Atoms
from store_zoo_predictions import graph
from symmetry import quick_jit

import efa_zoo
from efa_zoo.models.energy import energy_and_forces
from efa_zoo.models.hub.registry import find
from efa_zoo.models.prediction import Prediction
from efa_zoo.models.weights import named_arrays, weights_hash
from efa_zoo.structures.elements import symbol
from efa_zoo.structures.graph import Graph

MODELS = ("mpnn_dimers", "mpnn_efa_dimers")

#: Structures and their predictions in float64 of every model; see `store_zoo_predictions.py`.
STORED = json.loads(
    (Path(__file__).parents[1] / "zoo_predictions.json").read_text(encoding="utf-8")
)

TOLERANCES = {"float64": 1e-10, "float32": 1e-5}


@pytest.fixture
def quick_compilation() -> Iterator[None]:
    """Compile as fast as XLA can: what is compiled here runs once."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module", params=MODELS)
def model(request: pytest.FixtureRequest) -> efa_zoo.Potential:
    return efa_zoo.load(request.param)


@pytest.fixture(scope="module")
def atoms() -> Atoms:
    return read("ammonium_water")


def read(example: str) -> Atoms:
    atoms = ase.io.read(efa_zoo.example(example))
    assert isinstance(atoms, Atoms)
    return atoms


def relative_energy(model: efa_zoo.Potential, prediction: Prediction, atoms: Atoms) -> float:
    """What the network predicts: without the large constants of the elements."""
    references = model.card.reference_energies
    return prediction.energy - sum(references[s] for s in atoms.get_chemical_symbols())


def moved(atoms: Atoms, positions: np.ndarray) -> Atoms:
    copy = atoms.copy()
    copy.positions = positions
    return copy


def test_the_list_is_what_is_shipped() -> None:
    shipped = efa_zoo.list_models()
    assert set(MODELS) <= set(shipped)
    assert set(STORED) == set(shipped), "run python tests/store_zoo_predictions.py"


@pytest.mark.parametrize("name", STORED)
def test_files_are_whole_and_small(name: str) -> None:
    files, weights = find(name), efa_zoo.card(name).weights
    assert weights is not None
    assert weights_hash(files.weights) == weights.sha256
    assert files.weights.stat().st_size == weights.bytes < 3_000_000
    network = efa_zoo.load(name).network
    assert sum(a.size for a in named_arrays(network).values()) == weights.parameters


@pytest.mark.parametrize("name", MODELS)
def test_replay_sets_are_whole_small_and_of_what_the_model_knows(name: str) -> None:
    from efa_zoo.training.data.replay_sets import read_replay_set

    card, files = efa_zoo.card(name), find(name)
    kept = read_replay_set(card, files)
    assert kept is not None
    assert files.replay.stat().st_size <= 200_000
    assert len(kept["train"]) >= 300
    assert len(kept["validation"]) >= 75
    structures = [s for members in kept.values() for s in members]
    assert card.domain is not None
    elements = {symbol(int(z)) for s in structures for z in s.atomic_numbers}
    assert elements == set(card.domain.elements)
    assert {s.total_charge for s in structures} == set(card.domain.total_charges)
    chosen = structures[:20]
    graphs = [
        Graph.from_arrays(s.atomic_numbers, s.positions, None, total_charge=s.total_charge)
        for s in chosen
    ]
    found = efa_zoo.predict(name, graphs, out_of_range="warn")
    errors = [np.abs(p.forces - s.forces).mean() for p, s in zip(found, chosen, strict=True)]
    assert np.mean(errors) < 0.1  # eV/Å: labels belong to these positions


def test_siblings_have_about_the_same_number_of_parameters() -> None:
    local, attending = (efa_zoo.card(name).weights for name in MODELS)
    assert local is not None
    assert attending is not None
    assert local.parameters == pytest.approx(attending.parameters, rel=0.08)


@pytest.mark.usefixtures("quick_compilation", "many_networks")
@pytest.mark.parametrize("name", STORED)
def test_stored_predictions_are_reproduced(name: str) -> None:
    found = efa_zoo.predict(
        efa_zoo.load(name), [graph(entry) for entry in STORED[name]], dtype="float64"
    )
    for prediction, stored in zip(found, STORED[name], strict=True):
        assert prediction.energy == pytest.approx(stored["energy"], abs=1e-7)
        np.testing.assert_allclose(prediction.forces, stored["forces"], atol=1e-7)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_symmetries(model: efa_zoo.Potential, atoms: Atoms, dtype: str) -> None:
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        rotation = np.asarray(e3x.so3.random_rotation(jax.random.key(1)), np.float64)
    order = rng.permutation(len(atoms))
    frames = [
        atoms,
        moved(atoms, atoms.positions @ rotation),
        moved(atoms, -atoms.positions @ rotation),  # a reflection
        moved(atoms, atoms.positions + rng.normal(size=3)),
        atoms[order],
    ]
    first, rotated, reflected, shifted, permuted = efa_zoo.predict(
        model, frames, charge=1, dtype=dtype
    )
    tolerance = TOLERANCES[dtype]
    scale = max(1.0, float(np.abs(first.forces).max()))
    energy = relative_energy(model, first, atoms)
    for other in (rotated, reflected, shifted, permuted):
        assert relative_energy(model, other, atoms) == pytest.approx(energy, rel=tolerance)
    for other, forces in (
        (rotated, first.forces @ rotation),
        (reflected, -first.forces @ rotation),
        (shifted, first.forces),
        (permuted, first.forces[order]),
    ):
        np.testing.assert_allclose(other.forces, forces, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_padding_and_batching_change_nothing(
    model: efa_zoo.Potential, atoms: Atoms, dtype: str
) -> None:
    alone = efa_zoo.predict(model, atoms, dtype=dtype)
    with jax.enable_x64(dtype == "float64"):
        graph = efa_zoo.Graph.from_ase(
            atoms, model.card.model.message_passing.cutoff, dtype=np.dtype(dtype)
        )
        network = jax.tree.map(
            lambda x: x.astype(dtype) if hasattr(x, "astype") else x, model.network
        )
        for sizes in ({}, {"num_atoms": 13, "num_neighbors": 11}):
            outputs = quick_jit(energy_and_forces)(
                network, jax.tree.map(jax.numpy.asarray, graph.pad(**sizes))
            )
            energies, forces = outputs.atomic_energies, outputs.forces
            found = float(np.asarray(energies, np.float64).sum())
            expected = relative_energy(model, alone, atoms)
            assert found == pytest.approx(expected, rel=TOLERANCES[dtype])
            count = len(atoms)
            np.testing.assert_allclose(forces[:count], alone.forces, atol=3 * TOLERANCES[dtype])
            assert not np.asarray(forces[count:]).any()


def test_forces_are_the_negative_gradient(model: efa_zoo.Potential, atoms: Atoms) -> None:
    rng = np.random.default_rng(0)
    step, direction = 1e-4, rng.normal(size=(3, len(atoms), 3))
    frames = [
        moved(atoms, atoms.positions + factor * step * d)
        for d in direction
        for factor in (-2, -1, 1, 2)
    ]
    found = efa_zoo.predict(model, [atoms, *frames], charge=1, dtype="float64")
    energies = np.asarray([p.energy for p in found[1:]]).reshape(3, 4)
    slopes = energies @ np.asarray([1, -8, 8, -1]) / (12 * step)
    expected = -np.sum(found[0].forces * direction, axis=(1, 2))
    np.testing.assert_allclose(slopes, expected, rtol=1e-7, atol=1e-7)
