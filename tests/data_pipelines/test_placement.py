"""Geometry of dimers."""

from __future__ import annotations

import numpy as np
import pytest

from data_pipelines.sampling.placement import (
    MAX_SEPARATION,
    closest_contact,
    contact_distances,
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
