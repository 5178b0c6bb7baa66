"""Neighbours of the atoms of labelled structures, searched once."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int

from data_pipelines.structure import Structure
from efa_zoo.structures.cells import Pbc
from efa_zoo.structures.neighbors import Neighbors, neighbor_matrix
from efa_zoo.structures.packing import number_of_waves


class Neighborhoods:
    """Neighbour matrices of structures, each searched when it is asked for first and then kept.

    The choice of buckets, the plans of training and validation and their loaders share one of
    these. Structures are told apart by identity: one that is repeated or in several plans is
    searched once.

    Attributes:
        cutoff: Neighbours are the pairs closer than this in Å; None takes every pair.
    """

    def __init__(self, cutoff: float | None, wave_reach: Callable[[], float] = lambda: 0.0) -> None:
        """Start without any.

        Args:
            cutoff: In Å.
            wave_reach: Gives how far wave vectors must reach in 1/Å, as the network says; asked
                where a structure is periodic in three directions.
        """
        self.cutoff = cutoff
        self._wave_reach = functools.cache(wave_reach)
        self._found: dict[int, tuple[Structure, Neighbors]] = {}

    @property
    def reach(self) -> float:
        """The cutoff in Å, infinite where every pair is taken."""
        return math.inf if self.cutoff is None else float(self.cutoff)

    def __call__(self, structure: Structure) -> Neighbors:
        """Give the neighbours of a structure, as `neighbor_matrix` does.

        Args:
            structure: The structure, which is kept with its neighbours.

        Returns:
            Its neighbours.
        """
        if id(structure) not in self._found:
            found = neighbor_matrix(structure.positions, self.cutoff, structure.cell, structure.pbc)
            self._found[id(structure)] = structure, found
        return self._found[id(structure)][1]

    def widths(self, structures: Sequence[Structure]) -> Int[np.ndarray, " structures"]:
        """Give the largest number of neighbours of an atom of each structure, at least 1."""
        return np.array([self(s).width for s in structures], np.int64)

    def waves(self, structures: Sequence[Structure]) -> Int[np.ndarray, " structures"]:
        """Give the number of wave vectors of each structure."""
        return np.array(
            [number_of_waves(s.molecule(), self.wave_reach_of(s.pbc)) for s in structures], np.int64
        )

    def wave_reach_of(self, pbc: Pbc) -> float:
        """Give how far the wave vectors of structures reach in 1/Å, by their periodicity."""
        return self._wave_reach() if all(pbc) else 0.0
