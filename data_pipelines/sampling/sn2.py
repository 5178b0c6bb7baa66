"""Geometries of X⁻ + CH3Y → CH3X + Y⁻ along the reaction path and around it, with their labels.

Atoms are always in the order C, H, H, H, X, Y, and the reaction coordinate is
ξ = r(C-Y) - r(C-X): negative where X⁻ comes in, positive where Y⁻ leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
from jaxtyping import Float64

from data_pipelines._workers import Failure
from data_pipelines.labels.labelling import (
    Geometry,
    Label,
    Unlabelled,
    charges_hold,
    label,
    label_all,
    require_label,
)
from data_pipelines.sampling.langevin import restrained_langevin
from data_pipelines.sampling.monomers import MASSES, Monomer, RelaxedMonomer, distort, relax
from data_pipelines.sampling.placement import (
    contact_distances,
    random_direction,
    random_rotation,
    separation_at_contact,
)
from efa_zoo.base.contracts import contract

CHARGE = -1
"""Total charge of every structure in e."""

HALOGENS = {"fluoride": 9, "chloride": 17, "bromide": 35, "iodide": 53}
"""Atomic numbers by the ions' names."""

LONGEST = 10.0
"""Largest magnitude of the reaction coordinate in Å."""

CONTACT = 4.0
"""Where an ion is further from carbon than this, in Å, the charges are checked. Closer, they are
shared in truth: that is the reaction."""

STIFFNESS = 1.0
"""Of the restraint of the reaction coordinate, in eV/Å²."""

_CARBON, _X, _Y = 0, 4, 5
_BOND = {9: 1.39, 17: 1.78, 35: 1.94, 53: 2.13}
_TOLERANCE = 1e-3
_FINE, _COARSE = 0.1, 0.25
_FINE_END = 2.0
_LEAP = 0.3


@dataclass(frozen=True)
class PathPoint:
    """A point of a reaction path.

    Attributes:
        coordinate: ξ in Å.
        positions: Float64 `[6, 3]` in Å.
        label: GFN2-xTB there.
    """

    coordinate: float
    positions: Float64[np.ndarray, "6 3"]
    label: Label


@dataclass(frozen=True)
class Path:
    """The part of a reaction path on which the charges are right, without gaps.

    Attributes:
        halogens: Atomic numbers of X and Y.
        points: By ascending ξ.
        failures: Why points further out are missing, by reason.
    """

    halogens: tuple[int, int]
    points: tuple[PathPoint, ...]
    failures: dict[str, int]


@dataclass(frozen=True)
class TrajectoryTask:
    """One restrained trajectory that starts on a path.

    Attributes:
        halogens: Atomic numbers of X and Y.
        start: Positions in Å.
        coordinate: ξ that is held, in Å.
        temperature: In K.
        record: Steps whose geometries are labelled.
        words: Of the random generator.
    """

    halogens: tuple[int, int]
    start: np.ndarray
    coordinate: float
    temperature: float
    record: tuple[int, ...]
    words: tuple[int, ...]


def relax_methyl_halide(halogen: int) -> RelaxedMonomer | Failure:
    """Optimise CH3Y, for workers; its atoms are C, H, H, H, Y.

    Args:
        halogen: Atomic number of Y.

    Returns:
        The relaxed molecule with its modes, or why there is none.
    """
    angles = 2 * np.pi * np.arange(3) / 3
    guess = (
        (0.0, 0.0, 0.0),
        *((1.03 * float(np.cos(a)), 1.03 * float(np.sin(a)), -0.35) for a in angles),
        (0.0, 0.0, _BOND[halogen]),
    )
    return relax(Monomer("methyl halide", (6, 1, 1, 1, halogen), guess, 0, "polar"))


def approach(
    molecule: RelaxedMonomer, ion: int, temperature: float, rng: np.random.Generator
) -> Float64[np.ndarray, "6 3"]:
    """Place an ion X⁻ somewhere around a distorted molecule CH3Y.

    Two times in five the closest pair of atoms stands at 0.8 to 1.4 van-der-Waals contact
    distances, else the ion's distance from the centre of mass is uniform from 1.2 contact distances
    to that of the far end of a path.

    Args:
        molecule: CH3Y.
        ion: Atomic number of X.
        temperature: Of the molecule's vibrations in K.
        rng: Source of randomness.

    Returns:
        Positions in Å in the order C, H, H, H, X, Y.
    """
    methyl = distort(molecule, temperature, rng) @ random_rotation(rng).T
    direction = random_direction(rng)
    numbers = np.array(molecule.monomer.atomic_numbers, np.int32)
    contacts = contact_distances(numbers, np.array([ion], np.int32))
    region, place = (float(x) for x in rng.random(2))
    origin = np.zeros((1, 3))
    if region < 0.4:
        distance = separation_at_contact(methyl, origin, direction, (0.8 + 0.6 * place) * contacts)
    else:
        outside = separation_at_contact(methyl, origin, direction, 1.2 * contacts)
        distance = outside + place * (LONGEST + _BOND[ion] - outside)
    positions = np.concatenate([methyl[:4], distance * direction[None, :], methyl[4:]])
    return positions - positions.mean(axis=0)


def numbers_of(halogens: tuple[int, int]) -> np.ndarray:
    """Atomic numbers, int32 `[6]`."""
    return np.array([6, 1, 1, 1, *halogens], np.int32)


@contract
def reaction_coordinate(positions: Float64[np.ndarray, "6 3"]) -> float:
    """ξ = r(C-Y) - r(C-X) in Å."""
    return _distance(positions, _Y) - _distance(positions, _X)


def _distance(positions: np.ndarray, atom: int) -> float:
    return float(np.sqrt(np.sum((positions[atom] - positions[_CARBON]) ** 2)))


@contract
def leaving_ion(positions: Float64[np.ndarray, "6 3"]) -> int:
    """Index of the halogen further from carbon."""
    return _X if reaction_coordinate(positions) <= 0 else _Y


@contract
def separation(positions: Float64[np.ndarray, "6 3"], halogens: tuple[int, int]) -> float:
    """Distance in Å of the ion further away from the centre of mass of the other atoms."""
    ion = leaving_ion(positions)
    masses = np.array([MASSES[int(z)] for z in numbers_of(halogens)])
    masses[ion] = 0.0
    center = np.sum(masses[:, None] * positions, axis=0) / masses.sum()
    return float(np.sqrt(np.sum((positions[ion] - center) ** 2)))


@contract
def fragment_charges(
    positions: Float64[np.ndarray, "6 3"], charges: Float64[np.ndarray, " 6"]
) -> Float64[np.ndarray, " 2"]:
    """Charges in e of the methyl halide and of the ion further away."""
    ion = leaving_ion(positions)
    return np.array([charges.sum() - charges[ion], charges[ion]])


def check_charges(
    positions: np.ndarray, halogens: tuple[int, int], labelled: Label
) -> Label | Failure:
    """Refuse a label in which an ion that is far away has not its whole charge.

    Args:
        positions: Float64 `[6, 3]` in Å.
        halogens: Atomic numbers of X and Y.
        labelled: The label.

    Returns:
        The label, or a `Failure` with reason `charge`.
    """
    if _distance(positions, leaving_ion(positions)) <= CONTACT:
        return labelled
    charges = fragment_charges(positions, labelled.charges)
    formal = np.array([0, CHARGE], np.int32)
    if charges_hold(charges, formal, separation(positions, halogens)):
        return labelled
    return Failure("charge", f"fragment charges {charges}")


def reaction_path(halogens: tuple[int, int]) -> Path:
    """Follow a path outwards from its middle, for workers.

    The three heavy atoms lie on a line and the molecule keeps its threefold axis; the rest is
    optimised at each ξ.

    Args:
        halogens: Atomic numbers of X and Y.

    Returns:
        The path; it ends where GFN2-xTB fails or the charges are wrong.
    """
    middle = np.array([sum(_BOND[z] for z in halogens) + 1.0, 1.07, 0.0])
    points: list[PathPoint] = []
    failures: dict[str, int] = {}
    inner = [_FINE * i for i in range(round(_FINE_END / _FINE))]
    steps = round((LONGEST - _FINE_END) / _COARSE)
    outward = inner + [_FINE_END + _COARSE * i for i in range(steps + 1)]
    for sign in (1.0, -1.0):
        guess, last = middle, 0.0
        for size in outward if sign > 0 else outward[1:]:
            # The far ion follows; the rest of the molecule hardly changes.
            guess = guess + np.array([size - last, 0.0, 0.0])
            found = _optimise(halogens, sign * size, guess)
            if isinstance(found, Failure):
                failures[found.reason] = failures.get(found.reason, 0) + 1
                break
            guess, point = found
            if size == 0:
                middle = guess
            points.append(point)
            last = size
    points.sort(key=lambda point: point.coordinate)
    return Path(halogens, tuple(points), failures)


def _optimise(
    halogens: tuple[int, int], coordinate: float, guess: np.ndarray
) -> tuple[np.ndarray, PathPoint] | Failure:
    """Optimise r(C-X) + r(C-Y) and the hydrogens' radius and height at a given ξ."""
    numbers = numbers_of(halogens)

    def evaluate(variables: np.ndarray) -> tuple[float, np.ndarray]:
        found = require_label(Geometry(numbers, _place(coordinate, variables), CHARGE))
        angles = 2 * np.pi * np.arange(3) / 3
        gradient = -np.array(
            [
                (found.forces[_Y, 2] - found.forces[_X, 2]) / 2,
                np.sum(
                    found.forces[1:4, 0] * np.cos(angles) + found.forces[1:4, 1] * np.sin(angles)
                ),
                found.forces[1:4, 2].sum(),
            ]
        )
        return found.energy, gradient

    try:
        # Bounds keep the first steps from leaping to where the field does not converge.
        result = scipy.optimize.minimize(
            evaluate,
            guess,
            jac=True,
            method="L-BFGS-B",
            bounds=[(x - _LEAP, x + _LEAP) for x in guess],
            options={"gtol": _TOLERANCE},
        )
    except Unlabelled as unlabelled:
        return unlabelled.failure
    positions = _place(coordinate, result.x)
    found = label(Geometry(numbers, positions, CHARGE))
    if not isinstance(found, Failure):
        found = check_charges(positions, halogens, found)
    if isinstance(found, Failure):
        return found
    return result.x, PathPoint(coordinate, positions, found)


def _place(coordinate: float, variables: np.ndarray) -> np.ndarray:
    length, radius, height = variables
    angles = 2 * np.pi * np.arange(3) / 3
    positions = np.zeros((6, 3))
    positions[1:4, 0] = radius * np.cos(angles)
    positions[1:4, 1] = radius * np.sin(angles)
    positions[1:4, 2] = height
    positions[_X, 2] = -(length - coordinate) / 2
    positions[_Y, 2] = (length + coordinate) / 2
    return positions


def restraint(positions: np.ndarray, target: float) -> np.ndarray:
    """Forces in eV/Å that hold the reaction coordinate near a target.

    Args:
        positions: Float64 `[6, 3]` in Å.
        target: ξ in Å.

    Returns:
        Float64 `[6, 3]`.
    """
    pull = -STIFFNESS * (reaction_coordinate(positions) - target)
    forces = np.zeros_like(positions)
    for atom, sign in ((_Y, 1.0), (_X, -1.0)):
        unit = (positions[atom] - positions[_CARBON]) / _distance(positions, atom)
        forces[atom] += sign * pull * unit
        forces[_CARBON] -= sign * pull * unit
    return forces


def trajectory(task: TrajectoryTask) -> tuple[tuple[np.ndarray, Label | Failure], ...] | Failure:
    """Run one trajectory and label geometries of it, for workers.

    Args:
        task: What to run.

    Returns:
        Positions in Å, in random orientations, each with its label or why it has none; or why the
        trajectory failed.
    """
    rng = np.random.default_rng(task.words)
    try:
        geometries = list(
            restrained_langevin(
                Geometry(numbers_of(task.halogens), task.start, CHARGE),
                lambda positions: restraint(positions, task.coordinate),
                rng,
                temperature=task.temperature,
                record=task.record,
            )
        )
    except Unlabelled as unlabelled:
        return unlabelled.failure
    turned = [(p - p.mean(axis=0)) @ random_rotation(rng).T for p in geometries]
    return label_geometries((task.halogens, turned))


def label_geometries(
    task: tuple[tuple[int, int], Sequence[np.ndarray]],
) -> tuple[tuple[np.ndarray, Label | Failure], ...]:
    """Label geometries and check their charges, for workers.

    Args:
        task: Atomic numbers of X and Y, and positions in Å.

    Returns:
        Positions with label or failure, one for each.
    """
    halogens, geometries = task
    numbers = numbers_of(halogens)
    results: list[tuple[np.ndarray, Label | Failure]] = []
    for positions in geometries:
        found = label_all([Geometry(numbers, positions, CHARGE)])
        results.append(
            (
                positions,
                found
                if isinstance(found, Failure)
                else check_charges(positions, halogens, found[0]),
            )
        )
    return tuple(results)
