"""Bonds that a model has never seen are refused, whatever its features say."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from ase.build import molecule
from toys import TOY_DOMAIN, make_model

import efa_zoo
from efa_zoo.base.errors import ConfigError, InputError, WeightsError
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.inputs.checks import OutOfRangeWarning, problems_out_of_range
from efa_zoo.structures.domain import Domain
from efa_zoo.structures.molecule import Molecule

_KNOWN = ("H C", "H O", "C H4", "C H3O", "O HC", "O H2")
_DOMAIN = dataclasses.replace(TOY_DOMAIN, environments=_KNOWN)


@pytest.fixture(autouse=True)
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Card:
    """Of a toy that knows water, methane and methanol."""
    monkeypatch.setenv("EFA_ZOO_HOME", str(tmp_path))
    return make_model(tmp_path, "toy", domain=_DOMAIN)


@pytest.mark.parametrize("name", ["H2O", "CH4", "CH3OH"])
def test_known_bonds_pass(card: Card, name: str) -> None:
    assert efa_zoo.predict("toy", molecule(name)).energy


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "C2H6",
            r"atom 0 \(C\) is bonded to H3C \(and 1 more\), but toy knows C bonded to H4, H3",
        ),
        ("CH3OCH3", r"atom 1 \(O\) is bonded to C2, but toy knows O bonded to H2, HC only"),
        ("H2O2", r"atom 0 \(O\) is bonded to HO"),
        (
            "N2",
            r"atom 0 \(N\) is bonded to N \(and 1 more\), but toy knows N bonded to nothing",
        ),
        ("OH", r"atom 0 \(O\) is bonded to H, but"),
    ],
)
def test_others_are_refused_and_said(card: Card, name: str, said: str) -> None:
    atoms = molecule(name)
    atoms.arrays.pop("initial_magmoms", None)
    atoms.info["charge"] = -1 if name == "OH" else 0
    with pytest.raises(InputError, match=f"bonds: {said}"):
        efa_zoo.predict("toy", atoms)
    with pytest.warns(OutOfRangeWarning, match=f"bonds: {said}"):
        efa_zoo.predict("toy", atoms, out_of_range="warn")


def test_without_a_list_bonds_are_not_looked_at(card: Card) -> None:
    ethane = molecule("C2H6")
    known = Molecule(numbers=ethane.numbers, positions=ethane.positions, charge=0)
    assert len(problems_out_of_range(known, card)) == 1
    assert not problems_out_of_range(known, dataclasses.replace(card, domain=TOY_DOMAIN))


def test_the_list_belongs_to_the_weights(card: Card, tmp_path: Path) -> None:
    zoo_file = tmp_path / "zoo" / "toy.toml"
    text = zoo_file.read_text(encoding="utf-8")
    assert text.count('"C H3O"') == 1
    zoo_file.write_text(text.replace('"C H3O"', '"C H3C"'), encoding="utf-8")
    with pytest.raises(WeightsError, match=r"domain\.environments"):
        efa_zoo.load("toy")


def test_lists_of_other_elements_or_of_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="environments: got F, expected"):
        Domain(elements=("H",), total_charges=(0,), max_distance=3.0, environments=("H F",))
    with pytest.raises(ConfigError, match="environments: got 'H1'"):
        Domain(elements=("H",), total_charges=(0,), max_distance=3.0, environments=("H1",))


def test_the_card_tells_how_many_there_are(card: Card) -> None:
    assert "bonds 2 kinds of H, 2 kinds of C, 2 kinds of O" in " ".join(card.in_full().split())
