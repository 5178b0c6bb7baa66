"""Predictions: right numbers in the right order, and refusals that say why."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import Mesh
from toys import read_all

import efa_zoo
from efa_zoo.base.errors import InputError, UnknownModelError
from efa_zoo.models import inference as inference_module
from efa_zoo.models.energy import energy_and_forces
from efa_zoo.models.inference import PredictionStream, predict
from efa_zoo.models.inputs import batches as batches_module
from efa_zoo.models.inputs import checks
from efa_zoo.models.inputs.batches import plan_batches
from efa_zoo.models.inputs.checks import OutOfRangeWarning
from efa_zoo.models.prediction import Prediction
from efa_zoo.structures.distances import closest, farthest
from efa_zoo.structures.graph import Graph, Shape, stack

pytestmark = pytest.mark.usefixtures("zoo")


@pytest.fixture(scope="session")
def model(toy_home: Path) -> efa_zoo.Potential:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFA_ZOO_HOME", str(toy_home))
        return efa_zoo.load("toy")


def water(shift: float = 0.0, **info: object) -> Atoms:
    atoms = Atoms("OH2", positions=[[0, 0, 0.12], [0.76, 0, -0.48], [-0.76, 0, -0.48]])
    atoms.positions += shift
    atoms.info.update(info)
    return atoms


def ammonium_water() -> Atoms:
    (atoms,) = read_all(efa_zoo.example("ammonium_water"))
    return atoms


def test_one_structure_gives_one_prediction_in_physical_units(model: efa_zoo.Potential) -> None:
    atoms = ammonium_water()
    result = predict(model, atoms)
    assert isinstance(result, Prediction)
    assert isinstance(result.energy, float)
    assert result.charge == 1
    assert result.forces.shape == (8, 3)
    assert result.forces.dtype == result.atomic_energies.dtype == np.float64
    assert result.energy == pytest.approx(result.atomic_energies.sum(), abs=1e-12)
    graph = Graph.from_ase(atoms, model.card.model.message_passing.cutoff)
    outputs = eqx.filter_jit(energy_and_forces)(model.network, graph)
    references = sum(model.card.reference_energies[symbol] for symbol in atoms.symbols)
    assert result.energy == pytest.approx(float(outputs.energy) + references, abs=1e-4)
    np.testing.assert_allclose(result.forces, outputs.forces, atol=1e-5)


def test_a_name_a_graph_and_atoms_give_the_same(model: efa_zoo.Potential) -> None:
    atoms = ammonium_water()
    expected = predict(model, atoms)
    graph = Graph.from_ase(atoms, 2.0)
    padded = graph.pad(num_atoms=20, num_neighbors=9)
    for structure in (graph, padded, jax.tree.map(jax.numpy.asarray, padded)):
        result = predict("toy", structure)
        assert result.energy == pytest.approx(expected.energy, abs=1e-4)
        np.testing.assert_allclose(result.forces, expected.forces, atol=1e-5)


def test_a_list_gives_a_list_in_the_same_order(model: efa_zoo.Potential) -> None:
    rng = np.random.default_rng(0)
    structures = []
    for i in range(21):
        atoms = water(charge=0) if i % 3 else ammonium_water()
        atoms.positions += rng.normal(scale=0.02, size=atoms.positions.shape)
        structures.append(atoms)
    results = predict(model, structures)
    assert len(results) == len(structures)
    for atoms, result in zip(structures, results, strict=True):
        alone = predict(model, atoms)
        assert result.forces.shape == (len(atoms), 3)
        assert result.energy == pytest.approx(alone.energy, abs=1e-4)
        np.testing.assert_allclose(result.forces, alone.forces, atol=1e-5)
    assert predict(model, []) == []
    assert len(predict(model, iter(structures[:2]))) == 2


def test_the_number_of_compilations_does_not_grow_with_the_structures(
    model: efa_zoo.Potential, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []
    evaluate = inference_module._evaluate

    def counted(network: efa_zoo.EnergyModel, graphs: Graph, mesh: Mesh | None) -> object:
        shapes.append(graphs.neighbors.shape)
        return evaluate(network, graphs, mesh)

    monkeypatch.setattr(inference_module, "_evaluate", counted)
    predict(model, [water(charge=0)] * 100)
    assert shapes == [(64, 8, 8)] * 2
    shapes.clear()
    for _ in range(3):
        predict(model, water(charge=0))
    assert shapes == [(1, 8, 8)] * 3


# -------------------------------------------------------------------------------------------
# Many structures


def mixed(count: int, seed: int = 0) -> list[Atoms]:
    """Neutral and charged molecules of 3 and 8 atoms in random order, slightly distorted."""
    rng = np.random.default_rng(seed)
    structures = []
    for _ in range(count):
        atoms = water(charge=0) if rng.random() < 0.7 else ammonium_water()
        atoms.positions += rng.normal(scale=0.02, size=atoms.positions.shape)
        structures.append(atoms)
    return structures


sizes_of_molecules = st.lists(
    st.sampled_from(
        [(8, 8), (16, 16), (24, 24), (32, 32), (64, 64), (96, 16), (96, 32), (512, 64)]
    ),
    min_size=1,
    max_size=300,
)


@given(sizes_of_molecules)
def test_every_molecule_is_in_one_batch_that_it_fits_in(sizes: list[tuple[int, int]]) -> None:
    batches = plan_batches(dict(enumerate(sizes)))
    assert sorted(i for _, members in batches for i in members) == list(range(len(sizes)))
    for shape, members in batches:
        assert 0 < len(members) <= shape.molecules <= 64
        assert shape.molecules == 1 or shape.molecules * shape.atoms <= 2048
        for i in members:
            assert sizes[i][0] <= shape.atoms
            assert sizes[i][1] <= shape.neighbors
    # A shape may be half empty in its last batch only.
    for shape in {shape for shape, _ in batches}:
        fills = [len(members) for other, members in batches if other == shape]
        assert fills[:-1] == [shape.molecules] * (len(fills) - 1)


def test_a_size_of_its_own_must_be_worth_its_compilation() -> None:
    few = plan_batches({0: (8, 8), 1: (16, 16), 2: (24, 24)})
    assert [(shape[:3], sorted(members)) for shape, members in few] == [((8, 24, 24), [0, 1, 2])]
    many = plan_batches(dict(enumerate([(8, 8)] * 5000 + [(16, 16)] * 5000)))
    assert {shape[:3] for shape, _ in many} == {(64, 8, 8), (64, 16, 16)}
    # What is compiled already costs nothing, however few use it.
    again = plan_batches({0: (8, 8), 1: (24, 24)}, {Shape(64, 8, 8)})
    assert [shape[:3] for shape, _ in again] == [(64, 8, 8), (1, 24, 24)]


def test_what_is_evaluated_otherwise_never_shares_a_batch() -> None:
    sizes = {0: (8, 8), 1: (16, 16), 2: (24, 24)}

    def evaluation(atoms: int) -> str:
        return "exact" if atoms <= 8 else "quadrature"

    found = plan_batches(sizes, evaluation=evaluation)
    assert [shape.atoms for shape, _ in found] == [8, 24]
    assert found[0][1] == [0]


def test_listing_all_pairs_gives_the_same_as_listing_neighbours(
    model: efa_zoo.Potential, monkeypatch: pytest.MonkeyPatch
) -> None:
    atoms = far(9.0)  # farther apart than the cutoff
    expected = predict(model, atoms)
    monkeypatch.setattr(inference_module, "padded_shape", lambda *_: Shape(1, 24, 16))
    listed = predict(model, atoms)
    assert listed.energy == pytest.approx(expected.energy, abs=1e-5)
    np.testing.assert_allclose(listed.forces, expected.forces, atol=1e-6)


def test_a_stream_gives_what_predict_gives_and_says_what_it_took(model: efa_zoo.Potential) -> None:
    structures = mixed(50)
    expected = predict(model, structures)
    taken: list[int] = []
    done: list[int] = []

    def source() -> Iterator[Atoms]:
        for i, atoms in enumerate(structures):
            taken.append(i)
            yield atoms

    stream = PredictionStream(model, source(), window=20, progress=done.append)
    assert not taken
    results = iter(stream)
    first = next(results)
    assert len(taken) == 20  # no more than a window is held
    for result, wanted in zip([first, *results], expected, strict=True):
        assert isinstance(result, Prediction)
        assert result.energy == pytest.approx(wanted.energy, abs=1e-4)
        np.testing.assert_allclose(result.forces, wanted.forces, atol=1e-5)
    summary = stream.summary
    assert sum(done) == summary.structures == 50
    assert summary.failures == 0
    assert summary.atoms == sum(len(atoms) for atoms in structures)
    assert summary.shapes <= 2
    assert summary.atom_slots >= summary.atoms
    assert summary.fill == summary.atoms / summary.atom_slots
    assert summary.throughput == pytest.approx(50 / summary.seconds)
    assert str(summary).startswith("50 structures in ")


def test_compilations_are_counted(
    model: efa_zoo.Potential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches_module, "_FEW", 5)  # a shape that no other test compiles
    first = PredictionStream(model, mixed(4))
    assert len(list(first)) == 4
    assert first.summary.compilations == first.summary.shapes == 1
    again = PredictionStream(model, mixed(3, seed=1))
    assert len(list(again)) == 3
    assert again.summary.compilations == 0


def test_bad_structures_can_be_reported_in_their_places(model: efa_zoo.Potential) -> None:
    structures = mixed(6)
    structures[1] = moved(1, np.nan)
    structures[4] = Atoms("Na", info={"charge": 0})
    done: list[int] = []
    results = predict(model, structures, on_error="return", progress=done.append)
    assert [isinstance(result, Prediction) for result in results] == [
        True, False, True, True, False, True,
    ]  # fmt: skip
    assert str(results[1]).startswith("structure 1: positions: atom 1 (H) is at [nan")
    assert str(results[4]).startswith("structure 4: elements: got Na")
    for i in (0, 2, 3, 5):
        result = results[i]
        assert isinstance(result, Prediction)
        assert result.energy == pytest.approx(predict(model, structures[i]).energy, abs=1e-4)
    assert sum(done) == 6
    stream = PredictionStream(model, structures, on_error="return", window=2)
    assert [str(r) for r in stream if isinstance(r, InputError)] == [
        str(results[1]), str(results[4]),
    ]  # fmt: skip
    assert stream.summary.failures == 2
    with pytest.raises(InputError, match=r"^structure 1: positions"):
        predict(model, structures)


def test_a_structure_without_finite_energy_is_a_failure_of_its_own(
    model: efa_zoo.Potential,
) -> None:
    broken = eqx.tree_at(lambda m: m.network.readout, model, model.network.readout * np.nan)
    (result,) = predict(broken, [water(charge=0)], on_error="return")
    assert (
        str(result)
        == "structure 0: positions: the model gives no finite energy and forces for them"
    )


def test_all_bad_and_none_at_all(model: efa_zoo.Potential) -> None:
    (result,) = predict(model, [Atoms("Na", info={"charge": 0})], on_error="return")
    assert isinstance(result, InputError)
    stream = PredictionStream(model, [])
    assert list(stream) == []
    assert (stream.summary.fill, stream.summary.throughput) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"on_error": "ignore"}, "on_error: got 'ignore', expected 'raise' or 'return'"),
        ({"window": 0}, "window: got 0, expected at least 1"),
        ({"dtype": "float16"}, "dtype: got float16"),
        ({"out_of_range": "ignore"}, "out_of_range: got 'ignore'"),
    ],
)
def test_options_of_a_stream_are_checked(
    model: efa_zoo.Potential, option: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        PredictionStream(model, [], **option)


def test_float64_needs_no_global_setting(model: efa_zoo.Potential) -> None:
    atoms = ammonium_water()
    single, double = predict(model, atoms), predict(model, atoms, dtype="float64")
    assert jax.numpy.zeros(()).dtype == np.float32
    assert double.energy != single.energy
    assert double.energy == pytest.approx(single.energy, abs=1e-4)
    step = 1e-4
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[5, 1] += sign * step
        energies.append(predict(model, moved, dtype=np.float64).energy)
    assert double.forces[5, 1] == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-7)
    with jax.enable_x64(True):
        assert predict(model, atoms).energy == single.energy
        assert predict(model, atoms, dtype="float64").energy == double.energy


def test_a_molecule_far_from_the_origin_keeps_its_precision(model: efa_zoo.Potential) -> None:
    atoms = ammonium_water()
    moved = atoms.copy()
    moved.positions += 1e5
    here, there = predict(model, atoms), predict(model, moved)
    assert there.energy == pytest.approx(here.energy, abs=1e-5)
    np.testing.assert_allclose(there.forces, here.forces, atol=1e-5)


def test_inputs_are_not_changed(model: efa_zoo.Potential) -> None:
    atoms = ammonium_water()
    copy = atoms.copy()
    predict(model, atoms)
    assert atoms == copy
    assert atoms.info == copy.info
    assert atoms.calc is None


# -------------------------------------------------------------------------------------------
# Charges


@pytest.mark.parametrize("charge", [1, 1.0, np.int64(1), np.float64(1)])
def test_the_charge_is_taken_from_atoms_or_argument(
    model: efa_zoo.Potential, charge: object
) -> None:
    atoms = ammonium_water()
    atoms.info["charge"] = charge
    assert predict(model, atoms).charge == 1
    del atoms.info["charge"]
    assert predict(model, atoms, charge=1).charge == 1
    assert predict(model, Graph.from_ase(atoms, 4.0, total_charge=1)).charge == 1


def test_an_argument_comes_before_the_charge_of_atoms(model: efa_zoo.Potential) -> None:
    atoms = ammonium_water()
    atoms.info["charge"] = -1
    assert predict(model, atoms, charge=1).charge == 1


def test_a_missing_charge_is_zero_and_said_once(
    model: efa_zoo.Potential, caplog: pytest.LogCaptureFixture
) -> None:
    checks._say_neutral.cache_clear()
    with caplog.at_level("INFO", logger="efa_zoo"):
        found = predict(model, [water(), water()])
        predict(model, water())
    assert [prediction.charge for prediction in found] == [0, 0]
    assert [record.getMessage() for record in caplog.records] == [
        "charge: not given, so it is 0 (toy)"
    ]


def test_where_a_missing_charge_cannot_be_zero_those_that_fit_are_named() -> None:
    ammonium = ammonium_water()
    del ammonium.info["charge"]
    with pytest.raises(InputError, match=r"odd number.*none was given.*one of -1, \+1:.*--charge"):
        predict("toy", ammonium)
    hydroxide = Atoms("OH", positions=[[0, 0, 0], [1, 0, 0]])
    with pytest.raises(InputError, match=r"odd number.*none was given, which means 0$"):
        predict("toy_neutral", hydroxide)


@pytest.mark.parametrize("charge", ["1", 0.5, True, None, float("nan"), [1]])
def test_a_charge_that_is_no_integer_is_refused(model: efa_zoo.Potential, charge: object) -> None:
    with pytest.raises(InputError, match="charge: "):
        predict(model, water(charge=charge))


# -------------------------------------------------------------------------------------------
# Bad input


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(UnknownModelError, match="did you mean toy"):
        predict("toyy", water(charge=0))


def moved(atom: int, place: object) -> Atoms:
    atoms = water(charge=0)
    atoms.positions[atom] = place
    return atoms


def far(distance: float) -> Atoms:
    other = water()
    other.positions[:, 2] += distance
    atoms = water() + other
    atoms.info["charge"] = 0
    return atoms


def periodic() -> Atoms:
    atoms = water(charge=0)
    atoms.set_cell([10, 10, 10])
    atoms.pbc = (True, False, False)
    return atoms


@pytest.mark.parametrize(
    ("structure", "message"),
    [
        (Atoms(info={"charge": 0}), "no atoms"),
        (Atoms("Na2", [[0, 0, 0], [2, 0, 0]], info={"charge": 0}), "got Na, but toy knows only H"),
        (Atoms("X", [[0, 0, 0]], info={"charge": 0}), "got atomic number 0"),
        (moved(1, np.nan), r"positions: atom 1 \(H\) is at \[nan, nan, nan\]"),
        (moved(2, [0, 0, np.inf]), r"positions: atom 2 \(H\) is at \[0.0, 0.0, inf\]"),
        (moved(2, [0, 0, 0.12]), "atoms 0 and 2 are 0 Å apart, expected different places$"),
        (Atoms("OH2", info={"charge": 0}), "all positions are zero, were they given"),
        (moved(2, [0, 0, 0.5]), "atoms 0 and 2 are 0.38 Å apart, but toy knows .* from 0.6"),
        (far(15.5), "Å apart, but toy knows distances up to 15 Å"),
        (water(charge=2), r"charge: got \+2, but toy knows only -1, 0, \+1"),
        (water(charge=1), r"charge: \+1 leaves 9 electrons, an odd number"),
        (periodic(), "expected a molecule without periodicity"),
    ],
)
def test_a_structure_outside_the_model_is_refused(
    model: efa_zoo.Potential, structure: Atoms, message: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        predict(model, structure)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=f"^structure 1: .*{message}"):
        predict(model, [water(charge=0), structure])


@pytest.mark.parametrize("structure", ["water.xyz", None, 3, [None], ["water.xyz"], [[water()]]])
def test_what_is_no_structure_is_refused(model: efa_zoo.Potential, structure: object) -> None:
    with pytest.raises(InputError, match="expected ASE atoms or a Graph"):
        predict(model, structure)  # type: ignore[arg-type]


def test_a_stacked_batch_is_refused(model: efa_zoo.Potential) -> None:
    graph = Graph.from_ase(water(), 4.0)
    with pytest.raises(InputError, match="give a batch as a list of graphs"):
        predict(model, stack([graph, graph]))


@pytest.mark.parametrize("dtype", ["float16", "int32", "complex64", "nothing"])
def test_only_two_types_are_known(model: efa_zoo.Potential, dtype: str) -> None:
    with pytest.raises(InputError, match=r"dtype: got .* expected float32 or float64"):
        predict(model, water(charge=0), dtype=dtype)


def test_the_choice_about_range_is_checked(model: efa_zoo.Potential) -> None:
    with pytest.raises(InputError, match="out_of_range: got 'ignore'"):
        predict(model, water(charge=0), out_of_range="ignore")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "structure", [water(charge=2), water(charge=1), far(15.5), moved(2, [0, 0, 0.5])]
)
def test_out_of_range_can_be_a_warning(model: efa_zoo.Potential, structure: Atoms) -> None:
    with pytest.warns(OutOfRangeWarning, match="toy knows"):
        result = predict(model, structure, out_of_range="warn")
    assert np.isfinite(result.energy)
    with pytest.warns(OutOfRangeWarning, match="structure 0: ") as caught:
        predict(model, [structure], out_of_range="warn")
    assert caught[0].filename == __file__


def test_an_unknown_element_or_one_place_is_never_a_warning(model: efa_zoo.Potential) -> None:
    for structure in (Atoms("He", info={"charge": 0}), moved(2, [0, 0, 0.12])):
        with warnings.catch_warnings(), pytest.raises(InputError):
            predict(model, structure, out_of_range="warn")


def test_a_network_that_gives_nan_is_not_believed(model: efa_zoo.Potential) -> None:
    broken = eqx.tree_at(lambda m: m.network.readout, model, model.network.readout * np.nan)
    with pytest.raises(InputError, match="no finite energy"):
        predict(broken, water(charge=0))


def test_the_longest_and_shortest_distances_are_found() -> None:
    rng = np.random.default_rng(1)
    for atoms in (1, 2, 3, 50, 200):
        for stretch in (1.0, 10.0):
            points = rng.normal(size=(atoms, 3)) * [1, 1, stretch]
            distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
            found, first, second = farthest(points)
            assert found == pytest.approx(distances.max())
            assert distances[first, second] == pytest.approx(distances.max())
            found, first, second = closest(points)
            shortest = (distances + np.diag([np.inf] * atoms)).min()
            assert found == pytest.approx(shortest)
            if atoms > 1:
                assert first < second
                assert distances[first, second] == pytest.approx(shortest)


def test_graphs_are_predicted_without_ase(toy_home: Path) -> None:
    code = (
        "import sys\n"
        "sys.modules['ase'] = None  # as if it were not installed\n"
        "import efa_zoo\n"
        "g = efa_zoo.Graph.from_arrays([8, 1, 1], [[0, 0, 0], [1, 0, 0], [0, 1, 0]], 4.0)\n"
        "print(efa_zoo.predict('toy', g).energy)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(efa_zoo.__file__).parents[1],
        env={**os.environ, "EFA_ZOO_HOME": str(toy_home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert float(result.stdout) < 0
