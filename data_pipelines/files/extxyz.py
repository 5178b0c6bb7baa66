"""Extended XYZ, and every other file that ASE reads."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from data_pipelines.files.entries import (
    Entry,
    check_output,
    dipole_about_origin,
    missing,
    needs,
    text,
)
from data_pipelines.files.frames import read_frames
from data_pipelines.files.options import (
    CELL_KEY,
    CHARGE_KEY,
    MULTIPLICITY_KEY,
    NUMBERS_KEY,
    PBC_KEY,
    POSITIONS_KEY,
    FileOptions,
)
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError
from efa_zoo.base.files import replacing

if TYPE_CHECKING:
    from ase import Atoms


def write_extxyz(path: str | os.PathLike[str], structures: Sequence[Structure]) -> None:
    """Write structures with energy (eV), forces (eV/Å), charge (e), pair and group, atomically.

    Where structures have them, cells, `charges` (e) of the atoms, `dipole` (e·Å, about the origin
    of the coordinates) and `stress` (eV/Å³) are written too.

    Args:
        path: A file that ends in `.extxyz` or `.xyz`.
        structures: At least one.

    Raises:
        DataError: If there are no structures, the file has another ending, or ASE is missing.
    """
    path = check_output(path, structures, ".extxyz", ".xyz")
    try:
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator
        from ase.io import write
    except ModuleNotFoundError as error:
        raise DataError(f"{path}: package 'ase' is missing, expected efa-zoo[ase]") from error
    frames = []
    for s in structures:
        given = {"pair": s.pair, "group": s.group, MULTIPLICITY_KEY: s.multiplicity}
        info = {"charge": s.total_charge} | {key: value for key, value in given.items() if value}
        atoms = Atoms(numbers=s.atomic_numbers, positions=s.positions, info=info)
        if s.cell is not None:
            atoms.set_cell(s.cell)
            atoms.set_pbc(s.pbc)
        labels = {"charges": s.charges, "dipole": dipole_about_origin(s), "stress": s.stress}
        labels = {key: value for key, value in labels.items() if value is not None}
        atoms.calc = SinglePointCalculator(atoms, energy=s.energy, forces=s.forces, **labels)
        frames.append(atoms)
    with replacing(path) as temporary:
        write(temporary, frames, format="extxyz")


def ase_entries(path: Path, options: FileOptions, split_key: str | None) -> Iterator[Entry]:
    """Read a file through ASE.

    Args:
        path: The file.
        options: Key names.
        split_key: Key of the structures' splits; None if the file has none.

    Yields:
        The structures, unchecked.

    Raises:
        DataError: If the file cannot be read, or something is missing.
    """
    usual = {
        "numbers_key": NUMBERS_KEY,
        "positions_key": POSITIONS_KEY,
        "size_key": None,
        "cell_key": CELL_KEY,
        "pbc_key": PBC_KEY,
    }
    for name, default in usual.items():
        if (key := getattr(options, name)) != default:
            raise DataError(f"{name}: got {key!r}, expected it for npz and HDF5 files only")
    for index, (atoms, values) in enumerate(_frames(path)):
        where = f"{path}: structure {index}"
        value = functools.partial(_value, where, values)
        charge, key = options.charge, options.charge_key
        if charge is None and (key != CHARGE_KEY or key in values):
            charge = value("charge", key)
        multiplicity_key: str | None = options.multiplicity_key
        if multiplicity_key == MULTIPLICITY_KEY and multiplicity_key not in values:
            multiplicity_key = None
        yield Entry(
            numbers=atoms.get_atomic_numbers(),
            positions=atoms.get_positions(),
            energy=value("energy", options.energy_key),
            forces=value("forces", options.forces_key),
            charge=charge,
            multiplicity=value("multiplicity", multiplicity_key),
            dipoles=value("dipoles", options.dipoles_key),
            atomic_charges=value("atomic charges", options.atomic_charges_key),
            molecular_dipole=value("molecular dipole", options.molecular_dipole_key),
            group=text(value("group", options.group_key)),
            split=text(value("split", split_key)),
            cell=np.asarray(atoms.cell) if np.any(atoms.pbc) else None,
            pbc=atoms.pbc,
            stress=value("stress", options.stress_key),
        )


def _value(where: str, values: Mapping[str, Any], kind: str, key: str | None) -> Any:
    if key is None:
        return None
    if key not in values:
        raise DataError(f"{where}: {missing(kind, key, list(values))}")
    return values[key]


def _frames(path: Path) -> Iterator[tuple[Atoms, Mapping[str, Any]]]:
    """Structures, and what the file says about each by key."""
    try:
        import ase.db
    except ModuleNotFoundError as error:
        raise needs(path, "ase") from error
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
            for atoms in read_frames(path):
                yield atoms, {**atoms.arrays, **atoms.info, **_labels(atoms)}
    except Exception as error:  # ASE's readers raise whatever they stumble over
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: cannot read structures from this file ({reason})") from error


def _labels(atoms: Atoms) -> dict[str, Any]:
    # Not through get_forces(), which would zero those of constrained atoms.
    results = {} if atoms.calc is None else atoms.calc.results
    return {key: value for key, value in results.items() if value is not None}
