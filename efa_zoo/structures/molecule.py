"""A structure without padding, checked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from efa_zoo.base.errors import InputError

__all__ = ["Molecule", "check_molecule", "whole_charge"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Molecule:
    """A structure without padding, as it is packed into a graph.

    Attributes:
        numbers: `[atoms]`, atomic numbers.
        positions: `[atoms, 3]` in Å, float64.
        charge: total charge in units of e.
        dipoles: `[atoms, 3]` in e·Å, or None.
    """

    numbers: Int[np.ndarray, " atoms"]
    positions: Float[np.ndarray, "atoms 3"]
    charge: int
    dipoles: Float[np.ndarray, "atoms 3"] | None = None

    @property
    def num_atoms(self) -> int:
        """Number of atoms."""
        return len(self.numbers)


def check_molecule(numbers: object, positions: object, charge: object, dipoles: object) -> Molecule:
    """Take the arrays of a molecule.

    Args:
        numbers: `[atoms]`, atomic numbers.
        positions: `[atoms, 3]` in Å.
        charge: total charge in units of e.
        dipoles: `[atoms, 3]` in e·Å, or None.

    Returns:
        The molecule.

    Raises:
        InputError: a shape is wrong, a number is not an element, a position is not finite, or the
            charge is no integer.
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
    return Molecule(
        numbers=numbers,
        positions=coordinates,
        charge=whole_charge(charge),
        dipoles=dipoles,
    )


def whole_charge(charge: object) -> int:
    """Take a total charge.

    Args:
        charge: in units of e.

    Returns:
        The charge.

    Raises:
        InputError: it is no integer.
    """
    number = (
        charge.item()
        if isinstance(charge, np.ndarray | np.generic) and charge.ndim == 0
        else charge
    )
    whole = isinstance(number, int | float) and float(number).is_integer()
    if isinstance(number, bool) or not whole:
        raise InputError(f"charge: got {number!r}, expected an integer (e)")
    return int(number)  # type: ignore[arg-type]
