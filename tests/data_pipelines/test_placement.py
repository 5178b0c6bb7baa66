"""Geometry of dimers."""

from __future__ import annotations

import numpy as np
import pytest

from data_pipelines.placement import (
    MAX_SEPARATION,
    HydrogenBonds,
    closest_contact,
    contact_distances,
    draw_hydrogen_bond,
    draw_separation,
    random_direction,
    random_rotation,
    separation_at_contact,
)

WATER = np.array([[0.0, 0.0, -0.066], [0.76, 0.0, 0.52], [-0.76, 0.0, 0.52]])
NUMBERS = np.array([8, 1, 1], np.int32)


def test_rotations_are_proper_and_average_to_nothing() -> None:
    rng = np.random.default_rng(0)
    rotations = np.array([random_rotation(rng) for _ in range(2000)])
    identity = np.broadcast_to(np.eye(3), rotations.shape)
    np.testing.assert_allclose(rotations @ rotations.transpose(0, 2, 1), identity, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(rotations), 1.0)
    assert np.abs(rotations.mean(axis=0)).max() < 0.06


def test_contact_distances_are_shorter_for_hydrogen_bonds() -> None:
    distances = contact_distances(NUMBERS, NUMBERS)
    assert distances[0, 0] == pytest.approx(3.04)
    assert distances[0, 1] == distances[1, 0] == pytest.approx(2.12)
    assert distances[1, 2] == pytest.approx(2.20)


FORMALDEHYDE = np.array([6, 8, 1, 1], np.int32)
FORMALDEHYDE_POSITIONS = np.array([[0, 0, 0], [0, 0, 1.21], [0.94, 0, -0.58], [-0.94, 0, -0.58]])


def test_hydrogen_on_oxygen_gives_a_bond_and_hydrogen_on_carbon_does_not() -> None:
    possible = HydrogenBonds.between((NUMBERS, WATER), (FORMALDEHYDE, FORMALDEHYDE_POSITIONS))
    to_oxygen = np.array([False, True, False, False])
    np.testing.assert_array_equal(possible.bonds, [0 * to_oxygen, to_oxygen, to_oxygen])
    np.testing.assert_array_equal(possible.spanned, [to_oxygen, 0 * to_oxygen, 0 * to_oxygen])
    ion = HydrogenBonds.between((np.array([9], np.int32), np.zeros((1, 3))), (NUMBERS, WATER))
    np.testing.assert_array_equal(ion.bonds, [[False, True, True]])
    assert not HydrogenBonds.between(*[(FORMALDEHYDE, FORMALDEHYDE_POSITIONS)] * 2).bonds.any()


def test_drawn_hydrogen_bonds_are_short_and_nothing_else_touches() -> None:
    rng = np.random.default_rng(3)
    distances = contact_distances(NUMBERS, NUMBERS)
    possible = HydrogenBonds.between((NUMBERS, WATER), (NUMBERS, WATER))
    lengths = []
    for _ in range(60):
        found = draw_hydrogen_bond(WATER, WATER, distances, possible, rng)
        assert found is not None
        placed, separation = found
        gaps = np.linalg.norm(WATER[:, None] - placed[None], axis=-1) / distances
        assert np.linalg.norm(placed.mean(axis=0) - WATER.mean(axis=0)) < separation + 1.0
        lengths.append(gaps[possible.bonds].min())
        assert gaps[possible.spanned].min() > 0.7 - 1e-9
        assert gaps[~(possible.bonds | possible.spanned)].min() > 0.8 - 1e-9
    assert 0.6 - 1e-9 <= min(lengths) < 0.65
    assert 1.1 < max(lengths) <= 1.2 + 1e-9
    none = HydrogenBonds.between(*[(FORMALDEHYDE, FORMALDEHYDE_POSITIONS)] * 2)
    apart = contact_distances(FORMALDEHYDE, FORMALDEHYDE)
    molecule = FORMALDEHYDE_POSITIONS
    assert draw_hydrogen_bond(molecule, molecule, apart, none, rng) is None


def test_at_contact_the_first_pair_touches_and_no_pair_overlaps() -> None:
    rng = np.random.default_rng(1)
    distances = contact_distances(NUMBERS, NUMBERS)
    for _ in range(50):
        first, second = (WATER @ random_rotation(rng).T for _ in range(2))
        direction = random_direction(rng)
        separation = separation_at_contact(first, second, direction, distances)
        placed = second + separation * direction
        ratios = np.linalg.norm(first[:, None] - placed[None], axis=-1) / distances
        assert ratios.min() == pytest.approx(1.0, abs=1e-9)


def test_separations_reach_from_the_wall_to_the_end() -> None:
    rng = np.random.default_rng(2)
    distances = contact_distances(NUMBERS, NUMBERS)
    drawn, ratios = [], []
    for _ in range(500):
        first, second = (WATER @ random_rotation(rng).T for _ in range(2))
        direction = random_direction(rng)
        separation = draw_separation(first, second, direction, distances, rng)
        placed = second + separation * direction
        drawn.append(separation)
        ratios.append(np.min(np.linalg.norm(first[:, None] - placed[None], axis=-1) / distances))
    assert max(drawn) <= MAX_SEPARATION
    assert max(drawn) > 14.5
    assert 0.8 - 1e-9 <= min(ratios) < 0.83
    assert np.mean(np.array(drawn) < 6.0) > 0.4


def test_closest_contact() -> None:
    assert closest_contact(np.zeros((1, 3)), np.array([[0.0, 3.0, 4.0]])) == pytest.approx(5.0)
