"""Calibrating trained models: on data sets and files, and at the end of trainings."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np
import pytest
from toys import TOY_REFERENCES, make_model

import efa_zoo
from data_pipelines.files.extxyz import write_extxyz
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError, InputError
from efa_zoo.cli import main
from efa_zoo.models.hub.registry import find
from efa_zoo.models.weights import weights_hash
from efa_zoo.structures.elements import ATOMIC_NUMBERS
from efa_zoo.training import calibrate, calibration
from efa_zoo.training.calibration import fitted_calibration

_REFERENCES = {ATOMIC_NUMBERS[element]: energy for element, energy in TOY_REFERENCES.items()}
_WATER = np.asarray([[0, 0, 0.12], [0.76, 0, -0.48], [-0.76, 0, -0.48]])


def waters(count: int, seed: int) -> list[Structure]:
    """Waters on springs."""
    random = np.random.default_rng(seed)
    numbers = np.asarray([8, 1, 1], np.int32)
    found = []
    for _ in range(count):
        pull = random.normal(scale=0.05, size=(3, 3))
        found.append(
            Structure(
                atomic_numbers=numbers,
                positions=_WATER + pull,
                energy=sum(_REFERENCES[int(z)] for z in numbers) + float(np.sum(pull**2)),
                forces=-2 * pull,
                total_charge=0,
            )
        )
    return found


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a toy, whose data set "dimers" holds waters."""
    make_model(tmp_path, "toy")
    monkeypatch.setenv("EFA_ZOO_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    splits = {"train": waters(120, 0), "validation": waters(80, 1), "test": waters(20, 2)}

    def load_split(name: str, split: str, *, data_dir: Any = None) -> list[Structure]:
        if split not in splits:
            raise DataError(f"data set {name}: no {split}")
        return splits[split]

    monkeypatch.setattr("data_pipelines.load_split", load_split, raising=False)
    monkeypatch.setattr("data_pipelines.metadata", lambda name, **_: {}, raising=False)
    return tmp_path


def test_a_model_is_calibrated_on_its_own_data(home: Path) -> None:
    before = efa_zoo.load("toy")
    assert before.calibration is None
    card = calibrate("toy")
    after = efa_zoo.load("toy")  # whose card and weights belong together
    assert eqx.tree_equal(after.network, before.network)
    assert card == after.card
    assert card.domain is not None and {"H O", "O H2"} <= set(card.domain.environments)
    assert card.calibration is not None
    assert dataclasses.asdict(card.calibration) == {
        "data": "dimers",
        "training": 120,
        "validation": 80,
    }
    assert card.weights is not None and before.card.weights is not None
    assert card.weights.sha256 == weights_hash(find("toy").weights)
    assert card.weights.parameters == before.card.weights.parameters
    quality = card.metrics["uncertainty"]["validation"]
    assert 0.6 < quality["energy"]["coverage"] < 0.76
    assert 0.6 < quality["force"]["coverage"] < 0.76
    assert quality["energy"]["refused"] <= 1 / 80
    assert len(quality["energy"]["curve"]) == 9
    assert card.metrics["test"]["all"]["count"] == 20

    positions = _WATER
    graph = efa_zoo.Graph.from_arrays([8, 1, 1], positions, None)
    assert efa_zoo.predict("toy", graph).energy_uncertainty is not None
    strange = positions * np.asarray([0.45, 1, 1])
    with pytest.raises(
        InputError, match=r"bonds: atom 1 \(H\) is bonded to HO \(and 1 more\), but"
    ):
        efa_zoo.predict("toy", efa_zoo.Graph.from_arrays([8, 1, 1], strange, None))
    strange = 0.7 * positions
    with pytest.raises(InputError, match="surroundings"):
        efa_zoo.predict("toy", efa_zoo.Graph.from_arrays([8, 1, 1], strange, None))
    again = calibrate("toy")
    assert again.weights == card.weights


def test_the_command_takes_a_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_extxyz(home / "waters.extxyz", waters(600, 4))
    assert main(["calibrate", "toy", "--data", "waters.extxyz", "--charge", "0"]) == 0
    said = capsys.readouterr()
    assert "calibrated on waters.extxyz" in said.out
    assert "calibrated on 480 structures of training" in said.err
    card = efa_zoo.card("toy")
    assert card.calibration is not None and card.calibration.data == "waters.extxyz"
    assert "uncertainty" not in card.metrics  # other data do not say how the model does on its own
    assert efa_zoo.load("toy").calibration is not None


def test_too_few_structures_leave_the_model_as_it_is(home: Path) -> None:
    write_extxyz(home / "few.extxyz", waters(40, 5))
    digest = weights_hash(find("toy").weights)
    with pytest.raises(DataError, match="expected at least 50 of each"):
        calibrate("toy", data=home / "few.extxyz")
    assert weights_hash(find("toy").weights) == digest
    network = efa_zoo.load("toy").network
    assert fitted_calibration(network, _REFERENCES, waters(49, 6), waters(80, 7)) is None


def test_samples_keep_rare_elements(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibration, "_SAMPLE", 60)
    monkeypatch.setattr(calibration, "_WITH_ELEMENT", 10)
    structures = waters(100, 8)
    rare = [dataclasses.replace(s, atomic_numbers=s.atomic_numbers.copy()) for s in waters(12, 9)]
    for structure in rare:
        structure.atomic_numbers[0] = 7
    chosen = calibration._sample(structures + rare, 0)
    assert 60 <= len(chosen) <= 70
    assert sum(7 in s.atomic_numbers for s in chosen) >= 10
    assert calibration._sample(structures[:50], 0) == structures[:50]
