"""Data sets made of files: stored without loss, found by name, never silently replaced."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

from data_pipelines import (
    FileOptions,
    SplitOptions,
    Structure,
    add_file,
    build,
    load_split,
    metadata,
)
from efa_zoo.base.errors import DataError

SPLITS = ("train", "validation", "test")


def save(path: Path, structures: list[Structure], **more: np.ndarray) -> Path:
    """Structures of one size as npz."""
    np.savez(
        path,
        allow_pickle=False,
        atomic_numbers=np.array([s.atomic_numbers for s in structures]),
        positions=np.array([s.positions for s in structures]),
        energy=np.array([s.energy for s in structures]),
        forces=np.array([s.forces for s in structures]),
        charge=np.array([s.total_charge for s in structures]),
        **more,
    )
    return path


@pytest.fixture(scope="module")
def waters(make_structure: Callable[..., Structure]) -> list[Structure]:
    return [make_structure([8, 1, 1], seed=i) for i in range(40)]


@pytest.fixture(scope="module")
def place(waters: list[Structure], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory that holds `structures/waters`."""
    folder = tmp_path_factory.mktemp("data")
    file = save(folder / "waters.npz", waters)
    add_file("waters", file, level_of_theory="none", data_dir=folder)
    return folder


def everything(place: Path, name: str) -> list[Structure]:
    return [s for split in SPLITS for s in load_split(name, split, data_dir=place)]


def test_what_is_stored_is_what_was_in_the_file(place: Path, waters: list[Structure]) -> None:
    stored = {s.energy: s for s in everything(place, "structures/waters")}
    assert len(stored) == 40
    for s in waters:
        found = stored[s.energy]
        np.testing.assert_array_equal(found.positions, s.positions)
        np.testing.assert_array_equal(found.forces, s.forces)
        np.testing.assert_array_equal(found.atomic_numbers, s.atomic_numbers)
        assert (found.total_charge, found.group, found.atomic_dipoles) == (0, "", None)
    sizes = [len(load_split("structures/waters", s, data_dir=place)) for s in SPLITS]
    assert sizes == [32, 4, 4]


def test_what_was_done_is_stored_beside(place: Path) -> None:
    facts = metadata("structures/waters", data_dir=place)
    assert facts["level_of_theory"] == "none"
    assert facts["settings"]["file"] == "waters.npz"
    assert facts["settings"]["reading"]["energy_unit"] == "eV"
    assert facts["settings"]["splitting"]["shares"] == [0.8, 0.1, 0.1]
    assert len(facts["settings"]["sha256"]) == 64
    assert facts["found"].startswith("40 structures of 3 atoms")
    assert facts["warnings"] == []


def test_dipoles_groups_and_given_splits_are_stored(
    waters: list[Structure], tmp_path: Path
) -> None:
    dipoles = np.random.default_rng(0).normal(size=(40, 3, 3))
    parts = np.array([SPLITS[i % 3] for i in range(40)])
    file = save(
        tmp_path / "some.npz", waters, D=dipoles, part=parts, mol=np.array(["a"] * 20 + ["b"] * 20)
    )
    add_file(
        "some",
        file,
        reading=FileOptions(dipoles_key="D", group_key="mol"),
        splitting=SplitOptions(split_key="part"),
        data_dir=tmp_path,
    )
    number = {s.energy: i for i, s in enumerate(waters)}
    for k, split in enumerate(SPLITS):
        for s in load_split("structures/some", split, data_dir=tmp_path):
            i = number[s.energy]
            assert i % 3 == k
            assert s.group == ("a" if i < 20 else "b")
            np.testing.assert_array_equal(s.atomic_dipoles, dipoles[i])


def test_names_live_side_by_side_and_are_not_replaced_silently(
    place: Path, waters: list[Structure], tmp_path: Path
) -> None:
    file = save(tmp_path / "fewer.npz", waters[:10])
    with pytest.raises(DataError, match="structures/waters: is there already, at "):
        add_file("waters", file, data_dir=place)
    add_file("others", file, data_dir=place)
    assert len(everything(place, "structures/others")) == 10
    assert len(everything(place, "structures/waters")) == 40
    add_file("others", save(file, waters[:20]), data_dir=place, overwrite=True)
    assert len(everything(place, "structures/others")) == 20


def test_the_same_file_gives_the_same_data(
    place: Path, waters: list[Structure], tmp_path: Path
) -> None:
    add_file("waters", save(tmp_path / "waters.npz", waters), data_dir=tmp_path)
    for split in SPLITS:
        one = load_split("structures/waters", split, data_dir=place)
        other = load_split("structures/waters", split, data_dir=tmp_path)
        assert [s.energy for s in one] == [s.energy for s in other]


def test_a_bad_file_leaves_nothing_behind(waters: list[Structure], tmp_path: Path) -> None:
    bad = [dataclasses.replace(s, energy=0.0) for s in waters]
    with pytest.raises(DataError, match="all energies are zero"):
        add_file("bad", save(tmp_path / "bad.npz", bad), data_dir=tmp_path / "data")
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("name", ["", "a/b", "../up", "two words", ".hidden"])
def test_bad_names_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"name: got .* expected letters, digits"):
        add_file(name, tmp_path / "any.npz", data_dir=tmp_path)


def test_missing_data_sets_say_how_to_make_them(place: Path) -> None:
    with pytest.raises(DataError, match=r"structures/none: .*`efa-zoo data add FILE --name none`"):
        load_split("structures/none", "train", data_dir=place)
    with pytest.raises(DataError, match=r"expected structures/NAME, one of .*structures/waters"):
        load_split("structures", "train", data_dir=place)
    with pytest.raises(DataError, match="is made of files, expected `efa-zoo data add"):
        build("structures", data_dir=place)
    with pytest.raises(DataError, match="split of structures/waters: got 'curves'"):
        load_split("structures/waters", "curves", data_dir=place)
