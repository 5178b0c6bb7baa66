"""A labelled structure as training and evaluation see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32


@dataclass(frozen=True)
class Structure:
    """One labelled structure: an isolated molecule or a dimer.

    Attributes:
        atomic_numbers: Int32 `[atoms]`.
        positions: Float64 `[atoms, 3]` in Å.
        energy: Total energy in eV.
        forces: Float64 `[atoms, 3]` in eV/Å.
        total_charge: In e.
        monomers: Names of the fragments; the second is empty for an isolated molecule.
        fragment: Int32 `[atoms]`, the fragment (0 or 1) each atom belongs to.
        separation: Distance of the fragments' centres of mass in Å; NaN for an isolated molecule.
        closest_contact: Smallest distance of an atom of one fragment from an atom of the other in
            Å; NaN for an isolated molecule.
        fragment_energies: Float64 `[2]`, total energies in eV of the fragments alone in the same
            geometry; 0 where there is no fragment.
        fragment_charges: Float64 `[2]`, sums of the atomic charges of each fragment in e.
        formal_charges: Int32 `[2]`, what `fragment_charges` should be, in e.
        curve: Number of the rigid scan this structure is a point of; -1 for none.
    """

    atomic_numbers: Int32[np.ndarray, " atoms"]
    positions: Float64[np.ndarray, "atoms 3"]
    energy: float
    forces: Float64[np.ndarray, "atoms 3"]
    total_charge: int
    monomers: tuple[str, str]
    fragment: Int32[np.ndarray, " atoms"]
    separation: float
    closest_contact: float
    fragment_energies: Float64[np.ndarray, " 2"]
    fragment_charges: Float64[np.ndarray, " 2"]
    formal_charges: Int32[np.ndarray, " 2"]
    curve: int

    @property
    def interaction_energy(self) -> float:
        """Energy in eV minus the energies of the fragments alone in the same geometry."""
        return float(self.energy - self.fragment_energies.sum())

    @property
    def pair(self) -> str:
        """The fragments' names joined by a plus sign, or the one name of an isolated molecule."""
        return "+".join(name for name in self.monomers if name)
