"""Velocities at the start of a simulation, and how many ways there are to move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import units
from ase.md.velocitydistribution import Stationary

from efa_zoo.simulation.config import DynamicsConfig

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["degrees_of_freedom", "initial_momenta"]

#: Moments of inertia (u Å²) below this are those of a rotation that moves nothing.
_NO_INERTIA = 1e-6

#: Share of the kinetic energy up to which drift or rotation is the rounding of a file.
_ROUNDING = 1e-6


def degrees_of_freedom(atoms: Atoms, config: DynamicsConfig) -> int:
    """Count the degrees of freedom that share the kinetic energy.

    The thermostat moves all. Without it, a molecule without constraints never begins to drift or to
    turn as a whole, so that these motions count only where the structure's own momenta have them;
    velocities that are drawn do not. In a cell nothing turns as a whole.

    Args:
        atoms: the structure with its constraints, and with momenta if it has any.
        config: settings.

    Returns:
        Three per atom, less what is held or stays at rest.
    """
    if config.ensemble != "nve" or atoms.constraints:
        return int(atoms.get_number_of_degrees_of_freedom())
    rotations = 0
    if not atoms.pbc.any():
        inertia = np.asarray(atoms.get_moments_of_inertia())
        rotations = int(np.count_nonzero(inertia > _NO_INERTIA))
    vibrations = 3 * len(atoms) - 3 - rotations
    if not _has_velocities(atoms, config):
        return vibrations
    moving = atoms.copy()
    all_ = float(moving.get_kinetic_energy())
    _stop_drift(moving)
    without_drift = float(moving.get_kinetic_energy())
    _stop_rotation(moving)
    if not rotations:
        return vibrations + 3 * (all_ - without_drift > _ROUNDING * all_)
    drifts = all_ - without_drift > _ROUNDING * all_
    turns = without_drift - float(moving.get_kinetic_energy()) > _ROUNDING * all_
    return vibrations + 3 * drifts + rotations * turns


def initial_momenta(atoms: Atoms, config: DynamicsConfig) -> np.ndarray:
    """Take the momenta of the structure, or draw new ones at a temperature.

    Without thermostat the new ones have no momentum and, without constraints, no angular momentum
    in sum, and exactly the kinetic energy of the temperature.

    Args:
        atoms: the structure with its constraints.
        config: settings.

    Returns:
        `[atoms, 3]` in ASE's unit √(u eV).
    """
    if _has_velocities(atoms, config):
        return atoms.get_momenta()
    masses, thermal = atoms.get_masses()[:, None], units.kB * config.target_temperature
    normal = np.random.default_rng([config.seed, 1]).standard_normal((len(atoms), 3))
    moving = atoms.copy()
    # ASE draws the same, but no name for it is without a warning in all of its versions.
    moving.set_momenta(normal * np.sqrt(masses * thermal))
    if config.ensemble == "nvt":
        return moving.get_momenta()
    if not moving.constraints:
        _stop_drift(moving)
        if not moving.pbc.any():
            _stop_rotation(moving)
    # ASE's own scaling counts the rotations that were stopped.
    wanted = 0.5 * degrees_of_freedom(atoms, config) * thermal
    found = moving.get_kinetic_energy()
    return moving.get_momenta() * (np.sqrt(wanted / found) if wanted > 0 else 0.0)


def _has_velocities(atoms: Atoms, config: DynamicsConfig) -> bool:
    """Tell whether a simulation starts with the momenta of the structure."""
    given = config.ensemble == "nve" and config.temperature is None
    return given and bool(atoms.get_momenta().any())


def _stop_drift(atoms: Atoms) -> None:
    Stationary(atoms, preserve_temperature=False)


def _stop_rotation(atoms: Atoms) -> None:
    """Take a rigid body's rotation off the momenta, so that none is left in sum.

    Solved by least squares, because a line cannot turn about itself: ASE's `ZeroRotation` divides
    by the moment of inertia that the rounding of a file leaves there, and may heat the molecule.
    """
    masses = atoms.get_masses()[:, None]
    places = atoms.get_positions() - atoms.get_center_of_mass()
    inertia = np.sum(masses * places**2) * np.eye(3) - (masses * places).T @ places
    turning = np.linalg.lstsq(inertia, atoms.get_angular_momentum(), rcond=1e-10)[0]
    atoms.set_momenta(atoms.get_momenta() - masses * np.cross(turning, places))
