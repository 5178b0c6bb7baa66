"""Data sets built on Apache Beam are those built on this machine."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

import pytest

from data_pipelines import Beam, build
from data_pipelines._workers import Failure, on_beam, run_tasks
from efa_zoo.base.errors import DataError

TASKS = """
import os, signal, time
from pathlib import Path

def act(task):
    kind, value = task
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "hang":
        time.sleep(600)
    if kind == "raise once" and not Path(value).exists():
        Path(value).touch()
        raise ValueError(value)
    if kind == "raise":
        raise ValueError(value)
    return value
"""


@pytest.fixture
def function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "tasks_for_beam.py").write_text(TASKS, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "tasks_for_beam:act"


@pytest.mark.filterwarnings("ignore")  # Beam's own
def test_a_build_on_beam_gives_the_same_bytes(
    tiny_data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("apache_beam")
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    build("dimers", config="tiny", data_dir=tmp_path / "data", beam=Beam(tmp_path / "results"))
    first, second = (
        {
            path.relative_to(place): path.read_bytes()
            for path in place.rglob("*")
            if path.is_file() and path.name != "dataset_info.json"
        }
        for place in (tiny_data_dir, tmp_path / "data")
    )
    assert any("array_record" in path.name for path in first)
    assert second == first
    assert list((tmp_path / "results").iterdir()) == []
    assert not list(temporary.glob("*beam*"))


@pytest.mark.filterwarnings("ignore")
def test_limits_hold_and_workers_that_fail_are_tried_again(
    function: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("apache_beam")
    tasks = [
        ("give", 1), ("crash", 0), ("hang", 0), ("raise once", str(tmp_path / "tried")), ("give", 2)
    ]  # fmt: skip
    with caplog.at_level(logging.INFO, "data_pipelines"), on_beam(Beam(tmp_path / "on", tasks=2)):
        found = dict(run_tasks(function, tasks, workers=9, time_limit=3))
    assert (found[0], found[4]) == (1, 2)
    assert found[3] == str(tmp_path / "tried")
    assert [found[i].reason for i in (1, 2) if isinstance(found[i], Failure)] == [
        "crash", "timeout"
    ]  # fmt: skip
    assert any("a worker failed, its shards are run again (" in m for m in caplog.messages)
    assert caplog.messages[-1] == "beam: 5 tasks done, 2 of them failed"
    with (
        on_beam(Beam(tmp_path / "on")),
        pytest.raises(DataError, match="shards failed 3 times"),
    ):
        list(run_tasks(function, [("raise", "always")], workers=1, time_limit=60))


def test_beam_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "apache_beam", None)
    with on_beam(Beam(tmp_path)), pytest.raises(DataError, match=r"extra efa-zoo\[beam\]"):
        list(run_tasks("os:getpid", [0], workers=1, time_limit=1))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(DataError, match="tasks: got 0"):
        Beam(tmp_path, tasks=0)
