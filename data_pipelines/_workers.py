"""Worker processes that survive a task which crashes or hangs.

`concurrent.futures` loses the whole pool when one worker dies and cannot stop a running task, both
of which a quantum-chemistry code does now and then. Here each worker is its own interpreter at the
end of a socket: when it dies or overruns its time, only its task is lost and it is replaced.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from data_pipelines._beam import Beam, run_on_beam
from data_pipelines._progress import progress
from efa_zoo.base.errors import DataError


def available_cores() -> int:
    """Number of cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    # Shape contracts import JAX, which costs a worker a second; the parent checks what it sends.
    "EFA_ZOO_CONTRACTS": "0",
}
_START_LIMIT = 120.0


@dataclass(frozen=True)
class Failure:
    """A task that gave no result.

    Attributes:
        reason: Why, in one word: `crash` and `timeout` come from this module, functions that run in
            a worker may return further reasons of their own.
        detail: One line for people.
    """

    reason: str
    detail: str


class WorkerError(DataError):
    """A worker could not start, or its function raised an exception it should not have."""


_beam: ContextVar[Beam | None] = ContextVar("beam", default=None)


@contextlib.contextmanager
def on_beam(beam: Beam | None) -> Generator[None]:
    """Run tasks inside on Beam instead of in worker processes.

    Args:
        beam: Where and how; None keeps them in worker processes.
    """
    token = _beam.set(beam)
    try:
        yield
    finally:
        _beam.reset(token)


def run_tasks(
    function: str, tasks: Iterable[Any], *, workers: int, time_limit: float
) -> Iterator[tuple[int, Any]]:
    """Run a function over tasks in worker processes with one thread each.

    Args:
        function: The function as `module:name`; it takes one task and returns one result. Tasks and
            results are pickled.
        tasks: The tasks, taken one at a time as workers become free.
        workers: Number of worker processes, at least 1.
        time_limit: Seconds one task may take before its worker is killed.

    Yields:
        `(i, result)` for task number i, in order of completion. A task whose worker died or overran
        gives a `Failure` with reason `crash` or `timeout`.

    Raises:
        WorkerError: If a worker does not start, or the function raises.
    """
    if (beam := _beam.get()) is not None:
        yield from run_on_beam(beam, function, list(tasks), time_limit)
        return
    numbered = enumerate(tasks)
    crew = [_Worker(function) for _ in range(workers)]
    try:
        while True:
            for worker in crew:
                if worker.idle:
                    item = next(numbered, None)
                    if item is None:
                        break
                    worker.start(*item, time_limit)
            busy = {worker.connection: worker for worker in crew if worker.task is not None}
            if not busy:
                return
            patience = max(0.0, min(worker.deadline for worker in busy.values()) - time.monotonic())
            for ready in wait(list(busy), timeout=patience):
                worker = busy.pop(ready)  # pyright: ignore[reportArgumentType]
                yield worker.collect()
                if worker.dead:
                    crew[crew.index(worker)] = _Worker(function)
            now = time.monotonic()
            for worker in busy.values():
                if now >= worker.deadline:
                    yield worker.abandon(time_limit)
                    crew[crew.index(worker)] = _Worker(function)
    finally:
        for worker in crew:
            worker.kill()


def run_all(
    function: str, tasks: Sequence[Any], *, workers: int, time_limit: float, title: str | None
) -> list[Any]:
    """Run a function over tasks as `run_tasks` does, and show the progress.

    Args:
        function: As of `run_tasks`.
        tasks: The tasks.
        workers: As of `run_tasks`.
        time_limit: As of `run_tasks`.
        title: What the tasks are, for the progress; None shows none.

    Returns:
        Result or `Failure` of each task, in the order of the tasks.

    Raises:
        WorkerError: As of `run_tasks`.
    """
    outcomes = run_tasks(function, tasks, workers=workers, time_limit=time_limit)
    found = dict(outcomes if title is None else progress(outcomes, len(tasks), title))
    return [found[i] for i in range(len(tasks))]


def required(title: str, names: Sequence[Any], outcomes: Sequence[Any]) -> list[Any]:
    """Refuse to go on without a result.

    Args:
        title: What the tasks are for.
        names: Of the tasks.
        outcomes: Of the tasks.

    Returns:
        The outcomes, all of them results.

    Raises:
        DataError: If one is a `Failure`.
    """
    for name, outcome in zip(names, outcomes, strict=True):
        if isinstance(outcome, Failure):
            raise DataError(f"{title}, {name}: {outcome.reason}, {outcome.detail}")
    return list(outcomes)


class _Worker:
    """The parent's end of one worker process."""

    def __init__(self, function: str) -> None:
        ours, theirs = socket.socketpair()
        root = str(Path(__file__).resolve().parents[1])
        path = os.pathsep.join(p for p in (root, os.environ.get("PYTHONPATH", "")) if p)
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve({theirs.fileno()})"],
            pass_fds=[theirs.fileno()],
            env={**os.environ, **_ENVIRONMENT, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        theirs.close()
        self.connection = Connection(ours.detach())
        self.connection.send(function)
        self.function = function
        self.greeted = False
        self.task: int | None = None
        self.deadline = 0.0
        self.dead = False

    @property
    def idle(self) -> bool:
        return self.task is None and not self.dead

    def start(self, number: int, task: Any, time_limit: float) -> None:
        if not self.greeted:
            self._greet()
        self.task, self.deadline = number, time.monotonic() + time_limit
        # If the process died between two tasks, `collect` sees the closed socket and reports it.
        with contextlib.suppress(OSError):
            self.connection.send(task)

    def collect(self) -> tuple[int, Any]:
        number, self.task = self.task, None
        assert number is not None
        try:
            good, value = self.connection.recv()
        except (EOFError, OSError):
            self.kill()
            status = self.process.returncode
            return number, Failure("crash", f"worker ended with status {status}")
        if not good:
            raise WorkerError(f"{self.function} raised on task {number}:\n{value}")
        return number, value

    def abandon(self, time_limit: float) -> tuple[int, Any]:
        number, self.task = self.task, None
        assert number is not None
        self.kill()
        return number, Failure("timeout", f"no result within {time_limit:g} s")

    def kill(self) -> None:
        self.dead = True
        self.process.kill()
        self.process.wait()
        self.connection.close()

    def _greet(self) -> None:
        try:
            answer = self.connection.recv() if self.connection.poll(_START_LIMIT) else "no answer"
        except (EOFError, OSError):
            answer = f"ended with status {self.process.wait()}"
        if answer is not None:
            raise WorkerError(f"worker for {self.function} did not start: {answer}")
        self.greeted = True


def serve(descriptor: int) -> None:
    """The child's end: answers tasks until the parent closes the socket."""
    connection = Connection(descriptor)
    module, _, name = connection.recv().partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception:
        connection.send(traceback.format_exc())
        return
    connection.send(None)
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            return
        try:
            answer = (True, function(task))
        except Exception:
            answer = (False, traceback.format_exc())
        connection.send(answer)
