"""Velocities at the start: what is still, and how warm it is."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.constraints import FixAtoms

from efa_zoo.simulation import DynamicsConfig
from efa_zoo.simulation.state import temperature
from efa_zoo.simulation.velocities import degrees_of_freedom, initial_momenta

NVE = DynamicsConfig(temperature=250.0, seed=3)
NVT = DynamicsConfig(ensemble="nvt", temperature=250.0, seed=3)

WATER = Atoms("OH2", positions=[[0, 0, 0.12], [0.76, 0, -0.48], [-0.76, 0, -0.48]])
LINE = Atoms("CO2", positions=[[0, 0, 0], [0.7, 0.7, 0.7], [-0.7, -0.7, -0.7]])
ATOM = Atoms("O", positions=[[1.0, 2.0, 3.0]])


@pytest.mark.parametrize(("atoms", "freedom"), [(WATER, 3), (LINE, 4), (ATOM, 0)])
def test_a_free_molecule_neither_moves_nor_turns_as_a_whole(atoms: Atoms, freedom: int) -> None:
    moving = atoms.copy()
    moving.set_momenta(initial_momenta(atoms, NVE))
    np.testing.assert_allclose(moving.get_momenta().sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(moving.get_angular_momentum(), 0, atol=1e-10)
    assert degrees_of_freedom(atoms, NVE) == freedom
    expected = 250 if freedom else 0
    assert temperature(moving.get_kinetic_energy(), freedom) == pytest.approx(expected)
    assert not atoms.get_momenta().any()


def test_the_rounding_of_a_file_does_not_make_a_line_turn_about_itself() -> None:
    rounded = LINE.copy()
    rounded.positions += 1e-8 * np.random.default_rng(0).standard_normal((3, 3))
    assert degrees_of_freedom(rounded, NVE) == 4
    expected = initial_momenta(LINE, NVE)
    np.testing.assert_allclose(initial_momenta(rounded, NVE), expected, atol=1e-6)


def rigid(atoms: Atoms, drift: float, turning: float) -> np.ndarray:
    """Momenta of a rigid body, in the order of magnitude of those at 300 K."""
    places = atoms.get_positions() - atoms.get_center_of_mass()
    turn = np.cross([0.3 * turning, -0.2 * turning, 0.5 * turning], places)
    return atoms.get_masses()[:, None] * (np.array([drift, 0, 0.5 * drift]) + turn)


@pytest.mark.parametrize(
    ("atoms", "drift", "turning", "freedom"),
    [
        (WATER, 0.0, 0.0, 3),
        (WATER, 0.05, 0.0, 6),
        (WATER, 0.0, 0.1, 6),
        (WATER, 0.05, 0.1, 9),
        (WATER, 1e-9, 1e-9, 3),
        (LINE, 0.05, 0.0, 7),
        (LINE, 0.0, 0.1, 6),
        (LINE, 0.05, 0.1, 9),
        (ATOM, 0.05, 0.0, 3),
    ],
)
def test_motions_as_a_whole_count_where_given_momenta_have_them(
    atoms: Atoms, drift: float, turning: float, freedom: int
) -> None:
    moving = atoms.copy()
    moving.set_momenta(initial_momenta(atoms, NVE) + rigid(atoms, drift, turning))
    assert degrees_of_freedom(moving, DynamicsConfig()) == freedom
    # Drawn velocities have none of them, and the thermostat moves all.
    assert degrees_of_freedom(moving, NVE) == degrees_of_freedom(atoms, NVE)
    assert degrees_of_freedom(moving, NVT) == 3 * len(atoms)


def test_fixed_atoms_stay_and_the_others_are_as_warm_as_wished() -> None:
    atoms = WATER.copy()
    atoms.set_constraint(FixAtoms([0]))
    moving = atoms.copy()
    moving.set_momenta(initial_momenta(atoms, NVE))
    assert not moving.get_momenta()[0].any()
    assert degrees_of_freedom(atoms, NVE) == degrees_of_freedom(atoms, NVT) == 6
    assert moving.get_temperature() == pytest.approx(250)


def test_a_thermostat_starts_with_the_distribution_of_its_temperature() -> None:
    many = Atoms("OH" * 4000, positions=np.arange(24000.0).reshape(8000, 3))
    momenta = initial_momenta(many, NVT)
    assert degrees_of_freedom(many, NVT) == 24000
    for rows, mass in ((momenta[::2], 15.999), (momenta[1::2], 1.008)):
        assert np.var(rows) == pytest.approx(mass * units.kB * 250, rel=0.04)


def test_the_seed_decides_and_given_velocities_are_kept_unless_a_temperature_is_given() -> None:
    first = initial_momenta(WATER, NVE)
    np.testing.assert_array_equal(initial_momenta(WATER, NVE), first)
    assert not np.allclose(initial_momenta(WATER, DynamicsConfig(temperature=250.0)), first)
    moving = WATER.copy()
    moving.set_momenta(np.ones((3, 3)))
    np.testing.assert_array_equal(initial_momenta(moving, DynamicsConfig()), np.ones((3, 3)))
    np.testing.assert_array_equal(initial_momenta(moving, NVE), first)
    assert initial_momenta(WATER, DynamicsConfig()).any()
    assert not initial_momenta(WATER, DynamicsConfig(temperature=0.0)).any()
