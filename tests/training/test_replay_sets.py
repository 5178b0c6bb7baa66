"""Replay sets: which structures, how many fit, that the card holds the file, and fine-tuning."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import make_model, make_recipe

import efa_zoo
from data_pipelines.structure import Structure
from efa_zoo.base.errors import ConfigError, DataError
from efa_zoo.cli import main
from efa_zoo.models.hub.registry import find
from efa_zoo.training.data.finetuning import read_old
from efa_zoo.training.data.references import References
from efa_zoo.training.data.replay_sets import read_replay_set, spread, write_replay_set

_REFERENCES = {1: -10.7, 6: -50.25, 7: -70.5, 8: -100.125}


def _structure(numbers: list[int], seed: int, charge: int = 0) -> Structure:
    rng = np.random.default_rng(seed)
    return Structure(
        atomic_numbers=np.array(numbers, np.int32),
        positions=rng.normal(size=(len(numbers), 3)),
        energy=float(rng.normal()),
        forces=rng.normal(size=(len(numbers), 3)),
        total_charge=charge,
    )


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a model whose data set is there, if not built."""
    monkeypatch.setenv("EFA_ZOO_HOME", str(tmp_path))
    make_model(tmp_path, "toy")
    return tmp_path


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Structure]]:
    kinds = itertools.cycle([[8, 1, 1]] * 9 + [[7, 1, 1, 1]])
    splits = {
        "train": [_structure(next(kinds), i) for i in range(300)],
        "validation": [_structure(next(kinds), 1000 + i) for i in range(100)],
    }

    def load_split(name: str, split: str, *, data_dir: Any = None) -> list[Structure]:
        if name != "dimers" or split not in splits:
            raise DataError(f"data set {name}: nothing there")
        return splits[split]

    monkeypatch.setattr("data_pipelines.load_split", load_split, raising=False)
    return splits


def test_kinds_take_turns() -> None:
    many = [_structure([8, 1, 1], i) for i in range(20)]
    few = [_structure([7, 1, 1], 50 + i) for i in range(3)]
    ions = [_structure([8, 1, 1], 60 + i, charge=1) for i in range(2)]
    alone = [replace(_structure([8, 1, 1], 70), monomers=("water", ""))]
    everything = [*many, *few, *ions, *alone]
    order = spread(everything, seed=0)
    assert sorted(map(id, order)) == sorted(map(id, everything))
    kinds = [
        "few" if 7 in s.atomic_numbers else "ions" if s.total_charge else "alone" if s.pair else ""
        for s in order
    ]
    assert sorted(kinds[:4]) == ["", "alone", "few", "ions"]
    assert sorted(kinds[4:7]) == ["", "few", "ions"]
    assert sorted(kinds[7:9]) == ["", "few"]
    assert [id(s) for s in spread(everything, seed=0)] == [id(s) for s in order]
    assert [id(s) for s in spread(everything, seed=1)] != [id(s) for s in order]


def test_as_many_as_fit_are_kept_and_the_card_holds_the_file(
    data: dict[str, list[Structure]],
) -> None:
    before = efa_zoo.card("toy").weights
    card, files = write_replay_set("toy", limit=6_000), find("toy")
    assert card == efa_zoo.card("toy")
    assert card.replay is not None
    assert 5_600 < files.replay.stat().st_size == card.replay.bytes <= 6_000
    assert card.weights == before
    efa_zoo.load("toy")  # whose digest is what it was
    kept = read_replay_set(card, files)
    assert kept is not None
    assert {split: len(members) for split, members in kept.items()} == {
        "train": card.replay.training,
        "validation": card.replay.validation,
    }
    assert card.replay.validation == round(card.replay.training / 4)
    energies = {split: {s.energy for s in members} for split, members in data.items()}
    for split, members in kept.items():
        assert {s.energy for s in members} < energies[split]
        rare = sum(7 in s.atomic_numbers for s in members)
        assert rare >= len(members) // 2  # one in ten of the data
    assert "Structures to replay" in card.in_full()
    whole = write_replay_set("toy", limit=1_000_000).replay
    assert whole is not None
    assert (whole.training, whole.validation) == (300, 75)
    with pytest.raises(DataError, match="limit: got 100 bytes, expected room"):
        write_replay_set("toy", limit=100)


def test_fine_tuning_takes_the_set_where_the_data_are_not_built(
    data: dict[str, list[Structure]],
) -> None:
    card, files = write_replay_set("toy", limit=6_000), find("toy")
    assert card.replay is not None
    refs = References(_REFERENCES, {**_REFERENCES, 8: _REFERENCES[8] + 2}, refitted=True)
    assert len(read_old(card, files, 0.5, refs, None).training) == 300
    whole = dict(data)
    data.clear()
    old = read_old(card, files, 0.5, refs, None)
    assert (len(old.training), len(old.validation)) == (
        card.replay.training,
        card.replay.validation,
    )
    shifts = {s.energy + 2 * int(np.sum(s.atomic_numbers == 8)) for s in whole["train"]}
    assert all(min(abs(s.energy - e) for e in shifts) < 1e-9 for s in old.training)
    judged = read_old(card, files, 0.0, refs, None)
    assert (len(judged.training), len(judged.validation)) == (0, card.replay.validation)
    with pytest.raises(DataError, match=r"replay: got 0\.5, which needs the data of toy"):
        read_old(replace(card, replay=None), files, 0.5, refs, None)


def test_altered_and_missing_files_are_refused() -> None:
    card, files = write_replay_set("toy", limit=6_000), find("toy")
    content = files.replay.read_bytes()
    files.replay.write_bytes(content[:-1] + b"x")
    with pytest.raises(DataError, match=r"toy\.replay\.npz: has SHA-256 .*it was altered"):
        read_replay_set(card, files)
    files.replay.unlink()
    with pytest.raises(DataError, match="cannot read the replay set"):
        read_replay_set(card, files)
    assert read_replay_set(replace(card, replay=None), files) is None


def test_only_trained_models_have_one(home: Path) -> None:
    make_recipe(home, "untrained")
    with pytest.raises(ConfigError, match="has no weights, expected a trained model"):
        write_replay_set("untrained")


def test_the_command_says_what_it_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "replay", "toy", "--size", "6000"]) == 0
    kept = efa_zoo.card("toy").replay
    assert kept is not None
    text = f"toy.replay.npz: {kept.training} structures to replay, {kept.validation} to validate by"
    assert text in capsys.readouterr().out
