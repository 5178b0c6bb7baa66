"""Positions of the data set `clusters`: condensed drops of atoms.

The published structures show how they were made, and these are made alike: points at random in a
ball (their centroids scatter as those of random points do), drawn together by an attraction of
short range (the atoms of lone pairs stand 1.61 Å apart, and few fragments are closer than its
range), and shaken by 0.06 Å (which gives the published share of close distances). Training
structures may be shaken more, so that the closest contacts of the others are not beyond them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.optimize

from data_pipelines.sampling.placement import random_direction

CONTACT = 1.612
"""Distance in Å at which the attraction that draws the atoms together is strongest."""

SHAKE = 0.06
"""Standard deviation in Å of the final displacements in the published structures."""

_MAX_STEPS = 500


@dataclass(frozen=True)
class ClusterTask:
    """One cluster to make.

    Attributes:
        atoms: Number of atoms.
        radius: Of the ball in Å; no two atoms of the result are further apart than twice this.
        attraction: Range in Å of the potential that draws the atoms together.
        shake: Standard deviation in Å of the final displacements, in each direction.
        words: Of the random generator.
    """

    atoms: int
    radius: float
    attraction: float
    shake: float
    words: tuple[int, ...]


def make_cluster(task: ClusterTask) -> np.ndarray:
    """Make one cluster, for workers.

    Args:
        task: Which.

    Returns:
        Float64 positions `[atoms, 3]` in Å.
    """
    rng = np.random.default_rng(task.words)
    while True:
        start = np.array(
            [
                task.radius * rng.random() ** (1 / 3) * random_direction(rng)
                for _ in range(task.atoms)
            ]
        )
        found = scipy.optimize.minimize(
            _attraction,
            start.ravel(),
            args=(task.attraction,),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": _MAX_STEPS},
        )
        positions = found.x.reshape(-1, 3) + task.shake * rng.standard_normal((task.atoms, 3))
        first, second = np.triu_indices(task.atoms, 1)
        if np.linalg.norm(positions[first] - positions[second], axis=1).max() < 2 * task.radius:
            return positions


def _attraction(flat: np.ndarray, reach: float) -> tuple[float, np.ndarray]:
    """A Lennard-Jones potential of depth 1 that ends at a distance, and its gradient."""
    positions = flat.reshape(-1, 3)
    first, second = np.triu_indices(len(positions), 1)
    vectors = positions[first] - positions[second]
    squares = np.sum(vectors**2, axis=1)
    near = squares < reach**2
    first, second, vectors, squares = first[near], second[near], vectors[near], squares[near]
    sixth = (CONTACT**2 / squares) ** 3
    pulls = (-12 * (sixth**2 - sixth) / squares)[:, None] * vectors
    gradient = np.stack(
        [
            np.bincount(first, pulls[:, axis], len(positions))
            - np.bincount(second, pulls[:, axis], len(positions))
            for axis in range(3)
        ],
        axis=-1,
    )
    return float(np.sum(sixth**2 - 2 * sixth)), gradient.ravel()
