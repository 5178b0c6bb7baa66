"""The steps of CONTRIBUTING.md, followed: a toy data set, a toy model of it, a toy layer."""

from __future__ import annotations

import importlib
import re
import shlex
import sys
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from builders import image
from jaxtyping import TypeCheckError
from symmetry import MOTIONS, assert_close
from toys import make_recipe

import efa_zoo
from data_pipelines import datasets, load_split
from efa_zoo.cli import main
from efa_zoo.models.weights import weights_hash
from efa_zoo.nn.coupling import Irreps

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    """The text under a heading."""
    found = re.search(rf"^## {title}$(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    assert found, title
    return found[1]


def code(title: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Write the code of a section as the file that its first line names, and import it.

    The file lies in a folder of its own, which the package is told of.
    """
    block = re.search(r"^   ```python\n(.*?)^   ```$", section(title), re.DOTALL | re.MULTILINE)
    assert block, title
    lines = [line.removeprefix("   ") for line in block[1].splitlines()]
    place = lines[0].removeprefix("# ")
    assert not (ROOT / place).exists()
    file = home / place
    file.parent.mkdir(parents=True)
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    package = importlib.import_module(".".join(Path(place).parent.parts))
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(file.parent)])
    name = f"{package.__name__}.{file.stem}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module(name)


def commands(title: str) -> list[list[str]]:
    """Arguments of the commands of a section."""
    return [shlex.split(command) for command in re.findall(r"`efa-zoo ([^`]*)`", section(title))]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A zoo of one's own in the working directory, and data sets beside it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EFA_ZOO_HOME", str(tmp_path))
    monkeypatch.setenv("EFA_ZOO_DATA", str(tmp_path / "data"))
    return tmp_path


def succeed(*arguments: str) -> None:
    """Run a command that must succeed."""
    assert main(arguments) == 0


def test_a_data_set_and_a_model_of_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tensorflow_datasets")
    # 1 to 3 of the data set
    code("Add a data set", home, monkeypatch)
    named = re.search(r'`"(\w+)": "([\w.]+:\w+)"`', section("Add a data set"))
    assert named
    monkeypatch.setitem(datasets.BUILDERS, named[1], named[2])  # type: ignore[arg-type]
    (build,) = commands("Add a data set")
    succeed(*build)
    tiny = load_split("springs", "train", config="tiny")
    assert len({image(s) for s in tiny}) == len(tiny) == 20
    for structure in tiny:
        distance = np.linalg.norm(structure.positions[1] - structure.positions[0])
        assert structure.energy == pytest.approx((distance - 1.5) ** 2)
        assert structure.forces[1, 2] == pytest.approx(-2 * (distance - 1.5))

    # 1 to 4 of the model, from a recipe that is smaller than the one in the text
    make_recipe(home, "mpnn_two_atoms")
    new, train, evaluate, replay = commands("Add a model")
    succeed(*(part if part != "springs" else "springs/tiny" for part in new))
    recipe = home / new[1]
    edited = re.sub(
        r"^description = .*$",
        'description = "Springs."',
        recipe.read_text("utf-8"),
        flags=re.MULTILINE,
    )
    recipe.write_text(edited, encoding="utf-8")
    succeed(*train)
    assert {path.name for path in (home / "pretrained").iterdir()} == {"mpnn_springs.safetensors"}
    succeed(*evaluate)
    succeed(*replay)
    assert (home / "pretrained" / "mpnn_springs.replay.npz").exists()

    card = efa_zoo.card("mpnn_springs")
    assert card.replay is not None
    assert "mpnn_springs" in efa_zoo.list_models()
    assert card.description == "Springs."
    assert card.data.name == "springs/tiny"
    assert card.data.level_of_theory == "V = (r - 1.5)^2"
    assert card.metrics["test"]["all"]["count"] == 6
    assert card.domain is not None and card.domain.elements == ("H",)
    stored = tomllib.loads(recipe.read_text("utf-8"))
    assert stored["weights"]["sha256"] == weights_hash(
        home / "pretrained" / "mpnn_springs.safetensors"
    )


def test_a_layer(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate: Any = code("Add a layer", home, monkeypatch)
    assert gate.__all__ == ["Gate"]
    layer = gate.Gate(Irreps(1, True), 3, key=jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(5, 2, 4, 3)).astype(np.float32)
    for motion in MOTIONS:
        moved = layer(jnp.asarray(motion.features(x), jnp.float32))
        assert_close(moved, motion.features(layer(jnp.asarray(x))), 1e-5)
    for wrong in (x[:, :1], x[:, :, :3], x.astype(np.int32)):
        with pytest.raises(TypeCheckError):
            layer(jnp.asarray(wrong))


# -------------------------------------------------------------------------------------------------
# What is said besides


def test_files_and_commands_that_are_named_exist() -> None:
    places = re.findall(
        r"`((?:efa_zoo|data_pipelines|tests|docs|zoo|pretrained|\.ci)/[\w./-]*)`", TEXT
    )
    assert len(places) > 10
    made = {"zoo/mpnn_springs.toml"}
    for place in set(places) - made:
        assert (ROOT / place).exists(), place
    assert (ROOT / "zoo" / f"{commands('Add a model')[0][3]}.toml").exists()


def test_the_workflow_does_what_the_local_check_does() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pythons = [
        row.rpartition(" ")[2] for row in project["classifiers"] if re.search(r":: 3\.\d+$", row)
    ]
    (matrix,) = re.findall(r"^ +python: \[(.*)\]$", workflow, re.MULTILINE)
    assert matrix.replace('"', "").split(", ") == pythons
    assert "run: .ci/run" in workflow
    assert "--resolution lowest-direct" in workflow
    assert (
        project["requires-python"] == f">={pythons[0]},<3.{int(pythons[-1].partition('.')[2]) + 1}"
    )


def test_the_citation_is_of_this_version() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {efa_zoo.__version__}\n" in citation
