"""Structures in few bytes: sets of some hundred that ship with models."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError

__all__ = ["FORCE_STEP", "POSITION_STEP", "from_compact", "to_compact"]

#: What positions are multiples of, in Å. At 10 eV/Å half of it is 0.05 meV.
POSITION_STEP = 1e-5

#: What components of forces are multiples of, in eV/Å.
FORCE_STEP = 1e-4


def to_compact(structures: Sequence[Structure], splits: Sequence[str]) -> bytes:
    """Write what a network learns from: its inputs, energies and forces.

    Positions and forces are rounded to `POSITION_STEP` and `FORCE_STEP`, energies are not. Labels
    of charges and what only describes a structure are left out, but for the names of the fragments
    and their distance, by which isolated molecules are known.

    Args:
        structures: At least one.
        splits: Name of the split of each.

    Returns:
        The content of an npz file; the same structures always give the same bytes.

    Raises:
        DataError: If there are no structures, or some have dipoles or cells and others have not.
    """
    if not structures:
        raise DataError("structures: got none, expected at least one")
    arrays: dict[str, Any] = {
        "sizes": np.array([len(s.atomic_numbers) for s in structures], np.int32),
        "atomic_numbers": np.concatenate([s.atomic_numbers for s in structures]).astype(np.uint8),
        "positions": _steps([s.positions for s in structures], POSITION_STEP),
        "forces": _steps([s.forces for s in structures], FORCE_STEP),
        "energies": np.array([s.energy for s in structures]),
        "charges": np.array([s.total_charge for s in structures], np.int32),
        "multiplicities": np.array([s.multiplicity for s in structures], np.int32),
        "monomers": np.array([s.monomers for s in structures]),
        "separations": np.array([s.separation for s in structures], np.float32),
        "splits": np.array(list(splits)),
    }
    dipoles = [s.atomic_dipoles for s in structures if s.atomic_dipoles is not None]
    cells = [s.cell for s in structures if s.cell is not None]
    for name, found in (("atomic_dipoles", dipoles), ("cell", cells)):
        if len(found) not in (0, len(structures)):
            raise DataError(f"{name}: {len(found)} of {len(structures)} structures have it")
    if dipoles:
        arrays["dipoles"] = np.concatenate(dipoles)
    if cells:
        arrays["cells"] = np.stack(cells)
        arrays["pbc"] = np.array([s.pbc for s in structures])
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=False, **arrays)
    return stream.getvalue()


def _steps(values: Sequence[np.ndarray], step: float) -> np.ndarray:
    return np.rint(np.concatenate(values) / step).astype(np.int32)


def from_compact(content: bytes, where: str | os.PathLike[str]) -> dict[str, list[Structure]]:
    """Read structures that `to_compact` has written.

    Args:
        content: Of the file.
        where: The file, for messages.

    Returns:
        The structures of each split, in their order.

    Raises:
        DataError: If it is no such file.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return _structures(arrays)
    except Exception as error:  # whatever a damaged archive makes its reader stumble over
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{Path(where)}: cannot read structures from it ({reason})") from error


def _structures(arrays: Mapping[str, np.ndarray]) -> dict[str, list[Structure]]:
    ends = np.cumsum(arrays["sizes"])
    found: dict[str, list[Structure]] = {}
    for i, (start, end) in enumerate(zip(ends - arrays["sizes"], ends, strict=True)):
        atoms = slice(int(start), int(end))
        more: dict[str, Any] = {}
        if "dipoles" in arrays:
            more["atomic_dipoles"] = arrays["dipoles"][atoms]
        if "cells" in arrays:
            more["cell"] = arrays["cells"][i]
            more["pbc"] = tuple(bool(periodic) for periodic in arrays["pbc"][i])
        first, second = (str(name) for name in arrays["monomers"][i])
        structure = Structure(
            atomic_numbers=arrays["atomic_numbers"][atoms].astype(np.int32),
            positions=arrays["positions"][atoms] * POSITION_STEP,
            energy=float(arrays["energies"][i]),
            forces=arrays["forces"][atoms] * FORCE_STEP,
            total_charge=int(arrays["charges"][i]),
            multiplicity=int(arrays["multiplicities"][i]),
            monomers=(first, second),
            separation=float(arrays["separations"][i]),
            **more,
        )
        found.setdefault(str(arrays["splits"][i]), []).append(structure)
    return found
