"""What importing efa_zoo does, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import efa_zoo


def run(code: str) -> str:
    """Run code in a new interpreter where warnings are errors; returns what it printed."""
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=Path(efa_zoo.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    return result.stdout.strip()


def test_importing_loads_nothing_heavy_and_leaves_jax_alone() -> None:
    code = """
import sys
import jax
before = dict(jax.config.values)
import efa_zoo
for name in efa_zoo.__all__:
    getattr(efa_zoo, name)
import efa_zoo.cli
heavy = {"tensorflow", "tensorflow_datasets", "ase", "matplotlib", "orbax", "tblite", "vesin"}
print(sorted(heavy & {name.partition(".")[0] for name in sys.modules}))
assert {name: jax.config.values[name] for name in before} == before
"""
    assert run(code) == "[]"


def test_areas_load_what_is_heavy_when_it_is_used() -> None:
    # lint-imports cannot tell imports inside of functions from those at the top of a file.
    code = """
import importlib, sys
from pathlib import Path
import efa_zoo
root = Path(efa_zoo.__file__).parents[1]
files = root.joinpath("efa_zoo").rglob("*.py")
names = [".".join(file.relative_to(root).with_suffix("").parts) for file in files]
names = [name.removesuffix(".__init__") for name in names if not name.startswith("efa_zoo.cli")]
of_ase = [name for name in names if name.startswith(("efa_zoo.calculator", "efa_zoo.simulation"))]
heavy = {"ase", "data_pipelines", "matplotlib", "orbax", "tensorflow", "tensorflow_datasets"}
def load(names):
    for name in names:
        importlib.import_module(name)
    return sorted(heavy & {name.partition(".")[0] for name in sys.modules})
print(len(names) > 80, len(of_ase) > 5, load(sorted(set(names) - set(of_ase))), load(of_ase))
"""
    assert run(code) == "True True [] ['ase']"


def test_importing_evaluates_nothing() -> None:
    """No module makes an array: JAX refuses another number of devices once it has started."""
    code = """
import importlib, pkgutil
import efa_zoo
for module in pkgutil.walk_packages(efa_zoo.__path__, "efa_zoo."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
import jax
jax.config.update("jax_num_cpu_devices", 3)
print(len(jax.devices("cpu")))
"""
    assert run(code) == "3"


def test_listing_models_needs_no_jax() -> None:
    code = """
import sys
import efa_zoo
names = efa_zoo.list_models()
for name in names:
    efa_zoo.card(name)
print("jax" in sys.modules)
"""
    assert run(code) == "False"


def test_names_do_not_depend_on_what_was_imported_before() -> None:
    code = """
import efa_zoo.models.prediction, efa_zoo.models.hub.cards, efa_zoo.models.hub.registry
import efa_zoo.models.potential
import efa_zoo
print(*(type(getattr(efa_zoo, name)).__name__ for name in ("predict", "card", "load", "example")))
"""
    assert run(code) == "function function function function"


@pytest.mark.parametrize("name", efa_zoo.__all__)
def test_public_names_exist_and_are_documented(name: str) -> None:
    value = getattr(efa_zoo, name)
    assert value.__doc__
    assert name in dir(efa_zoo)


def test_public_names_are_sorted_and_an_unknown_one_is_an_attribute_error() -> None:
    assert efa_zoo.__all__ == sorted(efa_zoo.__all__)
    with pytest.raises(AttributeError, match="no attribute 'pretict'"):
        _ = efa_zoo.pretict
