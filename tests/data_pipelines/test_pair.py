"""Dimers of one pair, for trying out fine-tuning: as many as wanted, and written without loss."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tblite")

from data_pipelines import load_split
from data_pipelines.files.extxyz import write_extxyz
from data_pipelines.files.reading import read_structures
from data_pipelines.labels.labelling import Failure
from data_pipelines.sampling.dimers import make_pair
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError


@pytest.fixture(scope="module")
def pair() -> list[Structure]:
    return make_pair(("carbon_dioxide", "water"), 4, seed=0, workers=1)


def test_the_seed_of_the_data_set_gives_its_dimers_again(
    pair: list[Structure], tiny_data_dir: Path
) -> None:
    assert {s.pair for s in pair} == {"water+carbon_dioxide"}
    stored = load_split("dimers", "transfer", data_dir=tiny_data_dir, config="tiny")
    known = {s.energy: s for s in stored if s.pair == "water+carbon_dioxide"}
    for s in pair:
        np.testing.assert_array_equal(s.positions, known[s.energy].positions)


def test_what_is_not_labelled_is_replaced(
    pair: list[Structure], monkeypatch: pytest.MonkeyPatch
) -> None:
    from data_pipelines.sampling.dimers import making

    finish, calls = making.finish, 0

    def every_other(*arguments: object) -> Structure | Failure:
        nonlocal calls
        calls += 1
        return Failure("charge", "") if calls % 2 else finish(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(making, "finish", every_other)
    found = make_pair(("water", "carbon_dioxide"), 2, seed=0, workers=1)
    assert len(found) == 2
    np.testing.assert_array_equal(found[0].positions, pair[1].positions)
    monkeypatch.setattr(making, "finish", lambda *_: Failure("charge", ""))
    with pytest.raises(DataError, match=r"pair: 0 of \d+ dimers of water and carbon_dioxide"):
        make_pair(("water", "carbon_dioxide"), 1, seed=0, workers=1)


@pytest.mark.parametrize(
    ("names", "count", "message"),
    [
        (("water", "wine"), 1, r"monomers: unknown \['wine'\]"),
        (("fluoride", "benzene"), 1, "pair: got"),
        (("water", "water"), 0, "count: got 0, expected at least 1"),
    ],
)
def test_what_cannot_be_made_is_refused(names: tuple[str, str], count: int, message: str) -> None:
    with pytest.raises(DataError, match=message):
        make_pair(names, count, seed=0, workers=1)


def test_files_keep_labels_charge_and_pair(pair: list[Structure], tmp_path: Path) -> None:
    import ase.io

    file = tmp_path / "pair.extxyz"
    write_extxyz(file, pair)
    for one, other in zip(read_structures(file), pair, strict=True):
        np.testing.assert_array_equal(one.atomic_numbers, other.atomic_numbers)
        np.testing.assert_allclose(one.positions, other.positions, atol=1e-8)
        np.testing.assert_allclose(one.forces, other.forces, atol=1e-8)
        assert one.energy == pytest.approx(other.energy, abs=1e-9)
        assert one.total_charge == other.total_charge
    atoms = ase.io.read(file)
    assert atoms.info["pair"] == "water+carbon_dioxide"  # type: ignore[union-attr]


def test_files_that_cannot_be_written_are_refused(pair: list[Structure], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"pair\.npz: expected a name that ends in \.extxyz"):
        write_extxyz(tmp_path / "pair.npz", pair)
    with pytest.raises(DataError, match="structures: got none"):
        write_extxyz(tmp_path / "pair.extxyz", [])
    assert not list(tmp_path.iterdir())


def test_the_command_writes_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from efa_zoo.cli import main

    file = tmp_path / "pair.extxyz"
    arguments = ["water", "chloride", "--count", "2", "--workers", "1", "--out", str(file)]
    assert main(["data", "pair", *arguments]) == 0
    assert "2 structures" in capsys.readouterr().out
    assert [s.total_charge for s in read_structures(file)] == [-1, -1]
    assert main(["data", "pair", "water", "chloride", "--out", "pair.npz"]) == 2
    assert capsys.readouterr().err.startswith("efa-zoo: out: got 'pair.npz'")
