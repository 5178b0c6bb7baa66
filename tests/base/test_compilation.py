"""Compiled functions are kept where the user asks for it, and only there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import efa_zoo

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
    assert place == tmp_path / "efa_zoo" / "compiled"
    assert place.is_dir()
    assert set_options["jax_compilation_cache_dir"] == str(place)
