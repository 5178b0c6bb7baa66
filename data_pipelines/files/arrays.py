"""Labelled structures to npz, which needs no other package and keeps every bit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError
from efa_zoo.base.files import replacing

SPLIT_KEY = "split"
"""Array of the names of the structures' splits."""

DIPOLES_KEY = "atomic_dipoles"
"""Array of the atomic dipole vectors, where structures have them."""


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
    path = Path(path)
    if path.suffix != ".npz":
        raise DataError(f"{path}: expected a name that ends in .npz")
    if not structures:
        raise DataError("structures: got none, expected at least one to write")
    count, atoms = len(structures), max(len(s.atomic_numbers) for s in structures)
    arrays = {
        "atomic_numbers": np.zeros((count, atoms), np.int32),
        "positions": np.zeros((count, atoms, 3)),
        "forces": np.zeros((count, atoms, 3)),
        "energy": np.asarray([s.energy for s in structures]),
        "charge": np.asarray([s.total_charge for s in structures], np.int32),
        SPLIT_KEY: np.asarray(list(splits)),
    }
    if all(s.atomic_dipoles is not None for s in structures):
        arrays[DIPOLES_KEY] = np.zeros((count, atoms, 3))
    for i, structure in enumerate(structures):
        inside = slice(len(structure.atomic_numbers))
        for key in ("atomic_numbers", "positions", "forces", DIPOLES_KEY):
            if key in arrays:
                arrays[key][i, inside] = getattr(structure, key)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
