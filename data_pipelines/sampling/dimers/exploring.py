"""What surrounds the minima of dimers: the way down to them, pulls and pushes, and dynamics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.optimize
from scipy.sparse.csgraph import connected_components

from data_pipelines._workers import Failure
from data_pipelines.labels.labelling import Geometry, Label, Unlabelled, label_all, require_label
from data_pipelines.sampling.langevin import restrained_langevin
from data_pipelines.sampling.placement import van_der_waals

RELAXATION, STRETCH, DYNAMICS = "relaxation", "stretch", "dynamics"
"""Kinds of the structures that an exploration finds."""

SHIFTS = (-0.7, 1.5)
"""How far a molecule of a minimum is pushed and pulled, in Å."""

_BOND = 0.5
_MAX_STEPS, _TOLERANCE = 80, 2e-3


@dataclass(frozen=True)
class Exploration:
    """A dimer to relax and to let move.

    Attributes:
        numbers: Atomic numbers of each molecule.
        charges: Of each molecule in e.
        start: Positions of the dimer in Å.
        points: Geometries taken from the way to the minimum, the minimum included.
        stretches: Geometries with one molecule of the minimum shifted by `SHIFTS`.
        temperature: Of the dynamics from the minimum on, in K.
        record: Steps of the dynamics whose geometries are taken.
        words: Of the random generator.
    """

    numbers: tuple[np.ndarray, np.ndarray]
    charges: tuple[int, int]
    start: np.ndarray
    points: int
    stretches: int
    temperature: float
    record: tuple[int, ...]
    words: tuple[int, ...]

    def geometries(self, positions: np.ndarray) -> tuple[Geometry, Geometry, Geometry]:
        """The dimer and its two molecules alone, at some positions."""
        size = len(self.numbers[0])
        return (
            Geometry(np.concatenate(self.numbers), positions, sum(self.charges)),
            Geometry(self.numbers[0], positions[:size], self.charges[0]),
            Geometry(self.numbers[1], positions[size:], self.charges[1]),
        )


Found = tuple[str, np.ndarray, tuple[Label, ...] | Failure]
"""Kind and positions of a structure, with the labels of the dimer and its molecules alone."""


def explore(task: Exploration) -> list[Found] | Failure:
    """Relax a dimer, shift its molecules and run its dynamics, and label what was found.

    Args:
        task: Where to start, and what to take.

    Returns:
        The structures up to where a label failed; or the failure of the first one.
    """
    found: list[tuple[str, np.ndarray]] = []
    failure = None
    try:
        found.extend(_walk(task))
    except Unlabelled as unlabelled:
        failure = unlabelled.failure
    if failure is not None and not found:
        return failure
    return [(kind, p, label_all(task.geometries(p))) for kind, p in found]


def _walk(task: Exploration) -> Iterator[tuple[str, np.ndarray]]:
    rng = np.random.default_rng(task.words)
    path: list[np.ndarray] = []

    def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
        label = require_label(task.geometries(flat.reshape(-1, 3))[0])
        path.append(flat.reshape(-1, 3).copy())
        return label.energy, -label.forces.ravel()

    result = scipy.optimize.minimize(
        evaluate,
        task.start.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _MAX_STEPS, "gtol": _TOLERANCE},
    )
    minimum = result.x.reshape(-1, 3)
    chosen = np.unique(np.linspace(0, len(path) - 1, task.points).round().astype(int))
    yield from ((RELAXATION, path[i]) for i in chosen[:-1].tolist())
    yield RELAXATION, minimum

    moving = _moving(task, minimum)
    axis = minimum[moving].mean(axis=0) - minimum[~moving].mean(axis=0)
    axis = axis / np.sqrt(np.sum(axis**2))
    for i in range(task.stretches):
        low, high = SHIFTS
        shift = low + (high - low) * (i + float(rng.random())) / task.stretches
        yield STRETCH, minimum + shift * moving[:, None] * axis

    dynamics = restrained_langevin(
        task.geometries(minimum)[0],
        np.zeros_like,
        rng,
        temperature=task.temperature,
        record=task.record,
    )
    yield from ((DYNAMICS, positions) for positions in dynamics)


def _moving(task: Exploration, positions: np.ndarray) -> np.ndarray:
    """Tell the atoms of the second molecule, with the proton where it is now."""
    numbers = np.concatenate(task.numbers)
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    count, parts = connected_components(distances < _BOND * van_der_waals(numbers, numbers))
    if count == 2:
        return parts == parts[-1]
    return np.arange(len(numbers)) >= len(task.numbers[0])
