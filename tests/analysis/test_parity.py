"""Parity plots: the right numbers, drawn whole or refused in one line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from commands import example, fail, succeed
from toys import potential

import efa_zoo
from data_pipelines.structure import Structure
from efa_zoo.analysis.parity import (
    Parity,
    draw_parity,
    parity_of_split,
    parity_of_structures,
)
from efa_zoo.base.config import MessagePassingConfig, ModelConfig


@pytest.fixture
def workplace(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def labelled(energy_error: float, force_error: float | None) -> Any:
    """An example with labels that the toy misses by so much."""
    atoms = example("water_dimer")
    found = efa_zoo.predict("toy", atoms)
    labels: dict[str, Any] = {"energy": found.energy - energy_error}
    if force_error is not None:
        labels["forces"] = found.forces - force_error
    atoms.calc = SinglePointCalculator(atoms, **labels)
    return atoms


def test_errors_are_differences_to_the_labels(zoo: Path) -> None:
    parity = parity_of_structures("toy", [labelled(0.5, 0.25), labelled(-1.5, None)])
    assert parity.energies.shape == (2, 2)
    assert parity.forces.shape == (18, 2)
    numbers = parity.to_dict()
    assert numbers["energy_mae"] == pytest.approx(1.0, abs=1e-6)
    assert numbers["energy_rmse"] == pytest.approx(1.25**0.5, abs=1e-6)
    assert numbers["force_mae"] == pytest.approx(0.25, abs=1e-6)
    references = 2 * efa_zoo.card("toy").reference_energies["O"]
    references += 4 * efa_zoo.card("toy").reference_energies["H"]
    energy = efa_zoo.predict("toy", example("water_dimer")).energy
    np.testing.assert_allclose(parity.energies[:, 1], energy - references, atol=1e-5)
    assert "energy: MAE 1000.00, RMSE 1118.03 meV" in str(parity)


def test_a_split_is_predicted(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atoms = labelled(0.5, 0.25)
    structure = Structure(
        atomic_numbers=atoms.get_atomic_numbers().astype(np.int32),
        positions=atoms.get_positions() - 100 * (np.arange(6) > 2)[:, None],  # out of range
        total_charge=0,
        energy=1.0,
        forces=np.zeros((6, 3)),
    )

    def load_split(name: str, split: str, *, data_dir: str | None) -> list[Any]:
        assert (name, split, data_dir) == ("dimers", "transfer", "there")
        return [structure]

    monkeypatch.setattr("data_pipelines.load_split", load_split)
    parity = parity_of_split("toy", "transfer", data_dir="there")
    assert parity.source == "dimers, transfer split"
    assert parity.forces[:, 0].tolist() == [0.0] * 18


def test_dipoles_of_a_split_are_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    model = potential(
        ModelConfig(
            features=2,
            iterations=1,
            zero_output=False,
            dipole_embedding=True,
            highest_atomic_number=9,
            message_passing=MessagePassingConfig(cutoff=4.0, degree=1, num_radial=3),
        )
    )
    atoms = example("water_dimer")
    atoms.arrays["atomic_dipoles"] = np.random.default_rng(0).normal(size=(6, 3))
    found = efa_zoo.predict(model, atoms)
    structure = Structure(
        atomic_numbers=atoms.get_atomic_numbers().astype(np.int32),
        positions=atoms.get_positions(),
        total_charge=0,
        energy=found.energy,
        forces=found.forces,
        atomic_dipoles=atoms.arrays["atomic_dipoles"],
    )
    monkeypatch.setattr("data_pipelines.load_split", lambda name, split, data_dir: [structure])
    numbers = parity_of_split(model).to_dict()
    assert numbers["energy_mae"] == pytest.approx(0, abs=1e-4)
    assert numbers["force_mae"] == pytest.approx(0, abs=1e-5)


def test_the_command_draws_files(capsys: pytest.CaptureFixture[str], workplace: Path) -> None:
    pytest.importorskip("matplotlib")
    write("labelled.extxyz", [labelled(0.5, 0.25), labelled(-0.5, 0.25)])
    out = succeed(capsys, "plot", "parity", "toy", "labelled.extxyz")
    assert out.startswith("toy: 2 structures of labelled.extxyz\nenergy: MAE 500.00")
    assert out.endswith("picture: parity_toy.png\n")
    assert Path("parity_toy.png").read_bytes().startswith(b"\x89PNG")
    out = succeed(capsys, "plot", "parity", "toy", "labelled.extxyz", "--out", "a.pdf", "--json")
    assert json.loads(out)["force_mae"] == pytest.approx(0.25, abs=1e-4)
    assert json.loads(out)["picture"] == "a.pdf"


def test_the_command_draws_a_split(
    capsys: pytest.CaptureFixture[str], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    pairs = np.asarray([[0.0, 0.1], [1.0, 1.0]])
    parity = Parity(name="toy", source="dimers, test split", energies=pairs, forces=pairs[:0])

    def stand_in(name: str, split: str, *, data_dir: str | None) -> Parity:
        assert (name, split, data_dir) == ("toy", "validation", "there")
        return parity

    monkeypatch.setattr("efa_zoo.analysis.parity.parity_of_split", stand_in)
    command = "plot parity toy --split validation --data-dir there --out a.svg"
    out = succeed(capsys, *command.split())
    assert out == f"{parity}\npicture: a.svg\n"


def test_many_values_are_drawn_by_density(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    values = np.random.default_rng(0).normal(size=(4000, 2))
    parity = Parity(name="toy", source="noise", energies=values[:1], forces=values)
    crowded = draw_parity(parity, tmp_path / "many.png").read_bytes()
    few = dataclasses.replace(parity, forces=values[:100])
    assert draw_parity(few, tmp_path / "few.png").read_bytes() != crowded


def test_bad_arguments_are_refused(capsys: pytest.CaptureFixture[str], workplace: Path) -> None:
    write("plain.extxyz", [example("water_dimer")])
    write("charged.extxyz", [labelled(0.0, 0.0)])
    for arguments, message in (
        ("toyy", "did you mean toy"),
        ("toy plain.extxyz", "plain.extxyz:0: energy: none given, expected a label"),
        ("toy charged.extxyz --charge 3", "charged.extxyz:0: charge: got +3"),
        ("toy charged.extxyz --out a.txt", "out: got 'a.txt'"),
        ("toy charged.extxyz --split train", "--split: given together with files"),
        ("toy charged.extxyz --data-dir .", "--data-dir: given together with files"),
        ("toy --charge 1", "--charge: given without files"),
        ("toy --warn-out-of-range", "--warn-out-of-range: given without files"),
        ("toy missing.extxyz", "missing.extxyz: No such file"),
    ):
        assert message in fail(capsys, "plot", "parity", *arguments.split())
