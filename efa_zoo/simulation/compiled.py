"""Chunks of molecular dynamics steps as one compiled function, for small molecules.

All pairs of atoms are neighbours, so that nothing has to be searched on the way; pairs beyond the
cutoff are masked as they are everywhere else. Positions and velocities are float64, whatever type
the network computes in: in float32 they would lose energy by rounding alone.

Steps are B A O A B (Leimkuhler and Matthews, J. Chem. Phys. 138, 174102 (2013)): half a kick by
the forces, half a drift, the thermostat, half a drift, half a kick. Without thermostat that is
velocity Verlet. Random numbers depend on the seed and the number of the step only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase import units
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from efa_zoo.base.contracts import contract
from efa_zoo.models.energy import energy_and_forces
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.potential import Potential, Predictor, cast
from efa_zoo.simulation.config import DynamicsConfig
from efa_zoo.simulation.state import Limits, State
from efa_zoo.structures.graph import Graph, pack_one
from efa_zoo.structures.molecule import Molecule

__all__ = ["CompiledEngine"]

#: Surroundings change little in a step, and grades cost some percent of it.
_STEPS_BETWEEN_GRADES = 4


class _Motion(eqx.Module):
    """What changes from step to step; float64, ASE's units."""

    step: Int[Array, ""]
    positions: Float[Array, "atoms 3"]
    velocities: Float[Array, "atoms 3"]
    forces: Float[Array, "atoms 3"]
    energy: Float[Array, ""]
    extrapolation: Float[Array, " atoms"] | None
    within_limits: Bool[Array, ""]


class _Rules(eqx.Module):
    """What stays the same; float64, ASE's units.

    Attributes:
        timestep: length of a step.
        masses: of the atoms.
        keeps: factor of the velocities in the thermostat.
        kicks: standard deviation of what the thermostat adds to the velocities.
        key: of the thermostat's random numbers.
        max_force: largest force on an atom, in eV/Å.
        max_kinetic_energy: in eV.
        min_distance: shortest distance between two atoms, in Å.
        max_distance: longest distance between two atoms, in Å.
        max_extrapolation: largest grade of an atom.
    """

    timestep: Float[Array, ""]
    masses: Float[Array, "atoms 1"]
    keeps: Float[Array, ""]
    kicks: Float[Array, "atoms 1"]
    key: PRNGKeyArray
    max_force: Float[Array, ""]
    max_kinetic_energy: Float[Array, ""]
    min_distance: Float[Array, ""]
    max_distance: Float[Array, ""]
    max_extrapolation: Float[Array, ""]
    thermostat: bool = eqx.field(static=True)


@contract
def _step(predictor: Predictor, graph: Graph, rules: _Rules, motion: _Motion) -> _Motion:
    """One step."""
    half = rules.timestep / 2
    velocities = motion.velocities + half * motion.forces / rules.masses
    positions = motion.positions + half * velocities
    if rules.thermostat:
        key = jax.random.fold_in(rules.key, motion.step)
        noise = jax.random.normal(key, velocities.shape, velocities.dtype)
        velocities = rules.keeps * velocities + rules.kicks * noise
    positions = positions + half * velocities
    step = motion.step + 1
    energy, forces, features = _evaluate(predictor.network, graph, positions)
    extrapolation = motion.extrapolation
    if predictor.calibration is not None:
        assert features is not None
        grades = functools.partial(predictor.calibration.grades, features, graph.atomic_numbers)
        extrapolation = jax.lax.cond(
            step % _STEPS_BETWEEN_GRADES == 0,
            lambda: grades().astype(positions.dtype),
            lambda: motion.extrapolation,
        )
    velocities = velocities + half * forces / rules.masses
    return _Motion(
        step=step,
        positions=positions,
        velocities=velocities,
        forces=forces,
        energy=energy,
        extrapolation=extrapolation,
        within_limits=_within_limits(rules, positions, velocities, forces, extrapolation),
    )


def _evaluate(
    network: EnergyModel, graph: Graph, positions: Array
) -> tuple[Array, Array, Array | None]:
    """Energy and forces in float64 of a network of any type, and its features."""
    centered = positions - jnp.mean(positions, axis=0)
    moved = eqx.tree_at(lambda g: g.positions, graph, centered.astype(graph.positions.dtype))
    outputs = energy_and_forces(network, moved, features=True)
    energy = jnp.sum(outputs.atomic_energies.astype(positions.dtype))
    return energy, jnp.asarray(outputs.forces, positions.dtype), outputs.features


def _within_limits(
    rules: _Rules, positions: Array, velocities: Array, forces: Array, grades: Array | None
) -> Array:
    """Whether all is finite and within the limits; a comparison with NaN is False."""
    kinetic = 0.5 * jnp.sum(rules.masses * velocities**2)
    itself = jnp.eye(len(positions), dtype=bool)
    squared = jnp.sum((positions[None] - positions[:, None]) ** 2, axis=-1)
    known = True if grades is None else jnp.all(grades <= rules.max_extrapolation)
    return (
        (jnp.max(jnp.sum(forces**2, axis=1)) <= rules.max_force**2)
        & (kinetic <= rules.max_kinetic_energy)
        & jnp.all(itself | (squared >= rules.min_distance**2))
        & jnp.all(squared <= rules.max_distance**2)
        & known
    )


@eqx.filter_jit
def _advance(
    predictor: Predictor, graph: Graph, rules: _Rules, motion: _Motion, steps: Int[Array, ""]
) -> _Motion:
    """Steps until their number is done or one ends outside the limits.

    Compiled once per number of atoms, architecture and kind of dynamics, not per number of steps.
    """
    last = motion.step + steps
    return jax.lax.while_loop(
        lambda motion: (motion.step < last) & motion.within_limits,
        lambda motion: _step(predictor, graph, rules, motion),
        motion,
    )


class CompiledEngine:
    """Molecular dynamics in compiled chunks, with all pairs of atoms.

    Attributes:
        limits: where it stops.
    """

    def __init__(
        self,
        potential: Potential,
        molecule: Molecule,
        momenta: Float[np.ndarray, "atoms 3"],
        masses: Float[np.ndarray, " atoms"],
        config: DynamicsConfig,
        limits: Limits,
        dtype: np.dtype,
    ):
        """Compile, and compute the forces at the start.

        Args:
            potential: network and card.
            molecule: the structure at the start.
            momenta: at the start, in ASE's units.
            masses: in u.
            config: settings.
            limits: where to stop.
            dtype: floating-point type the network computes in.
        """
        self.limits = limits
        self._masses = masses
        energies = potential.card.energies_of_elements(molecule.numbers)
        self._reference_energy = float(energies.sum())
        atoms = molecule.num_atoms
        self._graph = pack_one(molecule, atoms, atoms, reach=math.inf, dtype=dtype)
        with jax.enable_x64(True):
            self._predictor = cast(potential.predictor, dtype)
            self._rules = _rules(config, limits, masses)
        self._calibrated = potential.calibration is not None
        self._start(0, molecule.positions, momenta / masses[:, None])

    def _start(self, step: int, positions: np.ndarray, velocities: np.ndarray) -> None:
        with jax.enable_x64(True):
            here = _Motion(
                step=jnp.asarray(step - 1),
                positions=jnp.asarray(positions, jnp.float64),
                velocities=jnp.asarray(velocities, jnp.float64),
                forces=jnp.zeros(positions.shape, jnp.float64),
                energy=jnp.zeros((), jnp.float64),
                extrapolation=(
                    jnp.zeros(len(positions), jnp.float64) if self._calibrated else None
                ),
                within_limits=jnp.asarray(True),
            )
            # A step of no length moves nothing and gives the forces, without compiling twice.
            zero = jnp.zeros((), jnp.float64)
            still = eqx.tree_at(
                lambda r: (r.timestep, r.keeps, r.kicks),
                self._rules,
                (zero, zero + 1, jnp.zeros_like(self._rules.kicks)),
            )
            self._motion = _advance(self._predictor, self._graph, still, here, jnp.asarray(1))

    @property
    def state(self) -> State:
        """Where the simulation stands."""
        motion = jax.device_get(self._motion)
        return State(
            step=int(motion.step),
            positions=motion.positions,
            momenta=motion.velocities * self._masses[:, None],
            forces=motion.forces,
            energy=float(motion.energy) + self._reference_energy,
            masses=self._masses,
            extrapolation=motion.extrapolation,
        )

    def advance(self, steps: int) -> None:
        """Do some steps, fewer if one ends outside the limits."""
        with jax.enable_x64(True):
            self._motion = _advance(
                self._predictor, self._graph, self._rules, self._motion, jnp.asarray(steps)
            )

    def memory(self) -> dict[str, Any]:
        """What `restore` needs to go on exactly; JSON takes it."""
        motion = jax.device_get(self._motion)
        return {
            "step": int(motion.step),
            "positions": motion.positions.tolist(),
            "velocities": motion.velocities.tolist(),
        }

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Take up where `memory` was asked for."""
        self._start(
            memory["step"], np.asarray(memory["positions"]), np.asarray(memory["velocities"])
        )


def _rules(config: DynamicsConfig, limits: Limits, masses: np.ndarray) -> _Rules:
    timestep = config.timestep * units.fs
    keeps, thermal = 1.0, 0.0
    if config.ensemble == "nvt":
        keeps = math.exp(-config.thermostat_friction * config.timestep)
        thermal = (1 - keeps**2) * units.kB * config.target_temperature
    min_distance, max_distance = limits.distances
    rows = jnp.asarray(masses, jnp.float64)[:, None]
    return _Rules(
        timestep=jnp.asarray(timestep, jnp.float64),
        masses=rows,
        keeps=jnp.asarray(keeps, jnp.float64),
        kicks=jnp.sqrt(thermal / rows),
        key=jax.random.key(config.seed),
        max_force=jnp.asarray(limits.max_force, jnp.float64),
        max_kinetic_energy=jnp.asarray(limits.max_kinetic_energy, jnp.float64),
        min_distance=jnp.asarray(min_distance, jnp.float64),
        max_distance=jnp.asarray(max_distance, jnp.float64),
        max_extrapolation=jnp.asarray(limits.max_extrapolation, jnp.float64),
        thermostat=config.ensemble == "nvt",
    )
