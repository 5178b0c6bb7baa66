"""Neighbour lists with a skin: the same neighbours as a fresh search, in shapes that stay."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from efa_zoo.base.errors import InputError
from efa_zoo.structures.neighbors import (
    NeighborList,
    all_pairs,
    neighbor_matrix,
    padded_atoms,
    padded_neighbors,
)

CUTOFF = 3.0


def box(atoms: int, seed: int = 0, density: float = 0.08) -> np.ndarray:
    """Atoms anywhere in a cube of some density (1/Å³)."""
    side = (atoms / density) ** (1 / 3)
    return np.random.default_rng(seed).uniform(0, side, (atoms, 3))


def pairs(neighbors: np.ndarray, mask: np.ndarray) -> set[tuple[int, int]]:
    rows, slots = np.nonzero(mask)
    return set(zip(rows.tolist(), neighbors[rows, slots].tolist(), strict=True))


def close_pairs(listed: NeighborList, positions: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of the list that are within the cutoff, which the network takes."""
    neighbors, mask, _ = listed.update(positions)
    distances = np.linalg.norm(positions[neighbors] - positions[:, None], axis=-1)
    return pairs(neighbors, mask & (distances < CUTOFF))


def test_padded_sizes_are_few_and_large_enough() -> None:
    sizes = {padded_atoms(atoms) for atoms in range(1, 200)}
    assert sizes == {8, 16, 24, 32, 48, 64, 96, 128, 192, 256}
    assert all(atoms <= padded_atoms(atoms) <= max(8, 2 * atoms) for atoms in range(1, 200))


@pytest.mark.parametrize("atoms", [1, 9, 80])
@pytest.mark.parametrize("skin", [0.0, 0.6])
def test_moving_atoms_have_the_neighbors_of_a_fresh_search(atoms: int, skin: float) -> None:
    rng, positions = np.random.default_rng(atoms), box(atoms)
    listed = NeighborList(CUTOFF, skin)
    for _ in range(12):
        assert close_pairs(listed, positions) == pairs(*neighbor_matrix(positions, CUTOFF)[:2])
        positions = positions + rng.normal(scale=0.08, size=positions.shape)


def test_a_list_is_kept_until_an_atom_has_moved_half_the_skin() -> None:
    positions = box(80)
    listed = NeighborList(CUTOFF, 0.6)
    first = listed.update(positions)
    positions[7, 1] += 0.29
    assert listed.update(positions) is first
    positions[7, 1] += 0.02
    assert listed.update(positions) is not first
    assert listed.searches == 2
    listed.update(box(81))
    assert listed.searches == 3


def test_small_molecules_list_all_pairs_and_never_search_again() -> None:
    listed = NeighborList(CUTOFF, 0.5)
    for seed in range(3):
        neighbors, mask, _ = listed.update(box(20, seed, density=0.001 + 0.1 * seed))
        assert neighbors.shape == (20, 24)
        assert mask.sum() == 20 * 19
    assert listed.searches == 1


def test_widths_have_head_room_and_never_shrink() -> None:
    listed = NeighborList(CUTOFF, 0.5)
    thin, thick = box(90, density=0.03), box(90, density=0.3)
    narrow = listed.update(thin)[0].shape[1]
    needed = neighbor_matrix(thin, CUTOFF + 0.5)[0].shape[1]
    assert narrow == 8 * math.ceil(1.25 * needed / 8)
    wide = listed.update(thick)[0].shape[1]
    assert wide > narrow
    assert listed.update(thin)[0].shape[1] == wide
    assert listed.update(box(90, density=5.0))[0].shape[1] == 96  # no wider than the padded size


def test_a_restored_list_is_the_same() -> None:
    listed, other = NeighborList(CUTOFF, 0.6), NeighborList(CUTOFF, 0.6)
    listed.update(box(90, density=0.3))
    positions = box(90)
    listed.update(positions)
    other.restore(json.loads(json.dumps(listed.state())))
    moved = positions + 0.1
    for found, expected in zip(other.update(moved)[:2], listed.update(moved)[:2], strict=True):
        np.testing.assert_array_equal(found, expected)
    assert other.searches == 1
    other.restore(NeighborList(CUTOFF, 0.6).state())
    assert other.update(positions)[0].shape[1] <= listed.update(positions)[0].shape[1]


def test_all_pairs_are_those_of_atoms_that_exist() -> None:
    mask = np.array([[True, True, False], [True, True, True]])
    neighbors, found = all_pairs(mask)
    assert pairs(neighbors[0], found[0]) == {(0, 1), (1, 0)}
    assert pairs(neighbors[1], found[1]) == {(i, j) for i in range(3) for j in range(3) if i != j}
    assert (neighbors[0, 2] == 2).all()


def test_common_sizes_are_few_and_large_enough() -> None:
    sizes = set()
    for atoms in range(1, 150):
        points = np.arange(3.0 * atoms).reshape(atoms, 3)
        num_atoms, num_neighbors = padded_atoms(atoms), padded_neighbors(points, 20.0)
        found = neighbor_matrix(points, 20.0)[0].shape[1]
        assert atoms <= num_atoms <= max(8, 2 * atoms)
        assert found <= num_neighbors <= num_atoms
        sizes.add((num_atoms, num_neighbors))
    assert {size[0] for size in sizes} == {8, 16, 24, 32, 48, 64, 96, 128, 192}
    assert len(sizes) == 9


@pytest.mark.parametrize("skin", [-0.1, float("nan"), float("inf")])
def test_a_skin_that_is_none_is_refused(skin: float) -> None:
    with pytest.raises(InputError, match="skin: got"):
        NeighborList(CUTOFF, skin)
