"""A padded batch of labelled molecules."""

from __future__ import annotations

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float

from efa_zoo.structures.graph import Graph

__all__ = ["Batch"]


class Batch(eqx.Module):
    """Molecules with their labels, padded to static shapes.

    Attributes:
        graph: stacked molecules; a padding molecule has only padding atoms.
        energy: `[molecules]` in eV, relative to the reference energies of the elements.
        forces: `[molecules, atoms, 3]` in eV/Å, zero for padding.
        molecule_mask: `[molecules]`, False for padding molecules.
        charges: `[molecules, atoms]` in e, zero for padding; None where they are not labelled.
        dipole: `[molecules, 3]` in e·Å about the mean of the atoms' positions, likewise.
        stress: `[molecules, 6]` in eV/Å³, as in `Outputs`, likewise.
    """

    graph: Graph
    energy: Float[Array | np.ndarray, " molecules"]
    forces: Float[Array | np.ndarray, "molecules atoms 3"]
    molecule_mask: Bool[Array | np.ndarray, " molecules"]
    charges: Float[Array | np.ndarray, "molecules atoms"] | None = None
    dipole: Float[Array | np.ndarray, "molecules 3"] | None = None
    stress: Float[Array | np.ndarray, "molecules 6"] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Static number of molecules, atoms and neighbours."""
        molecules, atoms, neighbors = self.graph.neighbors.shape
        return molecules, atoms, neighbors
