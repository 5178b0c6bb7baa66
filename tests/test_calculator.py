"""The calculator of ASE: right numbers at every call, whatever was asked before."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import equinox as eqx
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.fd import calculate_numerical_forces
from ase.constraints import FixAtoms
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS
from ase.units import fs
from ase.vibrations import Vibrations
from toys import make_model, read_all

import efa_zoo
from efa_zoo import calculator as calculator_module
from efa_zoo.base.errors import InputError, UnknownModelError
from efa_zoo.calculator import EFACalculator
from efa_zoo.models.inputs.checks import OutOfRangeWarning
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.outputs import Outputs
from efa_zoo.structures.domain import Domain
from efa_zoo.structures.graph import Graph

pytestmark = pytest.mark.usefixtures("zoo")


@pytest.fixture(scope="session")
def model(toy_home: Path) -> efa_zoo.Potential:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFA_ZOO_HOME", str(toy_home))
        return efa_zoo.load("toy")


@pytest.fixture
def atoms(model: efa_zoo.Potential) -> Atoms:
    """Ammonium and water with a calculator."""
    (found,) = read_all(efa_zoo.example("ammonium_water"))
    found.calc = EFACalculator(model)
    return found


def water(**info: object) -> Atoms:
    atoms = Atoms("OH2", positions=[[0, 0, 0.12], [0.76, 0, -0.48], [-0.76, 0, -0.48]])
    atoms.info.update(info)
    return atoms


def waters(count: int, spacing: float = 3.0, charge: int = 0) -> Atoms:
    """A row of two by two molecules."""
    row = Atoms()
    for i in range(count):
        molecule = water()
        molecule.positions += spacing * np.array([i // 4, i % 2, i // 2 % 2])
        row += molecule
    row.info["charge"] = charge
    return row


@pytest.fixture
def shapes(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """Atoms and neighbours of every compilation, which is when Python sees the network run."""
    compiled: list[tuple[int, int]] = []
    evaluate = calculator_module._evaluate.__wrapped__

    def counted(network: EnergyModel, graph: Graph) -> Outputs:
        compiled.append((graph.num_atoms, graph.num_neighbors))
        return evaluate(network, graph)

    # Another function, because compiled ones are kept by the function.
    monkeypatch.setattr(calculator_module, "_evaluate", eqx.filter_jit(counted))
    yield compiled


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
def test_results_are_those_of_predict(
    model: efa_zoo.Potential, dtype: str, tolerance: float
) -> None:
    calculator = EFACalculator(model, dtype=dtype)
    structures = [*read_all(efa_zoo.example("ammonium_water")), water(charge=0)]
    if dtype == "float64":
        structures.append(waters(14))  # long enough for a neighbour list
    for atoms, expected in zip(
        structures, efa_zoo.predict(model, structures, dtype=dtype), strict=True
    ):
        atoms.calc = calculator
        assert atoms.get_potential_energy() == pytest.approx(expected.energy, abs=100 * tolerance)
        assert calculator.results["free_energy"] == atoms.get_potential_energy()
        np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=tolerance)
        np.testing.assert_allclose(
            atoms.get_potential_energies(), expected.atomic_energies, atol=100 * tolerance
        )
        assert atoms.get_forces().dtype == atoms.get_potential_energies().dtype == np.float64
    with pytest.raises(PropertyNotImplementedError):
        structures[0].get_stress()


def test_forces_are_the_negative_gradient_of_the_energy(atoms: Atoms) -> None:
    forces = atoms.get_forces()
    np.testing.assert_allclose(calculate_numerical_forces(atoms, eps=1e-4), forces, atol=1e-6)


def test_a_permutation_permutes_the_results(atoms: Atoms) -> None:
    energy, forces, energies = (
        atoms.get_potential_energy(),
        atoms.get_forces(),
        atoms.get_potential_energies(),
    )
    order = np.random.default_rng(0).permutation(len(atoms))
    shuffled = atoms[order]
    shuffled.calc = atoms.calc
    assert shuffled.get_potential_energy() == pytest.approx(energy, abs=1e-9)
    np.testing.assert_allclose(shuffled.get_forces(), forces[order], atol=1e-10)
    np.testing.assert_allclose(shuffled.get_potential_energies(), energies[order], atol=1e-10)


def test_it_compiles_once_per_bucket_and_grows_without_losing_a_step(
    model: efa_zoo.Potential, shapes: list[tuple[int, int]]
) -> None:
    assert model.card.domain is not None
    crowded = dataclasses.replace(model.card.domain, min_distance=0.11)
    card = dataclasses.replace(model.card, domain=crowded)
    model = dataclasses.replace(model, card=card)
    calculator = EFACalculator(model)

    def check(atoms: Atoms) -> None:
        atoms.calc = calculator
        forces = efa_zoo.predict(model, atoms, dtype="float64").forces
        np.testing.assert_allclose(atoms.get_forces(), forces, atol=1e-9)

    for _ in range(3):
        check(water(charge=0))
    (ammonium_water,) = read_all(efa_zoo.example("ammonium_water"))
    check(ammonium_water)
    assert shapes == [(8, 8)]
    chain = waters(22, spacing=2.5)  # 66 atoms, too many to list all pairs
    rng = np.random.default_rng(0)
    for _ in range(4):
        check(chain)
        chain.positions += rng.normal(scale=0.02, size=chain.positions.shape)
    assert len(shapes) == 2
    assert calculator.neighbors.searches == 3
    centers = chain.positions.reshape(-1, 3, 3).mean(axis=1, keepdims=True)
    chain.positions -= np.broadcast_to(0.28 * centers, (22, 3, 3)).reshape(-1, 3)
    check(chain)  # compressed: more neighbours than there was room for
    assert len(shapes) == 3
    assert shapes[1][0] == shapes[2][0] == 96
    assert shapes[1][1] < shapes[2][1]
    check(waters(22, spacing=2.5))
    check(waters(22, spacing=2.4))
    assert len(shapes) == 3


def test_results_follow_every_change(model: efa_zoo.Potential, atoms: Atoms) -> None:
    calculator = atoms.calc
    first = atoms.get_potential_energy()
    atoms.positions[0, 0] += 1e-3
    second = atoms.get_potential_energy()
    assert second != first
    atoms.positions[0, 0] -= 1e-3
    assert atoms.get_potential_energy() == pytest.approx(first, abs=1e-9)
    atoms.symbols[5] = "N"
    atoms.info["charge"] = 0
    changed = atoms.get_potential_energy()
    assert changed == pytest.approx(efa_zoo.predict(model, atoms, dtype="float64").energy, abs=1e-9)
    other = water(charge=0)
    other.calc = calculator
    assert other.get_forces().shape == (3, 3)
    assert atoms.get_potential_energy() == pytest.approx(changed, abs=1e-9)
    atoms.get_forces()[:] = 0  # a copy
    assert np.abs(atoms.get_forces()).max() > 0


def test_unchanged_atoms_are_not_computed_again(
    atoms: Atoms, monkeypatch: pytest.MonkeyPatch
) -> None:
    atoms.get_forces()
    monkeypatch.setattr(calculator_module, "_evaluate", None)
    atoms.get_potential_energy()
    atoms.cell = [20.0, 20.0, 20.0]
    atoms.get_potential_energies()


def test_charges_of_atoms_are_checked_and_not_hidden_by_the_last_result(atoms: Atoms) -> None:
    atoms.get_potential_energy()
    atoms.set_initial_charges(np.ones(len(atoms)))
    with pytest.raises(InputError, match="initial charges add up to"):
        atoms.get_potential_energy()


def test_the_charge_is_taken_from_the_argument_or_the_atoms(model: efa_zoo.Potential) -> None:
    atoms = water()
    atoms.calc = EFACalculator(model)
    energy = atoms.get_potential_energy()
    atoms.calc = EFACalculator(model, charge=0)
    assert atoms.get_potential_energy() == energy
    atoms.calc = EFACalculator(model)
    atoms.info["charge"] = 0
    assert atoms.get_potential_energy() == energy
    atoms.info["charge"] = 1  # only the check depends on it, and the last result must not hide it
    with pytest.raises(InputError, match="odd number"):
        atoms.get_potential_energy()
    atoms.calc.set(charge=0)
    assert atoms.get_potential_energy() == energy
    atoms.calc.set(charge=1)
    with pytest.raises(InputError, match="odd number"):
        atoms.get_potential_energy()
    neutral = EFACalculator("toy_neutral")
    del atoms.info["charge"]
    atoms.calc = neutral
    assert np.isfinite(atoms.get_potential_energy())


def periodic(atoms: Atoms) -> None:
    atoms.set_cell([20, 20, 20])
    atoms.pbc = True


def unknown(atoms: Atoms) -> None:
    atoms.symbols[0] = "P"


def overlapping(atoms: Atoms) -> None:
    atoms.positions[1] = atoms.positions[0]


def not_finite(atoms: Atoms) -> None:
    atoms.positions[1, 2] = np.nan


def torn(atoms: Atoms) -> None:
    atoms.positions[1] += 40


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (periodic, "pbc: got"),
        (unknown, "elements: got P, but toy knows only H, C, N, O"),
        (overlapping, "atoms 0 and 1 are 0 Å apart"),
        (not_finite, "atom 1 (H) is at"),
        (torn, "knows distances up to 15 Å"),
    ],
)
def test_a_failed_call_leaves_nothing_behind(atoms: Atoms, spoil: object, message: str) -> None:
    good = atoms.copy()
    good.calc = atoms.calc
    energy = good.get_potential_energy()
    assert callable(spoil)
    spoil(atoms)
    for ask in (atoms.get_potential_energy, atoms.get_forces, atoms.get_potential_energies) * 2:
        with pytest.raises(InputError) as caught:
            ask()
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
        assert atoms.calc.results == {}
    with pytest.raises(InputError, match="atoms: got none"):
        atoms.calc.get_property("energy")
    assert good.get_potential_energy() == pytest.approx(energy, abs=1e-9)


def test_numbers_that_are_not_finite_are_refused(model: efa_zoo.Potential) -> None:
    broken = eqx.tree_at(lambda m: m.network.readout, model, model.network.readout * np.nan)
    atoms = water(charge=0)
    atoms.calc = EFACalculator(broken)
    with pytest.raises(InputError, match="no finite energy and forces"):
        atoms.get_forces()
    assert atoms.calc.results == {}


def test_out_of_range_may_only_warn(model: efa_zoo.Potential, atoms: Atoms) -> None:
    torn(atoms)
    atoms.calc = EFACalculator(model, out_of_range="warn")
    with pytest.warns(OutOfRangeWarning, match="up to 15 Å"):
        atoms.get_potential_energy()
    atoms.calc.set(out_of_range="error")
    with pytest.raises(InputError, match="up to 15 Å"):
        atoms.get_potential_energy()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtype": "float16"}, "dtype: got float16, expected float32 or float64"),
        ({"out_of_range": "ignore"}, "out_of_range: got 'ignore'"),
        ({"skin": -1.0}, "skin: got -1.0"),
    ],
)
def test_bad_arguments_are_refused(
    model: efa_zoo.Potential, options: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        EFACalculator(model, **options)  # type: ignore[arg-type]


def test_parameters_that_cannot_change_are_refused(model: efa_zoo.Potential) -> None:
    calculator = EFACalculator(model, charge=1)
    with pytest.raises(
        InputError, match="set: got 'dtype', expected 'charge', 'multiplicity' or 'out_of_range'"
    ):
        calculator.set(dtype="float32")
    with pytest.raises(InputError, match="out_of_range: got 'ignore'"):
        calculator.set(out_of_range="ignore")
    with pytest.raises(UnknownModelError, match="did you mean toy"):
        EFACalculator("toyy")
    assert calculator.todict() == {
        "model": "toy",
        "charge": 1,
        "multiplicity": None,
        "dtype": "float64",
        "out_of_range": "error",
        "skin": 0.5,
    }


def test_deep_copies_are_equal_and_independent(atoms: Atoms) -> None:
    energy = atoms.get_potential_energy()
    copied = copy.deepcopy(atoms.calc)
    assert copied.results["energy"] == energy
    copied.set(charge=0)
    copied.neighbors.update(np.zeros((5, 3)))
    assert atoms.calc.parameters["charge"] is None
    assert atoms.get_potential_energy() == energy
    other = atoms.copy()
    other.calc = copy.deepcopy(atoms.calc)
    other.positions[0] += 0.01
    assert other.get_potential_energy() != energy
    assert atoms.calc.results["energy"] == energy


def test_a_pickle_computes_the_same_in_another_process(atoms: Atoms, tmp_path: Path) -> None:
    forces = atoms.get_forces()
    again = pickle.loads(pickle.dumps(atoms.calc))
    assert again.potential.network.readout.dtype == np.float64
    moved = atoms.copy()
    moved.calc = again
    moved.positions[0] += 0.01
    (tmp_path / "calculator.pickle").write_bytes(pickle.dumps((again, moved)))
    code = (
        "import pickle, sys\n"
        "calculator, atoms = pickle.load(open(sys.argv[1], 'rb'))\n"
        "atoms.positions[0] -= 0.01\n"
        "atoms.calc = calculator\n"
        "print(atoms.get_forces().tolist())\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, str(tmp_path / "calculator.pickle")],
        capture_output=True,
        text=True,
        check=False,
        env={"JAX_PLATFORMS": "cpu"},
    )
    assert result.returncode == 0, result.stderr
    np.testing.assert_allclose(np.asarray(eval(result.stdout)), forces, atol=1e-10)


def test_two_calculators_at_once_do_not_meddle(
    toy_home: Path, tmp_path: Path, atoms: Atoms
) -> None:
    make_model(
        tmp_path,
        "other",
        domain=Domain(elements=("H", "N", "O"), total_charges=(1,), max_distance=15.0),
        seed=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFA_ZOO_HOME", str(tmp_path))
        other = EFACalculator("other", dtype="float32")
    twin = atoms.copy()
    twin.calc = other
    first, second = atoms.get_potential_energy(), twin.get_potential_energy()
    assert first != second
    for step in range(3):
        for structure in (atoms, twin):
            structure.positions[1] += 1e-3 * (-1) ** step
            structure.get_forces()
    for structure in (atoms, twin):
        structure.positions[1] -= 1e-3
    assert atoms.get_potential_energy() == pytest.approx(first, abs=1e-9)
    assert twin.get_potential_energy() == pytest.approx(second, abs=1e-4)


def test_optimisers_go_downhill_and_keep_constraints(atoms: Atoms) -> None:
    atoms.set_constraint(FixAtoms([0, 5]))
    start = atoms.copy()
    energy = atoms.get_potential_energy()
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=10)
    assert atoms.get_potential_energy() < energy
    np.testing.assert_array_equal(atoms.positions[[0, 5]], start.positions[[0, 5]])
    assert np.abs(atoms.get_forces()[[0, 5]]).max() == 0
    raw = atoms.get_forces(apply_constraint=False)
    assert np.abs(raw[[0, 5]]).max() > 0
    np.testing.assert_array_equal(atoms.calc.results["forces"], raw)


def test_dynamics_keep_energy_and_momentum(atoms: Atoms) -> None:
    rng = np.random.default_rng(0)
    atoms.set_velocities(0.02 * rng.normal(size=(len(atoms), 3)))
    momentum = atoms.get_momenta().sum(axis=0)
    energy = atoms.get_total_energy()
    kinetic = atoms.get_kinetic_energy()
    VelocityVerlet(atoms, 0.1 * fs).run(50)
    assert abs(atoms.get_kinetic_energy() - kinetic) > 1e-4
    assert atoms.get_total_energy() == pytest.approx(energy, abs=1e-5)
    np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), momentum, atol=1e-10)


def test_vibrations_are_those_of_the_second_derivatives(
    model: efa_zoo.Potential, tmp_path: Path
) -> None:
    atoms = water(charge=0)
    atoms.calc = EFACalculator(model)
    vibrations = Vibrations(atoms, name=str(tmp_path / "vib"), delta=1e-3)
    vibrations.run()
    hessian = vibrations.get_vibrations().get_hessian_2d()
    expected = np.zeros((9, 9))
    for i in range(9):
        for sign in (1, -1):
            moved = water(charge=0)
            moved.positions.flat[i] += sign * 1e-3
            forces = efa_zoo.predict(model, moved, dtype="float64").forces
            expected[i] -= sign * forces.ravel() / 2e-3
    np.testing.assert_allclose(hessian, (expected + expected.T) / 2, atol=1e-8)


@pytest.mark.parametrize("shared", [True, False])
def test_reaction_paths(model: efa_zoo.Potential, shared: bool) -> None:
    images = [water(charge=0) for _ in range(4)]
    images[-1].rotate(40, "z")
    calculator = EFACalculator(model)
    for image in images:
        image.calc = calculator if shared else copy.deepcopy(calculator)
    band = NEB(images, allow_shared_calculator=shared, method="improvedtangent")
    band.interpolate()
    BFGS(band, logfile=None).run(fmax=1e-4, steps=2)
    for image, expected in zip(
        images, efa_zoo.predict(model, images, dtype="float64"), strict=True
    ):
        assert image.get_potential_energy() == pytest.approx(expected.energy, abs=1e-9)
