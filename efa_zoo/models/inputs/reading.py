"""The arrays and the charge of a structure, in whatever form it is given."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeGuard

import numpy as np

from efa_zoo.base.errors import InputError
from efa_zoo.structures.cells import OPEN
from efa_zoo.structures.molecule import Molecule, atomic_numbers, real_vectors, whole_charge

if TYPE_CHECKING:
    from ase import Atoms

    from efa_zoo.structures.graph import Graph

    #: One structure in any form.
    AnyStructure: TypeAlias = Atoms | Graph | Molecule

__all__ = ["Given", "is_structure", "read_structure"]

#: Partial charges that add up to a whole number within this (e) are rounded.
_ROUNDED = 0.01

#: Magnetic moments (μB) below this are noise of the calculation they come from.
_UNPOLARISED = 0.1


class Given(NamedTuple):
    """What is given of a structure, its shapes and types checked.

    Attributes:
        numbers: `[atoms]`, atomic numbers, 0 among them where a file has dummy atoms.
        positions: `[atoms, 3]` in Å, float64.
        dipoles: of the atoms in e·Å, unchecked, or None.
        charge: total charge in units of e, None if nothing says it.
        multiplicity: 2S + 1, unchecked, or None.
        cell: lattice vectors in Å as rows, unchecked.
        pbc: which directions are periodic, unchecked.
    """

    numbers: np.ndarray
    positions: np.ndarray
    dipoles: object
    charge: int | None
    multiplicity: object = None
    cell: object = None
    pbc: object = OPEN


def is_structure(structure: object) -> bool:
    """Tell whether something is one structure: ASE atoms, a `Graph` or a `Molecule`."""
    return isinstance(structure, Molecule) or _is_graph(structure) or _is_atoms(structure)


def _is_graph(structure: object) -> TypeGuard[Graph]:
    # Nobody can hold a graph where its module was not imported, which needs JAX.
    module = sys.modules.get("efa_zoo.structures.graph")
    return module is not None and isinstance(structure, module.Graph)


def _is_atoms(structure: object) -> bool:
    # Nobody can hold ASE atoms where ASE was not imported.
    if sys.modules.get("ase") is None:
        return False
    from ase import Atoms

    return isinstance(structure, Atoms)


def read_structure(structure: object, charge: int | None) -> Given:
    """Take what is given of a structure.

    Args:
        structure: ASE atoms, a `Graph` or a `Molecule`.
        charge: total charge in units of e; None takes the structure's.

    Returns:
        Its arrays without padding, and its charge.

    Raises:
        InputError: it is nothing of that kind, an array has a wrong shape or type, the charge is no
            integer or contradicts charges of the atoms, or there are magnetic moments.
    """
    cell: object
    pbc: object
    if _is_graph(structure):
        numbers, positions, dipoles = _graph_arrays(structure)
        given: object = structure.total_charge if charge is None else charge
        unpaired = structure.unpaired_electrons
        multiplicity = None if unpaired is None else 1 + np.asarray(unpaired)
        cell, pbc = structure.cell, structure.pbc
    elif isinstance(structure, Molecule):
        numbers = atomic_numbers(structure.numbers)
        positions = real_vectors("positions", structure.positions, len(numbers))
        dipoles = structure.dipoles
        given = structure.charge if charge is None else charge
        multiplicity = structure.multiplicity
        cell, pbc = structure.cell, structure.pbc
    elif _is_atoms(structure):
        atoms: Atoms = structure  # type: ignore[assignment]
        numbers, positions, dipoles = _atoms_arrays(atoms)
        _refuse_magnetic_moments(atoms)
        given = _charge_of(atoms) if charge is None else charge
        multiplicity = atoms.info.get("spin")
        cell, pbc = np.asarray(atoms.cell), atoms.pbc
    else:
        raise InputError(
            f"got an object of type {type(structure).__name__}, expected ASE atoms or a Graph"
        )
    total = None if given is None else whole_charge(given)
    return Given(numbers, positions, dipoles, total, multiplicity, cell, pbc)


def _graph_arrays(graph: Graph) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    if np.ndim(graph.atomic_numbers) != 1:
        raise InputError(
            f"atomic_numbers: got shape {np.shape(graph.atomic_numbers)}, expected (atoms,); give "
            "a batch as a list of graphs"
        )
    charge = np.asarray(graph.total_charge)
    if charge.ndim or charge.dtype.kind not in "iu":
        raise InputError(
            f"total_charge: got shape {charge.shape} of {charge.dtype}, expected an integer (e)"
        )
    numbers = atomic_numbers(graph.atomic_numbers)
    negative = numbers[numbers < 0]
    if negative.size:
        raise InputError(
            f"atomic_numbers: got {negative[0]}, expected integers of at least 1, or 0 for padding"
        )
    positions = real_vectors("positions", graph.positions, len(numbers))
    atoms = numbers > 0
    dipoles = graph.atomic_dipoles
    if dipoles is not None:
        dipoles = real_vectors("atomic_dipoles", dipoles, len(numbers))[atoms]
    return numbers[atoms], positions[atoms], dipoles


def _atoms_arrays(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, object]:
    numbers = atomic_numbers(atoms.arrays.get("numbers"))
    positions = real_vectors("positions", atoms.arrays.get("positions"), len(numbers))
    return numbers, positions, atoms.arrays.get("atomic_dipoles")


def _refuse_magnetic_moments(atoms: Atoms) -> None:
    moments = atoms.arrays.get("initial_magmoms")
    if moments is not None and _largest("initial_magmoms", moments) > _UNPOLARISED:
        raise InputError(
            "initial_magmoms: got magnetic moments of atoms, which no model takes, expected none "
            "(del atoms.arrays['initial_magmoms'] if they mean nothing)"
        )


def _charge_of(atoms: Atoms) -> int | None:
    """The total charge that atoms carry, which charges of the single atoms must not contradict."""
    total = whole_charge(atoms.info["charge"]) if "charge" in atoms.info else None
    partial = atoms.arrays.get("initial_charges")
    if partial is None or _largest("initial_charges", partial) == 0:
        return total
    added = float(np.sum(partial))
    if total is None:
        if not (math.isfinite(added) and abs(added - round(added)) < _ROUNDED):
            raise InputError(
                f"initial_charges: add up to {added:g}, expected an integer (e), or "
                "atoms.info['charge'] beside them"
            )
        return round(added)
    if not abs(added - total) < _ROUNDED:
        raise InputError(
            f"charge: got {total}, but the atoms' initial charges add up to {added:g}, expected "
            "the same (e)"
        )
    return total


def _largest(field: str, values: object) -> float:
    found = np.asarray(values)
    if found.dtype.kind not in "iuf":
        raise InputError(f"{field}: got {found.dtype.name}, expected real numbers")
    return float(np.abs(found).max(initial=0))
