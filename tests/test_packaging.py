"""The wheel: what it ships, and that a model in it loads from anywhere."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from toys import make_model

import efa_zoo

CHECKOUT = Path(efa_zoo.__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not (CHECKOUT / "pyproject.toml").is_file(), reason="needs the checkout to build a wheel"
)


def run(*arguments: str | Path, cwd: Path, **environment: str) -> str:
    result = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={
            **{name: value for name, value in os.environ.items() if name != "EFA_ZOO_HOME"},
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with one more model, and with files that must not be shipped."""
    place = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", ".*", "dist")
    for name in ("efa_zoo", "data_pipelines", "zoo", "pretrained"):
        if (CHECKOUT / name).is_dir():
            shutil.copytree(CHECKOUT / name, place / name, ignore=ignored)
    for name in ("pyproject.toml", ".gitignore", "README.md", "LICENSE"):
        if (CHECKOUT / name).is_file():
            shutil.copy(CHECKOUT / name, place)
    make_model(place, "shipped_toy")
    for junk in ("zoo/.shipped_toy.ab12.tmp", "zoo/x.tmp", "efa_zoo/__pycache__/x.pyc", "runs/x"):
        (place / junk).parent.mkdir(exist_ok=True)
        (place / junk).write_text("not to be shipped", encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run("-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=source)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed into, without its dependencies."""
    folder = tmp_path_factory.mktemp("site")
    options = ("--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    run("-m", "pip", "install", *options, "--target", folder, wheel, cwd=folder)
    return folder


def test_the_wheel_ships_the_library_and_its_data_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "efa_zoo/__init__.py",
        "efa_zoo/py.typed",
        "efa_zoo/models/hub/_examples/ammonium_water.extxyz",
        "efa_zoo/_data/zoo/shipped_toy.toml",
        "efa_zoo/_data/pretrained/shipped_toy.safetensors",
        "data_pipelines/__init__.py",
    } <= names
    places = {name.partition("/")[0] for name in names}
    assert places == {"efa_zoo", "data_pipelines", f"efa_zoo-{efa_zoo.__version__}.dist-info"}
    assert not [name for name in names if name.endswith((".tmp", ".pyc"))]
    for folder, endings in (("zoo", (".toml",)), ("pretrained", (".safetensors", ".replay.npz"))):
        shipped = {name for name in names if name.startswith(f"efa_zoo/_data/{folder}/")}
        assert all(name.endswith(endings) for name in shipped)
        ours = [p.name for end in endings for p in (CHECKOUT / folder).glob(f"*{end}")]
        assert {f"efa_zoo/_data/{folder}/{name}" for name in ours} <= shipped


def test_an_installed_model_loads_from_another_folder(site: Path, tmp_path: Path) -> None:
    code = """
import json
import efa_zoo
names = efa_zoo.list_models()
models = [efa_zoo.load(name) for name in names]
print(json.dumps([efa_zoo.__file__, names, [model.card.name for model in models]]))
"""
    place, names, loaded = json.loads(run("-c", code, cwd=tmp_path, PYTHONPATH=str(site)))
    assert Path(place).is_relative_to(site)
    assert "shipped_toy" in names
    assert names == loaded
    assert set(efa_zoo.list_models()) <= set(names)


def test_the_installed_command_predicts_an_example(site: Path, tmp_path: Path) -> None:
    out = run(
        "-m", "efa_zoo.cli", "predict", "shipped_toy", "example:ammonium_water",
        cwd=tmp_path, PYTHONPATH=str(site),
    )  # fmt: skip
    assert "energy (eV)" in out
    assert len(out.splitlines()) == 12
    scripts = (site / "bin").glob("efa-zoo*")
    assert next(scripts, None) is not None
