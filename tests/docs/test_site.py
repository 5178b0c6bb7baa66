"""The documentation site builds without a warning, and covers what is public."""

from __future__ import annotations

import importlib
import importlib.util
import json
import pkgutil
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import efa_zoo
from efa_zoo.cli import COMMANDS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def pages(site: Path) -> dict[str, str]:
    """Every page of the site, by its place."""
    found = sorted(site.rglob("*.html"))
    return {str(p.relative_to(site)): p.read_text(encoding="utf-8") for p in found}


@pytest.mark.slow
def test_every_page_is_built_and_loads_nothing_from_elsewhere(site: Path) -> None:
    built = pages(site)
    sources = {p.relative_to(DOCS) for p in DOCS.rglob("*.md")}
    for source in sources:
        place = source.with_suffix("") / "index.html"
        if source.name == "index.md":
            place = source.with_suffix(".html")
        assert str(place) in built
    assert len(built) == len(sources) + 1  # 404.html
    loaded = r'<(?:script|img|iframe)[^>]*\bsrc="([^"]*)"|<link[^>]*\bhref="([^"]*)"'
    for place, text in built.items():
        for found in re.findall(loaded, text):
            assert not re.match(r"https?:|//", "".join(found)), f"{place}: {found}"
        assert "$\\" not in text, f"{place}: mathematics that was not translated"


@pytest.mark.slow
def test_public_names_are_in_the_reference(site: Path) -> None:
    text = "".join(text for place, text in pages(site).items() if place.startswith("reference"))
    anchors = set(re.findall(r'id="((?:efa_zoo|data_pipelines)[\w.]*)"', text))
    missing = []
    for module in (
        "efa_zoo", "efa_zoo.attention", "efa_zoo.simulation", "efa_zoo.training",
        "efa_zoo.analysis.scan",
        "efa_zoo.base.errors", "efa_zoo.interop.reference", "data_pipelines",
    ):  # fmt: skip
        for name in importlib.import_module(module).__all__:
            if not any(a.startswith(module.partition(".")[0]) and a.endswith(f".{name}")
                       for a in anchors):  # fmt: skip
                missing.append(f"{module}.{name}")
    assert not missing


@pytest.mark.slow
def test_every_command_is_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "command_line" / "index.html").read_text(encoding="utf-8")
    for command in COMMANDS:
        assert f"efa-zoo {command}" in text


@pytest.mark.slow
def test_shapes_read_well(site: Path) -> None:
    for place, text in pages(site / "reference").items():
        assert "{self." not in text, place
    words = re.sub(r"<[^>]+>", "", (site / "reference/attention/index.html").read_text("utf-8"))
    assert "atoms input_irreps.parities input_irreps.components features" in words


def test_math_is_for_text_between_dollars() -> None:
    from markdown import Markdown

    md = Markdown(extensions=[_script("extensions/mathml").MathExtension()])
    assert "<math" in md.convert("a $x^2$ b")
    assert "<msup>" in md.convert("$x^2$")
    for text in ("`$EFA_ZOO_DATA`", "5 $ and 6 $", r"\$x$", "$HOME is set", "`$x$`"):
        assert "<math" not in md.convert(text), text


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(name).name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_names_on_the_page_of_the_design_exist() -> None:
    text = (DOCS / "design.md").read_text(encoding="utf-8")
    names = re.findall(r"`((?:efa_zoo|data_pipelines)\.[\w.]+)`", text)
    assert len(names) > 6
    for name in names:
        pkgutil.resolve_name(name)


def test_symmetry_errors_are_what_rounding_makes_of_them() -> None:
    stored = json.loads((DOCS / "symmetry.json").read_text(encoding="utf-8"))
    rows = {label: [e for e in errors if e is not None] for label, *errors in stored["rows"]}
    assert len(rows) == 12
    for label, errors in rows.items():
        tolerance = float(label.partition("to ")[2].partition(",")[0] or 0)
        rounding = 1e-12 if "float64" in label else 5e-5
        assert max(errors) <= rounding + tolerance, label


def test_the_script_finds_what_breaks_a_symmetry(x64: None) -> None:
    measure = _script("measure_symmetry")
    assert measure.layer_error("exact", 1e-5, np.float64) < 1e-13
    coarse = measure.layer_error("quadrature", 1e-3, np.float64)
    assert 1e-9 < coarse < 1e-3


def test_all_models_are_on_the_page_of_cards() -> None:
    text = (DOCS / "models.md").read_text(encoding="utf-8")
    for name in efa_zoo.list_models():
        assert f"## {name}\n" in text
