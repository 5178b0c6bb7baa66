"""Molecular dynamics on ASE's integrators, for molecules of any size and with constraints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units

from efa_zoo.base.errors import InputError, SimulationError
from efa_zoo.models.checks import ignore_out_of_range
from efa_zoo.simulation.config import DynamicsConfig
from efa_zoo.simulation.state import Limits, State
from efa_zoo.structures.molecule import Molecule

if TYPE_CHECKING:
    from ase import Atoms
    from ase.md.md import MolecularDynamics

__all__ = ["AseEngine"]


class AseEngine:
    """Molecular dynamics step by step on ASE's integrators: velocity Verlet, or Langevin.

    Attributes:
        atoms: the structure, which moves; its calculator is an `EFACalculator`
            that only warns about structures outside what the model knows.
    """

    def __init__(self, atoms: Atoms, config: DynamicsConfig, limits: Limits, molecule: Molecule):
        """Compute the forces at the start.

        Args:
            atoms: the structure with its momenta, constraints and `EFACalculator`.
            config: settings.
            limits: where to stop.
            molecule: the structure as the model takes it.
        """
        self.atoms = atoms
        self._limits = limits
        self._molecule = molecule
        self._random = np.random.default_rng(config.seed)
        self._dynamics: Any = _integrator(atoms, config, self._random)
        self._step = 0
        with ignore_out_of_range():
            atoms.get_forces()

    @property
    def state(self) -> State:
        """Where the simulation stands."""
        atoms = self.atoms
        return State(
            step=self._step,
            positions=atoms.get_positions(),
            momenta=atoms.get_momenta(),
            forces=atoms.get_forces(apply_constraint=False),
            energy=float(atoms.get_potential_energy()),
            masses=atoms.get_masses(),
            extrapolation=self._calculator.results.get("extrapolation"),
        )

    def advance(self, steps: int) -> None:
        """Do some steps, fewer if one ends outside the limits.

        Raises:
            SimulationError: a step led to a structure that the calculator refuses.
        """
        for _ in range(steps):
            try:
                with ignore_out_of_range():
                    self._dynamics.step()
            except InputError as error:
                raise SimulationError(f"step {self._step + 1}: {error}") from error
            self._step += 1
            if self._limits.problem(self.state, self._molecule) is not None:
                return

    def memory(self) -> dict[str, Any]:
        """Return what `restore` needs to go on exactly; JSON takes it."""
        return {
            "step": self._step,
            "positions": self.atoms.get_positions().tolist(),
            "momenta": self.atoms.get_momenta().tolist(),
            "random": self._random.bit_generator.state,
            "neighbors": self._calculator.neighbors.state(),
        }

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Take up where `memory` was asked for."""
        self._step = memory["step"]
        self.atoms.set_positions(np.asarray(memory["positions"]), apply_constraint=False)
        self.atoms.set_momenta(np.asarray(memory["momenta"]), apply_constraint=False)
        self._random.bit_generator.state = memory["random"]
        self._calculator.neighbors.restore(memory["neighbors"])
        self._calculator.reset()
        with ignore_out_of_range():
            self.atoms.get_forces()

    @property
    def _calculator(self) -> Any:
        return self.atoms.calc


def _integrator(
    atoms: Atoms, config: DynamicsConfig, random: np.random.Generator
) -> MolecularDynamics:
    timestep = config.timestep * units.fs
    if config.ensemble == "nve":
        from ase.md.verlet import VelocityVerlet

        return VelocityVerlet(atoms, timestep)
    from ase.md.langevin import Langevin

    return Langevin(
        atoms,
        timestep,
        temperature_K=config.target_temperature,
        friction=config.thermostat_friction / units.fs,
        fixcm=False,
        rng=random,
    )
