"""Training of a small model on however many devices and processes; see `test_parallel`.

    parallel_run.py FOLDER STEPS [COORDINATOR PROCESSES PROCESS SECONDS]

A process waits so many seconds before each batch.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from regression import make_batch, small_model

from efa_zoo.base.config import TrainingConfig
from efa_zoo.base.errors import TrainingError
from efa_zoo.models.parallel.devices import device_mesh
from efa_zoo.models.parallel.processes import join_processes
from efa_zoo.training import Batch, fit


def run(folder: Path, steps: int = 50, seconds: float = 0.0) -> None:
    """Train on all devices of all processes, and validate after each step."""
    config = TrainingConfig(
        steps=steps, warmup_steps=2, learning_rate=0.02, validation_interval=1, average_decay=0.9
    )

    def training(epoch: int) -> Iterator[Batch]:
        for number in np.random.default_rng(epoch).permutation(4).tolist():
            time.sleep(seconds)
            # Ten molecules and two of padding: no multiple of the number of devices.
            yield make_batch(number, molecules=10, empty=2)

    def validation(epoch: int) -> Iterator[Batch]:
        yield make_batch(10, molecules=5, empty=1)

    fit(small_model(), config, training, validation, folder, mesh=device_mesh("all"))


if __name__ == "__main__":
    folder, steps, *others = sys.argv[1:]
    if others:
        join_processes(others[0], int(others[1]), int(others[2]))
    try:
        run(Path(folder), int(steps), float(others[3]) if others else 0.0)
    except TrainingError as error:
        print(error, flush=True)
        os._exit(3)  # the others are not waited for
