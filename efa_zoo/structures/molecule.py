"""A structure without padding, checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from efa_zoo.base.errors import InputError

__all__ = ["Molecule", "check_molecule", "check_multiplicity", "whole_number"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Molecule:
    """A structure without padding, as it is packed into a graph.

    Attributes:
        numbers: `[atoms]`, atomic numbers.
        positions: `[atoms, 3]` in Å, float64.
        charge: total charge in units of e.
        dipoles: `[atoms, 3]` in e·Å, or None.
        multiplicity: 2S + 1, one more than the number of unpaired electrons; None if not given.
    """

    numbers: Int[np.ndarray, " atoms"]
    positions: Float[np.ndarray, "atoms 3"]
    charge: int
    dipoles: Float[np.ndarray, "atoms 3"] | None = None
    multiplicity: int | None = None

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
) -> Molecule:
    """Take the arrays of a molecule.

    Args:
        numbers: `[atoms]`, atomic numbers.
        positions: `[atoms, 3]` in Å.
        charge: total charge in units of e.
        dipoles: `[atoms, 3]` in e·Å, or None.
        multiplicity: 2S + 1, or None.

    Returns:
        The molecule.

    Raises:
        InputError: a shape is wrong, a number is not an element, a position is not finite, the
            charge is no integer, or the multiplicity does not fit the electrons.
    """
    numbers = np.asarray(numbers)
    coordinates = np.asarray(positions, dtype=np.float64)
    if numbers.ndim != 1 or numbers.size == 0:
        raise InputError(
            f"atomic_numbers: got shape {numbers.shape}, expected (atoms,) with atoms >= 1"
        )
    if not np.issubdtype(numbers.dtype, np.integer) or numbers.min() < 1:
        raise InputError(f"atomic_numbers: got {numbers.tolist()}, expected integers of at least 1")
    if coordinates.shape != (numbers.size, 3):
        raise InputError(f"positions: got shape {coordinates.shape}, expected ({numbers.size}, 3)")
    if not np.isfinite(coordinates).all():
        atom = int(np.flatnonzero(~np.isfinite(coordinates).all(axis=1))[0])
        raise InputError(
            f"positions: atom {atom} has {coordinates[atom].tolist()}, expected finite numbers"
        )
    if dipoles is not None:
        dipoles = np.asarray(dipoles, dtype=np.float64)
        if dipoles.shape != coordinates.shape:
            raise InputError(
                f"atomic_dipoles: got shape {dipoles.shape}, expected {coordinates.shape}"
            )
    total = whole_number("charge", charge, "e")
    return Molecule(
        numbers=numbers,
        positions=coordinates,
        charge=total,
        dipoles=dipoles,
        multiplicity=(
            None if multiplicity is None else check_multiplicity(multiplicity, numbers, total)
        ),
    )


def whole_number(name: str, value: object, unit: str = "") -> int:
    """Take a number that must be whole, such as a total charge.

    Args:
        name: what it is, for messages.
        value: the number.
        unit: its unit, for messages.

    Returns:
        The number.

    Raises:
        InputError: it is no integer.
    """
    scalar = isinstance(value, np.ndarray | np.generic) and value.ndim == 0
    number = value.item() if scalar else value  # type: ignore[union-attr]
    whole = isinstance(number, int | float) and float(number).is_integer()
    if isinstance(number, bool) or not whole:
        expected = f"an integer ({unit})" if unit else "an integer"
        raise InputError(f"{name}: got {number!r}, expected {expected}")
    return int(number)  # type: ignore[arg-type]


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
