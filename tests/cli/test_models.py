"""`efa-zoo list`, `efa-zoo card` and `efa-zoo which`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import dimers, extxyz, fail, succeed

import efa_zoo
from efa_zoo.base.config import from_table
from efa_zoo.models.hub.cards import Card


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    out = succeed(capsys, "list", "toy*")
    title, toy, what, facts, *others = out.splitlines()
    assert title == "For use:"
    assert (toy.strip(), what.strip()) == ("toy", "A toy, never trained.")
    assert facts.strip().startswith("H C N O; charges -1 0 +1; none; ")
    assert others[0].strip() == "toy_neutral"
    assert len(others) == 3
    assert "toy_recipe" in succeed(capsys, "list", "--all")
    assert succeed(capsys, "list", "nothing") == ""


def test_models_are_listed_by_purpose_and_siblings_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = succeed(capsys, "list").splitlines()
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["For use:", "The paper's experiments:", "Toys:"]
    places = [lines.index(f"  mpnn_{name}") for name in ("efa_dimers", "dimers", "efa_sn2")]
    assert places == sorted(places)
    assert places[1] < lines.index(titles[1]) < places[2]


def test_a_card_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    card = efa_zoo.card("mpnn_efa_dimers")
    out = succeed(capsys, "card", "mpnn_efa_dimers")
    assert out == f"{card}\n"
    assert out.count("\n") <= 15
    assert "test: 11.9 meV, 30 meV/Å" in out
    everything = succeed(capsys, "card", "mpnn_efa_dimers", "--all")
    assert everything == f"{card.in_full()}\n"
    assert "cutoff_function" in everything


def test_the_list_can_be_json(capsys: pytest.CaptureFixture[str]) -> None:
    listed = json.loads(succeed(capsys, "list", "toy*", "--all", "--json"))
    assert [entry["name"] for entry in listed] == ["toy", "toy_neutral", "toy_recipe"]
    assert [entry["trained"] for entry in listed] == [True, True, False]
    assert all(entry["description"] == "A toy, never trained." for entry in listed)


def test_a_card_can_be_json(capsys: pytest.CaptureFixture[str]) -> None:
    card = json.loads(succeed(capsys, "card", "toy", "--json"))
    assert from_table(Card, card) == efa_zoo.card("toy")


def test_a_bad_zoo_file_is_refused(capsys: pytest.CaptureFixture[str], zoo: Path) -> None:
    text = (zoo / "zoo" / "toy_recipe.toml").read_text(encoding="utf-8")
    Path("toy_recipe.toml").write_text(text.replace("steps", "stepps"), encoding="utf-8")
    message = fail(capsys, "card", "toy_recipe.toml")
    assert "toy_recipe.toml: training: unknown key 'stepps' (did you mean 'steps'?)" in message


def test_models_that_know_a_structure_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    dimers("two.extxyz")  # of charge 1 and 0
    lines = succeed(capsys, "which", "two.extxyz").splitlines()
    found = {line.split()[0]: line for line in lines}
    assert "2 of 2" not in found["toy"]
    assert found["toy_neutral"].split(maxsplit=1)[1].startswith("1 of 2: elements: got N, but")
    assert "mpnn_efa_sn2" not in found
    refused = succeed(capsys, "which", "two.extxyz", "--all")
    assert "elements: got N, O, but mpnn_efa_sn2 knows only" in refused
    entries = json.loads(succeed(capsys, "which", "two.extxyz", "--json"))
    assert {entry["name"]: entry["known"] for entry in entries}["toy_neutral"] == 1


def test_a_structure_that_nobody_knows_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    Path("gold.xyz").write_text(extxyz("", "Au 0 0 0", "Au 0 0 2.5"), encoding="utf-8")
    assert "no model of the zoo knows any of it" in fail(capsys, "which", "gold.xyz")
