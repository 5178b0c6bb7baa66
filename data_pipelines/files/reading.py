"""Labelled structures from files: extended XYZ and whatever else ASE reads, npz and HDF5.

    from data_pipelines import FileOptions, read_structures

    structures = read_structures("water.extxyz", FileOptions(energy_key="REF_energy", charge=0))

Key names and units are the caller's to say; nothing is guessed. What is missing, of a wrong shape,
not finite or all zero stops the reading with one line that says where.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from data_pipelines.files.arrays import array_entries
from data_pipelines.files.entries import to_structure
from data_pipelines.files.extxyz import ase_entries
from data_pipelines.files.inspection import Inspection, inspect
from data_pipelines.files.options import FileOptions
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError

_logger = logging.getLogger(__name__)

_HDF5 = (".h5", ".hdf5", ".hdf")


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
        DataError: If the file cannot be read or is empty; energies or forces are missing, or
            charges of some structures only; all energies or all forces are zero; a number is not
            finite, a shape does not fit, an element does not exist, or two atoms are at one place.
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
        entries = array_entries(path, options, split_key)
    else:
        entries = ase_entries(path, options, split_key)
    structures: list[Structure] = []
    splits: list[str] = []
    charged = False
    for index, entry in enumerate(entries):
        try:
            if index == 0:
                charged = entry.charge is not None
            elif charged != (entry.charge is not None):
                raise DataError(
                    "charge: given for some structures only, expected all or none; give charge "
                    "for all of them"
                )
            structures.append(to_structure(entry, options))
        except DataError as error:
            raise DataError(f"{path}: structure {index}: {error}") from error
        splits.append(entry.split)
    if not structures:
        raise DataError(f"{path}: has no structures")
    if not any(s.energy for s in structures):
        raise DataError(f"{path}: {options.energy_key}: all energies are zero, expected labels")
    if not any(s.forces.any() for s in structures):
        raise DataError(f"{path}: {options.forces_key}: all forces are zero, expected labels")
    if not charged:
        _logger.info("%s: charge: not given, so it is 0", path)
    return FileContents(structures, None if split_key is None else splits, inspect(structures))
