"""Zoo files: what is read, what is refused, and how results are written back."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path

import pytest
from toys import TOY_DOMAIN, TOY_REFERENCES, make_recipe

from efa_zoo.base.config import Coulomb, Waves, WindowedWaves
from efa_zoo.base.errors import ConfigError
from efa_zoo.models.hub.cards import Card, write_results
from efa_zoo.models.hub.records import WeightsFile
from efa_zoo.structures.domain import Domain


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    return make_recipe(tmp_path, "toy")


def edit(path: Path, old: str, new: str) -> Path:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def test_a_recipe_is_read(recipe: Path) -> None:
    card = Card.from_toml(recipe)
    assert card.name == "toy"
    assert card.model.features == 4
    assert card.model.attention is not None
    assert card.model.attention.evaluation == "exact"
    assert card.training is not None
    assert card.training.steps == 10
    assert card.weights is None
    assert card.domain is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("features = 4", "featurs = 4", r"toy\.toml: model: unknown key 'featurs'.*'features'"),
        ("[data]", "[dat]", r"toy\.toml: the top level: unknown key 'dat'.*'data'"),
        ("features = 4", 'features = "four"', r"model\.features: got 'four', expected an integer"),
        ("features = 4", "features = true", r"model\.features: got True, expected an integer"),
        ("features = 4", "features = 4.0", r"model\.features: got 4\.0, expected an integer"),
        ("features = 4", "features = 0", r"model\.features: got 0, expected at least 1"),
        ("cutoff = 4.0", "cutoff = -4.0", r"model\.message_passing\.cutoff: got -4\.0"),
        ("cutoff = 4.0", "cutoff = nan", r"model\.message_passing\.cutoff: got nan"),
        ('"exact"', '"exactly"', r"attention\.evaluation: got 'exactly', expected one of auto"),
        ('level_of_theory = "none"', "", r"data: missing key 'level_of_theory'"),
        ('name = "toy"', 'name = "other"', r"name: got 'other', expected the file's name 'toy'"),
        ('name = "toy"', 'name = "../toy"', r"name: got '\.\./toy', expected letters"),
        ("[data]", "[data", r"toy\.toml: not valid TOML"),
        ("[model]", "domain = 3\n[model]", r"domain: got 3, expected a table"),
        ("[data]", "[domain]\nelements = []\n[data]", r"domain: missing key 'total_charges'"),
    ],
)
def test_a_wrong_key_type_or_value_is_named(recipe: Path, old: str, new: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Card.from_toml(edit(recipe, old, new))
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot read"):
        Card.from_toml(tmp_path / "none.toml")
    binary = tmp_path / "binary.toml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"binary\.toml: the zoo file is not UTF-8"):
        Card.from_toml(binary)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"elements": ()}, "elements: got"),
        ({"elements": ("H", "Hx")}, "elements: got 'Hx'"),
        ({"total_charges": ()}, "total_charges: got"),
        ({"max_distance": float("inf")}, "max_distance: got inf"),
        ({"max_distance": 0.2}, "max_distance: got 0.2"),
        ({"min_distance": 0.0}, "min_distance: got 0.0"),
    ],
)
def test_a_domain_is_checked(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        dataclasses.replace(TOY_DOMAIN, **changes)


def results(**changes: object) -> dict[str, object]:
    return {
        "weights": WeightsFile(sha256="0" * 64, parameters=10, bytes=100),
        "domain": TOY_DOMAIN,
        "reference_energies": TOY_REFERENCES,
        "metrics": {"test": {"energy_mae": 0.25, "bins": {"0-4": 0.5}}, "steps": 3},
        "cost": {"seconds": 12.5, "device": "2 cores"},
        **changes,
    }


def test_results_are_written_and_read_again(recipe: Path) -> None:
    before = Card.from_toml(recipe)
    written = write_results(recipe, **results())  # type: ignore[arg-type]
    assert written == Card.from_toml(recipe)
    assert written.domain == TOY_DOMAIN
    assert written.metrics["test"]["bins"] == {"0-4": 0.5}
    assert written.cost == {"seconds": 12.5, "device": "2 cores"}
    assert (written.model, written.data, written.training) == (
        before.model,
        before.data,
        before.training,
    )


def test_writing_results_keeps_comments_and_replaces_old_results(recipe: Path) -> None:
    write_results(recipe, **results())  # type: ignore[arg-type]
    edit(recipe, "seconds = 12.5", "seconds = 12.5  # on a laptop")
    card = write_results(recipe, metrics={"test": {"force_mae": 0.5}}, cost={"seconds": 3.0})
    text = recipe.read_text(encoding="utf-8")
    assert text.startswith("# A network too small")
    assert "cutoff = 4.0  # Å" in text
    assert "seconds = 3.0  # on a laptop" in text
    assert card.metrics == {"test": {"force_mae": 0.5}}
    assert card.cost == {"seconds": 3.0}
    assert card.domain == TOY_DOMAIN
    assert [file.name for file in recipe.parent.iterdir()] == ["toy.toml"]


@pytest.mark.parametrize(
    "changes",
    [
        {"reference_energies": {"H": -10.0}},
        {"reference_energies": {"H": float("nan")}},
        {"reference_energies": {"Hx": -1.0}},
        {"domain": None},
        {"domain": dataclasses.replace(TOY_DOMAIN, elements=("H", "Cl"))},
    ],
)
def test_results_that_make_no_valid_card_leave_the_file_alone(
    recipe: Path, changes: dict[str, object]
) -> None:
    before = recipe.read_bytes()
    with pytest.raises(ConfigError):
        write_results(recipe, **results(**changes))  # type: ignore[arg-type]
    assert recipe.read_bytes() == before
    assert [file.name for file in recipe.parent.iterdir()] == ["toy.toml"]


def test_cards_compare_by_content_hash_copy_and_pickle(recipe: Path) -> None:
    write_results(recipe, **results())  # type: ignore[arg-type]
    one, two = Card.from_toml(recipe), Card.from_toml(recipe)
    assert one == two
    assert hash(one) == hash(two)
    assert copy.deepcopy(one) == one
    assert pickle.loads(pickle.dumps(one)) == one
    assert dataclasses.replace(one, metrics={}) != one


def test_a_card_prints_what_a_user_needs(recipe: Path) -> None:
    assert "not trained" in str(Card.from_toml(recipe))
    card = write_results(recipe, **results())  # type: ignore[arg-type]
    for part in ("toy: A toy", "-1 0 +1 e", "H C N O", "0.6 to 15 Å"):
        assert part in str(card)
        assert part.removesuffix(" e") in card.in_full()
    for part in ("energy_mae", "0" * 64, "cutoff_function"):
        assert part in card.in_full()


def test_a_card_takes_fifteen_lines_however_much_it_says(recipe: Path) -> None:
    card = write_results(recipe, **results())  # type: ignore[arg-type]
    long = dataclasses.replace(card, limits="It fails at many things. " * 200)
    lines = str(long).splitlines()
    assert len(lines) == 15
    assert max(map(len, lines)) <= 102
    assert lines[-2].endswith(" …")
    assert lines[-1].endswith("efa-zoo card toy --all")
    assert long.limits in long.in_full()


def test_a_card_in_a_notebook_is_a_table(recipe: Path) -> None:
    card = write_results(recipe, **results())  # type: ignore[arg-type]
    html = dataclasses.replace(card, limits="r < 2 Å & more")._repr_html_()
    assert "<b>toy</b>: A toy" in html
    assert "r &lt; 2 Å &amp; more" in html
    assert html.count("<tr>") == html.count("</tr>") >= 5


def test_a_domain_needs_no_defaults() -> None:
    domain = Domain(elements=("H",), total_charges=(0,), max_distance=3.0)
    assert domain.closed_shell
    assert 0 < domain.min_distance < 1


def test_distances_beyond_what_quadrature_resolves_are_refused(recipe: Path) -> None:
    card = Card.from_toml(recipe)
    attention = card.model.attention
    assert attention is not None
    length = Waves().frequencies.max_length
    far = dataclasses.replace(TOY_DOMAIN, max_distance=length + 1)
    for kernel, evaluation, refused in (
        (Waves(), "auto", True),
        (Waves(), "quadrature", True),
        (Waves(), "exact", False),
        (WindowedWaves(width=3.0), "auto", False),
        (Coulomb(max_length=length), "auto", True),
        (Coulomb(max_length=length + 2), "auto", False),
    ):
        changed = dataclasses.replace(attention, kernel=kernel, evaluation=evaluation)  # type: ignore[arg-type]
        model = dataclasses.replace(card.model, attention=changed)
        if refused:
            with pytest.raises(ConfigError, match=r"domain\.max_distance: got 11 Å, expected at m"):
                dataclasses.replace(card, model=model, domain=far)
        else:
            assert dataclasses.replace(card, model=model, domain=far).domain == far
