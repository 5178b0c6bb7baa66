"""Errors by split and separation, and the fit that long-range curves are judged by."""

from __future__ import annotations

import dataclasses
import typing
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from efa_zoo import load, predict
from efa_zoo.analysis.evaluation import evaluate, fit_inverse_powers, long_range
from efa_zoo.analysis.evaluation.long_range import CHARGES, tail_power
from efa_zoo.analysis.evaluation.statistics import SEPARATION_BINS, part_errors
from efa_zoo.base.errors import DataError
from efa_zoo.structures.graph import Graph

structures = pytest.importorskip("data_pipelines.structure")


def make(
    rng: np.random.Generator,
    separation: float,
    curve: int = -1,
    charges: tuple[int, int] = (0, 0),
) -> Any:
    """Water and ammonia at a distance; labels are random."""
    numbers = np.asarray([8, 1, 1, 7, 1, 1, 1], np.int32)
    water = np.asarray([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    ammonia = np.asarray(
        [[0, 0, 0.1], [0, 0.94, -0.27], [0.81, -0.47, -0.27], [-0.81, -0.47, -0.27]]
    )
    positions = np.concatenate([water, ammonia + np.asarray([0, 0, separation])])
    if np.isnan(separation):
        numbers, positions = numbers[:3], water
    atoms = len(numbers)
    return structures.Structure(
        atomic_numbers=numbers,
        positions=positions,
        energy=float(rng.normal()),
        forces=rng.normal(size=(atoms, 3)),
        total_charge=sum(charges),
        monomers=("water", "" if np.isnan(separation) else "ammonia"),
        fragment=np.asarray([0] * 3 + [1] * (atoms - 3), np.int32),
        separation=separation,
        closest_contact=separation,
        fragment_energies=np.zeros(2),
        fragment_charges=np.zeros(2),
        formal_charges=np.asarray(charges, np.int32),
        curve=curve,
    )


def test_errors_are_means_over_each_bin(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    test = [
        make(rng, r, charges=c)
        for r, c in [
            (3.0, (0, 0)),
            (3.5, (0, 0)),
            (5.0, (0, 0)),
            (7.0, (0, 0)),
            (9.0, (0, 0)),
            (12.0, (1, 0)),
            (13.0, (1, -1)),
            (np.nan, (0, 0)),
        ]
    ]
    curves = [make(rng, r, curve=i) for i in range(3) for r in np.linspace(6, 13, 8)]
    splits = {"validation": test[:2], "test": test, "transfer": test[2:4], "curves": curves}
    monkeypatch.setattr(
        "data_pipelines.load_split", lambda name, split, data_dir: splits[split], raising=False
    )
    found = evaluate("toy")

    graphs = [Graph.from_arrays(s.atomic_numbers, s.positions, None) for s in test]
    energies = np.asarray([p.energy for p in predict(load("toy"), graphs)])
    residuals = energies - [s.energy for s in test]
    table = found.splits["test"]
    assert table["all"]["energy_mae"] == pytest.approx(np.abs(residuals).mean(), rel=1e-5)
    assert table["contact to 4 Å"]["count"] == 2
    assert table["4 to 8 Å"]["energy_rmse"] == pytest.approx(
        np.sqrt((residuals[2:4] ** 2).mean()), rel=1e-5
    )
    assert table["isolated"]["count"] == 1
    distant = found.long_range["all"]
    assert distant["count"] == 4
    assert found.long_range["scans"]["count"] == 3
    labels = np.asarray([s.energy for s in test[3:7]])
    assert distant["rms"] == pytest.approx(np.sqrt((labels**2).mean()))
    assert [found.long_range[part]["count"] for part in CHARGES] == [2, 1, 1]
    assert "transfer" in str(found)
    assert set(found.to_dict()) == {
        "validation", "test", "transfer", "long_range", "interactions", "elements",
    } | ({"tails"} & set(found.to_dict()))  # fmt: skip
    assert found.elements["test"]["N"]["count"] == 7
    assert "curves" not in found.splits


@pytest.mark.parametrize(
    ("separations", "points", "kept"),
    [
        ((9.0,), np.linspace(6, 13, 8), {"all", "two neutral", "scans"}),
        ((9.0,), np.linspace(6, 13, 6), {"all", "two neutral"}),  # six coefficients, six points
        ((3.0,), np.linspace(2, 5, 8), set()),
    ],
)
def test_long_range_errors_are_of_the_pairs_and_scans_that_there_are(
    zoo: Path,
    monkeypatch: pytest.MonkeyPatch,
    separations: tuple[float, ...],
    points: np.ndarray,
    kept: set[str],
) -> None:
    rng = np.random.default_rng(4)
    splits = {
        "test": [make(rng, r) for r in separations],
        "curves": [make(rng, r, curve=0) for r in points],
    }
    monkeypatch.setattr(
        "data_pipelines.load_split", lambda name, split, data_dir: splits[split], raising=False
    )
    found = evaluate("toy", splits=["test", "curves"])
    assert set(found.long_range) == kept
    assert set(found.splits) == {"test"}
    text = str(found)
    assert ("interaction at 6 to 15 Å" in text) is bool(kept)
    assert ("two neutral" in text) is ("two neutral" in kept)
    assert "two charged" not in text
    assert ("over 1 scans" in text) is ("scans" in kept)


def test_the_power_of_a_tail_is_that_of_the_curve_or_none() -> None:
    r = np.linspace(6, 15, 10)
    for power in (-1.0, -2.0, -3.0):
        assert tail_power(r, -0.7 * r**power) == pytest.approx(power)
    assert np.isnan(tail_power(r, np.cos(r)))


def test_shares_are_of_labels_and_signs_of_what_is_strong() -> None:
    label, model = np.array([0.1, -0.2, 0.0005]), np.array([0.1, 0.1, -0.0005])
    row = long_range._shares(label, model)
    assert row["rmse"] == pytest.approx(np.sqrt((0.3**2 + 0.001**2) / 3))
    assert row["ratio"] == pytest.approx(row["rmse"] / row["rms"])
    assert row["wrong_sign"] == 0.5
    assert "wrong_sign" not in long_range._shares(label[2:], model[2:])


def test_the_fit_recovers_a_single_power() -> None:
    r = np.linspace(6, 15, 19)
    coulomb = fit_inverse_powers(r, 14.4 / r, ridge=1e-12)
    assert coulomb[0] == pytest.approx(14.4 / 6, abs=1e-4)
    assert np.abs(coulomb[1:]).max() < 1e-3


def test_the_ridge_keeps_noise_from_being_amplified() -> None:
    r = np.linspace(6, 15, 19)
    noise = 1e-3 * np.random.default_rng(0).normal(size=r.size)
    change = fit_inverse_powers(r, 14.4 / r + noise) - fit_inverse_powers(r, 14.4 / r)
    plain = fit_inverse_powers(r, 14.4 / r + noise, ridge=0) - fit_inverse_powers(
        r, 14.4 / r, ridge=0
    )
    assert np.abs(change).max() < 0.05
    assert np.abs(plain).max() > 10 * np.abs(change).max()


def test_bins_cover_every_separation_once() -> None:
    edges = [(low, high) for _, low, high in SEPARATION_BINS]
    assert edges[0][0] == 0
    assert edges[-1][1] == np.inf
    assert all(high == low for (_, high), (low, _) in pairwise(edges))


def with_kind(structure: Any, kind: str, coordinate: float = 0.0) -> Any:
    return dataclasses.replace(
        structure, kind=kind, coordinate=coordinate, monomers=("", ""), separation=float("nan")
    )


def test_errors_are_given_by_kind_and_element(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    kinds = ["10 Å", "5 Å", "5 Å"]
    test = [with_kind(make(rng, 3.0), kind) for kind in kinds]
    splits = {"validation": test[:1], "test": test, "curves": test[1:]}

    def load_split(name: str, split: str, data_dir: object) -> list[Any]:
        if split not in splits:
            raise DataError("no such split")
        return splits[split]

    monkeypatch.setattr("data_pipelines.load_split", load_split, raising=False)
    found = evaluate("toy")
    assert set(found.splits) == {"validation", "test", "curves"}
    assert not found.long_range
    assert list(found.splits["test"]) == ["all", "5 Å", "10 Å"]
    assert found.splits["test"]["5 Å"]["count"] == 2
    # Random labels of every component: the two elements' errors make up the mean of all.
    table = found.elements["test"]
    atoms = sum(row["count"] for row in table.values())
    mean = sum(row["count"] * row["force_mae"] for row in table.values()) / atoms
    assert atoms == 21
    assert mean == pytest.approx(found.splits["test"]["all"]["force_mae"], rel=1e-6)
    assert "test, by element" in str(found)
    only = evaluate("toy", splits=["curves"])
    assert set(only.splits) == {"curves"}
    assert only.splits["curves"]["all"] == found.splits["curves"]["all"]


def test_a_file_is_evaluated_as_one_split(
    zoo: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(2)
    near, far = make(rng, 3.0), make(rng, 40.0)
    structures = [dataclasses.replace(s, separation=float("nan")) for s in (near, far)]
    monkeypatch.setattr(
        "data_pipelines.files.reading.read_structures", lambda file, reading: structures
    )
    with caplog.at_level("INFO", logger="efa_zoo"):
        found = evaluate("toy", data="folder/mine.extxyz")
    assert list(found.splits) == ["mine.extxyz"]
    assert "1 of 2 structures lie outside of what toy knows" in caplog.text
    assert found.splits["mine.extxyz"]["beyond 20 Å across"]["count"] == 1
    assert found.splits["mine.extxyz"]["up to 5 Å across"]["count"] == 1
    with pytest.raises(DataError, match="splits: got \\['test'\\], expected none"):
        evaluate("toy", data="mine.extxyz", splits=["test"])


def test_a_file_is_dealt_as_published_splits_are(zoo: Path, tmp_path: Path) -> None:
    splitting = pytest.importorskip("data_pipelines.splitting")
    files = pytest.importorskip("data_pipelines.files.reading")
    rng = np.random.default_rng(3)
    structures = [make(rng, 3.0) for _ in range(10)]
    path = tmp_path / "mine.npz"
    np.savez(
        path,
        atomic_numbers=[s.atomic_numbers for s in structures],
        positions=[s.positions for s in structures],
        energy=[s.energy for s in structures],
        forces=[s.forces for s in structures],
    )
    counts = splitting.SplitOptions(counts=(5, 2, 2))
    reading = files.FileOptions(charge=0)
    found = evaluate("toy", data=path, reading=reading, splitting=counts)
    assert list(found.splits) == ["validation", "test"]
    held_back = np.random.RandomState(0).permutation(10)[7:9]
    test = [structures[i] for i in held_back]
    graphs = [Graph.from_arrays(s.atomic_numbers, s.positions, None) for s in test]
    errors = [p.energy - s.energy for p, s in zip(predict(load("toy"), graphs), test, strict=True)]
    row = found.splits["test"]["all"]
    assert row["count"] == 2
    assert row["energy_mae"] == pytest.approx(np.abs(errors).mean(), rel=1e-5)
    only = evaluate("toy", data=path, reading=reading, splitting=counts, splits=["test"])
    assert list(only.splits) == ["test"]
    with pytest.raises(DataError, match="got 'curves', expected one of"):
        evaluate("toy", data=path, reading=reading, splitting=counts, splits=["curves"])
    with pytest.raises(DataError, match="splitting: given, expected none"):
        evaluate("toy", splitting=counts)


def test_options_of_a_file_are_refused_for_a_data_set(zoo: Path) -> None:
    files = pytest.importorskip("data_pipelines.files.reading")
    with pytest.raises(DataError, match="reading: given, expected none"):
        evaluate("toy", reading=files.FileOptions(energy_key="E"))


def test_many_kinds_are_told_by_their_halves_and_sizes_by_atoms() -> None:
    rng = np.random.default_rng(0)
    kinds = [
        f"{family}/{way}" for family in "abcdefg" for way in ("x1", "x2", "x10", "y", "z", "w")
    ]
    sizes = [3 if i % 3 else 60 for i in range(len(kinds))]
    made, found = [], []
    for kind, atoms in zip(kinds, sizes, strict=True):
        one = dataclasses.replace(
            make(rng, np.nan),
            atomic_numbers=np.full(atoms, 1, np.int32),
            positions=rng.normal(size=(atoms, 3)),
            forces=np.zeros((atoms, 3)),
            charges=np.zeros(atoms),
            dipole=np.zeros(3),
            kind=kind,
        )
        made.append(one)
        found.append(
            SimpleNamespace(
                energy=one.energy + (0.6 if kind.startswith("a") else 0.3),
                forces=one.forces + (0.1 if kind.endswith("x10") else 0.0),
                charges=np.full(atoms, 0.02),
                dipole=np.asarray([0.3, 0.0, 0.0]),
                stress=None,
            )
        )
    table = part_errors(made, typing.cast("Any", found))
    assert [part for part in table if len(part) < 4] == [
        "all", "a", "b", "c", "d", "e", "f", "g", "w", "x1", "x2", "x10", "y", "z",
    ]  # fmt: skip
    assert table["a"]["count"] == 6 and table["x10"]["count"] == 7
    assert table["a"]["energy_mae"] == pytest.approx(0.6)
    assert table["x10"]["force_mae"] == pytest.approx(0.1) and table["x1"]["force_mae"] == 0
    assert table["all"]["charge_mae"] == pytest.approx(0.02)
    assert table["all"]["dipole_mae"] == pytest.approx(0.1)
    large = table["51 atoms and more"]
    assert large["count"] == 14 and "21 to 50 atoms" not in table
    errors = [0.6 if kind[0] == "a" else 0.3 for kind in kinds[::3]]
    expected = np.mean(errors) / 60
    assert large["energy_mae_per_atom"] == pytest.approx(expected)
    assert "energy_mae_per_atom" not in table["all"]
