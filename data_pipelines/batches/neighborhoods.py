"""Neighbours of the atoms of labelled structures, searched once."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

from data_pipelines.structure import Structure
from efa_zoo.structures.neighbors import neighbor_matrix

NeighborMatrix = tuple[Int[np.ndarray, "_ _"], Bool[np.ndarray, "_ _"]]
"""Neighbour matrix and mask of one structure, both `[atoms, neighbors]`."""


class Neighborhoods:
    """Neighbour matrices of structures, each searched when it is asked for first and then kept.

    The choice of buckets, the plans of training and validation and their loaders share one of
    these. Structures are told apart by identity: one that is repeated or in several plans is
    searched once.

    Attributes:
        cutoff: Neighbours are the pairs closer than this in Å; None takes every pair.
    """

    def __init__(self, cutoff: float | None) -> None:
        self.cutoff = cutoff
        self._found: dict[int, tuple[Structure, NeighborMatrix]] = {}

    @property
    def reach(self) -> float:
        """The cutoff in Å, infinite where every pair is taken."""
        return math.inf if self.cutoff is None else float(self.cutoff)

    def __call__(self, structure: Structure) -> NeighborMatrix:
        """Give the neighbours of a structure, as `neighbor_matrix` does.

        Args:
            structure: The structure, which is kept with its neighbours.

        Returns:
            Neighbour matrix and mask.
        """
        if id(structure) not in self._found:
            found = neighbor_matrix(structure.positions, self.cutoff)
            self._found[id(structure)] = structure, found
        return self._found[id(structure)][1]

    def widths(self, structures: Sequence[Structure]) -> Int[np.ndarray, " structures"]:
        """Give the largest number of neighbours of an atom of each structure, at least 1."""
        return np.array([self(s)[0].shape[1] for s in structures], np.int64)
