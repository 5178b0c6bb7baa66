"""Relaxation and molecular dynamics of single molecules.

Units: Å, eV, fs, K and e. ASE's own unit of time, Å √(u/eV) = 10.18 fs, shows up only where this
package talks to ASE: `ase.units.fs` converts, and `ase.units.kB` is Boltzmann's constant in eV/K.

Importing this package is cheap: JAX and ASE are imported with the names that need them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from efa_zoo.simulation.config import DynamicsConfig

if TYPE_CHECKING:
    from efa_zoo.simulation.dynamics import DynamicsResult, run_dynamics
    from efa_zoo.simulation.growing import Grown, grow
    from efa_zoo.simulation.records import energy_drift, read_log
    from efa_zoo.simulation.relaxation import Relaxation, relax

__all__ = [
    "DynamicsConfig",
    "DynamicsResult",
    "Grown",
    "Relaxation",
    "energy_drift",
    "grow",
    "read_log",
    "relax",
    "run_dynamics",
]

_HOMES = {
    "DynamicsResult": "dynamics",
    "Grown": "growing",
    "Relaxation": "relaxation",
    "energy_drift": "records",
    "grow": "growing",
    "read_log": "records",
    "relax": "relaxation",
    "run_dynamics": "dynamics",
}


if not TYPE_CHECKING:  # a type checker would take every name for one that exists

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
