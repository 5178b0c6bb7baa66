"""What is chosen follows from the data and the time, and the reasons stand in the file."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
from toys import make_recipe

import efa_zoo
from data_pipelines.structure import Structure
from efa_zoo.base.config import AttentionConfig, Coulomb, ModelConfig, TrainingConfig, Waves
from efa_zoo.base.errors import ConfigError, DataError, InputError
from efa_zoo.base.progress import seconds_of
from efa_zoo.models.hub.cards import Card
from efa_zoo.training.fitted import (
    DataFacts,
    StepTime,
    choose_model,
    choose_training,
    fitted_recipe,
)
from efa_zoo.training.fitted import recipe as recipe_module

_FACTS = DataFacts(
    count=300,
    atoms=9.0,
    most_atoms=9,
    elements=(1, 6, 8),
    charges=(0,),
    excited=False,
    longest=4.6,
    spacing=1.45,
    energy_spread=0.2,
    force_spread=1.2,
)
_TIME = StepTime(step=0.01, compiling=20.0, validating=0.2)
_BASE = TrainingConfig(optimizer="muon", learning_rate=8e-3, isolated_share=0.25, patience=3)


def _water(energy: float, bond: float, force: float, charge: int = 0, spin: int = 0) -> Structure:
    """A molecule in the form of an L, two bonds of a length."""
    return Structure(
        atomic_numbers=np.asarray([8, 1, 1], np.int32),
        positions=np.asarray([[0, 0, 0], [bond, 0, 0], [0, bond, 0]], float),
        energy=energy,
        forces=np.full((3, 3), force),
        total_charge=charge,
        multiplicity=spin,
    )


def test_facts_are_those_of_the_structures() -> None:
    structures = [_water(-10.0, 1.0, 1.0), _water(-12.0, 1.0, -3.0), _water(-14.0, 2.0, 1.0, 1)]
    facts = DataFacts.of(structures)
    assert (facts.count, facts.atoms, facts.most_atoms) == (3, 3.0, 3)
    assert facts.elements == (1, 8)
    assert facts.charges == (0, 1)
    assert not facts.excited
    assert facts.longest == pytest.approx(2 * math.sqrt(2))
    assert facts.spacing == pytest.approx(2.0)  # of nine atoms, three have it
    assert facts.energy_spread == pytest.approx(math.sqrt(8 / 3))
    assert facts.force_spread == pytest.approx(math.sqrt(11 / 3))
    assert DataFacts.of([_water(0.0, 1.0, 0.0, spin=3)]).excited
    assert "3 structures of 3 atoms on average, up to 3; H O;" in str(facts)
    with pytest.raises(DataError, match="got none"):
        DataFacts.of([])


def test_the_network_reaches_as_far_as_the_data() -> None:
    base = ModelConfig(features=8, attention=AttentionConfig(query_key_features=8))
    model, reasons = choose_model(base, dataclasses.replace(_FACTS, longest=17.2, charges=(-1, 0)))
    assert model.features == base.features
    assert model.highest_atomic_number == 8
    assert model.charge_embedding
    assert not model.spin_embedding
    assert not model.zero_output
    assert model.message_passing.cutoff == 4.5  # 2.8 · 1.45 Å is 4.06 Å
    assert model.attention is not None
    assert isinstance(model.attention.kernel, Waves)
    frequencies = model.attention.kernel.frequencies
    assert frequencies.max_length == 19.0
    # The shortest wave is twice the cutoff long.
    highest = frequencies.max_frequency / frequencies.max_length
    assert 2 * math.pi / highest == pytest.approx(2 * 4.5, rel=1e-3)
    assert "17.2 Å" in reasons["model.attention.kernel.frequencies.max_length"]
    assert "-1 to +0" in reasons["model.charge_embedding"]
    assert "model.spin_embedding" not in reasons


@pytest.mark.parametrize(("spacing", "cutoff"), [(0.7, 4.0), (2.0, 6.0), (3.0, 7.0)])
def test_the_cutoff_holds_a_few_shells(spacing: float, cutoff: float) -> None:
    model, _ = choose_model(ModelConfig(), dataclasses.replace(_FACTS, spacing=spacing))
    assert model.message_passing.cutoff == cutoff


def test_a_kernel_without_frequencies_gets_its_length() -> None:
    base = ModelConfig(attention=AttentionConfig(kernel=Coulomb()))
    model, reasons = choose_model(base, dataclasses.replace(_FACTS, longest=30.0, excited=True))
    assert model.attention is not None
    assert model.attention.kernel == Coulomb(max_length=33.0)
    assert "model.attention.kernel.max_length" in reasons
    assert model.spin_embedding


def test_steps_fill_the_time() -> None:
    found, reasons = choose_training(_BASE, _FACTS, _TIME, 900)
    # 90% of 900 s less two compilations of 20 s and 25 validations of 0.2 s, at 10 ms.
    assert found.steps == 76_000
    assert found.batch_size == 8
    assert (found.warmup_steps, found.validation_interval) == (1_900, 3_040)
    assert found.average_decay == pytest.approx(0.999)
    assert (found.optimizer, found.learning_rate) == ("muon", 8e-3)
    assert (found.isolated_share, found.patience) == (0.0, None)
    # 0.2 eV over 1.2 eV/Å.
    assert (found.energy_weight, found.force_weight) == (0.17, 1.0)
    assert "a step takes 0.01 s here" in reasons["training.steps"]


@pytest.mark.parametrize(("spread", "weight"), [(0.0, 1.0), (1e-3, 0.05), (0.6, 0.5), (50.0, 1.0)])
def test_energies_do_not_drown_forces(spread: float, weight: float) -> None:
    facts = dataclasses.replace(_FACTS, energy_spread=spread)
    assert choose_training(_BASE, facts, _TIME, 900)[0].energy_weight == weight


def test_a_short_run_averages_and_validates_often() -> None:
    found, _ = choose_training(_BASE, _FACTS, _TIME, 65)
    assert found.steps == 1_300
    assert found.average_decay == pytest.approx(1 - 1 / 26, abs=1e-4)
    assert found.validation_interval == 52


def test_more_time_than_is_useful_is_left() -> None:
    found, reasons = choose_training(_BASE, _FACTS, _TIME, 1e6)
    assert found.steps == 150_000  # 4,000 passes over 300 structures
    assert "would gain little" in reasons["training.steps"]


def test_too_little_time_is_refused_with_what_it_takes() -> None:
    with pytest.raises(ConfigError, match=r"time: got 30 s, expected at least 53 s: compiling"):
        choose_training(_BASE, _FACTS, _TIME, 30)


@pytest.mark.parametrize(
    ("count", "atoms", "size"), [(50, 9, 4), (1_000, 9, 8), (9_000, 9, 16), (9_000, 400, 4)]
)
def test_the_batch_follows_number_and_size(count: int, atoms: int, size: int) -> None:
    facts = dataclasses.replace(_FACTS, count=count, most_atoms=atoms)
    assert choose_training(_BASE, facts, _TIME, 900)[0].batch_size == size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("90s", 90), ("1h30m", 5400), ("1.5 h", 5400), ("2min", 120)],
)
def test_times_are_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "30x", "-3m", "30m!"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected a time such as 30m"):
        seconds_of(text)


def test_a_recipe_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole recipe, from data to a file that is read again."""
    rng = np.random.default_rng(0)
    splits = {
        name: [_water(float(rng.normal()), 1.0 + 0.1 * rng.random(), 1.0) for _ in range(count)]
        for name, count in (("train", 12), ("validation", 3))
    }
    monkeypatch.setattr("data_pipelines.load_split", lambda name, split, **_: splits[split])
    monkeypatch.setattr(recipe_module, "time_steps", lambda *_: _TIME)
    path = fitted_recipe(
        make_recipe(tmp_path, "toy"),
        tmp_path / "mine.toml",
        data="structures/water",
        seconds=3600,
        level_of_theory="X",
    )
    card = Card.from_toml(path)
    assert card.data.name == "structures/water"
    assert card.training is not None
    assert card.training.batch_size == 4
    assert card.training.steps == 12_000  # 4,000 passes
    assert card.model.highest_atomic_number == 8
    assert card.model.features == 4
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("# Here: 2.8 times the"))
    assert any(line.startswith("cutoff = 4.0") for line in lines[start : start + 4])
    assert text.count("# Here: ") == 10
    assert efa_zoo.card(path) == card
