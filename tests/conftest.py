"""Fixtures shared by all tests."""

from __future__ import annotations

import ctypes
import gc
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from hypothesis import settings
from toys import make_model, make_recipe

from efa_zoo.base import progress
from efa_zoo.structures.domain import Domain

# Tests compile much and run little: a sixth of their time is what LLVM spends on the last few
# percent of speed. Commands that tests start inherit this.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=1")

# Workers share what they compile for as long as the run takes. Commands that tests start keep
# nothing: they must neither find nor leave anything in the user's cache.
os.environ["EFA_ZOO_COMPILATION_CACHE"] = "off"
_SHARED = "EFA_ZOO_TESTS_COMPILED"
_OWN_CACHE = _SHARED not in os.environ
if _OWN_CACHE:
    os.environ[_SHARED] = tempfile.mkdtemp(prefix="efa_zoo_compiled_")
jax.config.update("jax_compilation_cache_dir", os.environ[_SHARED])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


# A weekly look for what the daily one misses: pytest tests/robustness --hypothesis-profile=long
settings.register_profile("long", max_examples=5000, deadline=None, print_blob=True)
# Every other run draws the same cases.
settings.register_profile("repeatable", derandomize=True)
settings.load_profile("repeatable")


#: Folders and modules of tests that compile much, build data sets or start processes. What is left
#: by `-m "not slow"` takes less than a minute and touches every area.
_SLOW = (
    "analysis",
    "attention/test_exact",
    "attention/test_integration",
    "attention/test_kernels",
    "attention/test_module",
    "attention/test_quadrature",
    "cli/test_md",
    "data_pipelines/test_beam",
    "data_pipelines/test_close",
    "data_pipelines/test_dimers",
    "data_pipelines/test_organic",
    "data_pipelines/test_pair",
    "data_pipelines/test_reactions",
    "data_pipelines/test_records",
    "data_pipelines/test_synthetic",
    "docs",
    "interop",
    "models/test_digest",
    "models/test_electronic",
    "models/test_energy",
    "models/test_mpnn",
    "models/test_other",
    "models/test_parallel",
    "models/test_recipes",
    "models/test_weights",
    "models/test_zoo",
    "nn/test_coupling",
    "nn/test_layers",
    "nn/test_pairs",
    "nn/test_radial",
    "nn/test_repulsion",
    "ops/test_bessel",
    "ops/test_boys",
    "ops/test_chunks",
    "ops/test_contractions",
    "ops/test_harmonics",
    "ops/test_platforms",
    "robustness",
    "simulation",
    "test_calculator",
    "test_import",
    "test_packaging",
    "test_parallel",
    "training",
    "typed",
)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    root = Path(__file__).parent
    for item in items:
        inside = item.path.is_relative_to(root)
        if inside and str(item.path.relative_to(root)).startswith(_SLOW):
            item.add_marker(pytest.mark.slow)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        metavar="DIR",
        help="folder of the archives that tests/interop compares with; default: tests/golden",
    )


def pytest_unconfigure(config: pytest.Config) -> None:
    if _OWN_CACHE:
        shutil.rmtree(os.environ[_SHARED], ignore_errors=True)


def drop_programs() -> None:
    """Give back the memory of what this process has compiled."""
    jax.clear_caches()
    gc.collect()
    # What the compiler has freed stays with the process until glibc is told to give it back.
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


@pytest.fixture(scope="module", autouse=True)
def _compiled_programs_are_dropped() -> Iterator[None]:
    """Keep the memory of a worker from growing with the number of modules it has tested."""
    yield
    drop_programs()


@pytest.fixture
def many_networks() -> Iterator[None]:
    """Keep it from growing within a module whose every test compiles another network."""
    yield
    drop_programs()


@pytest.fixture(autouse=True)
def _slow_work_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no machine be so slow that a command says what it is at."""
    monkeypatch.setattr(progress, "FIRST", 1e9)


@pytest.fixture
def x64() -> Iterator[None]:
    """Run a test with 64-bit types enabled, and restore the setting afterwards."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def toy_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the trained toys `toy` and `toy_neutral`, and the recipe `toy_recipe`."""
    home = tmp_path_factory.mktemp("home")
    make_model(home, "toy")
    make_model(
        home,
        "toy_neutral",
        domain=Domain(elements=("H", "O"), total_charges=(0,), max_distance=15.0),
    )
    make_recipe(home, "toy_recipe")
    return home


@pytest.fixture
def zoo(toy_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make `toy_home` the first home that models are looked for in."""
    monkeypatch.setenv("EFA_ZOO_HOME", str(toy_home))
    return toy_home
