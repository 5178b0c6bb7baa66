"""Finding and loading models by name, folder and file."""

from __future__ import annotations

import copy
import pickle
import shutil
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from toys import make_recipe

import efa_zoo
from efa_zoo.base.errors import ConfigError, InputError, UnknownModelError, WeightsError
from efa_zoo.models.hub.cards import Card, write_results
from efa_zoo.models.hub.registry import list_cards
from efa_zoo.models.weights import named_arrays


@pytest.fixture
def folder(zoo: Path, tmp_path: Path) -> Path:
    """A folder with the two files of `toy`, as training writes them."""
    place = tmp_path / "trained"
    place.mkdir()
    shutil.copy(zoo / "zoo" / "toy.toml", place)
    shutil.copy(zoo / "pretrained" / "toy.safetensors", place)
    return place


@pytest.mark.usefixtures("zoo")
def test_models_are_listed_by_pattern() -> None:
    assert {"toy", "toy_neutral"} <= set(efa_zoo.list_models())
    assert efa_zoo.list_models() == sorted(efa_zoo.list_models())
    assert efa_zoo.list_models("toy_*") == ["toy_neutral"]
    assert efa_zoo.list_models("toy_*", trained=False) == ["toy_neutral", "toy_recipe"]
    assert efa_zoo.list_models("nothing*") == []


@pytest.mark.usefixtures("zoo")
def test_loading_gives_the_stored_network_and_its_card(zoo: Path) -> None:
    model = efa_zoo.load("toy")
    assert isinstance(model, efa_zoo.Potential)
    assert model.card == efa_zoo.card("toy") == Card.from_toml(zoo / "zoo" / "toy.toml")
    arrays = named_arrays(model.network)
    assert {array.dtype for array in arrays.values()} == {jnp.dtype(jnp.float32)}
    assert model.card.weights is not None
    assert sum(array.size for array in arrays.values()) == model.card.weights.parameters
    assert any(jnp.abs(array).max() > 0 for array in arrays.values())


def test_a_folder_and_a_file_are_loaded_too(folder: Path) -> None:
    model = efa_zoo.load("toy")
    for place in (folder, str(folder), folder / "toy.toml", str(folder / "toy.toml")):
        assert eqx.tree_equal(efa_zoo.load(place), model)
        assert efa_zoo.card(place) == model.card


@pytest.mark.usefixtures("zoo")
def test_a_name_comes_before_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "toy").mkdir()
    monkeypatch.chdir(tmp_path)
    assert efa_zoo.card("toy").name == "toy"
    with pytest.raises(ConfigError, match="expected one zoo file"):
        efa_zoo.card("./toy")


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize("name", ["toi", "", "toy/../toy", "toy.toml", "no such folder/x"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(UnknownModelError, match="no model") as caught:
        efa_zoo.load(name)
    assert repr(name) in str(caught.value)


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize("name", ["~nobody_of_that_name/x", "a" * 5000, "a/" * 3000, "a\0b"])
def test_a_name_that_no_file_can_have_is_unknown_too(name: str) -> None:
    with pytest.raises(UnknownModelError, match="no model") as caught:
        efa_zoo.load(name)
    assert len(str(caught.value)) < 700


@pytest.mark.usefixtures("zoo")
@pytest.mark.parametrize("name", [None, 5, b"toy", ["toy"], 1.5])
def test_what_is_no_name_is_refused(name: object) -> None:
    with pytest.raises(InputError, match="model: got an object of type"):
        efa_zoo.load(name)  # type: ignore[arg-type]


def test_a_broken_card_is_listed_and_hides_no_other(
    zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    shutil.copytree(zoo, home)
    (home / "zoo" / "toy_neutral.toml").write_text("name = 3", encoding="utf-8")
    monkeypatch.setenv("EFA_ZOO_HOME", str(home))
    assert efa_zoo.list_models("toy*") == ["toy"]
    found = list_cards("toy*")
    assert list(found) == ["toy", "toy_neutral", "toy_recipe"]
    assert isinstance(found["toy_neutral"], ConfigError)
    assert "toy_neutral.toml" in str(found["toy_neutral"])


@pytest.mark.parametrize("problem", ["missing", "file", "unreadable", "~nobody_of_that_name"])
def test_a_home_that_cannot_be_read_does_not_fall_back_to_the_package(
    problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / "zoo").mkdir(parents=True)
    if problem == "missing":
        (home / "zoo").rmdir()
    elif problem == "file":
        (home / "zoo").rmdir()
        (home / "zoo").write_text("", encoding="utf-8")
    elif problem == "unreadable":

        def scandir(path: object) -> object:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("efa_zoo.models.hub.registry.os.scandir", scandir)  # root reads all
    chosen = problem if problem.startswith("~") else str(home)
    monkeypatch.setenv("EFA_ZOO_HOME", chosen)
    with pytest.raises(ConfigError, match="EFA_ZOO_HOME: got"):
        efa_zoo.load("mpnn_efa_dimers")


@pytest.mark.usefixtures("zoo")
def test_close_names_are_suggested() -> None:
    with pytest.raises(UnknownModelError, match=r"did you mean .*toy_neutral"):
        efa_zoo.load("toy_nuetral")


@pytest.mark.usefixtures("zoo")
def test_a_recipe_without_weights_is_never_loaded() -> None:
    with pytest.raises(WeightsError, match="toy_recipe has no weights yet"):
        efa_zoo.load("toy_recipe")


def test_a_folder_needs_exactly_one_zoo_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found none, expected one zoo file"):
        efa_zoo.load(tmp_path)
    for name in ("a", "b"):
        shutil.copy(make_recipe(tmp_path, name), tmp_path)
    with pytest.raises(ConfigError, match=r"found a\.toml, b\.toml, expected one"):
        efa_zoo.load(tmp_path)


def test_missing_weights_are_named(folder: Path) -> None:
    (folder / "toy.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"toy\.safetensors: cannot read"):
        efa_zoo.load(folder)


@pytest.mark.parametrize("position", [0, 20, 1000, -1])
def test_weights_with_one_altered_byte_are_refused(folder: Path, position: int) -> None:
    path = folder / "toy.safetensors"
    content = bytearray(path.read_bytes())
    content[position] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="SHA-256"):
        efa_zoo.load(folder)


def test_truncated_weights_are_refused(folder: Path) -> None:
    path = folder / "toy.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="truncated"):
        efa_zoo.load(folder)


def test_weights_of_another_architecture_are_refused(folder: Path) -> None:
    zoo_file = folder / "toy.toml"
    text = zoo_file.read_text(encoding="utf-8")
    zoo_file.write_text(text.replace("features = 4", "features = 6"), encoding="utf-8")
    write_results(zoo_file, weights=Card.from_toml(zoo_file).weights)
    with pytest.raises(WeightsError, match=r"readout is float32\[4\], expected float32\[6\]"):
        efa_zoo.load(folder)


def test_a_home_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFA_ZOO_HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=r"EFA_ZOO_HOME: got .*, expected a folder that has zoo/"):
        efa_zoo.list_models()


@pytest.mark.usefixtures("zoo")
def test_the_type_of_the_weights_can_be_chosen() -> None:
    with pytest.raises(InputError, match="64-bit mode is off"):
        efa_zoo.load("toy", dtype="float64")
    with pytest.raises(InputError, match="expected a floating-point type"):
        efa_zoo.load("toy", dtype="int32")
    single = efa_zoo.load("toy", dtype="float32")
    with jax.enable_x64(True):
        double = efa_zoo.load("toy", dtype="float64")
        stored = efa_zoo.load("toy")
    assert eqx.tree_equal(stored, single)
    for name, array in named_arrays(double.network).items():
        assert array.dtype == jnp.float64
        assert (array.astype(jnp.float32) == named_arrays(single.network)[name]).all()


@pytest.mark.usefixtures("zoo")
def test_two_loaded_models_are_one_kind_of_pytree() -> None:
    one, two = efa_zoo.load("toy"), efa_zoo.load("toy")
    assert jax.tree.structure(one) == jax.tree.structure(two)
    mean = jax.tree.map(lambda a, b: (a + b) / 2, one, two)
    assert eqx.tree_equal(mean, one)


@pytest.mark.usefixtures("zoo")
def test_a_model_can_be_copied_and_pickled() -> None:
    model = efa_zoo.load("toy")
    assert eqx.tree_equal(copy.deepcopy(model), model)
    assert eqx.tree_equal(pickle.loads(pickle.dumps(model)), model)


def test_examples_are_found_by_name() -> None:
    assert efa_zoo.list_examples() == ["ammonium_water", "water_dimer"]
    for name in efa_zoo.list_examples():
        assert efa_zoo.example(name).is_file()
    with pytest.raises(InputError, match="expected one of ammonium_water"):
        efa_zoo.example("amonium_water")
