"""Commands that are ended while they write."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["kill_while_writing"]

_CHECKOUT = Path(__file__).resolve().parents[2]

#: A command that writes files over and over.
_COMMAND = """
import itertools, signal, sys
from pathlib import Path
import efa_zoo.cli.show.card
from efa_zoo.base.files import write_atomically, write_record
from efa_zoo.cli import main

def run(name: str) -> None:
    for number in itertools.count():
        write_atomically(Path("results.json"), b"whole" * 1000)
        write_record(Path("checkpoint.json"), {"step": number})
        if number == 0:
            print("writing", flush=True)

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells switch it off in the background
efa_zoo.cli.show.card.run = run
sys.exit(main(["card", "--name", "toy"]))
"""


def kill_while_writing(number: signal.Signals, delay: float) -> str:
    """Send a signal to a command that writes, some time after it began.

    Args:
        number: SIGINT or SIGTERM.
        delay: seconds.

    Returns:
        What is wrong afterwards; empty if nothing is.
    """
    from efa_zoo.base.files import read_record

    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(_CHECKOUT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(number)
        _, error = process.communicate(timeout=60)
        status, word = (130, "interrupted") if number == signal.SIGINT else (143, "terminated")
        if process.returncode != status or error != f"efa-zoo: {word}\n":
            return f"status {process.returncode}: {error}"
        files = sorted(path.name for path in Path(folder).iterdir())
        if files != ["checkpoint.json", "results.json"]:
            return f"left behind: {files}"
        try:
            read_record(Path(folder) / "checkpoint.json")
        except ValueError as problem:
            return str(problem)
        whole = (Path(folder) / "results.json").read_bytes() == b"whole" * 1000
        return "" if whole else "results.json is not whole"
