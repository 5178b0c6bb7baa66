"""Settings of molecular dynamics."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from efa_zoo.base.errors import InputError

__all__ = ["THERMOSTAT_TIME", "DynamicsConfig"]

#: Temperature in K where none is given.
_TEMPERATURE = 300.0

#: Friction of the thermostat in 1/fs where none is given: memory of the velocities is 100 fs.
_FRICTION = 0.01

#: Time of the barostat in fs where none is given, and that of the thermostats beside it.
_BAROSTAT_TIME, THERMOSTAT_TIME = 1000.0, 100.0


@dataclass(frozen=True, kw_only=True)
class DynamicsConfig:
    """Settings of molecular dynamics.

    Attributes:
        ensemble: "nve" keeps the energy, by velocity Verlet; "nvt" keeps the temperature, by
            Langevin dynamics; "npt" keeps temperature and pressure of a structure in a cell, by
            the isotropic dynamics of Martyna, Tobias and Klein with chains of Nosé–Hoover
            thermostats.
        temperature: of the thermostat and of the velocities that are drawn at the start, in K;
            without it 300 K, only that "nve" then keeps the structure's velocities if it has any.
        timestep: length of a step in fs.
        steps: number of steps in all, those before a resumption counted in.
        interval: steps between two rows of the log and frames of the trajectory.
        friction: of the thermostat in 1/fs, for "nvt" only; without it 0.01.
        pressure: in GPa, for "npt" only; without it 0.
        barostat_time: of the barostat in fs, for "npt" only; without it 1000.
        seed: of velocities and thermostat.
        engine: "compiled" runs whole intervals as one compiled function, with all pairs of atoms;
            "ase" uses ASE's integrators, which know constraints; "auto" takes the former for small
            molecules without constraints.
        max_temperature: in K; beyond it the simulation stops.
        max_force: in eV/Å; a larger force on an atom stops the simulation.
        max_extrapolation: a larger extrapolation grade of an atom stops the simulation: beyond 1
            the model does not know the surroundings of the atom.
    """

    ensemble: Literal["nve", "nvt", "npt"] = "nve"
    temperature: float | None = None
    timestep: float = 0.5
    steps: int = 1000
    interval: int = 10
    friction: float | None = None
    pressure: float | None = None
    barostat_time: float | None = None
    seed: int = 0
    engine: Literal["auto", "compiled", "ase"] = "auto"
    max_temperature: float = 5000.0
    max_force: float = 100.0
    max_extrapolation: float = 1.0

    def __post_init__(self) -> None:
        if self.ensemble not in ("nve", "nvt", "npt"):
            raise InputError(f"ensemble: got {self.ensemble!r}, expected 'nve', 'nvt' or 'npt'")
        if self.engine not in ("auto", "compiled", "ase"):
            raise InputError(f"engine: got {self.engine!r}, expected 'auto', 'compiled' or 'ase'")
        for name, unit in (("timestep", "fs"), ("max_temperature", "K"), ("max_force", "eV/Å")):
            _require(name, getattr(self, name), f"a positive number ({unit})", zero=False)
        _require("max_extrapolation", self.max_extrapolation, "a positive number", zero=False)
        for name in ("steps", "interval", "seed"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                raise InputError(f"{name}: got {value!r}, expected an integer of at least 0")
        if self.interval == 0:
            raise InputError("interval: got 0, expected an integer of at least 1")
        if self.temperature is not None:
            _require("temperature", self.temperature, "a number of at least 0 (K)", zero=True)
        if self.target_temperature >= self.max_temperature:
            raise InputError(
                f"temperature: got {self.target_temperature:g}, expected less than "
                f"max_temperature = {self.max_temperature:g} (K)"
            )
        if self.ensemble == "nvt":
            if self.friction is not None:
                _require("friction", self.friction, "a positive number (1/fs)", zero=False)
        elif self.friction is not None:
            reason = "no thermostat" if self.ensemble == "nve" else "one of its own"
            raise InputError(
                f"friction: got {self.friction:g}, expected none for the ensemble "
                f"{self.ensemble!r}, which has {reason}"
            )
        if self.ensemble == "npt":
            self._check_npt()
        for name in ("pressure", "barostat_time"):
            if self.ensemble != "npt" and getattr(self, name) is not None:
                raise InputError(
                    f"{name}: got {getattr(self, name):g}, expected none for the ensemble "
                    f"{self.ensemble!r}, which keeps the cell"
                )

    def _check_npt(self) -> None:
        if self.engine == "compiled":
            raise InputError(
                "engine: got 'compiled', expected 'ase' or 'auto' for the ensemble 'npt'"
            )
        if self.target_temperature == 0:
            raise InputError("temperature: got 0, expected a positive number (K) for 'npt'")
        if not math.isfinite(self.target_pressure):
            raise InputError(f"pressure: got {self.pressure}, expected a finite number (GPa)")
        _require("barostat_time", self.barostat_period, "a positive number (fs)", zero=False)

    @property
    def target_temperature(self) -> float:
        """Temperature in K of thermostat and drawn velocities."""
        return _TEMPERATURE if self.temperature is None else float(self.temperature)

    @property
    def target_pressure(self) -> float:
        """Pressure in GPa of the barostat."""
        return 0.0 if self.pressure is None else float(self.pressure)

    @property
    def barostat_period(self) -> float:
        """Time in fs of the barostat."""
        return _BAROSTAT_TIME if self.barostat_time is None else float(self.barostat_time)

    @property
    def thermostat_friction(self) -> float:
        """Friction in 1/fs, 0 without such a thermostat."""
        if self.ensemble != "nvt":
            return 0.0
        return _FRICTION if self.friction is None else float(self.friction)


def _require(name: str, value: object, expected: str, *, zero: bool) -> None:
    """Require a finite number above 0, or of at least 0."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name}: got {value!r}, expected {expected}")
    if not math.isfinite(value) or value < 0 or (value == 0 and not zero):
        raise InputError(f"{name}: got {value}, expected {expected}")
