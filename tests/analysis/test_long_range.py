"""Interactions of two molecules on stored scans of GFN2-xTB, and what the models make of them.

`scans.json` holds six scans of the data set `dimers`, two of each kind of pair, ten points each.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tensorflow_datasets")

import efa_zoo
from data_pipelines.structure import Structure
from efa_zoo.analysis.evaluation.long_range import CHARGES, LongRange, long_range_errors, tail_power

SCANS = json.loads(Path(__file__).with_name("scans.json").read_text(encoding="utf-8"))


def structures() -> list[Structure]:
    """The points of the scans; fragments have energy zero, so that energies are interactions."""
    return [
        Structure(
            atomic_numbers=np.asarray(scan["numbers"], np.int32),
            positions=np.asarray(point["positions"], np.float64),
            energy=point["energy"],
            forces=np.zeros((len(scan["numbers"]), 3)),
            total_charge=sum(scan["charges"]),
            monomers=tuple(scan["pair"].split("+")),
            fragment=np.asarray(scan["fragment"], np.int32),
            separation=point["separation"],
            formal_charges=np.asarray(scan["charges"], np.int32),
            curve=scan["curve"],
        )
        for scan in SCANS
        for point in scan["points"]
    ]


@cache
def judged(name: str) -> LongRange:
    return long_range_errors(efa_zoo.load(name), structures(), structures())


@pytest.mark.parametrize(("kind", "power"), [(2, -1.0), (1, -2.0), (0, -3.0)])
def test_labels_fall_off_as_charges_and_dipoles_do(kind: int, power: float) -> None:
    for scan in SCANS:
        if np.count_nonzero(scan["charges"]) == kind:
            distant = [p for p in scan["points"] if p["separation"] >= 8]
            found = tail_power(*zip(*((p["separation"], p["energy"]) for p in distant)))  # noqa: B905
            assert found == pytest.approx(power, abs=0.35)


def test_attention_gets_two_charges_right_at_every_distance() -> None:
    found = judged("mpnn_efa_dimers")
    assert set(found.interactions) == set(CHARGES)
    for where, row in found.interactions["two charged"].items():
        assert row["wrong_sign"] == 0
        # Two ammonium ions are wrong from 13 Å on, where the data end.
        assert row["ratio"] < (0.1 if where == "11 to 15 Å" else 0.03)
    tail = found.tails["two charged"]
    assert tail["changes_sign"] == 0
    assert tail["model"] == pytest.approx(tail["label"], abs=0.2)


def test_without_attention_nothing_interacts_far_away() -> None:
    found = judged("mpnn_dimers")
    for kind in CHARGES:
        assert found.long_range[kind]["ratio"] == pytest.approx(1, abs=0.02)
    assert "model" not in found.tails["two charged"]


def test_every_pair_stands_in_one_bin() -> None:
    found = judged("mpnn_efa_dimers")
    for kind in CHARGES:
        counted = sum(row["count"] for row in found.interactions[kind].values())
        assert counted == found.long_range[kind]["count"] == 20
