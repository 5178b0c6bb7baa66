"""Closed-form energies: exact gradients, known limits, and the published numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from data_pipelines.labels.potentials import (
    COULOMB,
    PairPotential,
    charge_and_dipole,
    cluster_potential,
    damped_coulomb_potential,
    inverse_potential,
    sum_over_pairs,
    two_atom_potential,
)

POTENTIALS = [two_atom_potential, cluster_potential, inverse_potential, damped_coulomb_potential]
PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "reference" / "datasets"


def minus_gradient(
    energy: Callable[[np.ndarray], float], positions: np.ndarray, step: float = 1e-5
) -> np.ndarray:
    forces = np.zeros_like(positions)
    for index in np.ndindex(*positions.shape):
        shift = np.zeros_like(positions)
        shift[index] = step
        forces[index] = (energy(positions - shift) - energy(positions + shift)) / (2 * step)
    return forces


def scattered(seed: int, atoms: int = 5) -> np.ndarray:
    """Atoms about 1.5 Å apart."""
    rng = np.random.default_rng(seed)
    corners = np.stack(np.meshgrid(*[np.arange(2)] * 3), axis=-1).reshape(-1, 3)[:atoms]
    return 1.7 * corners + 0.2 * rng.normal(size=(atoms, 3))


@pytest.mark.parametrize("potential", POTENTIALS)
@pytest.mark.parametrize("charged", [False, True])
def test_forces_are_minus_the_gradient(potential: PairPotential, charged: bool) -> None:
    positions = scattered(0)
    charges = np.array([1.0, -2.0, 0.5, 0.0, 1.5]) if charged else None
    _, forces = sum_over_pairs(potential, positions, charges)
    expected = minus_gradient(lambda x: sum_over_pairs(potential, x, charges)[0], positions)
    np.testing.assert_allclose(forces, expected, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-12)


def test_every_pair_counts_once() -> None:
    positions = scattered(1)
    charges = np.array([1.0, -1.0, 2.0, 1.0, -3.0])
    expected = sum(
        charges[i] * charges[j] / np.linalg.norm(positions[i] - positions[j])
        for i in range(5)
        for j in range(i)
    )
    found, _ = sum_over_pairs(inverse_potential, positions, charges)
    assert found == pytest.approx(expected, rel=1e-13)


def test_damping_ends_where_charges_are_apart_and_keeps_them_finite() -> None:
    far, _ = damped_coulomb_potential(np.array([20.0]))
    assert far[0] == pytest.approx(14.4 / 20, rel=1e-4)
    near, _ = damped_coulomb_potential(np.array([1e-6]))
    assert near[0] == pytest.approx(COULOMB / np.sqrt(np.pi), rel=1e-6)


def test_charge_and_dipole_have_exact_forces_and_like_to_point_at_each_other() -> None:
    rng = np.random.default_rng(2)
    positions = np.array([[0.3, 1.0, -0.2], [1.6, -0.4, 0.9]])
    direction = rng.normal(size=3)
    direction /= np.linalg.norm(direction)
    _, forces = charge_and_dipole(positions[0], positions[1], direction)
    expected = minus_gradient(lambda x: charge_and_dipole(x[0], x[1], direction)[0], positions)
    np.testing.assert_allclose(forces, expected, rtol=1e-8, atol=1e-8)

    origin, away = np.zeros(3), np.array([0.0, 0.0, 2.0])
    energies = [
        charge_and_dipole(away, origin, np.array([np.sin(a), 0.0, np.cos(a)]))[0]
        for a in (0, np.pi / 2, np.pi)
    ]
    np.testing.assert_allclose(energies, [1 / 8 - 1 / 4, 1 / 8, 1 / 8 + 1 / 4])


@pytest.mark.parametrize(
    ("file", "potential", "energy_noise", "force_noise"),
    [
        ("two_atoms.npz", two_atom_potential, 2e-6, 3e-5),
        ("3D_cluster_16_atoms_radius_2point5.npz", cluster_potential, 1e-4, 3e-6),
        ("3D_cluster_32_atoms_radius_5.npz", cluster_potential, 4e-4, 3e-6),
    ],
)
def test_published_labels_are_those_of_the_formula(
    file: str, potential: PairPotential, energy_noise: float, force_noise: float
) -> None:
    if not (PUBLISHED / file).exists():
        pytest.skip("the published data sets are not here")
    with np.load(PUBLISHED / file) as published:
        rows = slice(None, None, 50)
        positions = published["positions"][rows].astype(np.float64)
        energies, forces = published["energy"][rows], published["forces"][rows]
    for x, energy, force in zip(positions, energies, forces, strict=True):
        found, gradient = sum_over_pairs(potential, x)
        assert found == pytest.approx(float(energy), abs=energy_noise)
        np.testing.assert_allclose(gradient, force, atol=force_noise)
