"""Checks of structures against what a model knows, before anything is computed."""

from __future__ import annotations

import functools
import logging
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from efa_zoo.base.errors import ConfigError, InputError
from efa_zoo.models.hub.card_text import signed
from efa_zoo.models.hub.cards import Card, Domain
from efa_zoo.models.inputs.bonds import unknown_bonds
from efa_zoo.models.inputs.electrons import open_shell
from efa_zoo.models.inputs.reading import read_structure
from efa_zoo.structures.cells import Pbc, check_cell
from efa_zoo.structures.distances import closest, farthest
from efa_zoo.structures.elements import ATOMIC_NUMBERS, symbol
from efa_zoo.structures.molecule import Molecule, check_multiplicity

__all__ = [
    "OutOfRange",
    "OutOfRangeWarning",
    "as_float_dtype",
    "as_out_of_range",
    "check_against",
    "check_structure",
    "ignore_out_of_range",
    "problems_of_electrons",
    "problems_out_of_range",
]

#: What happens to a structure outside what a model knows.
OutOfRange: TypeAlias = Literal["error", "warn"]

#: Atoms closer than this (Å) are the same atom given twice, whatever a model knows.
_SAME_PLACE = 0.1

_logger = logging.getLogger(__name__)


class OutOfRangeWarning(UserWarning):
    """A prediction was made for a structure outside what the model knows."""


class _Unknown(InputError):
    """A structure is what one model does not know, and another one may."""


@contextmanager
def ignore_out_of_range() -> Generator[None]:
    """Do not warn about structures outside what a model knows, where that is said already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OutOfRangeWarning)
        yield


def as_out_of_range(option: object) -> OutOfRange:
    """Take an option that says what happens to a structure outside what a model knows.

    Args:
        option: "error" or "warn".

    Returns:
        The option.

    Raises:
        InputError: it is anything else.
    """
    if option not in ("error", "warn"):
        raise InputError(f"out_of_range: got {option!r}, expected 'error' or 'warn'")
    return option


def as_float_dtype(dtype: DTypeLike) -> np.dtype:
    """Take an option that names the floating-point type to compute in.

    Args:
        dtype: float32 or float64, by name or type.

    Returns:
        The type.

    Raises:
        InputError: it is anything else.
    """
    try:
        wanted = np.dtype(dtype)
    except TypeError as error:
        raise InputError(f"dtype: got {dtype!r}, expected float32 or float64") from error
    if wanted not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InputError(f"dtype: got {wanted.name}, expected float32 or float64")
    return wanted


def check_structure(
    structure: object,
    card: Card,
    charge: int | None,
    out_of_range: OutOfRange,
    *,
    multiplicity: int | None = None,
    where: str = "",
    stacklevel: int = 3,
) -> Molecule:
    """Check a structure and take its arrays; a refusal names other models that know it.

    Args:
        structure: ASE atoms, a `Graph` or a `Molecule`.
        card: of the model.
        charge: total charge in units of e; None takes `atoms.info["charge"]` or the graph's
            `total_charge`. Without either it is 0, which is logged once for a model.
        out_of_range: whether a structure outside what the model knows (charge, electrons,
            distances, periodicity) raises or only warns.
        multiplicity: 2S + 1; None takes `atoms.info["spin"]` or the graph's unpaired electrons,
            without either the lowest, 1 or 2, and what is known to have another is out of range.
        where: begins every warning, for example the structure's index.
        stacklevel: whose line a warning names; 3 is the caller of the caller.

    Returns:
        The structure's arrays, without padding, as the model takes them: dipoles and multiplicity
        only if it embeds them.

    Raises:
        InputError: the structure is invalid or outside what the model knows.
        ConfigError: the card does not say what the model knows.
    """
    try:
        return check_against(
            structure,
            card,
            charge,
            out_of_range,
            multiplicity=multiplicity,
            where=where,
            stacklevel=stacklevel + 1,
        )
    except _Unknown as error:
        from efa_zoo.models.hub.choosing import others_that_know  # which checks by this module

        others = others_that_know(structure, card, charge, multiplicity)
        if not others:
            raise
        raise InputError(f"{error}{others}") from error


def check_against(
    structure: object,
    card: Card,
    charge: int | None,
    out_of_range: OutOfRange = "error",
    *,
    multiplicity: int | None = None,
    where: str = "",
    stacklevel: int = 3,
) -> Molecule:
    """Check a structure by one card alone; arguments, result and errors are `check_structure`'s."""
    domain = _domain(card)
    given = read_structure(structure, charge)
    problem = _check_periodicity(given.pbc, card, domain)
    if problem is not None and out_of_range == "error":
        raise _Unknown(problem)
    cell, pbc = check_cell(given.cell, given.pbc)
    _check_geometry(given.numbers, given.positions, cell, pbc)
    _check_elements(given.numbers, card, domain)
    dipoles = None
    if card.model.dipole_embedding:
        dipoles = _check_dipoles(given.dipoles, given.numbers, card)
    total = 0 if given.charge is None else given.charge
    wanted = given.multiplicity if multiplicity is None else multiplicity
    molecule = Molecule(
        numbers=given.numbers,
        positions=given.positions,
        charge=total,
        dipoles=dipoles,
        multiplicity=(
            _lowest_multiplicity(given.numbers, total)
            if wanted is None
            else check_multiplicity(wanted, given.numbers, total)
        ),
        cell=cell,
        pbc=pbc,
    )
    problems = problems_out_of_range(molecule, card)
    if wanted is None:
        problems += problems_of_electrons(molecule, card)
    for problem in problems:
        if given.charge is None and problem.startswith("charge"):
            hint = _charge_hint(int(given.numbers.sum()), domain)
            problem = f"{problem}; none was given, which means 0{hint}"
        if out_of_range == "error":
            raise _Unknown(problem)
        warnings.warn(f"{where}{problem}", OutOfRangeWarning, stacklevel=stacklevel)
    if given.charge is None:
        _say_neutral(card.name)
    return molecule if card.model.spin_embedding else replace(molecule, multiplicity=None)


def _domain(card: Card) -> Domain:
    if card.domain is None:
        raise ConfigError(f"{card.name}: the card has no [domain], which says what the model knows")
    return card.domain


def _check_periodicity(pbc: object, card: Card, domain: Domain) -> str | None:
    """Refuse what the network cannot compute, and tell what it was not trained on."""
    periodic = np.broadcast_to(np.asarray(pbc), 3).tolist()
    model = card.model
    if any(periodic) and model.attention is not None and not model.emulate_attention:
        # Imported here: it needs JAX, which refusing a molecule does not.
        from efa_zoo.attention.reciprocal import wave_reach

        kernel, number = model.attention.kernel, model.attention.query_key_features
        try:
            wave_reach(kernel, (number or model.features) // 2, model.attention.tolerance, 0)
        except ConfigError as error:
            raise _Unknown(
                f"pbc: got {periodic}, expected a molecule without periodicity, because "
                f"{card.name} cannot attend in a cell ({error}){_BOX}"
            ) from error
        if not all(periodic):
            raise _Unknown(
                f"pbc: got {periodic}, expected three periodic directions or none, because "
                f"{card.name} has attention, whose sums over images are known for these only"
            )
    if sum(periodic) in domain.periodic_directions:
        return None
    if domain.periodic_directions == (0,):
        return f"pbc: got {periodic}, expected a molecule without periodicity for {card.name}{_BOX}"
    known = " or ".join(map(str, domain.periodic_directions))
    return f"pbc: got {periodic}, but {card.name} knows only {known} periodic directions"


#: What to do about a cell that means nothing.
_BOX = " (atoms.pbc = False if the cell is only a box around it)"


def _check_geometry(
    numbers: np.ndarray, positions: np.ndarray, cell: np.ndarray | None, pbc: Pbc
) -> None:
    if numbers.size == 0:
        raise InputError("got no atoms, expected at least one")
    broken = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if broken.size:
        atom = int(broken[0])
        raise InputError(
            f"positions: atom {atom} ({symbol(int(numbers[atom]))}) is at "
            f"{positions[atom].tolist()}, expected finite numbers (Å)"
        )
    distance, first, second = closest(positions, cell, pbc)
    if distance < _SAME_PLACE:
        hint = "" if positions.any() else "; all positions are zero, were they given?"
        raise InputError(
            f"positions: atoms {first} and {second} are {distance:.3g} Å apart, expected different "
            f"places{hint}"
        )


def _check_elements(numbers: np.ndarray, card: Card, domain: Domain) -> None:
    known = [ATOMIC_NUMBERS[element] for element in domain.elements]
    unknown = [symbol(int(number)) for number in np.unique(numbers) if number not in known]
    if unknown:
        raise _Unknown(
            f"elements: got {', '.join(unknown)}, but {card.name} knows only "
            f"{', '.join(domain.elements)}"
        )


def _check_dipoles(dipoles: object, numbers: np.ndarray, card: Card) -> np.ndarray:
    if dipoles is None:
        raise InputError(
            f"atomic_dipoles: none given, but {card.name} needs a vector of each atom (e·Å); set "
            "atoms.arrays['atomic_dipoles'] (in a file: a column atomic_dipoles:R:3 of the extxyz)"
        )
    found = np.asarray(dipoles)
    if found.shape != (len(numbers), 3) or found.dtype.kind not in "iuf":
        raise InputError(
            f"atomic_dipoles: got shape {found.shape} of {found.dtype}, expected numbers of shape "
            f"({len(numbers)}, 3)"
        )
    broken = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if broken.size:
        atom = int(broken[0])
        raise InputError(
            f"atomic_dipoles: that of atom {atom} ({symbol(int(numbers[atom]))}) is "
            f"{found[atom].tolist()}, expected finite numbers (e·Å)"
        )
    return found.astype(np.float64)


@functools.cache
def _say_neutral(model: str) -> None:
    """Log that structures without a charge are neutral, once for each model in a process."""
    _logger.info("charge: not given, so it is 0 (%s)", model)


def _charge_hint(protons: int, domain: Domain) -> str:
    """How to give a charge, of those that fit the electrons."""
    fitting = [
        charge
        for charge in domain.total_charges
        if charge and not (domain.closed_shell and (protons - charge) % 2)
    ]
    if not fitting:
        return ""
    return (
        f" (for one of {signed(fitting, ', ')}: atoms.info['charge'], in a file "
        f"charge={fitting[-1]} in the extxyz header, in Python charge=, on the command line "
        "--charge)"
    )


def _lowest_multiplicity(numbers: np.ndarray, charge: int) -> int:
    return 1 + (int(numbers.sum()) - charge) % 2


def problems_out_of_range(molecule: Molecule, card: Card) -> list[str]:
    """Tell what of a molecule lies outside what a model knows.

    Args:
        molecule: the molecule; without a multiplicity that is taken to be the lowest.
        card: of the model.

    Returns:
        One sentence for each; none if the model knows such structures.

    Raises:
        ConfigError: the card does not say what the model knows.
    """
    domain = _domain(card)
    numbers, positions, charge = molecule.numbers, molecule.positions, molecule.charge
    problem = _check_periodicity(molecule.pbc, card, domain)
    problems = [] if problem is None else [problem]
    if charge not in domain.total_charges:
        problems.append(
            f"charge: got {signed([charge])}, but {card.name} knows only "
            f"{signed(domain.total_charges, ', ')}"
        )
    electrons = int(numbers.sum()) - charge
    if domain.closed_shell and electrons % 2:
        problems.append(
            f"charge: {signed([charge])} leaves {electrons} electrons, an odd number, but "
            f"{card.name} knows closed shells only"
        )
    lowest = _lowest_multiplicity(numbers, charge)
    multiplicity = molecule.multiplicity or lowest
    if multiplicity not in (domain.multiplicities or (lowest,)):
        known = ", ".join(map(str, domain.multiplicities)) or f"the lowest one, here {lowest}"
        problems.append(f"multiplicity: got {multiplicity}, but {card.name} knows only {known}")
    shortest, first, second = closest(positions, molecule.cell, molecule.pbc)
    if shortest < domain.min_distance:
        problems.append(
            f"positions: atoms {first} and {second} are {shortest:.3g} Å apart, but {card.name} "
            f"knows distances from {domain.min_distance:g} Å"
        )
    if molecule.cell is None:  # all distances of a cell occur, up to any length
        longest, first, second = farthest(positions)
        if longest > domain.max_distance:
            problems.append(
                f"positions: atoms {first} and {second} are {longest:.4g} Å apart, but "
                f"{card.name} knows distances up to {domain.max_distance:g} Å"
            )
    problem = unknown_bonds(molecule, card)
    return problems if problem is None else [*problems, problem]


def problems_of_electrons(molecule: Molecule, card: Card) -> list[str]:
    """Tell whether a structure without a multiplicity is known to have another than the lowest.

    Args:
        molecule: the molecule.
        card: of the model.

    Returns:
        A sentence, or none.
    """
    found = open_shell(molecule.numbers, molecule.positions, molecule.charge)
    electrons = int(molecule.numbers.sum()) - molecule.charge
    if found is None or electrons % 2:
        return []
    return [
        f"multiplicity: none was given, which means 1, but the ground state of {found} has "
        f"unpaired electrons, expected one ({card.name} takes 1 for the singlet)"
    ]
