"""Compiled functions are kept by the command line, and elsewhere where the user asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import efa_zoo
from efa_zoo.base.compilation import reuse_compiled

_PREDICT = """
import logging, sys
import efa_zoo, jax
if sys.argv[1:]:
    efa_zoo.use_compilation_cache(sys.argv[1])
records = []
handler = logging.Handler()
handler.emit = lambda record: records.append(record.getMessage())
logger = logging.getLogger("jax._src.compiler")
logger.addHandler(handler)
logger.setLevel(logging.DEBUG)
jax.jit(lambda x: jax.numpy.sin(x) + 1)(2.0)
print(sum("cache hit" in record for record in records))
"""


def _hits(*arguments: str) -> int:
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", _PREDICT, *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_second_process_finds_what_the_first_compiled(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "compiled"
    assert _hits(str(folder)) == 0
    assert any(folder.iterdir())
    assert _hits(str(folder)) > 0


def test_the_default_folder_is_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jax

    set_options: dict[str, object] = {}
    monkeypatch.setattr(jax.config, "update", set_options.__setitem__)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = efa_zoo.use_compilation_cache()
    assert place.parent == tmp_path / "efa_zoo" / "compiled"
    assert place.name.startswith("jax0.")  # another version has a folder of its own
    assert place.is_dir()
    assert set_options["jax_compilation_cache_dir"] == str(place)


def _compiled(folder: Path, number: int, used: float, size: int = 100) -> Path:
    """A file as JAX calls it, last used at that time."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"jit_f-{number:064x}-cache"
    path.write_bytes(bytes(size))
    os.utime(path, (used, used))
    return path


def test_what_was_used_longest_ago_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jax

    monkeypatch.setattr(jax.config, "update", lambda option, value: None)
    files = [_compiled(tmp_path, number, used=1e9 - number) for number in range(5)]
    own = tmp_path / "notes-cache"
    own.write_bytes(bytes(1000))
    efa_zoo.use_compilation_cache(tmp_path, max_bytes=250)
    assert [path.exists() for path in files] == [True, True, False, False, False]
    assert own.exists()


def test_all_versions_share_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import jax

    monkeypatch.setattr(jax.config, "update", lambda option, value: None)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    place = efa_zoo.use_compilation_cache()
    old, new = _compiled(place.with_name("jax0.1"), 1, used=1e9), _compiled(place, 2, used=1e9 + 1)
    efa_zoo.use_compilation_cache(max_bytes=150)
    assert (old.exists(), new.exists()) == (False, True)


def _environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, str]:
    """What `reuse_compiled` sets in a process that has not imported JAX."""
    monkeypatch.delitem(sys.modules, "jax")
    environment = {**variables, "HOME": os.environ["HOME"]}
    monkeypatch.setattr(os, "environ", environment)
    reuse_compiled()
    return environment


def test_the_command_line_keeps_compiled_functions_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    found = _environment(monkeypatch, XDG_CACHE_HOME=str(tmp_path))
    place = Path(found["JAX_COMPILATION_CACHE_DIR"])
    assert place.parent == tmp_path / "efa_zoo" / "compiled"
    assert place.is_dir()


@pytest.mark.parametrize(
    "variables",
    [{"EFA_ZOO_COMPILATION_CACHE": "off"}, {"JAX_COMPILATION_CACHE_DIR": "mine"}],
)
def test_the_command_line_leaves_what_was_chosen(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    found = _environment(monkeypatch, **variables)
    assert {name: found[name] for name in found if name != "HOME"} == variables


def test_no_home_means_no_kept_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.touch()
    monkeypatch.setattr(sys, "platform", "linux")
    assert "JAX_COMPILATION_CACHE_DIR" not in _environment(monkeypatch, XDG_CACHE_HOME=str(file))


def test_commands_find_what_another_one_compiled(zoo: Path, tmp_path: Path) -> None:
    """The second of two commands compiles nothing."""
    environment = os.environ | {
        "EFA_ZOO_COMPILATION_CACHE": str(tmp_path),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
    }
    del environment["TF_CPP_MIN_LOG_LEVEL"]  # which JAX has set in this process
    command = [sys.executable, "-m", "efa_zoo.cli", "predict", "toy", "example:water_dimer"]
    for attempt in ("first", "second"):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        assert done.stderr == ""
        files = {path.name for path in tmp_path.iterdir()}
        if attempt == "first":
            before = files
    assert any(name.startswith("jit__evaluate") for name in before)
    assert files == before
