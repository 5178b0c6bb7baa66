"""The digest of what enters a number: altered cards are refused, and what was altered is named."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import model_configs

import efa_zoo
from efa_zoo.base.config import ModelConfig
from efa_zoo.base.errors import WeightsError
from efa_zoo.cli import main
from efa_zoo.models.hub.cards import Card, write_results
from efa_zoo.models.hub.digest import altered, card_entries, digest_of, marks_of, sealed
from efa_zoo.models.hub.records import DataSource, WeightsFile
from efa_zoo.models.hub.registry import list_cards
from efa_zoo.structures.domain import Domain


@pytest.fixture
def folder(zoo: Path, tmp_path: Path) -> Path:
    """A folder with the two files of `toy`."""
    place = tmp_path / "toy"
    place.mkdir()
    shutil.copy(zoo / "zoo" / "toy.toml", place)
    shutil.copy(zoo / "pretrained" / "toy.safetensors", place)
    return place


def edit(folder: Path, old: str, new: str) -> Path:
    """Replace a part of the card's text, which must be there."""
    file = folder / "toy.toml"
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")
    return file


#: What is replaced in the card by what, and the names that the refusal gives.
ALTERED = {
    "reference energy": ("H = -10.7", "H = -10.70001", "reference_energies.H"),
    "another reference energy": ("O = -100.125", "O = 0", "reference_energies.O"),
    "new reference energy": ("H = -10.7", "H = -10.7\nF = -1.0", "reference_energies.F"),
    "cutoff": ("cutoff = 4.0", "cutoff = 4.5", "model.message_passing.cutoff"),
    "longest wave": (
        "max_length = 20.0",
        "max_length = 21.0",
        "model.attention.kernel.frequencies.max_length",
    ),
    "longest wave, no more said": (
        "max_length = 20.0",
        "",
        "model.attention.kernel.frequencies.max_length",
    ),
    "activation": (
        'evaluation = "exact"',
        'evaluation = "exact"\nactivation = "silu"',
        "model.attention.activation",
    ),
    "evaluation": ('evaluation = "exact"', "", "model.attention.evaluation"),
    "combination": ("iterations = 1", 'iterations = 1\ncombine = "sum"', "model.combine"),
    "features": ("features = 4", "features = 6", "model.features"),
    "charges of the domain": ("[-1, 0, 1]", "[-1, 0, 1, 2]", "domain.total_charges"),
    "elements of the domain": ('"H", "C"', '"H"', "domain.elements"),
    "longest distance": ("max_distance = 15.0", "max_distance = 150", "domain.max_distance"),
    "shortest distance": ("min_distance = 0.6", "min_distance = 0.1", "domain.min_distance"),
    "shells": ("closed_shell = true", "closed_shell = false", "domain.closed_shell"),
}


@pytest.mark.parametrize("case", ALTERED)
def test_an_altered_card_is_refused_and_what_was_altered_named(folder: Path, case: str) -> None:
    old, new, name = ALTERED[case]
    file = edit(folder, old, new)
    with pytest.raises(WeightsError, match="was altered after the weights were written") as caught:
        efa_zoo.load(folder)
    assert str(caught.value).startswith(f"{file}: {name} was altered")
    assert efa_zoo.card(folder).name == "toy"  # the card can still be read


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("features = 4", "features = 4  # four"),
        ("cutoff = 4.0", "cutoff = 4"),
        ("H = -10.7", "H = -1.07e1"),
        ("features = 4", "features = 4\nresidual_mlps = 0"),
        ('description = "A toy', 'description = "The toy'),
        ("energy_mae = 0.001", "energy_mae = 0.002"),
        ("steps = 10", "steps = 11"),
    ],
)
def test_what_enters_no_number_may_be_changed(folder: Path, old: str, new: str) -> None:
    edit(folder, old, new)
    assert efa_zoo.load(folder).card.name == "toy"


def test_a_card_without_digest_is_refused_until_it_is_sealed(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "toy.toml"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text(
        "".join(line for line in lines if not line.startswith(("digest", "marks"))), "utf-8"
    )
    with pytest.raises(WeightsError, match="has no digest"):
        efa_zoo.load(folder)
    assert main(["card", str(folder), "--seal"]) == 0
    assert "marks" not in capsys.readouterr().out
    assert file.read_text(encoding="utf-8") == "".join(lines)
    assert efa_zoo.load(folder).card.name == "toy"


def test_an_altered_digest_is_refused_too(folder: Path) -> None:
    digest = efa_zoo.card(folder).weights.digest  # type: ignore[union-attr]
    edit(folder, digest, "0" * 64)
    with pytest.raises(WeightsError, match="the digest was altered"):
        efa_zoo.load(folder)


def test_only_new_weights_write_a_new_digest(folder: Path) -> None:
    file = edit(folder, "cutoff = 4.0", "cutoff = 4.5")
    write_results(file, metrics={"test": {"energy_mae": 1.0}})
    with pytest.raises(WeightsError, match=r"model\.message_passing\.cutoff was altered"):
        efa_zoo.load(folder)


def test_every_card_of_the_zoo_has_its_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EFA_ZOO_HOME", raising=False)
    cards = list_cards()
    assert len(cards) >= 22
    for name, card in cards.items():
        assert isinstance(card, Card), name
        assert sealed(card) == card, name
        assert card.weights is not None, name
        assert card.weights.digest, name


def a_card(model: ModelConfig, sha256: str = "0" * 64) -> Card:
    return Card(
        name="any",
        description="",
        model=model,
        data=DataSource(name="none", level_of_theory="none"),
        domain=Domain(elements=("H",), total_charges=(0,), max_distance=0.6),
        reference_energies={"H": -1.0},
        weights=WeightsFile(sha256=sha256, parameters=1, bytes=1),
    )


@given(model_configs(), model_configs())
def test_networks_have_the_same_digest_only_if_they_are_the_same(
    first: ModelConfig, second: ModelConfig
) -> None:
    one, other = card_entries(a_card(first)), card_entries(a_card(second))
    assert (digest_of(one) == digest_of(other)) == (first == second)
    assert digest_of(one) == digest_of(card_entries(a_card(first)))
    assert altered(one, marks_of(one)) == []


@given(st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False), min_size=1), st.data())
def test_an_altered_entry_is_named(entries: dict[str, float], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(entries)))
    marks = marks_of(entries)  # type: ignore[arg-type]
    changed = {**entries, name: entries[name] / 2 + 1}
    if changed[name] != entries[name]:
        assert name in altered(changed, marks)  # type: ignore[arg-type]
    gone = {key: value for key, value in entries.items() if key != name}
    assert name in altered(gone, marks, [name])  # type: ignore[arg-type]
