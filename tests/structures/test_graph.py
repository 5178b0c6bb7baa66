"""Molecules: building, neighbours, padding, stacking, and what is refused."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from efa_zoo.base.config import MessagePassingConfig
from efa_zoo.base.contracts import CONTRACTS
from efa_zoo.base.errors import InputError
from efa_zoo.nn import pair_basis
from efa_zoo.structures.graph import Graph, Shape, check_graph, pack, pack_one, stack
from efa_zoo.structures.molecule import Molecule
from efa_zoo.structures.neighbors import neighbor_matrix

_NUMBERS = [8, 1, 1]
_POSITIONS = [[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]


@hypothesis.settings(max_examples=20, derandomize=True, deadline=None, database=None)
@hypothesis.given(
    atoms=st.integers(1, 8), cutoff=st.none() | st.floats(0.5, 4.0), seed=st.integers(0, 99)
)
def test_neighbours_are_all_pairs_closer_than_the_cutoff(
    atoms: int, cutoff: float | None, seed: int
) -> None:
    positions = 2 * np.random.default_rng(seed).normal(size=(atoms, 3))
    neighbors, mask, _ = neighbor_matrix(positions, cutoff)
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    wanted = (distances < (np.inf if cutoff is None else cutoff)) & ~np.eye(atoms, dtype=bool)
    assert neighbors.dtype == np.int32
    assert neighbors.shape == mask.shape == (atoms, max(1, wanted.sum(axis=1).max()))
    for atom in range(atoms):
        assert neighbors[atom][mask[atom]].tolist() == np.flatnonzero(wanted[atom]).tolist()
        assert (neighbors[atom][~mask[atom]] == atom).all()


def test_a_molecule_from_arrays() -> None:
    graph = Graph.from_arrays(_NUMBERS, _POSITIONS, 1.2, total_charge=-1)
    assert (graph.num_atoms, graph.num_neighbors) == (3, 2)
    assert graph.neighbors.tolist() == [[1, 2], [0, 1], [0, 2]]
    assert graph.neighbor_mask.tolist() == [[True, True], [True, False], [True, False]]
    assert graph.atomic_numbers.dtype == np.int32
    assert graph.positions.dtype == np.float32
    assert graph.total_charge.dtype == np.int32
    assert graph.total_charge == -1
    assert graph.atomic_dipoles is None
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(graph))
    double = Graph.from_arrays(_NUMBERS, _POSITIONS, 1.2, dtype=np.float64)
    assert double.positions.dtype == np.float64


def test_padding() -> None:
    dipoles = np.arange(9.0).reshape(3, 3)
    graph = Graph.from_arrays(
        _NUMBERS, _POSITIONS, 1.2, num_atoms=5, num_neighbors=4, atomic_dipoles=dipoles
    )
    assert graph.atomic_numbers.tolist() == [8, 1, 1, 0, 0]
    assert np.asarray(graph.atom_mask).tolist() == [True, True, True, False, False]
    assert graph.neighbors[:, 2:].tolist() == [[i, i] for i in range(5)]
    assert graph.neighbor_mask.sum() == 4
    assert not graph.positions[3:].any()
    assert graph.atomic_dipoles is not None
    np.testing.assert_array_equal(graph.atomic_dipoles[:3], dipoles)
    assert not graph.atomic_dipoles[3:].any()
    again = Graph.from_arrays(_NUMBERS, _POSITIONS, 1.2, atomic_dipoles=dipoles).pad(5, 4)
    for a, b in zip(jax.tree.leaves(graph), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_molecule_from_ase() -> None:
    atoms = Atoms("OH", positions=[[0, 0, 0], [0, 0, 1]], info={"charge": -1})
    graph = Graph.from_ase(atoms, None, dtype=np.float64, num_atoms=3, num_neighbors=2)
    assert graph.atomic_numbers.tolist() == [8, 1, 0]
    assert graph.total_charge == -1
    assert Graph.from_ase(atoms, None, total_charge=1).total_charge == 1
    atoms.arrays["atomic_dipoles"] = np.ones((2, 3))
    dipoles = Graph.from_ase(atoms, None).atomic_dipoles
    np.testing.assert_array_equal(dipoles, np.ones((2, 3)))
    atoms.pbc = (True, False, False)
    with pytest.raises(InputError, match=re.escape("cell: vector 0 is [0.0, 0.0, 0.0]")):
        Graph.from_ase(atoms, 3.0)


def test_one_atom_and_atoms_without_neighbours() -> None:
    for cutoff in (None, 3.0):
        graph = Graph.from_arrays([2], [[1.0, 2.0, 3.0]], cutoff)
        assert graph.neighbors.tolist() == [[0]]
        assert graph.neighbor_mask.tolist() == [[False]]
    apart = Graph.from_arrays([2, 2], [[0, 0, 0], [0, 0, 9]], 3.0)
    assert apart.neighbor_mask.tolist() == [[False], [False]]


def test_a_batch_pads_all_to_one_size() -> None:
    small = Graph.from_arrays([2], [[0.0, 0.0, 0.0]], 3.0, total_charge=1)
    water = Graph.from_arrays(_NUMBERS, _POSITIONS, None)
    batch = stack([small, water])
    assert batch.atomic_numbers.tolist() == [[2, 0, 0], _NUMBERS]
    assert batch.total_charge.tolist() == [1, 0]
    assert (batch.num_atoms, batch.num_neighbors) == (3, 2)
    assert np.asarray(batch.atom_mask).sum() == 4
    larger = stack([small, water], num_atoms=4, num_neighbors=5)
    assert larger.neighbors.shape == (2, 4, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"atomic_numbers": []}, "atomic_numbers: got shape (0,)"),
        ({"atomic_numbers": [[8, 1, 1]]}, "atomic_numbers: got shape (1, 3)"),
        ({"atomic_numbers": [8, 1, 0]}, "atomic_numbers: got 0, expected integers of at least 1"),
        ({"atomic_numbers": [8.0, 1.0, 1.0]}, "atomic_numbers: got float64, expected integers"),
        ({"positions": [[0.0, 0.0, 0.0]]}, "positions: got shape (1, 3), expected (3, 3)"),
        (
            {"positions": [[0, 0, 0], [1, 0, np.nan], [2, 0, 0]]},
            "positions: atom 1 has [1.0, 0.0, nan], expected finite numbers",
        ),
        (
            {"positions": [[0, 0, 0], [0, 0, 1e300], [2, 0, 0]]},
            "positions: atom 1 has [0.0, 0.0, 1e+300], expected components within ±1e+06",
        ),
        ({"positions": None}, "positions: got None, expected an array"),
        ({"positions": np.zeros((3, 3), complex)}, "positions: got complex128, expected real"),
        ({"positions": [["0", "0", "0"]] * 3}, "positions: got str32, expected real numbers"),
        ({"positions": [[0, 0, 0], [1, 0]]}, "positions: not an array of numbers"),
        ({"atomic_dipoles": np.zeros((2, 3))}, "atomic_dipoles: got shape (2, 3)"),
        (
            {"atomic_dipoles": np.full((3, 3), np.nan)},
            "atomic_dipoles: atom 0 has [nan, nan, nan], expected finite numbers",
        ),
        ({"num_atoms": 2}, "num_atoms: got 2, expected at least 3"),
        ({"num_neighbors": 1}, "num_neighbors: got 1, expected at least 2"),
    ],
)
def test_wrong_molecules_are_refused_by_name(change: dict[str, Any], message: str) -> None:
    arguments = {"atomic_numbers": _NUMBERS, "positions": _POSITIONS, "cutoff": 1.2}
    with pytest.raises(InputError, match="^" + re.escape(message)):
        Graph.from_arrays(**(arguments | change))


def test_wrong_batches_are_refused() -> None:
    graph = Graph.from_arrays(_NUMBERS, _POSITIONS, 1.2)
    dipoles = Graph.from_arrays(_NUMBERS, _POSITIONS, 1.2, atomic_dipoles=np.zeros((3, 3)))
    with pytest.raises(InputError, match="graphs: got none"):
        stack([])
    with pytest.raises(InputError, match="atomic_dipoles: given for some molecules only"):
        stack([graph, dipoles])
    with pytest.raises(InputError, match="num_atoms: got 2, expected at least 3"):
        stack([graph], num_atoms=2)


@pytest.mark.skipif(not CONTRACTS, reason="contracts are off")
def test_the_contract_of_one_molecule_names_the_leaf() -> None:
    graph = Graph.from_arrays(_NUMBERS, _POSITIONS, 1.2)
    check_graph(graph)
    check_graph(jax.tree.map(lambda leaf: leaf[0], stack([graph, graph])))
    with pytest.raises(TypeCheckError, match="atomic_numbers"):
        check_graph(stack([graph, graph]))
    wrong = {
        "atomic_numbers": np.zeros(3, np.float32),
        "positions": np.zeros((3, 2), np.float32),
        "neighbors": np.zeros((4, 2), np.int32),
        "neighbor_mask": np.zeros((3, 2), np.int32),
        "total_charge": jnp.zeros(1, int),
        "atomic_dipoles": np.zeros((3, 4), np.float32),
    }
    for name, leaf in wrong.items():
        fields = {field: getattr(graph, field) for field in wrong}
        with pytest.raises(TypeCheckError, match=name):
            check_graph(Graph(**(fields | {name: leaf})))


# -------------------------------------------------------------------------------------------
# Packing


def molecules() -> list[Molecule]:
    rng = np.random.default_rng(0)
    return [
        Molecule(
            numbers=rng.integers(1, 9, atoms),
            positions=rng.uniform(0, 4, (atoms, 3)) + 100,
            charge=charge,
        )
        for atoms, charge in ((3, 1), (5, -1))
    ]


@pytest.mark.parametrize("width", [7, 4])
def test_packing_pads_centres_and_lists(width: int) -> None:
    batch = pack(molecules(), Shape(3, 7, width), reach=3.0, dtype=np.float64)
    assert batch.neighbors.shape == (3, 7, width)
    assert batch.total_charge.tolist() == [1, -1, 0]
    assert batch.reach == (np.inf if width == 7 else 3.0)
    for row, molecule in enumerate(molecules()):
        atoms = molecule.num_atoms
        assert batch.atomic_numbers[row, :atoms].tolist() == molecule.numbers.tolist()
        assert not batch.atomic_numbers[row, atoms:].any()
        assert np.abs(batch.positions[row].sum(axis=0)).max() < 1e-12
        own = pack_one(molecule, 7, width, reach=3.0, dtype=np.float64)
        for packed, alone in zip(jax.tree.leaves(batch), jax.tree.leaves(own), strict=True):
            np.testing.assert_array_equal(packed[row], alone)
        if width == 7:
            continue
        listed = batch.neighbor_mask[row].sum()
        distances = np.linalg.norm(molecule.positions[:, None] - molecule.positions, axis=-1)
        assert listed == (distances < 3).sum() - atoms
    assert not batch.neighbor_mask[2].any()


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="shape: got 4 atoms, expected at least 5"):
        pack(molecules(), Shape(2, 4, 4), reach=3.0)
    with pytest.raises(InputError, match="shape: got 1 neighbours"):
        pack(molecules(), Shape(2, 6, 1), reach=30.0)
    one, other = molecules()
    with pytest.raises(InputError, match="multiplicity: given for some"):
        pack([one, dataclasses.replace(other, multiplicity=1)], Shape(2, 6, 6), reach=3.0)


def test_charges_that_are_no_integers_are_refused() -> None:
    for charge in (0.9, np.float64(0.5), True, "1"):
        with pytest.raises(InputError, match="charge: got"):
            Graph.from_arrays([1], [[0, 0, 0]], None, total_charge=charge)  # type: ignore[arg-type]
    assert Graph.from_arrays([1], [[0, 0, 0]], None, total_charge=np.int64(1)).total_charge == 1


def test_a_network_refuses_a_list_that_ends_before_its_cutoff() -> None:
    config = MessagePassingConfig(cutoff=4.0)
    positions = [[0.0, 0.0, 0.0], [0.0, 0.0, 3.5]]
    near = Graph.from_arrays([1, 1], positions, 3.0)
    with pytest.raises(InputError, match="lists neighbours up to 3 Å, expected at least the cut"):
        pair_basis(near, config)
    farther = [Graph.from_arrays([1, 1], positions, cutoff) for cutoff in (4.0, 9.0, None)]
    for graph in farther:
        assert pair_basis(graph, config).radial.any()
    assert stack([near, farther[2]]).reach == 3.0
    too_far = Graph.from_arrays([1, 1], [[0.0, 0.0, 0.0], [0.0, 0.0, 4.5]], 9.0)
    sharp = dataclasses.replace(config, cutoff_function="none")
    assert not pair_basis(too_far, sharp).radial.any()


def test_a_multiplicity_must_fit_the_electrons() -> None:
    for multiplicity, charge in ((2, 0), (1, 1), (0, 0), (13, 0)):
        with pytest.raises(InputError, match="multiplicity: got"):
            Graph.from_arrays(
                [8, 1, 1],
                [[0, 0, 0], [1, 0, 0], [0, 1, 0]],
                None,
                total_charge=charge,
                multiplicity=multiplicity,
            )
    graph = Graph.from_arrays([8, 8], [[0, 0, 0], [1.2, 0, 0]], None, multiplicity=3)
    assert graph.unpaired_electrons == 2
