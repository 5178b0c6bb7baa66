"""Structures as files have them, and the checks that make labelled structures of them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.files.options import FileOptions
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError, InputError
from efa_zoo.structures.cells import OPEN, Pbc, check_cell
from efa_zoo.structures.distances import closest
from efa_zoo.structures.elements import SYMBOLS
from efa_zoo.structures.molecule import check_multiplicity

_SAME_PLACE = 0.1  # Å, as in the checks of structures to predict

# What no structure has, so that a file says something else: all electrons of the heaviest element
# have -1.5e6 eV, and positions are relative to the centre of the structure.
_MAX_ENERGY_PER_ATOM, _MAX_FORCE, _MAX_EXTENT = 1e7, 1e6, 1e4  # eV, eV/Å, Å
_MAX_CHARGE = 10_000  # e


@dataclass(frozen=True)
class Entry:
    """A structure as the file has it, unchecked and in the file's units."""

    numbers: Any
    positions: Any
    energy: Any
    forces: Any
    charge: Any
    multiplicity: Any
    dipoles: Any
    atomic_charges: Any
    molecular_dipole: Any
    group: str
    split: str
    cell: Any = None
    pbc: Any = None
    stress: Any = None


def to_structure(entry: Entry, options: FileOptions) -> Structure:
    """Check a structure and convert its units.

    Args:
        entry: The structure as the file has it.
        options: Key names, for messages, and units.

    Returns:
        The structure in eV, Å and e.

    Raises:
        DataError: If a number is not finite, a shape does not fit, an element does not exist, or
            two atoms are at one place.
    """
    numbers = _numbers(entry.numbers)
    atoms, factors = len(numbers), options.factors
    positions = _floats("positions", entry.positions, (atoms, 3), factors["positions"])
    cell, pbc = _cell(entry, factors["positions"])
    _check_places(positions, cell, pbc)
    charge = 0 if entry.charge is None else _charge(entry.charge)

    def optional(key: str | None, given: Any, shape: tuple[int, ...], unit: float) -> Any:
        return None if given is None else _floats(str(key), given, shape, unit)

    dipole = optional(
        options.molecular_dipole_key, entry.molecular_dipole, (3,), factors["dipoles"]
    )
    # Arrays of energies often have a last axis of length 1.
    energy = entry.energy.reshape(()) if np.shape(entry.energy) == (1,) else entry.energy
    return Structure(
        atomic_numbers=numbers,
        positions=positions,
        energy=float(
            _floats(options.energy_key, energy, (), factors["energy"], atoms * _MAX_ENERGY_PER_ATOM)
        ),
        forces=_floats(options.forces_key, entry.forces, (atoms, 3), factors["forces"], _MAX_FORCE),
        total_charge=charge,
        multiplicity=_multiplicity(entry.multiplicity, numbers, charge),
        atomic_dipoles=optional(options.dipoles_key, entry.dipoles, (atoms, 3), factors["dipoles"]),
        charges=optional(options.atomic_charges_key, entry.atomic_charges, (atoms,), 1.0),
        dipole=None if dipole is None else dipole - charge * positions.mean(axis=0),
        cell=cell,
        pbc=pbc,
        stress=_stress(entry.stress, pbc, options),
        group=entry.group,
    )


def _cell(entry: Entry, unit: float) -> tuple[np.ndarray | None, Pbc]:
    """Take the cell of a structure; without word about directions those that have a vector."""
    if entry.cell is None:
        if entry.pbc is not None and np.any(entry.pbc):
            raise DataError(f"pbc: got {np.asarray(entry.pbc).tolist()}, expected a cell with it")
        return None, OPEN
    cell = _floats("cell", entry.cell, (3, 3), unit, np.inf)
    pbc = np.linalg.norm(cell, axis=1) > 0 if entry.pbc is None else entry.pbc
    try:
        return check_cell(cell, np.asarray(pbc).astype(bool))
    except InputError as error:
        raise DataError(str(error)) from error


def _stress(given: Any, pbc: Pbc, options: FileOptions) -> np.ndarray | None:
    if given is None:
        return None
    key, unit = str(options.stress_key), options.factors["stress"]
    if not all(pbc):
        raise DataError(
            f"{key}: got stress with pbc {list(pbc)}, expected three periodic directions"
        )
    if np.shape(given) in ((9,), (3, 3)):
        matrix = _floats(key, np.reshape(given, (3, 3)), (3, 3), unit)
        if not np.allclose(matrix, matrix.T, rtol=1e-3, atol=1e-6):
            raise DataError(f"{key}: got {matrix.tolist()}, expected a symmetric matrix")
        return (0.5 * (matrix + matrix.T))[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    return _floats(key, given, (6,), unit)


def _multiplicity(given: Any, numbers: np.ndarray, charge: int) -> int:
    if given is None:
        return 0
    try:
        return check_multiplicity(np.asarray(given).reshape(()), numbers, charge)
    except (InputError, ValueError) as error:
        raise DataError(str(error)) from error


def _numbers(given: Any) -> np.ndarray:
    numbers = np.asarray(given)
    if numbers.ndim != 1 or not numbers.size:
        raise DataError(f"atomic numbers: got shape {numbers.shape}, expected at least one atom")
    if numbers.dtype.kind not in "iuf":
        raise DataError(f"atomic numbers: got {numbers.dtype.name}, expected integers")
    known = np.isin(numbers, np.arange(1, len(SYMBOLS)))
    if not known.all():
        raise DataError(
            f"atomic numbers: got {numbers[~known][0]}, expected integers from 1 to "
            f"{len(SYMBOLS) - 1}"
        )
    return numbers.astype(np.int32)


def _floats(
    field: str, given: Any, shape: tuple[int, ...], unit: float, largest: float = np.inf
) -> np.ndarray:
    """Take real numbers of a shape, of at most a size in the units they are converted to."""
    try:
        values = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise DataError(f"{field}: got {given!r}, expected numbers") from error
    if values.shape != shape:
        raise DataError(f"{field}: got shape {values.shape}, expected {shape}")
    if values.dtype.kind in "USO":
        raise DataError(f"{field}: got {str(given)[:80]!r}, expected numbers")
    if values.dtype.kind not in "iuf":
        raise DataError(f"{field}: got {values.dtype.name}, expected real numbers")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        first = np.argwhere(~np.isfinite(values))[0]
        atom = f" at atom {first[0]}" if shape else ""
        raise DataError(f"{field}: got {values[tuple(first)]}{atom}, expected finite numbers")
    if np.abs(values).max(initial=0) > largest / abs(unit):
        raise DataError(
            f"{field}: got {np.abs(values).max():.3g}, expected at most {largest / abs(unit):.3g} "
            "(is the unit right?)"
        )
    return values * unit


def _check_places(positions: np.ndarray, cell: np.ndarray | None, pbc: Pbc) -> None:
    with np.errstate(over="ignore"):
        extent = float(np.linalg.norm(positions - positions.mean(axis=0), axis=1).max())
    if not extent <= _MAX_EXTENT:
        raise DataError(
            f"positions: an atom is {extent:.3g} Å from the centre of the structure, expected at "
            f"most {_MAX_EXTENT:g} Å (is length_unit right?)"
        )
    if cell is not None:
        distance, first, second = closest(positions, cell, pbc)
        if distance < _SAME_PLACE:
            raise DataError(
                f"positions: atoms {first} and {second} are {distance:.3g} Å apart, expected "
                "different places"
            )
    elif len(positions) > 1:
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
    if (
        value.shape != ()
        or value.dtype.kind not in "iuf"
        or not float(value).is_integer()
        or abs(value) > _MAX_CHARGE
    ):
        raise DataError(f"charge: got {given!r}, expected an integer (e)")
    return int(value)


def missing(kind: str, key: str, found: Sequence[str]) -> DataError:
    """Say that a key is not among those found."""
    hint = "; give charge for all of them" if kind == "charge" else ""
    names = " ".join(", ".join(sorted(found))[:300].split()) or "nothing"
    return DataError(f"{kind}: no key {key!r}, expected one of what is there ({names}){hint}")


def text(value: Any) -> str:
    """Give a string, empty for None, of what may be bytes."""
    return "" if value is None else value.decode() if isinstance(value, bytes) else str(value)


def needs(path: Path, package: str) -> DataError:
    """Say that a package is missing."""
    return DataError(
        f"{path}: package {package!r} is missing, expected the extra efa-zoo[data] to read it"
    )


def check_output(
    path: str | os.PathLike[str], structures: Sequence[Structure], *endings: str
) -> Path:
    """Refuse to write nothing, or to a name whose ending says something else."""
    path = Path(path)
    if path.suffix not in endings:
        raise DataError(f"{path}: expected a name that ends in {' or '.join(endings)}")
    if not structures:
        raise DataError("structures: got none, expected at least one to write")
    return path


def dipole_about_origin(structure: Structure) -> np.ndarray | None:
    """Give the dipole moment in e·Å about the origin of the coordinates, as files have it."""
    if structure.dipole is None:
        return None
    return structure.dipole + structure.total_charge * structure.positions.mean(axis=0)
