"""Bonds by distances, and what every atom is bonded to."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from hypothesis import given
from hypothesis import strategies as st

from efa_zoo.base.errors import ConfigError
from efa_zoo.structures.bonding import bonded_pairs, environments, unknown_environments
from efa_zoo.structures.cells import check_cell
from efa_zoo.structures.domain import as_environment, environment_text


def texts(atoms: Atoms) -> list[str]:
    cell, pbc = check_cell(atoms.cell.array, atoms.pbc)
    found = environments(atoms.numbers, atoms.get_positions(), cell, pbc)
    return [environment_text(environment) for environment in found]


def test_bonds_of_a_molecule_are_those_of_chemistry() -> None:
    assert sorted(texts(molecule("CH3CH2OH"))) == sorted(
        ["C H3C", "C H2CO", "O HC", "H O", "H C", "H C", "H C", "H C", "H C"]
    )
    assert texts(Atoms("O")) == ["O"]


@given(st.integers(0, 10_000))
def test_many_atoms_are_searched_as_few_ones_are(seed: int) -> None:
    rng = np.random.default_rng(seed)
    numbers = rng.choice([1, 6, 8, 17], 130)
    positions = rng.uniform(0, 6, (130, 3))
    pairs = bonded_pairs(numbers, positions, factor=1.15)
    some = bonded_pairs(numbers[:70], positions[:70], factor=1.15)
    assert {tuple(sorted(p)) for p in some.tolist()} == {
        tuple(sorted(p)) for p in pairs.tolist() if max(p) < 70
    }


def test_images_in_a_cell_are_partners() -> None:
    salt = bulk("NaCl", "rocksalt", a=5.2)
    assert texts(salt) == ["Na Na12Cl6", "Cl Na6"]
    assert texts(salt.repeat(2)) == ["Na Na12Cl6", "Cl Na6"] * 8


@given(st.floats(0.7, 1.3))
def test_a_bond_is_known_from_whole_to_broken(length: float) -> None:
    """Wherever a proton is on its way, one of the two ends or the middle is what it looks like."""
    known = {(1, 8), (8, 1), (8,), (1,)}
    numbers, positions = np.asarray([8, 1]), np.asarray([[0, 0, 0], [0, 0, length]])
    assert not unknown_environments(known, numbers, positions)
    stretched = unknown_environments(known - {(8,), (1,)}, numbers, positions)
    assert stretched == ({} if length < 1.35 * 0.97 else {0: (8,), 1: (1,)})
    oxygens = unknown_environments(known - {(8,)}, np.asarray([8, 8]), 1.4 * positions)
    assert set(oxygens) == {0, 1}


@given(st.integers(0, 10_000))
def test_neither_order_nor_rotation_matters(seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms = molecule("CH3CH2OH")
    before = texts(atoms)
    atoms.rotate(float(rng.uniform(0, 360)), rng.normal(size=3))
    order = rng.permutation(len(atoms))
    assert texts(atoms[order]) == [before[i] for i in order]


@given(
    st.sampled_from([1, 6, 8, 17]),
    st.lists(st.sampled_from([1, 6, 8, 17]), max_size=12),
)
def test_environments_are_read_as_they_are_written(center: int, partners: list[int]) -> None:
    environment = (center, *sorted(partners))
    assert as_environment(environment_text(environment)) == environment


@pytest.mark.parametrize("text", ["", "C ", "C OH", "C H1", "C H03", "Xx", "C  H", "C h3", "C H-3"])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="environments: got"):
        as_environment(text)
