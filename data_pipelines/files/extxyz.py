"""Labelled structures to extended XYZ, which ASE and everything built on it reads."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError
from efa_zoo.base.files import replacing


def write_extxyz(path: str | os.PathLike[str], structures: Sequence[Structure]) -> None:
    """Write structures with energy (eV), forces (eV/Å), charge (e) and pair, atomically.

    Args:
        path: A file that ends in `.extxyz` or `.xyz`.
        structures: At least one.

    Raises:
        DataError: If there are no structures, the file has another ending, or ASE is missing.
    """
    path = Path(path)
    if path.suffix not in (".extxyz", ".xyz"):
        raise DataError(f"{path}: expected a name that ends in .extxyz or .xyz")
    if not structures:
        raise DataError("structures: got none, expected at least one to write")
    try:
        from ase import Atoms
        from ase.calculators.singlepoint import SinglePointCalculator
        from ase.io import write
    except ModuleNotFoundError as error:
        raise DataError(f"{path}: package 'ase' is missing, expected efa-zoo[ase]") from error
    frames = []
    for s in structures:
        info = {"charge": s.total_charge, **({"pair": s.pair} if s.pair else {})}
        atoms = Atoms(numbers=s.atomic_numbers, positions=s.positions, info=info)
        atoms.calc = SinglePointCalculator(atoms, energy=s.energy, forces=s.forces)
        frames.append(atoms)
    with replacing(path) as temporary:
        write(temporary, frames, format="extxyz")
