"""The spin on its way from a file to a batch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from data_pipelines.batches.batching import BatchPlan, NumpyBatches
from data_pipelines.batches.buckets import choose_buckets
from data_pipelines.batches.neighborhoods import Neighborhoods
from data_pipelines.files.arrays import write_npz
from data_pipelines.files.extxyz import write_extxyz
from data_pipelines.files.options import FileOptions
from data_pipelines.files.reading import read_structures
from data_pipelines.files.storage import from_example, to_example
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError
from efa_zoo.training.covering import covered_domain
from efa_zoo.training.data.choosing import require_places


def oxygen(multiplicity: int, **info: object) -> Atoms:
    atoms = Atoms("O2", positions=[[0, 0, 0], [0, 0, 1.21]], info={"charge": 0, **info})
    if multiplicity:
        atoms.info["spin"] = multiplicity
    forces = np.array([[0.0, 0.0, 0.1], [0.0, 0.0, -0.1]])
    atoms.calc = SinglePointCalculator(atoms, energy=-10.0 - multiplicity, forces=forces)
    return atoms


@pytest.fixture
def structures(tmp_path: Path) -> list[Structure]:
    path = tmp_path / "oxygen.extxyz"
    write(path, [oxygen(3), oxygen(1)])
    return read_structures(path)


def test_it_is_read_written_and_stored(structures: list[Structure], tmp_path: Path) -> None:
    assert [s.multiplicity for s in structures] == [3, 1]
    again = tmp_path / "again.extxyz"
    write_extxyz(again, structures)
    assert [s.multiplicity for s in read_structures(again)] == [3, 1]
    arrays = tmp_path / "again.npz"
    write_npz(arrays, structures, ["train", "test"])
    assert [s.multiplicity for s in read_structures(arrays)] == [3, 1]
    stored = to_example(structures[0], "multiplicity")
    assert from_example(stored).multiplicity == 3


def test_without_one_it_is_the_lowest(tmp_path: Path) -> None:
    path = tmp_path / "oxygen.extxyz"
    write(path, [oxygen(0)])
    (found,) = read_structures(path)
    assert (found.multiplicity, found.spin_multiplicity) == (0, 1)
    with pytest.raises(DataError, match="multiplicity"):
        read_structures(path, FileOptions(multiplicity_key="two_s_plus_one"))
    write(path, [oxygen(2)])
    with pytest.raises(DataError, match="multiplicity: got 2 for 16 electrons"):
        read_structures(path)


def test_batches_have_it_for_networks_that_take_it(structures: list[Structure]) -> None:
    neighborhoods = Neighborhoods(4.0)
    buckets = choose_buckets(structures, neighborhoods, 2, 1)
    for spin in (True, False):
        plan = BatchPlan(structures, buckets, neighborhoods, shuffle=False, spin=spin)
        (batch,) = NumpyBatches(plan, {8: 0.0})(0)
        if spin:
            assert batch.graph.unpaired_electrons.tolist() == [2, 0]
        else:
            assert batch.graph.unpaired_electrons is None


def test_networks_without_spin_learn_from_the_lowest_only(structures: list[Structure]) -> None:
    import efa_zoo

    card = efa_zoo.card("mpnn_efa_dimers")
    with pytest.raises(DataError, match="multiplicity: got 3, expected the lowest"):
        require_places(structures, card)
    require_places(structures[1:], card)
    model = dataclasses.replace(card.model, spin_embedding=True)
    spinning = dataclasses.replace(card, model=model)
    require_places(structures, spinning)
    assert covered_domain(structures, spin=True).multiplicities == (1, 3)
    assert covered_domain(structures).multiplicities == ()
