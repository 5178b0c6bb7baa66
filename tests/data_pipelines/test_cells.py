"""Periodic structures from files to batches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from numpy.testing import assert_allclose, assert_array_equal

from data_pipelines.batches.batching import BatchPlan, NumpyBatches
from data_pipelines.batches.buckets import choose_buckets
from data_pipelines.batches.neighborhoods import Neighborhoods
from data_pipelines.files.arrays import write_npz
from data_pipelines.files.extxyz import write_extxyz
from data_pipelines.files.options import FileOptions
from data_pipelines.files.reading import read_structures
from data_pipelines.files.storage import CELL_FIELDS, from_example, to_example
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError

CELL = np.array([[6.0, 0.5, 0.0], [0.0, 5.5, 0.3], [0.2, 0.0, 7.0]])
REFERENCES = {11: 0.0, 17: 0.0}
REACH = 4.0


def crystal(seed: int, atoms: int = 4, *, scale: float = 1.0) -> Structure:
    rng = np.random.default_rng(seed)
    places = np.stack([np.arange(atoms) / atoms, np.arange(atoms) % 2 / 2, rng.uniform(size=atoms)])
    return Structure(
        atomic_numbers=np.resize([11, 17], atoms).astype(np.int32),
        positions=places.T @ CELL * scale,
        energy=float(rng.normal()),
        forces=rng.normal(size=(atoms, 3)),
        total_charge=0,
        cell=scale * CELL,
        pbc=(True, True, True),
        stress=rng.normal(size=6),
    )


def drop(seed: int) -> Structure:
    return replace(crystal(seed, 6), cell=None, pbc=(False, False, False), stress=None)


def assert_same(found: Structure, expected: Structure) -> None:
    assert found.pbc == expected.pbc
    for name in ("positions", "forces", "cell", "stress"):
        assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-7)


@pytest.mark.parametrize("ending", [".extxyz", ".npz"])
def test_files_keep_cells_and_stress(tmp_path: Path, ending: str) -> None:
    structures, path = [crystal(1), crystal(2, 6)], tmp_path / f"salt{ending}"
    if ending == ".npz":
        write_npz(path, structures, ["train", "train"])
    else:
        write_extxyz(path, structures)
    options = FileOptions(stress_key="stress")
    for found, expected in zip(read_structures(path, options), structures, strict=True):
        assert_same(found, expected)
    assert read_structures(path)[0].stress is None


def test_open_and_periodic_structures_share_a_file(tmp_path: Path) -> None:
    for name in ("both.npz", "both.extxyz"):
        path = tmp_path / name
        if name.endswith("npz"):
            write_npz(path, [crystal(1), drop(2)], ["train", "train"])
        else:
            write_extxyz(path, [crystal(1), drop(2)])
        first, second = read_structures(path)
        assert first.pbc == (True, True, True) and second.cell is None


def test_stress_comes_in_other_shapes_and_units(tmp_path: Path) -> None:
    s = crystal(1)
    assert s.stress is not None
    xx, yy, zz, yz, xz, xy = s.stress
    matrix = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    atoms = Atoms(numbers=s.atomic_numbers, positions=s.positions, cell=CELL, pbc=True)
    atoms.calc = SinglePointCalculator(atoms, energy=s.energy, forces=s.forces)
    atoms.info["virial_stress"] = matrix / 0.006241509
    write(tmp_path / "gpa.extxyz", atoms)
    options = FileOptions(stress_key="virial_stress", stress_unit="GPa")
    (found,) = read_structures(tmp_path / "gpa.extxyz", options)
    assert found.stress is not None
    assert_allclose(found.stress, s.stress, rtol=1e-6)
    atoms.info["virial_stress"] = matrix + np.eye(3, k=1)
    write(tmp_path / "skew.extxyz", atoms)
    with pytest.raises(DataError, match="expected a symmetric matrix"):
        read_structures(tmp_path / "skew.extxyz", options)
    with pytest.raises(DataError, match="stress_unit: got 'GPa', expected stress_key"):
        FileOptions(stress_unit="GPa")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cell": np.zeros((3, 3)), "pbc": True}, "cell: vector 0 is"),
        ({"cell": CELL[[1, 0, 2]], "pbc": True}, "is left-handed"),
        ({"cell": CELL * np.array([[1], [0.1], [1]]), "pbc": True}, "thick along vector 1"),
        ({"cell": CELL, "pbc": (True, True, False)}, "expected three periodic directions"),
        ({"cell": CELL / 3, "pbc": True, "positions": [[0, 0, 0], [1.98, 0.16, 0]]}, "apart"),
    ],
)
def test_bad_cells_are_refused(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    atoms = Atoms("NaCl", **({"positions": [[0, 0, 0], [3, 0, 0]]} | changes))  # type: ignore[arg-type]
    calc = SinglePointCalculator(atoms, energy=-1.0, forces=np.ones((2, 3)), stress=np.arange(6.0))
    atoms.calc = calc
    write(tmp_path / "bad.extxyz", atoms)
    with pytest.raises(DataError, match=message):
        read_structures(tmp_path / "bad.extxyz", FileOptions(stress_key="stress"))


def test_storage_keeps_them() -> None:
    for structure in (crystal(1), drop(2)):
        found = from_example(to_example(structure, *CELL_FIELDS))
        assert found.pbc == structure.pbc
        for name in ("cell", "stress"):
            expected = getattr(structure, name)
            if expected is None:
                assert getattr(found, name) is None
            else:
                assert_array_equal(getattr(found, name), expected)


def mixed() -> list[Structure]:
    return [crystal(i, 4 + 2 * (i % 2), scale=1 + 0.02 * i) for i in range(7)] + [
        drop(i) for i in range(5)
    ]


def plan(structures: list[Structure]) -> BatchPlan:
    neighborhoods = Neighborhoods(4.0, lambda: REACH)
    buckets = choose_buckets(structures, neighborhoods, 3, 2)
    return BatchPlan(structures, buckets, neighborhoods, seed=1)


def test_open_and_periodic_structures_are_in_different_buckets() -> None:
    structures = mixed()
    made = plan(structures)
    assert [bucket.pbc for bucket in made.buckets] == [(False,) * 3] + [(True,) * 3] * 2
    batches = list(NumpyBatches(made, REFERENCES, np.float64)(0))
    for planned, batch in zip(made(0), batches, strict=True):
        members = [structures[i] for i in planned.members]
        assert {s.pbc for s in members} == {batch.graph.pbc}
        if not all(batch.graph.pbc):
            assert batch.graph.cell is None and batch.graph.waves is None
            continue
        assert batch.graph.cell is not None and batch.graph.waves is not None
        assert batch.graph.wave_reach == REACH
        for row, structure in enumerate(members):
            assert_allclose(batch.graph.cell[row], structure.cell)  # type: ignore[arg-type]
    assert sum(batch.molecule_mask.sum() for batch in batches) == len(structures)


def test_stress_is_a_label_where_all_have_it() -> None:
    assert plan(mixed()).labels == frozenset()
    structures = mixed()[:7]
    made = plan(structures)
    assert made.labels == {"stress"}
    batch = next(iter(NumpyBatches(made, REFERENCES, np.float64)(0)))
    first = structures[made(0)[0].members[0]]
    assert batch.stress is not None
    assert_array_equal(batch.stress[0], first.stress)  # type: ignore[arg-type]
    assert not batch.stress[~batch.molecule_mask].any()


def test_tensorflow_gives_the_same_batches() -> None:
    pytest.importorskip("tensorflow")
    import jax

    from data_pipelines.batches.streaming import TensorFlowBatches

    made = plan(mixed())
    sources = NumpyBatches(made, REFERENCES), TensorFlowBatches(made, REFERENCES)
    for one, other in zip(*(source(3) for source in sources), strict=True):
        assert jax.tree.structure(one) == jax.tree.structure(other)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
            assert_array_equal(a, b)
