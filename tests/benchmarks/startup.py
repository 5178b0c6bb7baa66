"""The first prediction in a new process, with and without a persistent compilation cache."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from typing import Any

from benchmarks.processes import WorkerError, environment

__all__ = ["measure_startup"]

_PROGRAM = """
import json, sys, time
import numpy as np
start = time.perf_counter()
import efa_zoo
if len(sys.argv) > 2:
    efa_zoo.use_compilation_cache(sys.argv[2])
imported = time.perf_counter()
model = efa_zoo.load(sys.argv[1])
loaded = time.perf_counter()
positions = [[0, 0, 0.12], [0, 0.76, -0.47], [0, -0.76, -0.47]]
two = np.array([*positions, *(np.array(positions) + [3.0, 0, 0])])
molecule = efa_zoo.Graph.from_arrays([8, 1, 1, 8, 1, 1], two, 4.0)
efa_zoo.predict(model, molecule, charge=0)
first = time.perf_counter()
efa_zoo.predict(model, molecule, charge=0)
again = time.perf_counter()
print(json.dumps({
    "import_s": imported - start, "load_s": loaded - imported,
    "first_s": first - loaded, "again_s": again - first,
}))
"""


def measure_startup(model: str) -> list[dict[str, Any]]:
    """Two water molecules in a new process each time.

    Args:
        model: name of a trained model.

    Returns:
        Three rows, without a cache, filling one and using it: seconds of the import, of `load`,
        of the first `predict` and of the same one again, and of the whole process.
    """
    with tempfile.TemporaryDirectory() as folder:
        return [
            _run(title, [model, *cache])
            for title, cache in (
                ("no cache", []),
                ("cache, first process", [folder]),
                ("cache, second process", [folder]),
            )
        ]


def _run(title: str, arguments: list[str]) -> dict[str, Any]:
    start = time.perf_counter()
    found = subprocess.run(
        [sys.executable, "-c", _PROGRAM, *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    end = time.perf_counter()
    if found.returncode:
        lines = found.stderr.strip().splitlines()
        raise WorkerError(lines[-1] if lines else f"ended with status {found.returncode}")
    seconds = json.loads(found.stdout.splitlines()[-1])
    return {"title": title, "process_s": end - start, **seconds}
