"""Sodium chloride by the potential of Born, Mayer, Huggins, Fumi and Tosi, in a cell.

V = k_e q q'/r + A b exp((σ + σ' − r)/ρ) − C/r⁶ − D/r⁸, with the parameters of Fumi and Tosi
(doi:10.1016/0022-3697(64)90160-X). The Coulomb energy of all images is summed by Ewald's method to
rounding errors; everything else ends smoothly from 9 to 11 Å.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy.special
from jaxtyping import Float64, Int

from data_pipelines.labels.potentials import COULOMB
from efa_zoo.base.errors import DataError
from efa_zoo.structures.cells import wave_vectors

SODIUM, CHLORINE = 11, 17

_JOULE = 1 / 1.602176634e-19  # eV

# Of the pairs Na-Na, Na-Cl and Cl-Cl.
_PREFACTOR = np.array([1.25, 1.0, 0.75]) * 0.338e-19 * _JOULE
_SIZE = np.array([2.340, 2.755, 3.170])
_RANGE = 0.317
_DIPOLE = np.array([1.68, 11.2, 116.0]) * 1e-79 * 1e60 * _JOULE
_QUADRUPOLE = np.array([0.8, 13.9, 233.0]) * 1e-99 * 1e80 * _JOULE


@dataclass(frozen=True)
class Sums:
    """How far sums go.

    Attributes:
        cutoff: Of the sums over pairs, in Å.
        switch: Where what falls off by itself begins to be switched off, in Å.
        deviations: How many deviations of their Gaussians Ewald's two sums take; the error is that
            of the complementary error function there.
    """

    cutoff: float = 11.0
    switch: float = 9.0
    deviations: float = 5.6


EXACT = Sums()
"""Labels: errors of 1e-13."""

QUICK = Sums(cutoff=8.0, switch=6.5, deviations=3.2)
"""For dynamics that only draw geometries: errors of 1e-5."""


@dataclass(frozen=True)
class CellLabel:
    """Energy of a cell and its derivatives.

    Attributes:
        energy: In eV.
        forces: `[atoms, 3]` in eV/Å.
        stress: `[6]` in eV/Å³, in the order and with the sign of ASE.
    """

    energy: float
    forces: Float64[np.ndarray, "atoms 3"]
    stress: Float64[np.ndarray, " 6"]


def salt_label(
    numbers: Int[np.ndarray, " atoms"],
    positions: Float64[np.ndarray, "atoms 3"],
    cell: Float64[np.ndarray, "3 3"],
    sums: Sums = EXACT,
) -> CellLabel:
    """Compute energy, forces and stress of a neutral cell of Na⁺ and Cl⁻.

    Args:
        numbers: 11 or 17.
        positions: In Å.
        cell: Lattice vectors in Å, as rows.
        sums: How far sums go.

    Returns:
        The label; energies are relative to ions far apart.

    Raises:
        DataError: If there are other elements, or the charges do not add up to zero.
    """
    if not np.isin(numbers, (SODIUM, CHLORINE)).all():
        raise DataError(f"numbers: got {sorted(set(numbers.tolist()))}, expected 11 and 17")
    charges = np.where(numbers == SODIUM, 1.0, -1.0)
    if charges.sum():
        raise DataError(f"numbers: got a charge of {charges.sum():+.0f} e, expected none")
    volume = abs(float(np.linalg.det(cell)))
    splitting = sums.deviations / sums.cutoff
    energies, forces, virial = _pairs(numbers, charges, positions, cell, sums, splitting)
    found = _waves(charges, positions, cell, 2 * splitting * sums.deviations, splitting)
    own = -COULOMB * splitting / math.sqrt(math.pi) * len(charges)
    virial = virial + found[2]
    return CellLabel(
        energy=energies + found[0] + own,
        forces=forces + found[1],
        stress=virial[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]] / volume,
    )


def _pairs(
    numbers: np.ndarray,
    charges: np.ndarray,
    positions: np.ndarray,
    cell: np.ndarray,
    sums: Sums,
    splitting: float,
) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and virial of all pairs within the cutoff."""
    from vesin import NeighborList

    first, second, vectors, r = NeighborList(cutoff=sums.cutoff, full_list=False).compute(
        points=positions, box=cell, periodic=True, quantities="ijDd"
    )
    kind = (numbers[first] == CHLORINE).astype(int) + (numbers[second] == CHLORINE)
    energy, slope = _short(r, kind)
    x = np.clip((sums.cutoff - r) / (sums.cutoff - sums.switch), 0.0, 1.0)
    switch = x**3 * (10 - 15 * x + 6 * x**2)
    bend = -30 * x**2 * (1 - x) ** 2 / (sums.cutoff - sums.switch)
    energy, slope = energy * switch, slope * switch + energy * bend
    product = COULOMB * charges[first] * charges[second]
    screened = product * scipy.special.erfc(splitting * r) / r
    gaussian = 2 * splitting / math.sqrt(math.pi) * np.exp(-((splitting * r) ** 2))
    energy, slope = energy + screened, slope - (screened + product * gaussian) / r
    pull = (slope / r)[:, None] * vectors
    forces = np.stack(
        [
            np.bincount(first, pull[:, axis], len(positions))
            - np.bincount(second, pull[:, axis], len(positions))
            for axis in range(3)
        ],
        axis=-1,
    )
    return float(energy.sum()), forces, vectors.T @ pull


def _short(r: np.ndarray, kind: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Repulsion and dispersion of pairs, and their derivatives."""
    repulsion = _PREFACTOR[kind] * np.exp((_SIZE[kind] - r) / _RANGE)
    dipole, quadrupole = _DIPOLE[kind] / r**6, _QUADRUPOLE[kind] / r**8
    slope = -repulsion / _RANGE + (6 * dipole + 8 * quadrupole) / r
    return repulsion - dipole - quadrupole, slope


def _waves(
    charges: np.ndarray, positions: np.ndarray, cell: np.ndarray, reach: float, splitting: float
) -> tuple[float, np.ndarray, np.ndarray]:
    """Energy, forces and virial of the smooth part of the Coulomb energy."""
    inverse = np.linalg.inv(cell)
    integers = wave_vectors(cell, reach).astype(np.float64)
    vectors = 2 * math.pi * integers @ inverse.T
    squares = np.sum(vectors**2, axis=1)
    phases = vectors @ positions.T
    cosine, sine = np.cos(phases), np.sin(phases)
    real, imaginary = cosine @ charges, sine @ charges
    # Twice, for opposite wave vectors.
    scale = 4 * math.pi * COULOMB / abs(float(np.linalg.det(cell)))
    weights = scale * np.exp(-squares / (4 * splitting**2)) / squares
    energies = weights * (real**2 + imaginary**2)
    pulls = 2 * weights[:, None] * (sine * real[:, None] - cosine * imaginary[:, None])
    forces = charges[:, None] * (pulls.T @ vectors)
    stretched = 2 * energies * (1 / squares + 1 / (4 * splitting**2))
    virial = (stretched[:, None] * vectors).T @ vectors - energies.sum() * np.eye(3)
    return float(energies.sum()), forces, virial
