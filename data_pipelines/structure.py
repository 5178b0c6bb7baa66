"""Labelled structures as training and evaluation see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float64, Int32

from efa_zoo.structures.cells import OPEN, Pbc
from efa_zoo.structures.molecule import Molecule


@dataclass(frozen=True, kw_only=True)
class Structure:
    """One labelled structure: a molecule, or several, such as a dimer.

    Attributes:
        atomic_numbers: Int32 `[atoms]`.
        positions: Float64 `[atoms, 3]` in Å.
        energy: Total energy in eV.
        forces: Float64 `[atoms, 3]` in eV/Å.
        total_charge: In e.
        multiplicity: 2S + 1; 0 where it is not given, which means the lowest.
        atomic_dipoles: Float64 `[atoms, 3]` in e·Å, where they are an input of the network.
        charges: Float64 `[atoms]`, charges of the atoms in e, where they are labelled.
        dipole: Float64 `[3]`, dipole moment in e·Å about the centroid of the atoms (the mean of
            their positions), where it is labelled.
        cell: Float64 `[3, 3]`, lattice vectors in Å as rows; None without periodicity.
        pbc: Which directions are periodic.
        stress: Float64 `[6]` in eV/Å³, in the order and with the sign of ASE, where it is labelled.
        group: What the structure belongs to, such as a molecule or a trajectory; splits by group
            keep it together. Empty where there are no groups.
        kind: What sort of structure it is among those of its data set, such as a temperature or a
            diameter; errors are also given for each kind. Empty where there is only one.
        coordinate: What a profile of the data set runs over, such as a dihedral angle; NaN for
            none. The data set says which quantity and unit.
        monomers: Names of the fragments; the second is empty for an isolated molecule.
        fragment: Int32 `[atoms]`, the fragment (0 or 1) each atom belongs to; none given means
            that all atoms are fragment 0.
        separation: Distance of the fragments' centres of mass in Å; NaN for an isolated molecule.
        closest_contact: Smallest distance of an atom of one fragment from an atom of the other in
            Å; NaN for an isolated molecule.
        fragment_energies: Float64 `[2]`, total energies in eV of the fragments alone in the same
            geometry; 0 where there is no fragment.
        fragment_charges: Float64 `[2]`, sums of the atomic charges of each fragment in e.
        formal_charges: Int32 `[2]`, what `fragment_charges` should be, in e.
        curve: Number of the scan or profile this structure is a point of; -1 for none.
    """

    atomic_numbers: Int32[np.ndarray, " atoms"]
    positions: Float64[np.ndarray, "atoms 3"]
    energy: float
    forces: Float64[np.ndarray, "atoms 3"]
    total_charge: int
    multiplicity: int = 0
    atomic_dipoles: Float64[np.ndarray, "atoms 3"] | None = None
    charges: Float64[np.ndarray, " atoms"] | None = None
    dipole: Float64[np.ndarray, " 3"] | None = None
    cell: Float64[np.ndarray, "3 3"] | None = None
    pbc: Pbc = OPEN
    stress: Float64[np.ndarray, " 6"] | None = None
    group: str = ""
    kind: str = ""
    coordinate: float = float("nan")
    monomers: tuple[str, str] = ("", "")
    fragment: Int32[np.ndarray, " atoms"] = field(default_factory=lambda: np.zeros(0, np.int32))
    separation: float = float("nan")
    closest_contact: float = float("nan")
    fragment_energies: Float64[np.ndarray, " 2"] = field(default_factory=lambda: np.zeros(2))
    fragment_charges: Float64[np.ndarray, " 2"] = field(default_factory=lambda: np.zeros(2))
    formal_charges: Int32[np.ndarray, " 2"] = field(default_factory=lambda: np.zeros(2, np.int32))
    curve: int = -1

    def __post_init__(self) -> None:
        if not self.fragment.size:
            object.__setattr__(self, "fragment", np.zeros(len(self.atomic_numbers), np.int32))

    def molecule(self, multiplicity: int | None = None) -> Molecule:
        """Give the structure without labels, as it is packed into a graph.

        Args:
            multiplicity: 2S + 1, for networks that take the spin.

        Returns:
            The molecule.
        """
        return Molecule(
            numbers=self.atomic_numbers,
            positions=self.positions,
            charge=self.total_charge,
            dipoles=self.atomic_dipoles,
            multiplicity=multiplicity,
            cell=self.cell,
            pbc=self.pbc,
        )

    @property
    def spin_multiplicity(self) -> int:
        """2S + 1, the lowest that fits the electrons where none is given."""
        return self.multiplicity or 1 + (int(self.atomic_numbers.sum()) - self.total_charge) % 2

    @property
    def interaction_energy(self) -> float:
        """Energy in eV minus the energies of the fragments alone in the same geometry."""
        return float(self.energy - self.fragment_energies.sum())

    @property
    def pair(self) -> str:
        """The fragments' names joined by a plus sign, or the one name of an isolated molecule."""
        return "+".join(name for name in self.monomers if name)


@dataclass(frozen=True)
class LabelledStructures:
    """A finished data set.

    Attributes:
        splits: For each split, key and structure, in a reproducible order.
        notes: What else is to be stored beside the data, such as counts of dropped structures.
    """

    splits: Mapping[str, Sequence[tuple[str, Structure]]]
    notes: Mapping[str, Any] = field(default_factory=dict)
