"""Files of arrays: npz, which needs no other package and keeps every bit, and HDF5."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.files.entries import (
    Entry,
    check_output,
    dipole_about_origin,
    missing,
    needs,
    text,
)
from data_pipelines.files.options import (
    CELL_KEY,
    CHARGE_KEY,
    MULTIPLICITY_KEY,
    PBC_KEY,
    FileOptions,
)
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError
from efa_zoo.base.files import replacing

_LARGE = 1_000_000_000
"""Bytes from which an HDF5 data set must be there, and not only be said to be."""

_MAX_COMPRESSION = 2000
"""Of stored data; the formats that HDF5 knows reach 1,032."""

SPLIT_KEY = "split"
"""Array of the names of the structures' splits."""

DIPOLES_KEY = "atomic_dipoles"
"""Array of the atomic dipole vectors, where structures have them."""

ATOMIC_CHARGES_KEY = "atomic_charges"
"""Array of the charges of the atoms, where structures have them."""

MOLECULAR_DIPOLE_KEY = "molecular_dipole"
"""Array of the dipole moments about the origin of the coordinates, where structures have them."""

STRESS_KEY = "stress"
"""Array of the stress in ASE's order, where structures have it."""


def write_npz(
    path: str | os.PathLike[str], structures: Sequence[Structure], splits: Sequence[str]
) -> None:
    """Write structures under the usual keys of `FileOptions`, in eV, Å and e, atomically.

    Args:
        path: A file that ends in `.npz`.
        structures: At least one; those with fewer atoms than others are padded.
        splits: Name of the split of each.

    Raises:
        DataError: If there are no structures, or the file has another ending.
    """
    path = check_output(path, structures, ".npz")
    count, atoms = len(structures), max(len(s.atomic_numbers) for s in structures)
    arrays = {
        "atomic_numbers": np.zeros((count, atoms), np.int32),
        "positions": np.zeros((count, atoms, 3)),
        "forces": np.zeros((count, atoms, 3)),
        "energy": np.asarray([s.energy for s in structures]),
        "charge": np.asarray([s.total_charge for s in structures], np.int32),
        SPLIT_KEY: np.asarray(list(splits)),
    }
    of_atoms = {"atomic_numbers": "atomic_numbers", "positions": "positions", "forces": "forces"}
    if all(s.atomic_dipoles is not None for s in structures):
        arrays[DIPOLES_KEY] = np.zeros((count, atoms, 3))
        of_atoms[DIPOLES_KEY] = "atomic_dipoles"
    if all(s.charges is not None for s in structures):
        arrays[ATOMIC_CHARGES_KEY] = np.zeros((count, atoms))
        of_atoms[ATOMIC_CHARGES_KEY] = "charges"
    dipoles = [dipole for s in structures if (dipole := dipole_about_origin(s)) is not None]
    if len(dipoles) == count:
        arrays[MOLECULAR_DIPOLE_KEY] = np.stack(dipoles)
    if any(s.cell is not None for s in structures):
        cells = [np.zeros((3, 3)) if s.cell is None else s.cell for s in structures]
        arrays[CELL_KEY] = np.stack(cells)
        arrays[PBC_KEY] = np.asarray([s.pbc for s in structures])
    stress = [s.stress for s in structures if s.stress is not None]
    if len(stress) == count:
        arrays[STRESS_KEY] = np.stack(stress)
    if any(s.multiplicity for s in structures):
        spins = [s.spin_multiplicity for s in structures]
        arrays[MULTIPLICITY_KEY] = np.asarray(spins, np.int32)
    for i, structure in enumerate(structures):
        for key, field in of_atoms.items():
            arrays[key][i, : len(structure.atomic_numbers)] = getattr(structure, field)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


_LABELS = ("energy", "forces", "dipoles", "atomic charges", "molecular dipole", "stress")


def array_entries(path: Path, options: FileOptions, split_key: str | None) -> Iterator[Entry]:
    """Read an npz or HDF5 file.

    Args:
        path: The file.
        options: Key names.
        split_key: Key of the structures' splits; None if the file has none.

    Yields:
        The structures, unchecked.

    Raises:
        DataError: If the file cannot be read, or something is missing or of a wrong shape.
    """
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
) -> Iterator[Entry]:
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
        shared = count == 1 or kind not in _LABELS
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
    atomic_charges = rows("atomic charges", options.atomic_charges_key, (atoms,))
    molecular_dipoles = rows("molecular dipole", options.molecular_dipole_key, (3,))
    stress = rows("stress", options.stress_key, (6,), (9,), (3, 3))
    cell_key: str | None = options.cell_key
    cell_key = None if cell_key == CELL_KEY and cell_key not in arrays else cell_key
    pbc_key: str | None = options.pbc_key
    pbc_key = None if pbc_key == PBC_KEY and pbc_key not in arrays else pbc_key
    cells, pbc = rows("cell", cell_key, (3, 3)), rows("pbc", pbc_key, (), (3,))
    groups = rows("group", options.group_key, scalar)
    splits = rows("split", split_key, scalar)
    if options.charge is None and options.charge_key == CHARGE_KEY and CHARGE_KEY not in arrays:
        charges = [None] * count
    elif options.charge is None:
        charges = rows("charge", options.charge_key, scalar, (1,))
    else:
        charges = [options.charge] * count
    multiplicity_key: str | None = options.multiplicity_key
    if multiplicity_key == MULTIPLICITY_KEY and multiplicity_key not in arrays:
        multiplicity_key = None
    multiplicities = rows("multiplicity", multiplicity_key, scalar, (1,))
    for i in range(count):
        inside = _inside(numbers[i], sizes[i])
        yield Entry(
            numbers=numbers[i][inside],
            positions=places[i][inside],
            energy=energies[i],
            forces=forces[i][inside],
            charge=charges[i],
            multiplicity=multiplicities[i],
            dipoles=None if dipoles[i] is None else dipoles[i][inside],
            atomic_charges=None if atomic_charges[i] is None else atomic_charges[i][inside],
            molecular_dipole=molecular_dipoles[i],
            group=text(groups[i]) or name,
            split=text(splits[i]),
            cell=cells[i] if np.any(cells[i]) else None,
            pbc=pbc[i],
            stress=stress[i],
        )


def _inside(numbers: np.ndarray, size: Any) -> np.ndarray:
    """Which rows are atoms and not padding."""
    if size is None:
        return numbers != 0
    size = np.asarray(size)
    return size.astype(bool) if size.ndim else np.arange(len(numbers)) < int(size)


def _get(arrays: Mapping[str, np.ndarray], kind: str, key: str) -> np.ndarray:
    if key not in arrays:
        raise missing(kind, key, list(arrays))
    return arrays[key]


def _blocks(path: Path, positions_key: str) -> Iterator[tuple[str, Mapping[str, np.ndarray]]]:
    """Sets of arrays that belong together: an npz file, or each group of an HDF5 file."""
    try:
        if path.suffix == ".npz":
            # Without pickles: a file of data must not be able to run code.
            with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                yield "", _Lazy(file, file.files)
        else:
            yield from _hdf5_blocks(path, positions_key)
    except DataError:
        raise
    except Exception as error:  # whatever a damaged archive makes its reader stumble over
        raise _unreadable(path, error) from error


def _hdf5_blocks(path: Path, positions_key: str) -> Iterator[tuple[str, Mapping[str, np.ndarray]]]:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise needs(path, "h5py") from error
    with h5py.File(path, "r") as file:
        names = [""]
        file.visit(names.append)
        for name in names:
            group = file[name] if name else file
            if not isinstance(group, h5py.Group) or positions_key not in group:
                continue
            datasets: list[str] = []
            # Names that are no text come as bytes; nobody can ask for these.
            group.visititems(
                lambda key, item, seen=datasets: (
                    seen.append(key)
                    if isinstance(item, h5py.Dataset) and isinstance(key, str)
                    else None
                )
            )
            # What links lead to in other files is not visited, and named here to be refused.
            links = [str(k) for k in group if k not in datasets and _is_link(group, str(k))]
            yield name, _Lazy(_Datasets(group), [*datasets, *links])


def _is_link(group: Any, key: str) -> bool:
    import h5py

    return isinstance(group.get(key, getlink=True), h5py.ExternalLink)


class _Datasets:
    """The data sets of an HDF5 group, those alone that lie in the file."""

    def __init__(self, group: Any) -> None:
        self.group = group

    def __getitem__(self, key: str) -> np.ndarray:
        if _is_link(self.group, key):
            raise DataError(f"{key}: is a link to another file, expected all data in this one")
        dataset = self.group[key]
        if dataset.external or dataset.is_virtual:
            raise DataError(f"{key}: lies outside of the file, expected all data in this one")
        stored = dataset.id.get_storage_size()
        if dataset.nbytes > _LARGE and dataset.nbytes > _MAX_COMPRESSION * stored:
            raise DataError(
                f"{key}: has {dataset.nbytes:.3g} bytes, of which the file holds {stored}"
            )
        return np.asarray(dataset)


class _Lazy(Mapping[str, np.ndarray]):
    """Arrays that are read when they are asked for; what nobody asks for costs nothing."""

    def __init__(self, source: Any, keys: Sequence[str]) -> None:
        self.source, self.names = source, {key: key for key in keys}
        self.read: dict[str, np.ndarray] = {}

    def __getitem__(self, key: str) -> np.ndarray:
        name = self.names[key]
        if key not in self.read:
            try:
                self.read[key] = np.asarray(self.source[name])
            except DataError:
                raise
            except Exception as error:  # whatever a damaged archive makes its reader stumble over
                raise _unreadable(key, error) from error
        return self.read[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)


def _unreadable(where: Path | str, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(f"{where}: cannot read arrays from this file ({reason})")
