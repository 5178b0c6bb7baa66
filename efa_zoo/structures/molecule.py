"""A structure without padding, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from efa_zoo.base.errors import InputError
from efa_zoo.structures.cells import OPEN, Pbc, check_cell

__all__ = [
    "Molecule",
    "atomic_numbers",
    "check_molecule",
    "check_multiplicity",
    "real_vectors",
    "whole_charge",
    "whole_number",
]

#: Total charges (e) and multiplicities beyond this are none.
_LARGEST = 10_000

#: Components of positions (Å) and dipoles (e·Å) beyond this belong to no structure: single
#: precision resolves them badly, and their squares would soon overflow.
_LARGEST_COMPONENT = 1e6


@dataclass(frozen=True, kw_only=True, eq=False)
class Molecule:
    """A structure without padding, as it is packed into a graph.

    Attributes:
        numbers: `[atoms]`, atomic numbers.
        positions: `[atoms, 3]` in Å, float64.
        charge: total charge in units of e.
        dipoles: `[atoms, 3]` in e·Å, or None.
        multiplicity: 2S + 1, one more than the number of unpaired electrons; None if not given.
        cell: lattice vectors in Å as rows, as `check_cell` gives them; None without periodicity.
        pbc: which directions are periodic.
    """

    numbers: Int[np.ndarray, " atoms"]
    positions: Float[np.ndarray, "atoms 3"]
    charge: int
    dipoles: Float[np.ndarray, "atoms 3"] | None = None
    multiplicity: int | None = None
    cell: Float[np.ndarray, "3 3"] | None = None
    pbc: Pbc = OPEN

    @property
    def num_atoms(self) -> int:
        """Number of atoms."""
        return len(self.numbers)


def check_molecule(
    numbers: object,
    positions: object,
    charge: object,
    dipoles: object,
    multiplicity: object = None,
    cell: object = None,
    pbc: object = None,
) -> Molecule:
    """Take the arrays of a molecule.

    Args:
        numbers: `[atoms]`, atomic numbers.
        positions: `[atoms, 3]` in Å.
        charge: total charge in units of e.
        dipoles: `[atoms, 3]` in e·Å, or None.
        multiplicity: 2S + 1, or None.
        cell: lattice vectors in Å as rows, or None.
        pbc: which directions are periodic; None means all of them if there is a cell.

    Returns:
        The molecule.

    Raises:
        InputError: a shape or a type is wrong, a number is not an element, a position or a
            dipole is not finite or beyond 1e6, the charge is no integer, the multiplicity does not
            fit the electrons, or the cell is none (see `check_cell`).
    """
    elements = atomic_numbers(numbers)
    if elements.size == 0:
        raise InputError("atomic_numbers: got shape (0,), expected (atoms,) with atoms >= 1")
    if elements.min() < 1:
        raise InputError(
            f"atomic_numbers: got {elements[elements < 1][0]}, expected integers of at least 1"
        )
    coordinates = _bounded("positions", positions, elements.size)
    if dipoles is not None:
        dipoles = _bounded("atomic_dipoles", dipoles, elements.size)
    total = whole_charge(charge)
    vectors, periodic = check_cell(cell, pbc)
    return Molecule(
        numbers=elements,
        positions=coordinates,
        charge=total,
        dipoles=dipoles,
        multiplicity=(
            None if multiplicity is None else check_multiplicity(multiplicity, elements, total)
        ),
        cell=vectors,
        pbc=periodic,
    )


def atomic_numbers(given: object) -> Int[np.ndarray, " atoms"]:
    """Take atomic numbers, of which 0 and negative ones are the caller's to judge.

    Args:
        given: `[atoms]`.

    Returns:
        The same.

    Raises:
        InputError: they have another shape, or are no integers.
    """
    numbers = _array("atomic_numbers", given)
    if numbers.ndim != 1:
        raise InputError(
            f"atomic_numbers: got shape {numbers.shape}, expected (atoms,) with atoms >= 1"
        )
    if not np.issubdtype(numbers.dtype, np.integer) and numbers.size:
        raise InputError(f"atomic_numbers: got {numbers.dtype.name}, expected integers")
    return numbers


def _bounded(field: str, given: object, atoms: int) -> Float[np.ndarray, "atoms 3"]:
    vectors = real_vectors(field, given, atoms)
    # Not `>`: a comparison with NaN is false.
    wrong = np.flatnonzero(~(np.abs(vectors) <= _LARGEST_COMPONENT).all(axis=1))
    if wrong.size:
        expected = (
            f"components within ±{_LARGEST_COMPONENT:g}"
            if np.isfinite(vectors[wrong[0]]).all()
            else "finite numbers"
        )
        raise InputError(
            f"{field}: atom {wrong[0]} has {vectors[wrong[0]].tolist()}, expected {expected}"
        )
    return vectors


def real_vectors(field: str, given: object, atoms: int) -> Float[np.ndarray, "atoms 3"]:
    """Take a vector of each atom.

    Args:
        field: what the vectors are, for messages.
        given: `[atoms, 3]`.
        atoms: how many there must be.

    Returns:
        The same in float64, not necessarily finite.

    Raises:
        InputError: they have another shape, or are no real numbers.
    """
    vectors = _array(field, given)
    if vectors.shape != (atoms, 3):
        raise InputError(f"{field}: got shape {vectors.shape}, expected ({atoms}, 3)")
    if vectors.dtype.kind not in "iuf":
        raise InputError(f"{field}: got {vectors.dtype.name}, expected real numbers")
    return vectors.astype(np.float64)


def _array(field: str, given: object) -> np.ndarray:
    if given is None:
        raise InputError(f"{field}: got None, expected an array")
    try:
        return np.asarray(given)
    except (TypeError, ValueError) as error:
        raise InputError(f"{field}: not an array of numbers ({error})") from error


def whole_charge(charge: object) -> int:
    """Take a total charge.

    Args:
        charge: in units of e.

    Returns:
        The charge.

    Raises:
        InputError: it is no integer, or beyond that of anything.
    """
    return whole_number("charge", charge, "e")


def whole_number(name: str, value: object, unit: str = "") -> int:
    """Take a number that must be whole, such as a total charge.

    Args:
        name: what it is, for messages.
        value: the number.
        unit: its unit, for messages.

    Returns:
        The number.

    Raises:
        InputError: it is no integer, or beyond ±10,000.
    """
    # Scalars of NumPy and JAX give their Python number.
    scalar = hasattr(value, "item") and np.ndim(value) == 0  # type: ignore[arg-type]
    number: Any = value.item() if scalar else value  # type: ignore[attr-defined]
    plain = isinstance(number, int | float) and not isinstance(number, bool)
    if not plain or not -_LARGEST <= number <= _LARGEST or number != int(number):
        expected = f"an integer ({unit})" if unit else "an integer"
        raise InputError(f"{name}: got {_shown(number)}, expected {expected}")
    return int(number)


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."


def check_multiplicity(value: object, numbers: np.ndarray, charge: int) -> int:
    """Take a multiplicity, which must fit the number of electrons.

    Args:
        value: 2S + 1.
        numbers: `[atoms]`, atomic numbers.
        charge: total charge in units of e.

    Returns:
        The multiplicity.

    Raises:
        InputError: it is no integer of at least 1, or an even number of electrons gets an even
            one, or an odd number an odd one, or there are fewer electrons than unpaired ones.
    """
    multiplicity = whole_number("multiplicity", value)
    electrons = int(np.sum(numbers)) - charge
    if multiplicity < 1:
        raise InputError(f"multiplicity: got {multiplicity}, expected at least 1 (2S + 1)")
    if (electrons - multiplicity) % 2 == 0 or multiplicity - 1 > electrons:
        kind = "an odd" if electrons % 2 == 0 else "an even"
        raise InputError(
            f"multiplicity: got {multiplicity} for {electrons} electrons, expected {kind} number "
            f"of at most {electrons + 1}"
        )
    return multiplicity
