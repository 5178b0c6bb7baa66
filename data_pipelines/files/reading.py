"""Labelled structures from files: extended XYZ and whatever else ASE reads, npz and HDF5.

    from data_pipelines.files.reading import FileOptions, read_structures

    structures = read_structures("water.extxyz", FileOptions(energy_key="REF_energy", charge=0))

Key names and units are the caller's to say; nothing is guessed. What is missing, of a wrong shape,
not finite or all zero stops the reading with one line that says where.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_pipelines.files.inspection import Inspection, inspect
from data_pipelines.labels.units import (
    DIPOLE_UNITS,
    ENERGY_UNITS,
    LENGTH_UNITS,
    DipoleUnit,
    EnergyUnit,
    LengthUnit,
    factor,
    force_factor,
)
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError
from efa_zoo.structures.elements import SYMBOLS

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["FileContents", "FileOptions", "log_inspection", "read_file", "read_structures"]

_logger = logging.getLogger(__name__)

_CHARGE_KEY, _NUMBERS_KEY, _POSITIONS_KEY = "charge", "atomic_numbers", "positions"
_HDF5 = (".h5", ".hdf5", ".hdf")
_SAME_PLACE = 0.1  # Å, as in the checks of structures to predict


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
        charge_key: Total charges in e.
        charge: One total charge in e for every structure, instead of `charge_key`.
        numbers_key: npz and HDF5: atomic numbers; 0 marks padding.
        positions_key: npz and HDF5: positions.
        size_key: npz and HDF5: numbers of atoms or masks of atoms, where padding is not marked by
            atomic numbers of 0.
        dipoles_key: Atomic dipole vectors, for networks that take them.
        group_key: What a structure belongs to, such as a molecule or a trajectory; without it the
            group in an HDF5 file.
        energy_unit: Of the energies.
        length_unit: Of the positions.
        forces_unit: Of the forces, such as hartree/bohr; without it energy_unit/length_unit.
        dipole_unit: Of the atomic dipoles; without it e·Å.
        gradients: Forces are stored with the opposite sign, as gradients of the energy.

    Raises:
        DataError: If a unit is unknown or two options contradict each other.
    """

    energy_key: str = "energy"
    forces_key: str = "forces"
    charge_key: str = _CHARGE_KEY
    charge: int | None = None
    numbers_key: str = _NUMBERS_KEY
    positions_key: str = _POSITIONS_KEY
    size_key: str | None = None
    dipoles_key: str | None = None
    group_key: str | None = None
    energy_unit: EnergyUnit = "eV"
    length_unit: LengthUnit = "Å"
    forces_unit: str | None = None
    dipole_unit: DipoleUnit | None = None
    gradients: bool = False

    def __post_init__(self) -> None:
        _ = self.factors
        if self.charge is not None and self.charge_key != _CHARGE_KEY:
            raise DataError(
                f"charge_key: got {self.charge_key!r} together with charge = {self.charge}, "
                "expected one of the two"
            )
        if self.dipole_unit is not None and self.dipoles_key is None:
            raise DataError(f"dipole_unit: got {self.dipole_unit!r}, expected dipoles_key with it")

    @property
    def factors(self) -> dict[str, float]:
        """What energies, positions, forces and dipoles are to be multiplied by."""
        energy = factor("energy_unit", self.energy_unit, ENERGY_UNITS)
        length = factor("length_unit", self.length_unit, LENGTH_UNITS)
        forces = energy / length if self.forces_unit is None else force_factor(self.forces_unit)
        return {
            "energy": energy,
            "positions": length,
            "forces": -forces if self.gradients else forces,
            "dipoles": factor("dipole_unit", self.dipole_unit or "e·Å", DIPOLE_UNITS),
        }


@dataclass(frozen=True)
class FileContents:
    """What a file holds.

    Attributes:
        structures: In the order of the file.
        splits: Name of the split of each structure; None if no key for it was given.
        inspection: What was found, with duplicates and outliers.
    """

    structures: list[Structure]
    splits: list[str] | None
    inspection: Inspection


def read_structures(
    path: str | os.PathLike[str], options: FileOptions | None = None
) -> list[Structure]:
    """Read labelled structures from a file and log what was found.

    Args:
        path: A `.npz` file, an HDF5 file (`.h5`, `.hdf5`, `.hdf`), or any file that ASE reads, such
            as `.extxyz` or an ASE database (`.db`).
        options: Key names and units; None takes the defaults of `FileOptions`.

    Returns:
        The structures in the order of the file, in eV, Å and e.

    Raises:
        DataError: If the file cannot be read or is empty; energies, forces or charges are missing,
            or all energies or all forces are zero; a number is not finite, a shape does not fit, an
            element does not exist, or two atoms are at one place.
    """
    contents = read_file(path, options)
    log_inspection(path, contents.inspection)
    return contents.structures


def log_inspection(path: str | os.PathLike[str], inspection: Inspection) -> None:
    """Log what a file holds, and as warnings what deserves a second look.

    Args:
        path: The file.
        inspection: Of its structures.
    """
    _logger.info("%s: %s", os.fspath(path), inspection)
    for line in inspection.warnings:
        _logger.warning("%s: %s", os.fspath(path), line)


def read_file(
    path: str | os.PathLike[str],
    options: FileOptions | None = None,
    *,
    split_key: str | None = None,
) -> FileContents:
    """Read a file as `read_structures` does, silently, and the split of each structure.

    Args:
        path: As of `read_structures`.
        options: As of `read_structures`.
        split_key: Key of the name of each structure's split; None if the file has none.

    Returns:
        The structures, their splits, and what was found.

    Raises:
        DataError: As of `read_structures`.
    """
    path, options = Path(path), options or FileOptions()
    if path.is_dir():
        raise DataError(f"{path}: is a folder, expected a file of structures")
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise DataError(f"{path}: is empty, expected structures")
    if path.suffix == ".npz" or path.suffix in _HDF5:
        entries = _array_entries(path, options, split_key)
    else:
        entries = _ase_entries(path, options, split_key)
    structures: list[Structure] = []
    splits: list[str] = []
    for index, entry in enumerate(entries):
        try:
            structures.append(_structure(entry, options))
        except DataError as error:
            raise DataError(f"{path}: structure {index}: {error}") from error
        splits.append(entry.split)
    if not structures:
        raise DataError(f"{path}: has no structures")
    if not any(s.energy for s in structures):
        raise DataError(f"{path}: {options.energy_key}: all energies are zero, expected labels")
    if not any(s.forces.any() for s in structures):
        raise DataError(f"{path}: {options.forces_key}: all forces are zero, expected labels")
    return FileContents(structures, None if split_key is None else splits, inspect(structures))


# -------------------------------------------------------------------------------------------------
# One structure


@dataclass(frozen=True)
class _Entry:
    """A structure as the file has it, unchecked and in the file's units."""

    numbers: Any
    positions: Any
    energy: Any
    forces: Any
    charge: Any
    dipoles: Any
    group: str
    split: str


def _structure(entry: _Entry, options: FileOptions) -> Structure:
    numbers = _numbers(entry.numbers)
    atoms, factors = len(numbers), options.factors
    positions = _floats("positions", entry.positions, (atoms, 3), factors["positions"])
    _check_places(positions)
    dipoles = None
    if entry.dipoles is not None:
        dipoles = _floats(str(options.dipoles_key), entry.dipoles, (atoms, 3), factors["dipoles"])
    # Arrays of energies often have a last axis of length 1.
    energy = entry.energy.reshape(()) if np.shape(entry.energy) == (1,) else entry.energy
    return Structure(
        atomic_numbers=numbers,
        positions=positions,
        energy=float(_floats(options.energy_key, energy, (), factors["energy"])),
        forces=_floats(options.forces_key, entry.forces, (atoms, 3), factors["forces"]),
        total_charge=_charge(entry.charge),
        atomic_dipoles=dipoles,
        group=entry.group,
    )


def _numbers(given: Any) -> np.ndarray:
    numbers = np.asarray(given)
    if numbers.ndim != 1 or not numbers.size:
        raise DataError(f"atomic numbers: got shape {numbers.shape}, expected at least one atom")
    known = np.isin(numbers, np.arange(1, len(SYMBOLS)))
    if not known.all():
        raise DataError(
            f"atomic numbers: got {numbers[~known][0]}, expected integers from 1 to "
            f"{len(SYMBOLS) - 1}"
        )
    return numbers.astype(np.int32)


def _floats(field: str, given: Any, shape: tuple[int, ...], unit: float) -> np.ndarray:
    try:
        values = np.asarray(given, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"{field}: got {given!r}, expected numbers") from error
    if values.shape != shape:
        raise DataError(f"{field}: got shape {values.shape}, expected {shape}")
    if not np.isfinite(values).all():
        first = np.argwhere(~np.isfinite(values))[0]
        atom = f" at atom {first[0]}" if shape else ""
        raise DataError(f"{field}: got {values[tuple(first)]}{atom}, expected finite numbers")
    return values * unit


def _check_places(positions: np.ndarray) -> None:
    if len(positions) > 1:
        from scipy.spatial import KDTree

        pairs = KDTree(positions).query_pairs(_SAME_PLACE, output_type="ndarray")
        if len(pairs):
            first, second = pairs[0].tolist()
            distance = np.linalg.norm(positions[first] - positions[second])
            raise DataError(
                f"positions: atoms {first} and {second} are {distance:.3g} Å apart, expected "
                "different places"
            )


def _charge(given: Any) -> int:
    value = np.asarray(given)
    if value.shape == (1,):
        value = value[0]
    if value.shape != () or value.dtype.kind not in "iuf" or not float(value).is_integer():
        raise DataError(f"charge: got {given!r}, expected an integer (e)")
    return int(value)


def _missing(kind: str, key: str, found: Sequence[str]) -> DataError:
    hint = "; give charge for all of them" if kind == "charge" else ""
    names = ", ".join(sorted(found)) or "nothing"
    return DataError(f"{kind}: no key {key!r}, expected one of what is there ({names}){hint}")


# -------------------------------------------------------------------------------------------------
# Files that ASE reads


def _ase_entries(path: Path, options: FileOptions, split_key: str | None) -> Iterator[_Entry]:
    usual = {"numbers_key": _NUMBERS_KEY, "positions_key": _POSITIONS_KEY, "size_key": None}
    for name, default in usual.items():
        if (key := getattr(options, name)) != default:
            raise DataError(f"{name}: got {key!r}, expected it for npz and HDF5 files only")
    for index, (atoms, values) in enumerate(_frames(path)):
        where = f"{path}: structure {index}"
        if np.any(atoms.pbc):
            raise DataError(
                f"{where}: pbc: got {atoms.pbc.tolist()}, expected a molecule without periodicity"
            )
        value = functools.partial(_value, where, values)
        charge = options.charge
        yield _Entry(
            numbers=atoms.get_atomic_numbers(),
            positions=atoms.get_positions(),
            energy=value("energy", options.energy_key),
            forces=value("forces", options.forces_key),
            charge=value("charge", options.charge_key) if charge is None else charge,
            dipoles=value("dipoles", options.dipoles_key),
            group=_text(value("group", options.group_key)),
            split=_text(value("split", split_key)),
        )


def _value(where: str, values: Mapping[str, Any], kind: str, key: str | None) -> Any:
    if key is None:
        return None
    if key not in values:
        raise DataError(f"{where}: {_missing(kind, key, list(values))}")
    return values[key]


def _frames(path: Path) -> Iterator[tuple[Atoms, Mapping[str, Any]]]:
    """Structures, and what the file says about each by key."""
    try:
        import ase.db
        import ase.io
    except ModuleNotFoundError as error:
        raise _needs(path, "ase") from error
    try:
        if path.suffix == ".db":
            database: Any = ase.db.connect(path, serial=True)
            with database:  # or nobody closes it
                for row in database.select():
                    atoms = row.toatoms()
                    # Some keys, such as charge, are hidden behind properties of the row.
                    pairs = {key: vars(row)[key] for key in row.key_value_pairs}
                    yield atoms, {**row.data, **pairs, **_labels(atoms)}
        else:
            for atoms in ase.io.iread(path, index=":"):
                yield atoms, {**atoms.arrays, **atoms.info, **_labels(atoms)}
    except Exception as error:  # ASE's readers raise whatever they stumble over
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: cannot read structures from this file ({reason})") from error


def _labels(atoms: Atoms) -> dict[str, Any]:
    # Not through get_forces(), which would zero those of constrained atoms.
    results = {} if atoms.calc is None else atoms.calc.results
    return {key: value for key, value in results.items() if value is not None}


def _text(value: Any) -> str:
    return "" if value is None else value.decode() if isinstance(value, bytes) else str(value)


def _needs(path: Path, package: str) -> DataError:
    return DataError(
        f"{path}: package {package!r} is missing, expected the extra efa-zoo[data] to read it"
    )


# -------------------------------------------------------------------------------------------------
# Files of arrays


def _array_entries(path: Path, options: FileOptions, split_key: str | None) -> Iterator[_Entry]:
    found = False
    for name, arrays in _blocks(path, options.positions_key):
        found = True
        try:
            yield from _block_entries(name, arrays, options, split_key)
        except DataError as error:
            place = f"{path}: group {name}" if name else str(path)
            raise DataError(f"{place}: {error}") from error
    if not found:
        raise DataError(f"{path}: positions: no key {options.positions_key!r} in any group")


def _block_entries(
    name: str, arrays: Mapping[str, np.ndarray], options: FileOptions, split_key: str | None
) -> Iterator[_Entry]:
    positions = _get(arrays, "positions", options.positions_key)
    if positions.ndim not in (2, 3):
        raise DataError(f"positions: got shape {positions.shape}, expected (structures, atoms, 3)")
    count, atoms = (1, *positions.shape)[-3:-1]

    def rows(kind: str, key: str | None, *shapes: tuple[int, ...]) -> Any:
        """One value for each structure: along the first axis, or the same for all."""
        if key is None:
            return [None] * count
        array = _get(arrays, kind, key)
        per_structure = [(count, *shape) for shape in shapes]
        if array.shape in per_structure:
            return array
        # Labels differ between structures; one value for all of them is a mistake.
        shared = count == 1 or kind not in ("energy", "forces", "dipoles")
        if shared and array.shape in shapes:
            return [array] * count
        expected = " or ".join(map(str, per_structure + (list(shapes) if shared else [])))
        raise DataError(f"{key}: got shape {array.shape}, expected {expected}")

    scalar, vector = (), (atoms, 3)
    numbers = rows("atomic numbers", options.numbers_key, (atoms,))
    places = rows("positions", options.positions_key, vector)
    sizes = rows("size", options.size_key, scalar, (atoms,))
    energies = rows("energy", options.energy_key, scalar, (1,))
    forces = rows("forces", options.forces_key, vector)
    dipoles = rows("dipoles", options.dipoles_key, vector)
    groups = rows("group", options.group_key, scalar)
    splits = rows("split", split_key, scalar)
    if options.charge is None:
        charges = rows("charge", options.charge_key, scalar, (1,))
    else:
        charges = [options.charge] * count
    for i in range(count):
        inside = _inside(numbers[i], sizes[i])
        yield _Entry(
            numbers=numbers[i][inside],
            positions=places[i][inside],
            energy=energies[i],
            forces=forces[i][inside],
            charge=charges[i],
            dipoles=None if dipoles[i] is None else dipoles[i][inside],
            group=_text(groups[i]) or name,
            split=_text(splits[i]),
        )


def _inside(numbers: np.ndarray, size: Any) -> np.ndarray:
    """Which rows are atoms and not padding."""
    if size is None:
        return numbers != 0
    size = np.asarray(size)
    return size.astype(bool) if size.ndim else np.arange(len(numbers)) < int(size)


def _get(arrays: Mapping[str, np.ndarray], kind: str, key: str) -> np.ndarray:
    if key not in arrays:
        raise _missing(kind, key, list(arrays))
    return arrays[key]


def _blocks(path: Path, positions_key: str) -> Iterator[tuple[str, Mapping[str, np.ndarray]]]:
    """Sets of arrays that belong together: an npz file, or each group of an HDF5 file."""
    try:
        if path.suffix == ".npz":
            # Without pickles: a file of data must not be able to run code.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                yield "", {name: file[name] for name in file.files}
        else:
            yield from _hdf5_blocks(path, positions_key)
    except DataError:
        raise
    except Exception as error:  # whatever a damaged archive makes its reader stumble over
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: cannot read arrays from this file ({reason})") from error


def _hdf5_blocks(path: Path, positions_key: str) -> Iterator[tuple[str, Mapping[str, np.ndarray]]]:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise _needs(path, "h5py") from error
    with h5py.File(path, "r") as file:
        names = [""]
        file.visit(names.append)
        for name in names:
            group = file[name] if name else file
            if isinstance(group, h5py.Group) and positions_key in group:
                datasets: list[str] = []
                group.visititems(
                    lambda key, item, seen=datasets: (
                        seen.append(key) if isinstance(item, h5py.Dataset) else None
                    )
                )
                yield name, {key: np.asarray(group[key]) for key in datasets}
