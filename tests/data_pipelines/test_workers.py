"""Workers lose at most the task that killed them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from data_pipelines._workers import Failure, WorkerError, run_tasks

TASKS = """
import os, signal, time

def act(task):
    kind, value = task
    if kind == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if kind == "exit":
        os._exit(3)
    if kind == "hang":
        time.sleep(600)
    if kind == "raise":
        raise ValueError(value)
    return value * 2

def threads(task):
    return os.environ["OMP_NUM_THREADS"]
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "tasks_for_workers.py").write_text(TASKS, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return "tasks_for_workers"


def test_results_carry_the_number_of_their_task(module: str) -> None:
    tasks = [("double", i) for i in range(20)]
    results = dict(run_tasks(f"{module}:act", tasks, workers=2, time_limit=60))
    assert results == {i: 2 * i for i in range(20)}


def test_a_crash_or_hang_costs_one_task(module: str) -> None:
    tasks = [("double", 1), ("crash", 0), ("double", 2), ("hang", 0), ("exit", 0), ("double", 3)]
    start = time.monotonic()
    results = dict(run_tasks(f"{module}:act", tasks, workers=2, time_limit=2))
    assert time.monotonic() - start < 60
    assert [results[i] for i in (0, 2, 5)] == [2, 4, 6]
    reasons = [results[i].reason for i in (1, 3, 4) if isinstance(results[i], Failure)]
    assert reasons == ["crash", "timeout", "crash"]
    assert "status 3" in results[4].detail


def test_an_exception_is_an_error_that_names_the_task(module: str) -> None:
    with pytest.raises(WorkerError, match="ValueError: broken"):
        list(run_tasks(f"{module}:act", [("raise", "broken")], workers=1, time_limit=60))


def test_a_worker_that_cannot_start_is_an_error() -> None:
    with pytest.raises(WorkerError, match="did not start"):
        list(run_tasks("no_such_module:act", [1], workers=1, time_limit=60))


def test_workers_have_one_thread(module: str) -> None:
    assert list(run_tasks(f"{module}:threads", [0], workers=1, time_limit=60)) == [(0, "1")]


def test_no_tasks_give_no_results(module: str) -> None:
    assert list(run_tasks(f"{module}:act", [], workers=2, time_limit=60)) == []
