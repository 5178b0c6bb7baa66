"""The compiled engine: against a second implementation, and by what must be conserved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from ase import Atoms, units
from ase.calculators.calculator import Calculator

import efa_zoo
from efa_zoo.calculator import EFACalculator
from efa_zoo.models.energy import energy_and_forces
from efa_zoo.models.inputs.checks import check_structure
from efa_zoo.models.potential import cast
from efa_zoo.simulation import DynamicsConfig
from efa_zoo.simulation.compiled import CompiledEngine
from efa_zoo.simulation.state import Limits, State, temperature
from efa_zoo.simulation.velocities import degrees_of_freedom, initial_momenta
from efa_zoo.structures.graph import Graph


def make_engine(
    model: efa_zoo.Potential,
    atoms: Atoms,
    config: DynamicsConfig,
    dtype: str = "float64",
    **limits: Any,
) -> CompiledEngine:
    molecule = check_structure(atoms, model.card, None, "error")
    settings = {
        "max_temperature": config.max_temperature,
        "max_force": config.max_force,
        "degrees_of_freedom": degrees_of_freedom(atoms, config),
        "card": model.card,
        "out_of_range": "error",
    }
    momenta, masses = initial_momenta(atoms, config), atoms.get_masses()
    return CompiledEngine(
        model, molecule, momenta, masses, config, Limits(**settings | limits), np.dtype(dtype)
    )


def by_hand(calculator: Calculator, atoms: Atoms, config: DynamicsConfig, steps: int) -> State:
    """B A O A B in plain NumPy, with forces from the calculator."""
    masses, dt = atoms.get_masses()[:, None], config.timestep * units.fs
    friction = config.thermostat_friction / units.fs
    keeps = np.exp(-friction * dt)
    spread = np.sqrt((1 - keeps**2) * units.kB * config.target_temperature / masses)
    moving = atoms.copy()
    moving.calc = calculator
    velocities = initial_momenta(atoms, config) / masses
    for step in range(steps):
        velocities = velocities + dt / 2 * moving.get_forces() / masses
        moving.positions += dt / 2 * velocities
        if config.ensemble == "nvt":
            with jax.enable_x64(True):
                key = jax.random.fold_in(jax.random.key(config.seed), step)
                noise = np.asarray(jax.random.normal(key, velocities.shape, "float64"))
            velocities = keeps * velocities + spread * noise
        moving.positions += dt / 2 * velocities
        velocities = velocities + dt / 2 * moving.get_forces() / masses
    return State(
        step=steps,
        positions=moving.positions,
        momenta=velocities * masses,
        forces=moving.get_forces(),
        energy=moving.get_potential_energy(),
        masses=masses[:, 0],
    )


def assert_same(found: State, expected: State, tolerance: float) -> None:
    assert found.step == expected.step
    assert found.energy == pytest.approx(expected.energy, abs=100 * tolerance)
    for name in ("positions", "momenta", "forces"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), atol=tolerance, err_msg=name
        )


@pytest.mark.parametrize(
    ("config", "dtype", "tolerance"),
    [
        (DynamicsConfig(temperature=400.0, seed=2), "float64", 1e-9),
        (DynamicsConfig(temperature=400.0, ensemble="nvt", friction=0.1), "float64", 1e-9),
        (DynamicsConfig(temperature=400.0, seed=2), "float32", 1e-4),
    ],
)
def test_steps_are_those_of_a_second_implementation(
    model: efa_zoo.Potential, atoms: Atoms, config: DynamicsConfig, dtype: str, tolerance: float
) -> None:
    engine = make_engine(model, atoms, config, dtype)
    calculator = EFACalculator(model)
    assert_same(engine.state, by_hand(calculator, atoms, config, 0), tolerance)
    engine.advance(3)
    engine.advance(4)
    assert_same(engine.state, by_hand(calculator, atoms, config, 7), tolerance)
    assert engine.state.positions.dtype == engine.state.forces.dtype == np.float64
    assert jax.numpy.zeros(()).dtype == np.float32


def test_all_pairs_give_the_numbers_of_the_neighbors(
    model: efa_zoo.Potential, atoms: Atoms
) -> None:
    cutoff = model.card.model.message_passing.cutoff
    positions = atoms.get_positions()
    assert np.linalg.norm(positions[:, None] - positions, axis=-1).max() > cutoff
    with jax.enable_x64(True):
        network = cast(model.network, np.float64)
        graph = Graph.from_ase(atoms, cutoff, dtype=np.float64)
        assert graph.neighbor_mask.sum() < len(atoms) * (len(atoms) - 1)
        expected = eqx.filter_jit(energy_and_forces)(network, graph)
    state = make_engine(model, atoms, DynamicsConfig(), dtype="float64").state
    np.testing.assert_allclose(state.forces, expected.forces, atol=1e-10)


def test_time_can_be_turned_back(model: efa_zoo.Potential, atoms: Atoms) -> None:
    engine = make_engine(model, atoms, DynamicsConfig(temperature=400.0))
    engine.advance(200)
    there = engine.memory()
    assert np.abs(np.asarray(there["positions"]) - atoms.positions).max() > 0.1
    engine.restore({**there, "velocities": (-np.asarray(there["velocities"])).tolist()})
    engine.advance(200)
    np.testing.assert_allclose(engine.state.positions, atoms.positions, atol=1e-8)


@pytest.mark.parametrize(
    ("dtype", "drift", "momentum"), [("float64", 0, 1e-12), ("float32", 2e-5, 1e-4)]
)
def test_energy_and_momentum_are_conserved(
    model: efa_zoo.Potential, atoms: Atoms, dtype: str, drift: float, momentum: float
) -> None:
    errors = []
    for timestep in (0.2, 0.1):
        config = DynamicsConfig(temperature=400.0, timestep=timestep)
        engine = make_engine(model, atoms, config, dtype)
        energies = []
        for _ in range(50):
            state = engine.state
            energies.append(state.energy + state.kinetic_energy)
            engine.advance(round(2 / timestep))
        np.testing.assert_allclose(engine.state.momenta.sum(axis=0), 0, atol=momentum)
        assert (
            abs(
                state.kinetic_energy - make_engine(model, atoms, config, dtype).state.kinetic_energy
            )
            > 1e-3
        )
        errors.append(np.ptp(energies))
    # The error of velocity Verlet is of second order and does not grow.
    assert errors[1] < errors[0] / 3.5 + drift
    assert errors[0] < 2e-3


def test_the_thermostat_brings_its_temperature(model: efa_zoo.Potential) -> None:
    # A free atom: velocities are an Ornstein-Uhlenbeck process, which the thermostat does exactly.
    config = DynamicsConfig(
        ensemble="nvt", temperature=300.0, timestep=20.0, friction=0.1, max_temperature=1e5
    )
    atom = Atoms("O", positions=np.zeros((1, 3)), info={"charge": 0, "spin": 1})
    engine = make_engine(model, atom, config)
    momenta = []
    for _ in range(1500):
        engine.advance(1)
        momenta.append(engine.state.momenta[0])
    found = np.asarray(momenta)
    variance = float(atom.get_masses()[0]) * units.kB * 300
    assert np.var(found) == pytest.approx(variance, rel=0.08)  # four standard errors
    memory = np.mean(found[1:] * found[:-1]) / np.mean(found**2)
    assert memory == pytest.approx(np.exp(-0.1 * 20.0), abs=0.05)


@pytest.mark.parametrize("limited", ["max_force", "max_temperature", "min_distance"])
def test_it_stops_at_the_step_that_breaks_a_limit(
    model: efa_zoo.Potential, atoms: Atoms, limited: str
) -> None:
    config = DynamicsConfig(temperature=400.0)
    freedom = degrees_of_freedom(atoms, config)
    free = make_engine(model, atoms, config)
    seen = []
    for _ in range(60):
        state = free.state
        distances = np.linalg.norm(state.positions[:, None] - state.positions, axis=-1)
        seen.append(
            {
                "max_force": state.largest_force,
                "max_temperature": temperature(state.kinetic_energy, freedom),
                "min_distance": -distances[~np.eye(len(atoms), dtype=bool)].min(),
            }[limited]
        )
        free.advance(1)
    assert max(seen) > seen[0]
    limit = (seen[0] + max(seen)) / 2
    first = next(step for step, value in enumerate(seen) if value > limit)
    settings: dict[str, Any] = {limited: limit}
    if limited == "min_distance":
        assert model.card.domain is not None
        domain = replace(model.card.domain, min_distance=-limit)
        settings = {"card": replace(model.card, domain=domain)}
    engine = make_engine(model, atoms, config, **settings)
    molecule = check_structure(atoms, model.card, 1, "warn")
    assert engine.limits.problem(engine.state, molecule) is None
    engine.advance(60)
    assert engine.state.step == first
    problem = engine.limits.problem(engine.state, molecule)
    assert problem is not None
    words = {
        "max_force": "expected at most max_force",
        "max_temperature": "expected at most max_temperature",
        "min_distance": "knows distances from",
    }
    assert words[limited] in problem


def test_numbers_that_are_not_finite_stop_it(model: efa_zoo.Potential, atoms: Atoms) -> None:
    broken = eqx.tree_at(lambda m: m.network.readout, model, model.network.readout * np.nan)
    engine = make_engine(broken, atoms, DynamicsConfig())
    engine.advance(5)
    assert engine.state.step == 0
    molecule = check_structure(atoms, model.card, None, "error")
    problem = engine.limits.problem(engine.state, molecule)
    assert problem is not None
    assert problem.startswith("forces: atom 0 (N) has [nan, nan, nan], expected finite numbers")
