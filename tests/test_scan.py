"""Separation curves: the right molecules at the right distances, drawn whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from efa_zoo.cli import main
from efa_zoo.errors import InputError
from efa_zoo.prediction import OutOfRangeWarning
from efa_zoo.scan import Scan, draw_scans, scan

pytest.importorskip("data_pipelines.monomers")


@pytest.fixture(scope="module")
def curve(toy_home: Path) -> Scan:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFA_ZOO_HOME", str(toy_home))
        patch.setattr("efa_zoo.scan.find_spec", lambda name: None)  # no labels: quick
        with pytest.warns(OutOfRangeWarning, match="15 Å"):  # atoms are further than molecules
            return scan(["toy", "toy"], pair=("ammonium", "ammonia"), seed=3)


def test_a_scan_goes_from_contact_to_the_longest_separation(curve: Scan) -> None:
    assert np.all(np.diff(curve.separations) > 0)
    assert 2 < curve.separations[0] < 5
    assert curve.separations[-1] == pytest.approx(15)
    energies = curve.energies["toy"]
    assert energies.shape == curve.separations.shape
    assert np.isfinite(energies).all()
    assert np.ptp(energies) > 0
    assert curve.labels is None


def test_a_scan_prints_its_pair_and_models(curve: Scan) -> None:
    text = str(curve)
    assert "ammonium + ammonia" in text
    assert "toy" in text
    assert "15.00" not in text.splitlines()[2]


def test_unknown_molecules_are_refused(zoo: Path) -> None:
    with pytest.raises(InputError, match="pair: got 'wate', expected one of"):
        scan("toy", pair=("wate", "ammonia"))


def test_a_picture_is_written(curve: Scan, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = draw_scans([curve, curve], tmp_path / "scan.png")
    assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"out: got .*scan\.txt"):
        draw_scans([curve], tmp_path / "scan.txt")
    assert [file.name for file in tmp_path.iterdir()] == ["scan.png"]


def test_the_command_scans(
    curve: Scan,
    zoo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("matplotlib")

    def stand_in(models: list[str], *, pair: tuple[str, str], seed: int) -> Scan:
        assert (models, pair, seed) == (["toy", "toy_neutral"], ("ammonium", "ammonia"), 7)
        return curve

    monkeypatch.setattr("efa_zoo.scan.scan", stand_in)
    picture = tmp_path / "curve.svg"
    options = ["--compare", "toy_neutral", "--pair", "ammonium", "ammonia", "--seed", "7"]
    assert main(["scan", "toy", *options, "--out", str(picture)]) == 0
    assert f"picture: {picture}" in capsys.readouterr().out
    assert picture.stat().st_size > 1000
