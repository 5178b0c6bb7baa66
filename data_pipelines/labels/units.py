"""Units that files come in, and what they are in eV, Å and e."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from scipy import constants

from data_pipelines.labels.labelling import BOHR, HARTREE
from efa_zoo.base.errors import DataError

EnergyUnit = Literal["eV", "meV", "hartree", "kcal/mol", "kJ/mol"]
LengthUnit = Literal["Å", "angstrom", "bohr", "nm"]
StressUnit = Literal["eV/Å³", "eV/angstrom^3", "GPa", "kbar"]
DipoleUnit = Literal["e·Å", "e*angstrom", "e*bohr", "debye"]

_KJ_PER_MOL = 1e3 / (constants.Avogadro * constants.elementary_charge)

ENERGY_UNITS: Mapping[str, float] = {
    "eV": 1.0,
    "meV": 1e-3,
    "hartree": HARTREE,
    "kcal/mol": constants.calorie * _KJ_PER_MOL,
    "kJ/mol": _KJ_PER_MOL,
}
"""Units of energy in eV."""

LENGTH_UNITS: Mapping[str, float] = {"Å": 1.0, "angstrom": 1.0, "bohr": BOHR, "nm": 10.0}
"""Units of length in Å."""

DIPOLE_UNITS: Mapping[str, float] = {
    "e·Å": 1.0,
    "e*angstrom": 1.0,
    "e*bohr": BOHR,
    "debye": 1e-11 / (constants.speed_of_light * constants.elementary_charge),
}
"""Units of dipole moments in e·Å."""

STRESS_UNITS: Mapping[str, float] = {
    "eV/Å³": 1.0,
    "eV/angstrom^3": 1.0,
    "GPa": 1e-21 / constants.elementary_charge,
    "kbar": 1e-22 / constants.elementary_charge,
}
"""Units of stress in eV/Å³."""


def factor(field: str, unit: str, units: Mapping[str, float]) -> float:
    """Look a unit up.

    Args:
        field: What has the unit, for the message.
        unit: Its name.
        units: Values by name, such as `ENERGY_UNITS`.

    Returns:
        Its value in this project's units.

    Raises:
        DataError: If there is no such unit.
    """
    if unit not in units:
        raise DataError(f"{field}: got {unit!r}, expected one of {', '.join(units)}")
    return units[unit]


def force_factor(unit: str) -> float:
    """Look a unit of forces up.

    Args:
        unit: A unit of energy, a slash and a unit of length, such as `"kcal/mol/Å"`.

    Returns:
        Its value in eV/Å.

    Raises:
        DataError: If it is not such a pair.
    """
    energy, _, length = unit.rpartition("/")
    if energy not in ENERGY_UNITS or length not in LENGTH_UNITS:
        raise DataError(
            f"forces_unit: got {unit!r}, expected ENERGY/LENGTH such as hartree/bohr, with "
            f"ENERGY one of {', '.join(ENERGY_UNITS)} and LENGTH one of {', '.join(LENGTH_UNITS)}"
        )
    return ENERGY_UNITS[energy] / LENGTH_UNITS[length]
