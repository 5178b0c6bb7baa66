"""Cells: what is refused, neighbours across faces, wave vectors, packing."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

from efa_zoo.base.errors import InputError
from efa_zoo.structures.cells import OPEN, Pbc, check_cell, padded_waves, wave_vectors
from efa_zoo.structures.distances import closest
from efa_zoo.structures.graph import Graph, Shape, pack
from efa_zoo.structures.molecule import Molecule
from efa_zoo.structures.neighbors import NeighborList, neighbor_matrix
from efa_zoo.structures.packing import WaveWidth

CELL = np.array([[5.0, 0.3, -0.2], [0.8, 4.6, 0.4], [-0.5, 0.6, 5.3]])
ALL: Pbc = (True, True, True)


def positions(atoms: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 2, (atoms, 3)) @ CELL


@pytest.mark.parametrize(
    ("cell", "pbc", "message"),
    [
        (np.zeros((3, 3)), True, r"vector 0 is \[0.0, 0.0, 0.0\], but pbc says"),
        (np.diag([5.0, 0.0, 5.0]), (True, True, False), "vector 1 is"),
        (np.diag([5.0, 5.0, np.inf]), True, "vector 2 is"),
        (np.diag([5.0, 5.0, 2e4]), True, "expected one of at most 10000 Å"),
        (np.diag([5.0, -5.0, 5.0]), True, "is left-handed"),
        ([[5, 0, 0], [0, 5, 0], [5, 5, 0]], True, "is singular"),
        (np.diag([5.0, 0.5, 5.0]), True, "is 0.5 Å thick along vector 1, expected at least 1 Å"),
        ([[5, 0, 0], [4.9, 0.4, 0], [0, 0, 5]], True, "Å thick along vector"),
        (np.eye(2), True, r"cell: got shape \(2, 2\)"),
        (None, True, "cell: got shape"),
        (np.eye(3), "yes", "pbc: got 'yes'"),
        (np.eye(3), (True, False), "pbc: got"),
    ],
)
def test_cells_that_are_none_are_refused(cell: object, pbc: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_cell(cell, pbc)


def test_directions_that_are_not_periodic_need_no_vector() -> None:
    assert check_cell(np.zeros((3, 3)), False) == (None, OPEN)
    assert check_cell(None, None) == (None, OPEN)
    for pbc in ((True, False, False), (False, True, True), (False, True, False)):
        cell = CELL * np.array(pbc)[:, None]
        found, periodic = check_cell(cell, pbc)
        assert found is not None and periodic == pbc
        np.testing.assert_array_equal(found[list(pbc)], cell[list(pbc)])
        assert np.linalg.det(found) > 0
        others = found[~np.array(pbc)]
        np.testing.assert_allclose(others @ others.T, np.eye(len(others)), atol=1e-12)
        np.testing.assert_allclose(others @ found[list(pbc)].T, 0, atol=1e-12)


@pytest.mark.parametrize("pbc", [ALL, (True, False, True), (False, True, False)])
def test_neighbours_are_those_of_ase(pbc: Pbc) -> None:
    cell, _ = check_cell(CELL, pbc)
    assert cell is not None
    places, cutoff = positions(), 6.0  # longer than the cell: several images of one atom
    found = neighbor_matrix(places, cutoff, cell, pbc)
    assert found.shifts is not None
    ours = {
        (atom, int(found.indices[atom, slot]), *found.shifts[atom, slot].tolist())
        for atom, slot in zip(*np.nonzero(found.mask), strict=True)
    }
    atoms = Atoms("H6", positions=places, cell=cell, pbc=pbc)
    first, second, shifts = neighbor_list("ijS", atoms, cutoff)
    theirs = {(int(i), int(j), *s.tolist()) for i, j, s in zip(first, second, shifts, strict=True)}
    assert ours == theirs
    assert not found.shifts[~found.mask].any()


def test_displacements_reach_into_other_cells() -> None:
    graph = Graph.from_arrays([1] * 6, positions(), 5.0, cell=CELL, dtype=np.float64)
    distances = np.linalg.norm(graph.displacements(), axis=-1)
    assert distances[graph.neighbor_mask].max() < 5.0
    atoms = Atoms("H6", positions=positions(), cell=CELL, pbc=True)
    expected = np.sort(neighbor_list("d", atoms, 5.0))
    np.testing.assert_allclose(np.sort(distances[graph.neighbor_mask]), expected, atol=1e-5)


def test_wave_vectors_are_one_of_every_two_within_reach() -> None:
    reach = 6.0
    found = wave_vectors(CELL, reach)
    grid = np.stack(np.meshgrid(*[np.arange(-9, 10)] * 3), -1).reshape(-1, 3)
    lengths = 2 * math.pi * np.linalg.norm(grid @ np.linalg.inv(CELL).T, axis=1)
    expected = {tuple(n) for n in grid[(lengths <= reach) & (lengths > 0)].tolist()}
    ours = {tuple(n) for n in found.tolist()}
    assert len(ours) == len(found) == len(expected) / 2
    assert ours | {tuple(-x for x in n) for n in ours} == expected
    with pytest.raises(InputError, match="wave vectors up to 200 1/Å are too many"):
        wave_vectors(10 * CELL, 200.0)
    assert [padded_waves(n) for n in (0, 16, 17, 24, 25, 33, 64, 65)] == [
        16, 16, 24, 24, 32, 48, 64, 96,
    ]  # fmt: skip


def test_cells_that_grow_keep_their_shape() -> None:
    width = WaveWidth(6.0)

    def molecule(scale: float) -> Molecule:
        return Molecule(
            numbers=np.ones(6, int), positions=positions(), charge=0, cell=scale * CELL, pbc=ALL
        )

    first = width(molecule(1.0))
    assert first >= 1.25 * len(wave_vectors(CELL, 6.0))
    assert width(molecule(1.05)) == width(molecule(0.9)) == first
    assert width(molecule(1.5)) > first
    assert WaveWidth(0.0)(molecule(1.0)) == 0


def test_lists_are_kept_until_cell_or_atoms_move() -> None:
    listed = NeighborList(4.0, 1.0)
    first = listed.update(positions(), CELL, ALL)
    assert listed.update(positions() + 0.2, CELL, ALL) is first
    assert listed.update(positions(), 1.01 * CELL, ALL) is not first
    assert listed.update(positions(), CELL, (True, True, False)).width > 0
    assert listed.searches == 3
    state = listed.state()
    other = NeighborList(4.0, 1.0)
    other.restore(state)
    np.testing.assert_array_equal(
        other.update(positions(), CELL, (True, True, False)).indices,
        listed.update(positions(), CELL, (True, True, False)).indices,
    )


def test_the_closest_atoms_may_be_images() -> None:
    places = np.array([[0.1, 0, 0], [4.9, 0, 0]])
    cell = np.diag([5.0, 6.0, 7.0])
    assert closest(places)[0] == pytest.approx(4.8)
    assert closest(places, cell, ALL) == (pytest.approx(0.2), 0, 1)
    assert closest(places, cell, (False, True, True))[0] == pytest.approx(4.8)
    assert closest(places[:1], cell, ALL) == (pytest.approx(5.0), 0, 0)
    assert closest(places[:1], cell, (False, False, True)) == (pytest.approx(7.0), 0, 0)


def test_packing_refuses_what_does_not_fit() -> None:
    inside = Molecule(numbers=np.ones(6, int), positions=positions(), charge=0, cell=CELL, pbc=ALL)
    outside = Molecule(numbers=np.ones(6, int), positions=positions(), charge=0)
    with pytest.raises(InputError, match=r"pbc: got .* in one batch"):
        pack([inside, outside], Shape(2, 8, 64, 64, ALL), reach=3.0)
    with pytest.raises(InputError, match="shape: got pbc"):
        pack([inside], Shape(2, 8, 64), reach=3.0)
    with pytest.raises(InputError, match="shape: got 4 wave vectors, expected at least"):
        pack([inside], Shape(2, 8, 64, 4, ALL), reach=3.0, wave_reach=4.0)
    lists = neighbor_matrix(positions(), 3.0, CELL, ALL)
    for wrong in (lists._replace(shifts=None), lists._replace(shifts=lists.shifts[:, :1])):  # type: ignore[index]
        with pytest.raises(InputError, match="shifts: got"):
            pack([inside], Shape(1, 8, 64, 0, ALL), reach=3.0, lists=[wrong])
    slab = dataclasses.replace(inside, pbc=(True, True, False))
    with pytest.raises(InputError, match="along directions that are not periodic"):
        pack([slab], Shape(1, 8, 64, 0, slab.pbc), reach=3.0, lists=[lists])
    batch = pack([inside], Shape(2, 8, 64, 64, ALL), reach=3.0, wave_reach=4.0)
    assert batch.cell is not None and batch.waves is not None
    np.testing.assert_allclose(np.linalg.det(batch.cell[1]), 1.0)  # padding can be inverted
    assert not batch.waves[1].any()
    with pytest.raises(InputError, match="cutoff: got None"):
        Graph.from_arrays([1], [[0, 0, 0]], None, cell=CELL)


def test_a_graph_from_ase() -> None:
    atoms = Atoms("NaCl", positions=[[0, 0, 0], [2.8, 0, 0]], cell=CELL, pbc=True)
    graph = Graph.from_ase(atoms, 4.0, wave_reach=5.0, dtype=np.float64)
    assert graph.pbc == ALL and graph.wave_reach == 5.0 and graph.waves is not None
    np.testing.assert_array_equal(graph.cell, CELL)  # type: ignore[arg-type]
    slab = Atoms("NaCl", positions=[[0, 0, 0], [2.8, 0, 0]], cell=CELL, pbc=(True, True, False))
    flat = Graph.from_ase(slab, 4.0, wave_reach=5.0)
    assert flat.pbc == (True, True, False) and flat.waves is None and flat.wave_reach == 0
    atoms.pbc = False
    assert Graph.from_ase(atoms, 4.0).cell is None
