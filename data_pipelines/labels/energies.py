"""Per-element reference energies, which keep a network's energies small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from data_pipelines.structure import Structure
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import DataError


@contract
def fit_reference_energies(structures: Sequence[Structure]) -> dict[int, float]:
    """Fit one energy per element to total energies, by least squares in float64.

    Where the compositions leave a combination of elements undetermined, the solution closest to
    equal energy per atom is taken. Charges are not part of the fit.

    Args:
        structures: At least one.

    Returns:
        Energies in eV by atomic number, in ascending order of atomic number.

    Raises:
        DataError: If there are no structures.
    """
    if not structures:
        raise DataError("structures: got none, expected at least one to fit reference energies")
    elements = sorted(_elements(structures))
    energies = np.array([s.energy for s in structures])
    return fit_to_compositions(elements, compositions_of(structures, elements), energies)


@contract
def fit_to_compositions(
    elements: Sequence[int],
    compositions: Float64[np.ndarray, "structures elements"],
    energies: Float64[np.ndarray, " structures"],
) -> dict[int, float]:
    """Fit one energy per element, as `fit_reference_energies` does.

    Args:
        elements: Atomic numbers in ascending order.
        compositions: Number of atoms of each element.
        energies: Total energies in eV.

    Returns:
        Energies in eV by atomic number.
    """
    mean = energies.sum() / compositions.sum()
    rest = energies - compositions.sum(axis=1) * mean
    solution, *_ = np.linalg.lstsq(compositions, rest, rcond=1e-10)
    return {z: float(mean + e) for z, e in zip(elements, solution, strict=True)}


@contract
def extend_reference_energies(
    structures: Sequence[Structure],
    network_energies: Float64[np.ndarray, " structures"],
    reference_energies: Mapping[int, float],
) -> dict[int, float]:
    """Give reference energies to the elements that have none, and leave the others alone.

    Args:
        structures: Labelled structures.
        network_energies: What the network says about each, relative to its elements, in eV.
        reference_energies: In eV by atomic number.

    Returns:
        Energies in eV by atomic number, in ascending order: the given ones, and for every other
        element of the structures one fitted, by least squares, to what the rest leaves over of the
        energies.
    """
    new = sorted(_elements(structures) - set(reference_energies))
    known = {**reference_energies, **dict.fromkeys(new, 0.0)}
    if new:
        rest = relative_energies(structures, known) - network_energies
        fitted, *_ = np.linalg.lstsq(compositions_of(structures, new), rest, rcond=1e-10)
        known |= {z: float(energy) for z, energy in zip(new, fitted, strict=True)}
    return dict(sorted(known.items()))


_SIGNIFICANT = 3.0
"""A shift counts from this many standard errors on."""


@contract
def refit_reference_energies(
    structures: Sequence[Structure],
    network_energies: Float64[np.ndarray, " structures"],
    reference_energies: Mapping[int, float],
) -> dict[int, float]:
    """Move reference energies to the scale of new data, as far as the data determine them.

    Shifts of the elements are fitted by least squares to what the network and the old energies
    leave over. They are taken along the principal directions of the compositions, and only along
    those where the shift stands out from the scatter of the structures: what the data do not
    determine, or hardly, stays. Structures of one composition, for example, determine the sum of
    the shifts over their atoms and nothing else.

    Args:
        structures: Labelled structures, at least one.
        network_energies: What the network says about each, relative to its elements, in eV.
        reference_energies: The old ones in eV by atomic number, for every element of the
            structures.

    Returns:
        Energies in eV by atomic number, in ascending order; elements that no structure has keep
        theirs.

    Raises:
        DataError: If there are no structures, or an element has no old energy.
    """
    if not structures:
        raise DataError("structures: got none, expected at least one to fit reference energies")
    elements = sorted(_elements(structures))
    rest = relative_energies(structures, reference_energies) - network_energies
    left, sizes, right = np.linalg.svd(compositions_of(structures, elements), full_matrices=False)
    left, right = left[:, sizes > 1e-10 * sizes[0]], right[sizes > 1e-10 * sizes[0]]
    sizes = sizes[: len(right)]
    explained = left.T @ rest
    freedom = len(structures) - len(sizes)
    scatter = np.linalg.norm(rest - left @ explained) / np.sqrt(max(freedom, 1))
    significant = np.abs(explained) > _SIGNIFICANT * scatter
    shifts = right.T @ np.where(significant, explained / sizes, 0.0)
    moved = {z: reference_energies[z] + float(d) for z, d in zip(elements, shifts, strict=True)}
    return dict(sorted({**reference_energies, **moved}.items()))


@contract
def move_to_references(
    structures: Sequence[Structure], old: Mapping[int, float], new: Mapping[int, float]
) -> list[Structure]:
    """Move labels from one scale of energy to another: relative energies stay the same.

    Args:
        structures: The structures.
        old: Reference energies of their labels in eV by atomic number.
        new: Reference energies of the wanted scale in eV by atomic number.

    Returns:
        The structures with other energies.

    Raises:
        DataError: If an element has no reference energy.
    """
    energies = np.array([s.energy for s in structures], np.float64)
    energies += relative_energies(structures, old) - relative_energies(structures, new)
    return [replace(s, energy=float(e)) for s, e in zip(structures, energies, strict=True)]


@contract
def relative_energies(
    structures: Sequence[Structure], reference_energies: Mapping[int, float]
) -> Float64[np.ndarray, " structures"]:
    """Subtract the reference energies of a structure's atoms from its energy, in float64.

    Args:
        structures: The structures.
        reference_energies: Energies in eV by atomic number.

    Returns:
        Relative energies in eV.

    Raises:
        DataError: If an element has no reference energy.
    """
    present = _elements(structures)
    missing = sorted(present - set(reference_energies))
    if missing:
        known = sorted(reference_energies)
        raise DataError(f"reference_energies: none for {missing}, expected elements in {known}")
    table = np.zeros(max(present, default=0) + 1)
    for z in present:
        table[z] = reference_energies[z]
    return np.array([s.energy - table[s.atomic_numbers].sum() for s in structures], np.float64)


def _elements(structures: Sequence[Structure]) -> set[int]:
    return {int(z) for s in structures for z in np.unique(s.atomic_numbers)}


def compositions_of(
    structures: Sequence[Structure], elements: Sequence[int]
) -> Float64[np.ndarray, "structures elements"]:
    """Count the atoms of each element.

    Args:
        structures: The structures.
        elements: Atomic numbers.

    Returns:
        Number of atoms of each element.
    """
    counts = [[np.count_nonzero(s.atomic_numbers == z) for z in elements] for s in structures]
    return np.array(counts, np.float64).reshape(len(structures), len(elements))
