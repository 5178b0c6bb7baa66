"""Molecular dynamics on ASE's integrators, for molecules of any size and with constraints."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units

from efa_zoo.base.errors import InputError, SimulationError
from efa_zoo.models.inputs.checks import ignore_out_of_range
from efa_zoo.simulation.config import THERMOSTAT_TIME, DynamicsConfig
from efa_zoo.simulation.state import Limits, State
from efa_zoo.structures.cells import check_cell
from efa_zoo.structures.molecule import Molecule

if TYPE_CHECKING:
    from ase import Atoms
    from ase.md.md import MolecularDynamics

__all__ = ["AseEngine"]


class AseEngine:
    """Molecular dynamics step by step on ASE's integrators: velocity Verlet, Langevin, MTK.

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
            cell=check_cell(np.asarray(atoms.cell), atoms.pbc)[0],
            stress=atoms.get_stress(apply_constraint=False) if atoms.pbc.all() else None,
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
            "cell": np.asarray(self.atoms.cell).tolist(),
            "chains": self._chains(),
        }

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Take up where `memory` was asked for."""
        self._step = memory["step"]
        self.atoms.set_cell(np.asarray(memory["cell"]))
        self.atoms.set_positions(np.asarray(memory["positions"]), apply_constraint=False)
        self.atoms.set_momenta(np.asarray(memory["momenta"]), apply_constraint=False)
        self._random.bit_generator.state = memory["random"]
        self._calculator.neighbors.restore(memory["neighbors"])
        self._calculator.reset()
        for place, value in memory["chains"].items():
            owner, name = self._chain(place)
            setattr(owner, name, np.asarray(value) if isinstance(value, list) else value)
        with ignore_out_of_range():
            self.atoms.get_forces()

    def _chains(self) -> dict[str, Any]:
        """What thermostats and barostat remember."""
        if not hasattr(self._dynamics, "_barostat"):
            return {}
        found = {place: getattr(*self._chain(place)) for place in _CHAINS}
        return {p: v.tolist() if isinstance(v, np.ndarray) else float(v) for p, v in found.items()}

    def _chain(self, place: str) -> tuple[Any, str]:
        owner, _, name = place.rpartition(".")
        return (getattr(self._dynamics, owner) if owner else self._dynamics), name

    @property
    def _calculator(self) -> Any:
        return self.atoms.calc


#: Where ASE's integrator at constant pressure keeps what a resumed simulation needs.
_CHAINS = (
    "_q",
    "_p",
    "_eps",
    "_p_eps",
    "_thermostat._eta",
    "_thermostat._p_eta",
    "_barostat._xi",
    "_barostat._p_xi",
)


def _integrator(
    atoms: Atoms, config: DynamicsConfig, random: np.random.Generator
) -> MolecularDynamics:
    timestep = config.timestep * units.fs
    if config.ensemble == "nve":
        from ase.md.verlet import VelocityVerlet

        return VelocityVerlet(atoms, timestep)
    if config.ensemble == "npt":
        from ase.md.nose_hoover_chain import IsotropicMTKNPT

        return IsotropicMTKNPT(
            atoms,
            timestep,
            temperature_K=config.target_temperature,
            pressure_au=config.target_pressure * units.GPa,
            tdamp=THERMOSTAT_TIME * units.fs,
            pdamp=config.barostat_period * units.fs,
        )
    from ase.md.langevin import Langevin

    return Langevin(
        atoms,
        timestep,
        temperature_K=config.target_temperature,
        friction=config.thermostat_friction / units.fs,
        fixcm=False,
        rng=random,
    )
