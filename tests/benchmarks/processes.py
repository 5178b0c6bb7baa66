"""Workers as seen from the process that takes the measurements."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

__all__ = ["Worker", "WorkerError", "environment"]

_TESTS = Path(__file__).resolve().parents[1]


class WorkerError(Exception):
    """A worker could not do its work; the text is the last line it wrote, or how it ended."""


def environment(**more: str) -> dict[str, str]:
    """Environment of a measured process: nothing cached, no memory taken in advance."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION")
    }
    path = os.pathsep.join(filter(None, [str(_TESTS), os.environ.get("PYTHONPATH")]))
    return {
        **kept,
        "PYTHONPATH": path,
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        **more,
    }


class Worker:
    """A process that answers requests."""

    def __init__(self) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(),
            text=True,
            encoding="utf-8",
        )

    def send(self, kind: str, **request: Any) -> None:
        """Ask for something without waiting for the answer."""
        try:
            stdin = cast("IO[str]", self._process.stdin)
            stdin.write(json.dumps({"do": kind, **request}) + "\n")
            stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._reason()) from None

    def receive(self) -> Any:
        """The answer to the latest request; raises WorkerError."""
        line = cast("IO[str]", self._process.stdout).readline()
        if not line:
            raise WorkerError(self._reason())
        return json.loads(line)

    def ask(self, kind: str, **request: Any) -> Any:
        """Send a request and wait for its answer; raises WorkerError."""
        self.send(kind, **request)
        return self.receive()

    def _reason(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        if code < 0:
            return f"ended by signal {-code} (9: out of memory)"
        return lines[-1][:300] if lines else f"ended with status {code}"

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        cast("IO[str]", self._process.stdin).close()
        if kind is not None:
            self._process.kill()
        self._process.wait()
        cast("IO[str]", self._process.stdout).close()
        self._errors.close()
