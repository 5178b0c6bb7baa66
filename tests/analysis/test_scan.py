"""Separation curves: the right molecules at the right distances, drawn whole or not at all."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_pipelines.structure import Structure
from efa_zoo import load
from efa_zoo.analysis.scan import Scan, draw_scans, scan
from efa_zoo.base.errors import InputError
from efa_zoo.cli import main
from efa_zoo.models.inputs.checks import OutOfRangeWarning
from efa_zoo.models.potential import Potential
from efa_zoo.models.prediction import Prediction


@pytest.fixture(scope="module")
def curve(toy_home: Path) -> Scan:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFA_ZOO_HOME", str(toy_home))
        patch.setattr(
            "efa_zoo.analysis.scan.dimers.find_spec", lambda name: None
        )  # no labels: quick
        with pytest.warns(OutOfRangeWarning, match="15 Å"):  # atoms are further than molecules
            return scan(["toy", "toy"], pair=("ammonium", "ammonia"), seed=3)


def made_up(**changes: Any) -> Scan:
    """A profile of two models, one of them right."""
    x = np.linspace(0, 3, 31)
    truth = np.sin(x)
    models = {"right": truth, "wrong": truth + np.where(x > 2, 0.25, 0.0)}
    return dataclasses.replace(
        Scan("waves", "angle", "height (eV)", x, models, truth, "sine"), **changes
    )


def test_a_scan_goes_from_contact_to_the_longest_separation(curve: Scan) -> None:
    assert np.all(np.diff(curve.coordinates) > 0)
    assert 2 < curve.coordinates[0] < 5
    assert curve.coordinates[-1] == pytest.approx(15)
    energies = curve.models["toy"]
    assert energies.shape == curve.coordinates.shape
    assert np.isfinite(energies).all()
    assert np.ptp(energies) > 0
    assert curve.truth is None


def test_a_scan_prints_what_it_shows_and_its_models(curve: Scan) -> None:
    text = str(curve)
    assert "ammonium + ammonia: interaction energy (eV)" in text
    assert "distance of the centres of mass (Å)" in text
    assert "toy" in text
    assert "15.00" not in text.splitlines()[2]


def test_deviations_are_the_largest_ones_from_the_truth() -> None:
    assert made_up().deviations == pytest.approx({"right": 0.0, "wrong": 0.25})
    assert "which spans 0.99957: right 0.00000, wrong 0.25000" in str(made_up())
    assert made_up(truth=None).deviations == {}
    gaps = np.where(np.arange(31) > 20, np.nan, 0.0)
    assert made_up(truth=made_up().truth + gaps).deviations["wrong"] == 0.0


@pytest.mark.parametrize("style", ["line", "marks", "points"])
def test_every_style_can_be_drawn(style: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = draw_scans([made_up(style=style)], tmp_path / "scan.svg")
    assert b"waves" in path.read_bytes()


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

    def stand_in(
        models: list[str], *, pair: Any, view: Any, seed: int, data_dir: str | None
    ) -> Scan:
        assert (models, pair, seed) == (["toy", "toy_neutral"], ("ammonium", "ammonia"), 7)
        assert view == "distance"
        assert data_dir == "there"
        return curve

    monkeypatch.setattr("efa_zoo.analysis.scan.scan", stand_in)
    picture = tmp_path / "curve.svg"
    options = ["--compare", "toy_neutral", "--pair", "ammonium", "ammonia", "--seed", "7"]
    options += ["--view", "distance", "--data-dir", "there"]
    assert main(["scan", "toy", *options, "--out", str(picture)]) == 0
    assert f"picture: {picture}" in capsys.readouterr().out
    assert picture.stat().st_size > 1000


@pytest.fixture
def model_of(monkeypatch: pytest.MonkeyPatch, zoo: Path) -> Callable[[str], None]:
    """Says that the toy was trained on a data set, and knows its energies but for an offset."""
    toy = load("toy")

    def choose(data: str) -> None:
        card = dataclasses.replace(toy.card, data=dataclasses.replace(toy.card.data, name=data))
        monkeypatch.setattr("efa_zoo.analysis.scan.load", lambda name: Potential(toy.network, card))

    def predict(potential: Potential, structures: Sequence[Structure]) -> list[Prediction]:
        return [
            Prediction(
                energy=s.energy + 0.5,
                forces=s.forces,
                atomic_energies=np.zeros(len(s.forces)),
                charge=s.total_charge,
            )
            for s in structures
        ]

    monkeypatch.setattr("efa_zoo.analysis.scan.datasets.predict_structures", predict)
    return choose


@pytest.mark.parametrize(
    ("data", "coordinate", "ends"),
    [("two_atoms", "distance", (1, 10)), ("charge_dipole", "angle", (0, 180))],
)
def test_profiles_by_formula_need_no_data(
    data: str, coordinate: str, ends: tuple[float, float], model_of: Callable[[str], None]
) -> None:
    model_of(data)
    found = scan("toy")
    assert found.coordinate.startswith(coordinate)
    assert tuple(found.coordinates[[0, -1]]) == ends
    assert found.truth is not None
    assert np.ptp(found.truth) > 0.01
    assert found.deviations["toy"] == pytest.approx(0.5)


def labelled(energy: float, coordinate: float, **extra: Any) -> Structure:
    """A structure whose atoms are made up."""
    atoms = int(extra.pop("atoms", 2))
    return Structure(
        atomic_numbers=np.ones(atoms, np.int32),
        positions=np.arange(3.0 * atoms).reshape(atoms, 3),
        energy=energy,
        forces=np.zeros((atoms, 3)),
        total_charge=0,
        coordinate=coordinate,
        **extra,
    )


def test_profiles_of_data_are_sorted_and_start_at_the_lowest_label(
    model_of: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [labelled(e, x, kind="chloride/bromide") for e, x in [(3.0, 1.0), (1.0, -2.0)]]
    monkeypatch.setattr("data_pipelines.load_split", lambda name, split, data_dir: points)
    model_of("cumulene")
    found = scan("toy")
    np.testing.assert_allclose(found.coordinates, [-2, 1])
    np.testing.assert_allclose(found.models["toy"], [0.5, 2.5])
    assert found.truth is not None
    np.testing.assert_allclose(found.truth, [0, 2])

    model_of("sn2")
    forward = scan("toy", pair=("chloride", "bromide"))
    backward = scan("toy", pair=("bromide", "chloride"))
    np.testing.assert_allclose(forward.coordinates, [-2, 1])
    np.testing.assert_allclose(backward.coordinates, [-1, 2])
    assert backward.truth is not None
    np.testing.assert_allclose(backward.truth, [2, 0])
    assert backward.title == "bromide + methyl chloride"
    with pytest.raises(InputError, match="got chloride iodide, expected one of chloride bromide"):
        scan("toy", pair=("chloride", "iodide"))


def test_errors_are_drawn_over_what_sorts_the_structures(
    model_of: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    points = [labelled(e, x, atoms=int(x)) for e, x in [(1.0, 2.0), (-1.0, 2.0), (2.0, 4.0)]]
    monkeypatch.setattr("data_pipelines.load_split", lambda name, split, data_dir: points)
    model_of("nacl_spheres")
    found = scan("toy")
    np.testing.assert_allclose(found.coordinates, [2, 4])
    np.testing.assert_allclose(found.models["toy"], [0.25, 0.125])
    model_of("chains")
    np.testing.assert_allclose(scan("toy").models["toy"], [0.5, 0.25])
    model_of("clusters/atoms16")
    found = scan("toy")
    np.testing.assert_allclose(found.coordinates, [-1, 1, 2])
    assert found.style == "points"


def test_data_without_a_profile_and_unused_pairs_are_refused(
    model_of: Callable[[str], None],
) -> None:
    model_of("structures/mine")
    with pytest.raises(InputError, match="got some of structures/mine, expected a data set with"):
        scan("toy")
    model_of("two_atoms")
    with pytest.raises(InputError, match=r"pair: got \('a', 'b'\), expected none"):
        scan("toy", pair=("a", "b"))
