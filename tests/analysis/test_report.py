"""A report is one page with what there is to say, and the numbers in it are those of the model."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from commands import fail, succeed
from toys import TOY_REFERENCES

import efa_zoo
from data_pipelines.files.extxyz import write_extxyz
from data_pipelines.structure import Structure
from efa_zoo.analysis.report import Findings, find_out, page, write_report
from efa_zoo.analysis.report.findings import Part
from efa_zoo.analysis.report.page import _largest_errors
from efa_zoo.base.errors import ConfigError, DataError, InputError
from efa_zoo.base.files import write_record
from efa_zoo.models.prediction import Prediction

_WATER = np.asarray([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])


def _structures(count: int) -> list[Structure]:
    rng = np.random.default_rng(0)
    zero = TOY_REFERENCES["O"] + 2 * TOY_REFERENCES["H"]
    return [
        Structure(
            atomic_numbers=np.asarray([8, 1, 1], np.int32),
            positions=_WATER + 0.05 * rng.normal(size=(3, 3)),
            energy=zero + float(rng.normal()),
            forces=rng.normal(size=(3, 3)),
            total_charge=0,
            group=f"group {i % 2}",
        )
        for i in range(count)
    ]


def _part(energy_errors: list[float], force_errors: list[float]) -> Part:
    """Structures with errors of the energy, and of one component of a force."""
    structures = _structures(len(energy_errors))
    predictions = []
    for s, energy, force in zip(structures, energy_errors, force_errors, strict=True):
        forces = s.forces.copy()
        forces[1, 2] += force
        predictions.append(
            Prediction(
                energy=s.energy + energy,
                forces=forces,
                atomic_energies=np.full(3, (s.energy + energy) / 3),
                charge=0,
            )
        )
    return Part(name="test", structures=structures, predictions=predictions)


class _Links(HTMLParser):
    """Whatever a page takes from elsewhere, and tags that are left open."""

    def __init__(self) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _check(text: str) -> None:
    links = _Links()
    links.feed(text)
    assert links.open == []
    assert all(source.startswith("data:image/png;base64,") for source in links.sources)
    assert "nan" not in re.sub(r'src="[^"]*"', "", text)


def _findings(part: Part, **more: object) -> Findings:
    card = dataclasses.replace(efa_zoo.card("mpnn_efa_dimers"), description="a < b")
    found = Findings(name=card.name, card=card, parts=[part], speed=123.4)
    return dataclasses.replace(found, **more)  # type: ignore[arg-type]


def test_the_page_holds_errors_groups_elements_and_pictures() -> None:
    text = page(_findings(_part([0.01, -0.03, 0.0, 0.0], [0.0, 0.0, 0.0, 0.6])))
    _check(text)
    assert "<p>a &lt; b</p>" in text
    # Means of |10|, |30|, 0 and 0 meV, and of 600 meV/Å over 4 · 9 components.
    assert "<td>all</td><td>4</td><td>10</td><td>15.8</td><td>16.7</td><td>100</td>" in text
    assert "<td>group group 0</td><td>2</td><td>5</td>" in text
    assert "<td>group group 1</td><td>2</td><td>15</td>" in text
    assert "<td>H</td><td>24</td>" not in text  # atoms are counted, not components
    assert "<td>O</td><td>4</td><td>0</td><td>0</td>" in text
    assert "number 1: energy off by -30 meV, a force by 0 eV/Å" in text
    assert "number 3: energy off by +0 meV, a force by 0.6 eV/Å" in text
    assert text.count("<img ") == 1 + 4  # parity, and all four structures
    assert "123 structures/s here" in text
    assert "How it learned" not in text


def _uncertain(part: Part, sigma: float) -> Part:
    """The same with uncertainties of energies in the order of the errors, and of forces."""
    predictions = [
        dataclasses.replace(
            prediction,
            energy_uncertainty=abs(float(error)) * sigma + 1e-6,
            force_uncertainty=np.full(3, sigma),
            extrapolation=np.full(3, 2.0 if i == 0 else 0.5),
        )
        for i, (prediction, error) in enumerate(
            zip(part.predictions, part.energy_errors, strict=True)
        )
    ]
    return dataclasses.replace(part, predictions=predictions)


def test_uncertainties_are_compared_with_errors() -> None:
    part = _part([0.01, -0.03, 0.02, 0.04], [0.0, 0.0, 0.0, 0.6])
    assert "Uncertainty</h2>" not in page(_findings(part))
    text = page(_findings(_uncertain(part, 0.5)))
    _check(text)
    # No error of an energy is within half of itself; 35 of 36 components are, within 0.5 eV/Å.
    assert "<td>test, energy</td><td>1.00</td><td>0.0</td><td>" in text
    assert "<td>25</td></tr><tr><td>test, force</td>" in text
    assert "<td>97.2</td>" in text
    assert text.count("<img ") == 1 + 4 + 1


def test_without_structures_the_card_tells_of_uncertainties() -> None:
    found = dataclasses.replace(_findings(_part([0.0], [0.0])), parts=(), missing="no data")
    assert found.card is not None
    quality = found.card.metrics["uncertainty"]["test"]["energy"]
    text = page(found)
    _check(text)
    assert f"<td>test, energy</td><td>{quality['spearman']:.2f}</td>" in text
    assert "<td>transfer, force</td>" in text


def test_the_structures_with_the_largest_errors_are_drawn() -> None:
    part = _part([0.0, 0.5, 0.1, 0.0, 0.4, 0.0, 0.3, 0.0], [3.0, 9.0, 0.0, 2.0, 0.0, 1.0, 0.0, 0.1])
    assert _largest_errors(part) == [1, 4, 6, 0, 3, 5]


def test_a_model_reports_on_a_file(zoo: Path, tmp_path: Path) -> None:
    structures = _structures(5)
    write_extxyz(tmp_path / "water.extxyz", structures)
    found = find_out("toy", data=tmp_path / "water.extxyz")
    (part,) = found.parts
    assert part.name == "water.extxyz"
    assert part.energy_errors == pytest.approx(
        [p.energy - s.energy for s, p in zip(structures, part.predictions, strict=True)], abs=1e-6
    )
    assert found.speed > 0
    assert found.log is None
    _check(page(found))


def test_missing_data_are_said_or_refused(zoo: Path, tmp_path: Path) -> None:
    found = find_out("toy", data_dir=tmp_path)
    assert found.parts == ()
    text = page(found)
    _check(text)
    assert "Nothing was predicted: data set dimers: nothing at" in text
    with pytest.raises(DataError, match="no such file"):
        find_out("toy", data=tmp_path / "none.extxyz")


def _unfinished(folder: Path) -> Path:
    folder.mkdir()
    recipe = {"training": {"steps": 100}, "model": {"features": 4}}
    write_record(folder / "checkpoint.json", {"recipe": recipe, "step": 20})
    (folder / "log.csv").write_text(
        "step,seconds,train_loss,energy_mae,force_mae\n10,1.5,0.5,0.2,0.3\n20,130,0.4,0.1,0.2\n"
    )
    return folder


def test_a_run_that_goes_on_has_its_curves(tmp_path: Path) -> None:
    found = find_out(_unfinished(tmp_path / "run"))
    text = page(found)
    _check(text)
    assert "<h1>run</h1><p>a training run, not finished</p>" in text
    assert text.count("<img ") == 1
    assert "<th>training</th><td>2 min for 20 steps</td>" in text
    assert "<th>training.steps</th><td>100</td>" in text


def test_the_command_writes_the_page(
    zoo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    _unfinished(Path("run"))
    assert succeed(capsys, "report", "run") == "page: run/report.html\n"
    assert "not finished" in Path("run/report.html").read_text(encoding="utf-8")
    assert succeed(capsys, "report", "run", "--out", "a.html", "--json").split() == [
        "{",
        '"page":',
        '"a.html"',
        "}",
    ]
    assert "expected a name that ends in .html" in fail(capsys, "report", "toy", "--out", "a.pdf")
    assert "none.extxyz: no such file" in fail(capsys, "report", "toy", "--data", "none.extxyz")
    assert "did you mean toy" in fail(capsys, "report", "toyy")


def test_a_page_needs_a_name_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ends in \.html"):
        write_report("mpnn_efa_dimers", tmp_path / "page.pdf")
    with pytest.raises(ConfigError):
        write_report(tmp_path, tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []
