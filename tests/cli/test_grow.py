"""`efa-zoo data grow`: options reach the function, and what it finds the file."""

from __future__ import annotations

import json

import numpy as np
import pytest
from commands import fail, succeed

from data_pipelines.files.options import FileOptions
from data_pipelines.files.reading import read_structures
from data_pipelines.structure import Structure
from efa_zoo.simulation import Grown

pytest.importorskip("tblite")

_FOUND = Structure(
    atomic_numbers=np.array([8, 1, 1], np.int32),
    positions=np.array([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]]),
    energy=-137.5,
    forces=np.full((3, 3), 0.25),
    total_charge=0,
    group="start 0",
)


def test_options_reach_the_function_and_structures_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[object, ...]] = []

    def grow(name: str, starts: object, **options: object) -> Grown:
        calls.append((name, len(list(starts)), options))
        return Grown(structures=[_FOUND] * 2, visited=90, unknown=30, dropped={"unconverged": 1})

    monkeypatch.setattr("efa_zoo.simulation.grow", grow, raising=False)
    command = "data grow toy --starts example:water_dimer --out more.extxyz --count 3 --seed 4"
    text = succeed(capsys, *command.split(), "--temperature", "300", "--charge", "0")
    assert text == (
        "90 geometries visited, 30 of them unknown to the model; 2 labelled, dropped 1 "
        "unconverged\nmore.extxyz: 2 structures\n"
    )
    options = {"count": 3, "temperature": 300.0, "steps": 1000, "rounds": 1, "seed": 4}
    assert calls == [("toy", 1, {**options, "charge": 0, "workers": None})]
    for found in read_structures("more.extxyz", FileOptions(group_key="group")):
        assert (found.energy, found.group) == (-137.5, "start 0")
        np.testing.assert_allclose(found.forces, _FOUND.forces)
    facts = json.loads(succeed(capsys, *command.split(), "--json"))
    assert facts["labelled"] == 2
    assert facts["dropped"] == {"unconverged": 1}


def test_what_is_wrong_is_said_early(capsys: pytest.CaptureFixture[str]) -> None:
    start = ("data", "grow", "toy", "--starts", "example:water_dimer", "--out")
    assert "expected a name that ends in .extxyz or .xyz" in fail(capsys, *start, "more.txt")
    assert "toy is not calibrated" in fail(capsys, *start, "more.extxyz", "--charge", "0")
    with_none = ("data", "grow", "toy", "--starts", "missing.xyz", "--out", "more.extxyz")
    assert "missing.xyz: No such file" in fail(capsys, *with_none)
