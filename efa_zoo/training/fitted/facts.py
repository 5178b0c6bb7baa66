"""What a recipe has to know about labelled structures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial.distance import pdist, squareform

from efa_zoo.base.errors import DataError
from efa_zoo.structures.elements import symbol

if TYPE_CHECKING:
    from data_pipelines.structure import Structure

__all__ = ["DataFacts"]

#: Structures that distances are measured of; more would change nothing that is chosen by them.
_MEASURED = 2000


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """Numbers of labelled structures that a recipe goes by.

    Attributes:
        count: number of structures.
        atoms: mean number of atoms.
        most_atoms: of the largest structure.
        elements: atomic numbers that occur.
        charges: total charges that occur, in e.
        excited: whether a multiplicity is not the lowest.
        longest: longest distance between two atoms of a structure, in Å.
        spacing: distance of an atom to its nearest neighbour in Å, below which 90% of atoms are.
        energy_spread: standard deviation of the energies relative to the elements, in eV.
        force_spread: root mean square of the components of the forces, in eV/Å.
    """

    count: int
    atoms: float
    most_atoms: int
    elements: tuple[int, ...]
    charges: tuple[int, ...]
    excited: bool
    longest: float
    spacing: float
    energy_spread: float
    force_spread: float

    @classmethod
    def of(cls, structures: Sequence[Structure]) -> DataFacts:
        """Look at structures.

        Args:
            structures: labelled, at least one.

        Returns:
            Their facts; distances are those of at most 2,000 of them, evenly taken.

        Raises:
            DataError: there are no structures.
        """
        from data_pipelines.labels.energies import fit_reference_energies, relative_energies

        if not structures:
            raise DataError("structures: got none, expected at least one")
        sizes = [len(s.atomic_numbers) for s in structures]
        longest, nearest = 0.0, [np.zeros(0)]
        for structure in structures[:: -(-len(structures) // _MEASURED)]:
            if len(structure.positions) > 1:
                distances = squareform(pdist(structure.positions))
                longest = max(longest, float(distances.max()))
                np.fill_diagonal(distances, np.inf)
                nearest.append(distances.min(axis=1))
        close = np.concatenate(nearest)
        energies = relative_energies(structures, fit_reference_energies(structures))
        forces = np.concatenate([s.forces.ravel() for s in structures])
        return cls(
            count=len(structures),
            atoms=float(np.mean(sizes)),
            most_atoms=max(sizes),
            elements=tuple(sorted({int(z) for s in structures for z in s.atomic_numbers})),
            charges=tuple(sorted({s.total_charge for s in structures})),
            excited=any(
                s.spin_multiplicity != 1 + (int(s.atomic_numbers.sum()) - s.total_charge) % 2
                for s in structures
            ),
            longest=longest,
            spacing=float(np.quantile(close, 0.9)) if close.size else 0.0,
            energy_spread=float(np.std(energies)),
            force_spread=float(np.sqrt(np.mean(forces**2))),
        )

    def __str__(self) -> str:
        return (
            f"{self.count} structures of {self.atoms:.3g} atoms on average, up to "
            f"{self.most_atoms}; {' '.join(map(symbol, self.elements))}; distances up to "
            f"{self.longest:.1f} Å; energies spread by {self.energy_spread:.3g} eV, forces by "
            f"{self.force_spread:.3g} eV/Å"
        )
