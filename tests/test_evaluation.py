"""Errors by split and separation, and the fit that long-range curves are judged by."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from efa_zoo import evaluation, load, predict
from efa_zoo.evaluation import evaluate, fit_inverse_powers
from efa_zoo.graph import Graph

structures = pytest.importorskip("data_pipelines.structures")


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


@pytest.mark.filterwarnings("ignore::efa_zoo.prediction.OutOfRangeWarning")
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
    assert [found.long_range[part]["count"] for part in evaluation._CHARGES] == [2, 1, 1]
    assert "transfer" in str(found)
    assert set(found.to_dict()) == {"validation", "test", "transfer", "long_range"}


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
    edges = [(low, high) for _, low, high in evaluation._BINS]
    assert edges[0][0] == 0
    assert edges[-1][1] == np.inf
    assert all(high == low for (_, high), (low, _) in pairwise(edges))
