"""Relaxation and molecular dynamics of single molecules.

Units: Å, eV, fs, K and e. ASE's own unit of time, Å √(u/eV) = 10.18 fs, shows up only where this
package talks to ASE: `ase.units.fs` converts, and `ase.units.kB` is Boltzmann's constant in eV/K.
"""

from efa_zoo.simulation.config import DynamicsConfig
from efa_zoo.simulation.dynamics import DynamicsResult, run_dynamics
from efa_zoo.simulation.records import energy_drift, read_log
from efa_zoo.simulation.relaxation import Relaxation, relax

__all__ = [
    "DynamicsConfig",
    "DynamicsResult",
    "Relaxation",
    "energy_drift",
    "read_log",
    "relax",
    "run_dynamics",
]
