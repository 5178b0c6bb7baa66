"""Per-element reference energies, which keep a network's energies small."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float64

from data_pipelines.structures import Structure
from efa_zoo._typing import contract
from efa_zoo.errors import DataError


@contract
def fit_reference_energies(structures: Sequence[Structure]) -> dict[int, float]:
    """Fits one energy per element to total energies, by least squares in float64.

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
    elements = sorted({int(z) for s in structures for z in np.unique(s.atomic_numbers)})
    compositions = np.array(
        [[np.count_nonzero(s.atomic_numbers == z) for z in elements] for s in structures],
        np.float64,
    )
    energies = np.array([s.energy for s in structures])
    mean = energies.sum() / compositions.sum()
    rest = energies - compositions.sum(axis=1) * mean
    solution, *_ = np.linalg.lstsq(compositions, rest, rcond=1e-10)
    return {z: float(mean + e) for z, e in zip(elements, solution, strict=True)}


@contract
def relative_energies(
    structures: Sequence[Structure], reference_energies: Mapping[int, float]
) -> Float64[np.ndarray, " structures"]:
    """Subtracts the reference energies of a structure's atoms from its energy, in float64.

    Args:
        structures: The structures.
        reference_energies: Energies in eV by atomic number.

    Returns:
        Relative energies in eV.

    Raises:
        DataError: If an element has no reference energy.
    """
    present = {int(z) for s in structures for z in np.unique(s.atomic_numbers)}
    missing = sorted(present - set(reference_energies))
    if missing:
        known = sorted(reference_energies)
        raise DataError(f"reference_energies: none for {missing}, expected elements in {known}")
    table = np.zeros(max(present, default=0) + 1)
    for z in present:
        table[z] = reference_energies[z]
    return np.array([s.energy - table[s.atomic_numbers].sum() for s in structures], np.float64)
