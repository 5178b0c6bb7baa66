"""`efa-zoo list` and `efa-zoo card`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from commands import fail, succeed

import efa_zoo
from efa_zoo.base.config import from_table
from efa_zoo.models.hub.cards import Card


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    out = succeed(capsys, "list", "toy*")
    assert out == "toy          A toy, never trained.\ntoy_neutral  A toy, never trained.\n"
    assert "toy_recipe" in succeed(capsys, "list", "--all")
    assert succeed(capsys, "list", "nothing") == ""


def test_a_card_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert succeed(capsys, "card", "toy") == f"{efa_zoo.card('toy')}\n"


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
