"""Velocities at the start of a simulation, and how many ways there are to move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase import units

from efa_zoo.simulation.config import DynamicsConfig

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["degrees_of_freedom", "initial_momenta"]

#: Moments of inertia (u Å²) below this are those of a rotation that moves nothing.
_NO_INERTIA = 1e-6


def degrees_of_freedom(atoms: Atoms, config: DynamicsConfig) -> int:
    """Number of degrees of freedom that share the kinetic energy.

    The thermostat moves all. Without it, a molecule without constraints neither moves nor turns as
    a whole, because its velocities are drawn so.

    Args:
        atoms: the structure with its constraints.
        config: settings.

    Returns:
        Three per atom, less what is held.
    """
    if config.ensemble == "nvt" or atoms.constraints:
        return int(atoms.get_number_of_degrees_of_freedom())
    moments = np.asarray(atoms.get_moments_of_inertia())
    return 3 * len(atoms) - 3 - int(np.count_nonzero(moments > _NO_INERTIA))


def initial_momenta(atoms: Atoms, config: DynamicsConfig) -> np.ndarray:
    """Momenta to start with: those of the structure, or new ones drawn at a temperature.

    Without thermostat the new ones have no momentum and, without constraints, no angular momentum
    in sum, and exactly the kinetic energy of the temperature.

    Args:
        atoms: the structure with its constraints.
        config: settings.

    Returns:
        `[atoms, 3]` in ASE's unit √(u eV).
    """
    if config.ensemble == "nve" and config.temperature is None and atoms.get_momenta().any():
        return atoms.get_momenta()
    masses, thermal = atoms.get_masses()[:, None], units.kB * config.target_temperature
    normal = np.random.default_rng([config.seed, 1]).standard_normal((len(atoms), 3))
    moving = atoms.copy()
    moving.set_momenta(normal * np.sqrt(masses * thermal))
    if config.ensemble == "nvt":
        return moving.get_momenta()
    if not moving.constraints:
        moving.set_momenta(_at_rest_as_a_whole(moving))
    wanted = 0.5 * degrees_of_freedom(atoms, config) * thermal
    found = moving.get_kinetic_energy()
    return moving.get_momenta() * (np.sqrt(wanted / found) if wanted > 0 else 0.0)


def _at_rest_as_a_whole(atoms: Atoms) -> np.ndarray:
    """Momenta less those of a rigid body with the same momentum and angular momentum."""
    masses = atoms.get_masses()[:, None]
    places = atoms.get_positions() - atoms.get_center_of_mass()
    momenta = atoms.get_momenta()
    momenta = momenta - masses * momenta.sum(axis=0) / masses.sum()
    inertia = np.sum(masses * places**2) * np.eye(3) - (masses * places).T @ places
    angular = np.cross(places, momenta).sum(axis=0)
    # Least squares, because a line cannot turn about itself.
    turning = np.linalg.lstsq(inertia, angular, rcond=1e-10)[0]
    return momenta - masses * np.cross(turning, places)
