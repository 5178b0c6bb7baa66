"""The closed-shell molecules that dimers are made of, and their thermal distortions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.optimize
from jaxtyping import Float64, Int32

from data_pipelines._workers import Failure
from data_pipelines.labels.labelling import Geometry, Label, Unlabelled, require_label
from efa_zoo.base.contracts import contract

MASSES = {
    1: 1.008, 3: 6.94, 6: 12.011, 7: 14.007, 8: 15.999, 9: 18.998, 11: 22.990, 15: 30.974,
    16: 32.06, 17: 35.45, 19: 39.098, 35: 79.904, 53: 126.904,
}  # fmt: skip
"""Standard atomic weights in u, by atomic number."""

BOLTZMANN = 8.617333262e-5
"""In eV/K (CODATA 2018)."""

_STEP = 0.005
_MASSLESS_DIRECTIONS = 1e-6


@dataclass(frozen=True)
class Monomer:
    """A molecule by name, with a rough geometry to start the optimisation from.

    Attributes:
        name: As stored in the data set.
        atomic_numbers: One per atom.
        guess: Positions in Å, good to about 0.1 Å and with the right point group.
        charge: Total charge in e.
        kind: `ion` for any charge, `polar` for a dipole, else `apolar`.
    """

    name: str
    atomic_numbers: tuple[int, ...]
    guess: tuple[tuple[float, float, float], ...]
    charge: int
    kind: Literal["polar", "apolar", "ion"]


@dataclass(frozen=True)
class RelaxedMonomer:
    """A monomer at its GFN2-xTB minimum.

    Attributes:
        monomer: Which.
        positions: Float64 `[atoms, 3]` in Å, centre of mass at the origin.
        label: GFN2-xTB at `positions`.
        modes: Float64 `[modes, atoms, 3]`; a mode times a normal coordinate in Å·√u is a
            displacement in Å.
        force_constants: Float64 `[modes]` in eV/(Å²·u), all positive.
    """

    monomer: Monomer
    positions: Float64[np.ndarray, "atoms 3"]
    label: Label
    modes: Float64[np.ndarray, "modes atoms 3"]
    force_constants: Float64[np.ndarray, " modes"]

    @property
    def atomic_numbers(self) -> Int32[np.ndarray, " atoms"]:
        """Int32 `[atoms]`."""
        return np.array(self.monomer.atomic_numbers, np.int32)


def _ring(radius: float, count: int) -> tuple[tuple[float, float, float], ...]:
    angles = 2 * np.pi * np.arange(count) / count
    return tuple((float(radius * np.cos(a)), float(radius * np.sin(a)), 0.0) for a in angles)


def _tetrahedron(bond: float) -> tuple[tuple[float, float, float], ...]:
    b = bond / 3**0.5
    return ((b, b, b), (b, -b, -b), (-b, b, -b), (-b, -b, b))


_O = (0.0, 0.0, 0.0)
_ALL = (
    Monomer("water", (8, 1, 1), (_O, (0.76, 0.0, 0.59), (-0.76, 0.0, 0.59)), 0, "polar"),
    Monomer(
        "ammonia",
        (7, 1, 1, 1),
        (_O, (0.94, 0.0, 0.38), (-0.47, 0.81, 0.38), (-0.47, -0.81, 0.38)),
        0,
        "polar",
    ),
    Monomer("methane", (6, 1, 1, 1, 1), (_O, *_tetrahedron(1.09)), 0, "apolar"),
    Monomer("hydrogen_fluoride", (9, 1), (_O, (0.0, 0.0, 0.92)), 0, "polar"),
    Monomer("carbon_dioxide", (6, 8, 8), (_O, (0.0, 0.0, 1.16), (0.0, 0.0, -1.16)), 0, "apolar"),
    Monomer(
        "methanol",
        (6, 8, 1, 1, 1, 1),
        (
            _O,
            (1.42, 0.0, 0.0),
            (-0.36, 1.03, 0.0),
            (-0.36, -0.51, 0.89),
            (-0.36, -0.51, -0.89),
            (1.74, -0.90, 0.0),
        ),
        0,
        "polar",
    ),
    Monomer(
        "formaldehyde",
        (6, 8, 1, 1),
        (_O, (0.0, 0.0, 1.21), (0.94, 0.0, -0.58), (-0.94, 0.0, -0.58)),
        0,
        "polar",
    ),
    Monomer(
        "ethylene",
        (6, 6, 1, 1, 1, 1),
        (
            (0.0, 0.0, 0.665),
            (0.0, 0.0, -0.665),
            (0.92, 0.0, 1.23),
            (-0.92, 0.0, 1.23),
            (0.92, 0.0, -1.23),
            (-0.92, 0.0, -1.23),
        ),
        0,
        "apolar",
    ),
    Monomer("benzene", (6,) * 6 + (1,) * 6, _ring(1.39, 6) + _ring(2.48, 6), 0, "apolar"),
    Monomer("hydrogen_chloride", (17, 1), (_O, (0.0, 0.0, 1.28)), 0, "polar"),
    Monomer("hydrogen_cyanide", (6, 7, 1), (_O, (0.0, 0.0, 1.15), (0.0, 0.0, -1.07)), 0, "polar"),
    Monomer("ammonium", (7, 1, 1, 1, 1), (_O, *_tetrahedron(1.03)), 1, "ion"),
    Monomer("chloride", (17,), (_O,), -1, "ion"),
    Monomer("fluoride", (9,), (_O,), -1, "ion"),
    Monomer(
        "formate",
        (6, 8, 8, 1),
        (_O, (1.13, 0.0, 0.53), (-1.13, 0.0, 0.53), (0.0, 0.0, -1.12)),
        -1,
        "ion",
    ),
)

MONOMERS = {monomer.name: monomer for monomer in _ALL}
"""All monomers by name, in the order that numbers the pairs."""


def numbers_of(name: str) -> Int32[np.ndarray, " atoms"]:
    """Give the atomic numbers of a monomer by name."""
    return np.array(MONOMERS[name].atomic_numbers, np.int32)


@contract
def relax(monomer: Monomer) -> RelaxedMonomer | Failure:
    """Optimise a monomer with GFN2-xTB and find its normal modes.

    The Hessian is made of central differences of forces; translations and rotations are projected
    out of it, so only vibrations remain.

    Args:
        monomer: Which.

    Returns:
        The relaxed monomer, or a `Failure` if a label failed (`unconverged`) or the stationary
        point found is not a minimum (`saddle`).
    """
    numbers = np.array(monomer.atomic_numbers, np.int32)
    masses = np.array([MASSES[z] for z in monomer.atomic_numbers])

    def evaluate(flat: np.ndarray) -> Label:
        return require_label(Geometry(numbers, flat.reshape(-1, 3), monomer.charge))

    def energy_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        found = evaluate(flat)
        return found.energy, -found.forces.ravel()

    start = np.array(monomer.guess, np.float64).ravel()
    try:
        if len(numbers) == 1:
            positions = start.reshape(-1, 3)
        else:
            result = scipy.optimize.minimize(
                energy_and_gradient, start, jac=True, method="BFGS", options={"gtol": 1e-5}
            )
            positions = result.x.reshape(-1, 3)
        positions = positions - masses @ positions / masses.sum()
        scale = np.repeat(masses, 3) ** -0.5
        hessian = np.empty((start.size, start.size))
        for i in range(start.size):
            shift = np.zeros(start.size)
            shift[i] = _STEP
            up, down = (evaluate(positions.ravel() + s) for s in (shift, -shift))
            hessian[i] = (down.forces - up.forces).ravel() / (2 * _STEP)
        final = evaluate(positions.ravel())
    except Unlabelled as unlabelled:
        return unlabelled.failure
    vibrations = _vibrations(positions, masses)
    weighted = scale[:, None] * (hessian + hessian.T) / 2 * scale
    force_constants, vectors = np.linalg.eigh(vibrations.T @ weighted @ vibrations)
    if np.any(force_constants <= 0):
        return Failure("saddle", f"{monomer.name}: force constants {force_constants}")
    modes = (scale[:, None] * (vibrations @ vectors)).T.reshape(-1, len(numbers), 3)
    return RelaxedMonomer(monomer, positions, final, modes, force_constants)


def _vibrations(
    positions: Float64[np.ndarray, "atoms 3"], masses: Float64[np.ndarray, " atoms"]
) -> Float64[np.ndarray, "coordinates modes"]:
    """Orthonormal basis of mass-weighted displacements without translation and rotation."""
    root = np.sqrt(masses)[:, None]
    axes = np.eye(3)
    rigid = [root * axis for axis in axes] + [root * np.cross(axis, positions) for axis in axes]
    stacked = np.stack([motion.ravel() for motion in rigid], axis=1)
    left, singular, _ = np.linalg.svd(stacked, full_matrices=True)
    rank = int(np.sum(singular > _MASSLESS_DIRECTIONS * singular.max()))
    return left[:, rank:]


@contract
def distort(
    relaxed: RelaxedMonomer, temperature: float, rng: np.random.Generator
) -> Float64[np.ndarray, "atoms 3"]:
    """Draw a geometry from the classical harmonic ensemble.

    Args:
        relaxed: The monomer with its modes.
        temperature: In K.
        rng: Source of randomness; one normal deviate per mode is taken.

    Returns:
        Positions in Å, centre of mass at the origin.
    """
    widths = np.sqrt(BOLTZMANN * temperature / relaxed.force_constants)
    coordinates = widths * rng.standard_normal(len(widths))
    return relaxed.positions + np.einsum("m,mai->ai", coordinates, relaxed.modes)
