"""Training on several devices and processes: the same numbers, and what is lost with one."""

from __future__ import annotations

import csv
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from parallel_run import run

from efa_zoo.base.errors import ConfigError
from efa_zoo.base.files import read_record
from efa_zoo.models.parallel.devices import device_mesh, share_of_rows
from efa_zoo.models.parallel.processes import join_processes

_PROGRAM = Path(__file__).parents[1] / "parallel_run.py"
_ROOT = _PROGRAM.parents[1]


def _start(devices: int, *arguments: object) -> subprocess.Popen[str]:
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count={devices}"
    paths = os.pathsep.join(map(str, (_ROOT, _ROOT / "tests")))
    return subprocess.Popen(
        [sys.executable, str(_PROGRAM), *map(str, arguments)],
        env=os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _coordinator() -> str:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        return f"localhost:{free.getsockname()[1]}"


def _log(folder: Path) -> np.ndarray:
    """Loss and validation errors of each step."""
    with (folder / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = ("train_loss", "energy_mae", "force_mae")
    return np.array([[float(row[name]) for name in names] for row in rows])


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    folder = tmp_path_factory.mktemp("alone")
    run(folder)
    return _log(folder)


def test_devices_and_processes_learn_what_one_device_does(
    tmp_path: Path, alone: np.ndarray
) -> None:
    eight, two, at = tmp_path / "eight", tmp_path / "two", _coordinator()
    started = [_start(8, eight, 50), *(_start(2, two, 50, at, 2, i, 0) for i in range(2))]
    for process in started:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert alone.shape == (50, 3)
    assert alone[-1, 0] < 0.9 * alone[:4, 0].mean()  # it learns
    for folder in (eight, two):
        np.testing.assert_allclose(_log(folder), alone, rtol=1e-5)


def test_a_run_that_lost_a_process_says_so_and_goes_on_with_another_number(
    tmp_path: Path, alone: np.ndarray
) -> None:
    at = _coordinator()
    first, second = (_start(2, tmp_path, 50, at, 2, i, 0.2) for i in range(2))
    checkpoint = tmp_path / "checkpoint.json"
    try:
        limit = time.monotonic() + 120
        while not checkpoint.exists():
            assert first.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.1)
        first.kill()
        said, errors = second.communicate(timeout=60)
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    # Whichever comes first: the computation that breaks off, or JAX's watch over the processes,
    # which ends them.
    if second.returncode == 3:
        assert said.startswith("process 1 of 2: another process was lost (")
    else:
        assert second.returncode == -signal.SIGABRT
        assert "This most likely indicates that another task died" in errors
    assert 0 < read_record(checkpoint)["step"] < 50
    run(tmp_path)
    np.testing.assert_allclose(_log(tmp_path), alone, rtol=1e-5)


def test_a_mesh_has_the_devices_that_were_asked_for() -> None:
    assert device_mesh(1).size == 1
    assert device_mesh("all").size == jax.device_count()
    with pytest.raises(ConfigError, match=r"devices: got 99, expected 1 to \d+, or all"):
        device_mesh(99)
    assert share_of_rows(5, device_mesh(1)) == (5, slice(0, 5))


def test_processes_that_cannot_be_joined_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"got localhost:1, 2 and None, expected all three"):
        join_processes("localhost:1", 2)
    with pytest.raises(ConfigError, match=r"process: got 2, expected 0 to 1"):
        join_processes("localhost:1", 2, 2)
    with pytest.raises(ConfigError, match=r"cannot join the others \(jax.distributed.initialize"):
        join_processes("localhost:1", 2, 1)  # JAX is in use
