"""What the things in a file are called, and their units."""

from __future__ import annotations

from dataclasses import dataclass

from data_pipelines.labels.units import (
    DIPOLE_UNITS,
    ENERGY_UNITS,
    LENGTH_UNITS,
    STRESS_UNITS,
    DipoleUnit,
    EnergyUnit,
    LengthUnit,
    StressUnit,
    factor,
    force_factor,
)
from efa_zoo.base.errors import DataError

CHARGE_KEY, MULTIPLICITY_KEY = "charge", "spin"
NUMBERS_KEY, POSITIONS_KEY = "atomic_numbers", "positions"
CELL_KEY, PBC_KEY = "cell", "pbc"


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What the things in a file are called, and their units.

    In files that ASE reads a key names a calculator result, an entry of `atoms.info` or an array of
    atoms, in an ASE database also an entry of the key-value pairs or the data. In npz and HDF5
    files it names an array whose first axis counts structures; an array that is the same for every
    structure lacks that axis.

    Attributes:
        energy_key: Total energies.
        forces_key: Forces, or gradients of the energy if `gradients`.
        charge_key: Total charges in e; 0 where a file has no `charge` at all, which is logged.
        charge: One total charge in e for every structure, instead of `charge_key`.
        multiplicity_key: Multiplicities 2S + 1; the lowest where a file has no `spin` at all.
        numbers_key: npz and HDF5: atomic numbers; 0 marks padding.
        positions_key: npz and HDF5: positions.
        size_key: npz and HDF5: numbers of atoms or masks of atoms, where padding is not marked by
            atomic numbers of 0.
        cell_key: npz and HDF5: lattice vectors as rows; none where a file has no `cell` at all. A
            cell of zeros belongs to a structure without periodicity.
        pbc_key: npz and HDF5: which directions are periodic; all that have a lattice vector where a
            file has no `pbc` at all.
        dipoles_key: Atomic dipole vectors, for networks that take them.
        atomic_charges_key: Charges of the atoms in e, as labels.
        molecular_dipole_key: Dipole moment of the structure about the origin of the coordinates, as
            a label.
        stress_key: Stress as six numbers (xx, yy, zz, yz, xz, xy) or as a matrix, positive where
            the cell wants to shrink, as a label.
        group_key: What a structure belongs to, such as a molecule or a trajectory; without it the
            group in an HDF5 file.
        energy_unit: Of the energies.
        length_unit: Of the positions.
        forces_unit: Of the forces, such as hartree/bohr; without it energy_unit/length_unit.
        dipole_unit: Of atomic dipoles and dipole moments; without it e·Å.
        stress_unit: Of the stress; without it eV/Å³.
        gradients: Forces are stored with the opposite sign, as gradients of the energy.

    Raises:
        DataError: If a unit is unknown or two options contradict each other.
    """

    energy_key: str = "energy"
    forces_key: str = "forces"
    charge_key: str = CHARGE_KEY
    charge: int | None = None
    multiplicity_key: str = MULTIPLICITY_KEY
    numbers_key: str = NUMBERS_KEY
    positions_key: str = POSITIONS_KEY
    size_key: str | None = None
    cell_key: str = CELL_KEY
    pbc_key: str = PBC_KEY
    dipoles_key: str | None = None
    atomic_charges_key: str | None = None
    molecular_dipole_key: str | None = None
    stress_key: str | None = None
    group_key: str | None = None
    energy_unit: EnergyUnit = "eV"
    length_unit: LengthUnit = "Å"
    forces_unit: str | None = None
    dipole_unit: DipoleUnit | None = None
    stress_unit: StressUnit | None = None
    gradients: bool = False

    def __post_init__(self) -> None:
        _ = self.factors
        if self.charge is not None and self.charge_key != CHARGE_KEY:
            raise DataError(
                f"charge_key: got {self.charge_key!r} together with charge = {self.charge}, "
                "expected one of the two"
            )
        if self.dipole_unit is not None and not (self.dipoles_key or self.molecular_dipole_key):
            raise DataError(
                f"dipole_unit: got {self.dipole_unit!r}, expected dipoles_key or "
                "molecular_dipole_key with it"
            )

        if self.stress_unit is not None and not self.stress_key:
            raise DataError(f"stress_unit: got {self.stress_unit!r}, expected stress_key with it")

    @property
    def factors(self) -> dict[str, float]:
        """What energies, positions, forces, dipoles and stress are to be multiplied by."""
        energy = factor("energy_unit", self.energy_unit, ENERGY_UNITS)
        length = factor("length_unit", self.length_unit, LENGTH_UNITS)
        forces = energy / length if self.forces_unit is None else force_factor(self.forces_unit)
        return {
            "energy": energy,
            "positions": length,
            "forces": -forces if self.gradients else forces,
            "dipoles": factor("dipole_unit", self.dipole_unit or "e·Å", DIPOLE_UNITS),
            "stress": factor("stress_unit", self.stress_unit or "eV/Å³", STRESS_UNITS),
        }
