"""The gallery: up to date with the weights, and right about the published splits."""

from __future__ import annotations

from pathlib import Path

import gallery
import pytest
from report.experiments import EXPERIMENTS

import efa_zoo

ROOT = Path(__file__).parents[2]
PUBLISHED_FILES = ROOT.parent / "shared" / "reference" / "datasets"


@pytest.fixture(autouse=True)
def shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shipped models, not toys."""
    monkeypatch.delenv("EFA_ZOO_HOME", raising=False)


def test_the_gallery_is_up_to_date() -> None:
    results = gallery.stored()
    hint = "run python docs/gallery.py"
    assert results.experiments == tuple(EXPERIMENTS), hint
    trained = {name for e in EXPERIMENTS.values() for name in e.models}
    trained &= set(efa_zoo.list_models())
    assert set(results.models) == trained, hint
    for name in trained:
        weights = efa_zoo.card(name).weights
        assert weights is not None
        assert results.models[name].sha256 == weights.sha256, f"{name}: {hint}"
    assert gallery.PAGE.read_text(encoding="utf-8") == gallery.text(results), hint


def test_the_gallery_says_what_the_cards_say() -> None:
    for name, found in gallery.stored().models.items():
        stored = efa_zoo.card(name).metrics["test"]["all"]
        for metric, value in found.test["all"].items():
            assert value == pytest.approx(stored[metric], rel=1e-2), (name, metric)


def test_pictures_of_the_gallery_are_small() -> None:
    for key in gallery.stored().profiles:
        picture = gallery.IMAGES / f"{key}.png"
        assert picture.stat().st_size < 80_000, key


@pytest.mark.slow
@pytest.mark.parametrize("key", ["cluster16", "cluster32", "two_atoms"])
def test_the_gallery_holds_errors_on_the_published_test_splits(key: str) -> None:
    if not PUBLISHED_FILES.is_dir():
        pytest.skip("needs ../shared/reference")
    from data_pipelines.files.options import FileOptions
    from data_pipelines.splitting import SplitOptions
    from efa_zoo.analysis.evaluation import evaluate

    name = EXPERIMENTS[key].models[0]
    stored = gallery.stored().models.get(name)
    if stored is None or stored.published is None:
        pytest.skip(f"{name} is not trained")
    assert EXPERIMENTS[key].file is not None
    file, counts = EXPERIMENTS[key].file
    found = evaluate(
        name,
        data=PUBLISHED_FILES / file,
        splits=["test"],
        reading=FileOptions(charge=0),
        splitting=SplitOptions(counts=counts),
    )
    assert found.splits["test"]["all"] == pytest.approx(stored.published, rel=1e-2)
