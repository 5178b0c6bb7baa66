"""Geometries of cumulene, C9H4, at all dihedral angles of its ends, and their labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from data_pipelines._workers import Failure
from data_pipelines.labels.labelling import Geometry, Label, Unlabelled, label_all
from data_pipelines.sampling.langevin import restrained_langevin
from data_pipelines.sampling.monomers import Monomer, RelaxedMonomer, distort, relax
from data_pipelines.sampling.placement import random_rotation
from efa_zoo.base.contracts import contract

NUMBERS = np.array([6] * 9 + [1] * 4, np.int32)
"""Atomic numbers: the chain from end to end, then two hydrogens of either end."""

_FIRST, _LAST = 0, 8
_FIRST_HYDROGENS, _LAST_HYDROGENS = (9, 10), (11, 12)
_CHAIN = (0.0, 1.31, 2.58, 3.86, 5.13, 6.41, 7.68, 8.95, 10.26)

_CUMULENE = Monomer(
    name="cumulene",
    atomic_numbers=tuple(int(z) for z in NUMBERS),
    guess=(
        *((0.0, 0.0, z) for z in _CHAIN),
        (0.0, 0.92, _CHAIN[0] - 0.57),
        (0.0, -0.92, _CHAIN[0] - 0.57),
        (0.92, 0.0, _CHAIN[-1] + 0.57),
        (-0.92, 0.0, _CHAIN[-1] + 0.57),
    ),
    charge=0,
    kind="apolar",
)

STIFFNESS = 5.0
"""Of the restraint of the dihedral angle, in eV/rad²."""


@dataclass(frozen=True)
class TrajectoryTask:
    """One restrained trajectory.

    Attributes:
        equilibrium: Positions of the relaxed molecule in Å, with its modes.
        dihedral: Angle that the ends are held at, in radians.
        temperature: In K.
        record: Steps whose geometries are labelled.
        words: Of the random generator.
    """

    equilibrium: RelaxedMonomer
    dihedral: float
    temperature: float
    record: tuple[int, ...]
    words: tuple[int, ...]


def relax_cumulene(_: None = None) -> RelaxedMonomer | Failure:
    """Optimise the molecule; its ends are perpendicular."""
    return relax(_CUMULENE)


@contract
def twist(positions: Float64[np.ndarray, "13 3"], angle: float) -> Float64[np.ndarray, "13 3"]:
    """Turn the hydrogens of the last end about the axis of the chain.

    Args:
        positions: In Å.
        angle: In radians.

    Returns:
        New positions in Å.
    """
    axis = positions[_LAST] - positions[_FIRST]
    axis = axis / np.sqrt(np.sum(axis**2))
    turned = positions.copy()
    for atom in _LAST_HYDROGENS:
        arm = positions[atom] - positions[_LAST]
        turned[atom] = positions[_LAST] + (
            np.cos(angle) * arm
            + np.sin(angle) * np.cross(axis, arm)
            + (1 - np.cos(angle)) * np.sum(axis * arm) * axis
        )
    return turned


@contract
def dihedral(positions: Float64[np.ndarray, "13 3"]) -> float:
    """Angle between the two ends in radians, from -π to π.

    It is measured between the vectors from one hydrogen to the other of either end, seen along the
    axis of the chain.
    """
    return _dihedral(positions)[0]


def _dihedral(positions: np.ndarray) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
    """The angle, the axis, and the two vectors between hydrogens perpendicular to the axis."""
    axis = positions[_LAST] - positions[_FIRST]
    axis = axis / np.sqrt(np.sum(axis**2))
    ends = []
    for one, other in (_FIRST_HYDROGENS, _LAST_HYDROGENS):
        vector = positions[one] - positions[other]
        ends.append(vector - np.sum(vector * axis) * axis)
    first, last = ends
    sine, cosine = np.sum(np.cross(first, last) * axis), np.sum(first * last)
    return float(np.arctan2(sine, cosine)), axis, first, last


def restraint(positions: np.ndarray, target: float) -> np.ndarray:
    """Forces in eV/Å that hold the dihedral angle near a target.

    The small part that comes from turning the axis is left out: the restraint only chooses
    geometries, it is no part of the labels.

    Args:
        positions: Float64 `[13, 3]` in Å.
        target: In radians.

    Returns:
        Float64 `[13, 3]`.
    """
    angle, axis, first, last = _dihedral(positions)
    away = np.arctan2(np.sin(angle - target), np.cos(angle - target))
    forces = np.zeros((len(NUMBERS), 3))
    for vector, (one, other), sign in (
        (first, _FIRST_HYDROGENS, 1.0),
        (last, _LAST_HYDROGENS, -1.0),
    ):
        push = sign * STIFFNESS * away * np.cross(axis, vector) / np.sum(vector**2)
        forces[one] += push
        forces[other] -= push
    return forces


def trajectory(task: TrajectoryTask) -> tuple[tuple[np.ndarray, Label], ...] | Failure:
    """Run one trajectory and label geometries of it, for workers.

    It starts from a geometry of the harmonic ensemble, twisted to its angle.

    Args:
        task: What to run.

    Returns:
        Positions in Å, in a random orientation, with their labels; or why there are none.
    """
    rng = np.random.default_rng(task.words)
    start = distort(task.equilibrium, task.temperature, rng)
    start = twist(start, task.dihedral - _dihedral(start)[0])

    try:
        geometries = [
            (positions - positions.mean(axis=0)) @ random_rotation(rng).T
            for positions in restrained_langevin(
                Geometry(NUMBERS, start, 0),
                lambda positions: restraint(positions, task.dihedral),
                rng,
                temperature=task.temperature,
                record=task.record,
            )
        ]
    except Unlabelled as unlabelled:
        return unlabelled.failure
    labels = label_all([Geometry(NUMBERS, positions, 0) for positions in geometries])
    if isinstance(labels, Failure):
        return labels
    return tuple(zip(geometries, labels, strict=True))
