"""New zoo files: what they say, that they are read as they are meant, and training from them."""

from __future__ import annotations

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import make_recipe

import efa_zoo
from efa_zoo.base.config import (
    ACTIVATIONS,
    RADIAL_BASES,
    AttentionConfig,
    FrequencyConfig,
    IntegrationConfig,
    MessagePassingConfig,
    ModelConfig,
    TrainingConfig,
)
from efa_zoo.base.errors import ConfigError, DataError, UnknownModelError
from efa_zoo.cli import main
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.hub.recipes import _explanations, new_recipe
from efa_zoo.models.hub.records import DataSource

_TABLES = [
    AttentionConfig,
    DataSource,
    FrequencyConfig,
    IntegrationConfig,
    MessagePassingConfig,
    ModelConfig,
    TrainingConfig,
]


@pytest.mark.parametrize("name", ["mpnn_efa_dimers", "mpnn_dimers"])
def test_the_new_recipe_is_that_of_the_model_without_its_results(tmp_path: Path, name: str) -> None:
    base, path = efa_zoo.card(name), new_recipe(name, tmp_path / "mine.toml")
    card = Card.from_toml(path)
    assert (card.model, card.training, card.data) == (base.model, base.training, base.data)
    assert card.name == "mine"
    assert name in card.description
    for field in ("weights", "domain", "fine_tuning"):
        assert getattr(card, field) is None
    assert not card.metrics
    assert not card.reference_energies
    assert not card.cost


def test_other_data_need_no_labels_of_charges(tmp_path: Path) -> None:
    path = new_recipe("mpnn_efa_dimers", tmp_path / "mine.toml", data="structures/mine")
    card = Card.from_toml(path)
    assert card.training is not None
    assert card.training.charge_weight == card.training.dipole_weight == 0
    assert not card.model.atomic_charges
    assert not card.model.atomic_dipoles
    assert card.model.repulsion


@pytest.mark.parametrize("cls", _TABLES, ids=lambda cls: cls.__name__)
def test_every_option_is_explained(cls: type) -> None:
    explained = _explanations(cls)
    fields = [field.name for field in dataclasses.fields(cls)]
    assert list(explained) == fields
    assert all(len(text) > 10 for text in explained.values())


def test_every_option_is_in_the_file_with_what_is_allowed(tmp_path: Path) -> None:
    text = new_recipe("mpnn_efa_sn2", tmp_path / "mine.toml").read_text(encoding="utf-8")
    for cls in _TABLES:
        for field in dataclasses.fields(cls):
            pattern = rf"^(# )?{field.name} =|^# *{field.name}: |^#? ?\[.*{field.name}\]"
            assert re.search(pattern, text, re.MULTILINE), (cls, field.name)
    comments = " ".join(line.lstrip("# ") for line in text.splitlines() if line.startswith("#"))
    for choice in (*ACTIVATIONS, *RADIAL_BASES, "at least 1", "1e-8 to 1e-3", "true, false"):
        assert choice in comments
    assert all(len(line) <= 100 for line in text.splitlines() if line.startswith("#"))


def test_a_commented_option_works_once_it_is_given_a_value(tmp_path: Path) -> None:
    path = new_recipe("mpnn_efa_dimers", tmp_path / "mine.toml")
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("# patience =", "patience = 3"), encoding="utf-8")
    training = Card.from_toml(path).training
    assert training is not None
    assert training.patience == 3


def test_a_recipe_with_everything_is_written_whole(tmp_path: Path) -> None:
    model = ModelConfig(
        features=6,
        attention=AttentionConfig(
            query_key_pseudotensors=False,
            integration=IntegrationConfig(spherical_degree=1, degree_constants=(1.0, 0.5)),
            tolerance=float("inf"),
            grid=50,
        ),
        attention_iterations=(1,),
        combine="sum",
    )
    base = Card(
        name="base",
        description='Says "hello" and \\ goes.',
        model=model,
        data=DataSource(name="dimers", level_of_theory="none"),
        training=TrainingConfig(frozen=("embedding.*",), patience=4, body_rate=0.5),
    )
    from efa_zoo.models.hub.cards import write_card

    write_card(tmp_path / "base.toml", base)
    assert Card.from_toml(tmp_path / "base.toml") == base
    card = Card.from_toml(new_recipe(tmp_path / "base.toml", tmp_path / "mine.toml"))
    assert (card.model, card.training, card.data) == (base.model, base.training, base.data)


def test_a_model_without_a_recipe_gets_the_usual_one(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path, "toy")
    text = recipe.read_text(encoding="utf-8")
    recipe.write_text(text[: text.index("[training]")], encoding="utf-8")
    card = Card.from_toml(new_recipe(recipe, tmp_path / "mine.toml"))
    assert card.training == TrainingConfig()


def test_existing_files_are_kept_unless_asked_otherwise(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("precious")
    with pytest.raises(ConfigError, match=r"mine\.toml: is there already.*--overwrite"):
        new_recipe("mpnn_efa_dimers", path)
    assert path.read_text() == "precious"
    new_recipe("mpnn_efa_dimers", path, overwrite=True)
    assert Card.from_toml(path).name == "mine"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"base": "mpnn_efa_dimer"}, UnknownModelError, "did you mean mpnn_efa_dimers"),
        ({"path": "mine"}, ConfigError, r"mine: expected a name that ends in \.toml"),
        ({"path": "my model.toml"}, ConfigError, "name: got 'my model', expected letters"),
        ({"data": "water"}, DataError, "data set: got 'water'.*structures/NAME"),
        ({"level_of_theory": "PBE"}, ConfigError, "level_of_theory: got 'PBE', expected none"),
    ],
    ids=str,
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, options: dict[str, Any], error: type, message: str
) -> None:
    given = {"base": "mpnn_efa_dimers", "path": "mine.toml", **options}
    with pytest.raises(error, match=message) as caught:
        new_recipe(given.pop("base"), tmp_path / given.pop("path"), **given)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_own_data_are_named_and_have_no_isolated_molecules(tmp_path: Path) -> None:
    path = new_recipe(
        "mpnn_efa_dimers",
        tmp_path / "mine.toml",
        data="structures/water",
        level_of_theory="PBE",
        data_dir=tmp_path,
    )
    card = Card.from_toml(path)
    assert card.data == DataSource(name="structures/water", level_of_theory="PBE")
    assert card.training is not None
    assert card.training.isolated_share == 0
    unknown = new_recipe(
        "mpnn_dimers", tmp_path / "other.toml", data="structures/water", data_dir=tmp_path
    )
    assert Card.from_toml(unknown).data.level_of_theory == "not given"


def test_from_a_file_of_structures_to_a_trained_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorflow_datasets")
    from data_pipelines.files.extxyz import write_extxyz
    from data_pipelines.structure import Structure

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EFA_ZOO_DATA", str(tmp_path / "data"))
    rng = np.random.default_rng(0)
    water = np.asarray([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
    structures = []
    for _ in range(20):
        pull = 0.05 * rng.normal(size=(3, 3))
        energy = float(-76.0 + np.sum(pull**2))
        structures.append(
            Structure(
                atomic_numbers=np.asarray([8, 1, 1], np.int32),
                positions=water + pull,
                energy=energy,
                forces=-2 * pull,
                total_charge=0,
            )
        )
    write_extxyz("water.extxyz", structures)
    base = make_recipe(tmp_path, "toy")

    assert main(["data", "add", "water.extxyz", "--name", "water", "--level-of-theory", "X"]) == 0
    assert main(["new", "my.toml", "--from", str(base), "--data", "structures/water"]) == 0
    assert tomllib.loads(Path("my.toml").read_text())["data"]["level_of_theory"] == "X"
    assert main(["train", "my.toml"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "runs/my"
    card = efa_zoo.load(tmp_path / "runs" / "my").card
    assert card.data.name == "structures/water"
    assert card.domain is not None
    assert card.domain.elements == ("H", "O")
    assert card.metrics["test"]["all"]["count"] == 2
    assert main(["new", "my.toml", "--from", str(base)]) == 2
    assert "is there already" in capsys.readouterr().err
