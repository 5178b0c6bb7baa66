"""Training on two devices and two cores beside one of each: `python tests/benchmarks/scaling.py`.

Every row is a process of its own with its cores and virtual devices, and one thread a device, so
that a device stands for a core. All rows take the same batches; they are started in turns, and the
best of the turns counts.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]

#: Devices and cores of each row; the first is what the others are compared with.
_ROWS = ((1, 1), (1, 2), (2, 2))


def measure(model: str, batch: int, atoms: int, seconds: float) -> dict[str, float]:
    """Time training steps on all devices of this process.

    Args:
        model: name of the network to train.
        batch: molecules of a batch, of all devices together.
        atoms: of a molecule.
        seconds: to repeat steps for.

    Returns:
        Steps per second, and the loss before the first step.
    """
    import jax
    import numpy as np

    import efa_zoo
    from data_pipelines.batches.batching import BatchPlan, NumpyBatches
    from data_pipelines.batches.buckets import choose_buckets
    from data_pipelines.batches.neighborhoods import Neighborhoods
    from data_pipelines.structure import Structure
    from efa_zoo.base.config import TrainingConfig
    from efa_zoo.models.parallel.devices import device_mesh, place, replicate
    from efa_zoo.training import initial_state, training_step

    rng = np.random.default_rng(0)
    side = int(np.ceil(atoms ** (1 / 3)))
    grid = 1.3 * np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)[:atoms]
    structures = [
        Structure(
            atomic_numbers=rng.choice(np.array([1, 6, 7, 8], np.int32), atoms),
            positions=grid + rng.normal(scale=0.05, size=grid.shape),
            energy=float(rng.normal()),
            forces=rng.normal(size=grid.shape),
            total_charge=0,
        )
        for _ in range(batch)
    ]
    network = efa_zoo.load(model).network
    neighborhoods = Neighborhoods(network.config.message_passing.cutoff)
    buckets = choose_buckets(structures, neighborhoods, batch, 1)
    plan = BatchPlan(structures, buckets, neighborhoods)
    (packed,) = NumpyBatches(plan, dict.fromkeys((1, 6, 7, 8), 0.0))(0)
    mesh, config = device_mesh("all"), TrainingConfig(batch_size=batch)
    state = replicate(initial_state(network, config), mesh)
    state, first = training_step(place(packed, mesh), state, config, mesh)
    jax.block_until_ready(first)
    steps, started = 0, time.perf_counter()
    while steps < 3 or time.perf_counter() - started < seconds:
        state, loss = training_step(place(packed, mesh), state, config, mesh)
        jax.block_until_ready(loss)
        steps += 1
    spent = time.perf_counter() - started
    return {"steps_per_second": steps / spent, "loss": float(first)}


def _in_process(devices: int, cores: Sequence[int], arguments: Sequence[str]) -> dict[str, float]:
    flags = [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_cpu_multi_thread_eigen=false" if devices == len(cores) else "",
        f"--xla_force_host_platform_device_count={devices}",
    ]
    found = subprocess.run(
        [sys.executable, __file__, "--worker", *arguments],
        env=os.environ | {"XLA_FLAGS": " ".join(flags), "PYTHONPATH": str(_ROOT)},
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode:
        raise SystemExit(found.stderr)
    return json.loads(found.stdout.splitlines()[-1])


def main() -> int:
    """Measure all rows and print them; 2 where the machine has one core only."""
    parser = argparse.ArgumentParser(description="Training on two devices beside one.")
    parser.add_argument("--model", default="mpnn_efa_dimers", metavar="NAME")
    parser.add_argument("--batch", type=int, default=64, metavar="INT")
    parser.add_argument("--atoms", type=int, default=12, metavar="INT")
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of each turn")
    parser.add_argument("--turns", type=int, default=3, metavar="INT")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        print(json.dumps(measure(given.model, given.batch, given.atoms, given.seconds)))
        return 0
    cores = sorted(os.sched_getaffinity(0))
    options = [
        f"--{name}={getattr(given, name)}" for name in ("model", "batch", "atoms", "seconds")
    ]
    best: dict[tuple[int, int], dict[str, float]] = {}
    for _ in range(given.turns):
        for row in _ROWS:
            found = _in_process(row[0], cores[: row[1]], options)
            if row not in best or found["steps_per_second"] > best[row]["steps_per_second"]:
                best[row] = found
    one = best[_ROWS[0]]
    print(f"{given.model}, batches of {given.batch} molecules of {given.atoms} atoms")
    print(f"{'devices':>7} {'cores':>6} {'steps/s':>9} {'times':>6} {'first loss off by':>18}")
    for (devices, wanted), found in best.items():
        rate = found["steps_per_second"]
        times = rate / one["steps_per_second"]
        off = abs(found["loss"] / one["loss"] - 1)
        print(f"{devices:7} {wanted:6} {rate:9.3g} {times:6.2f} {off:18.1e}")
    if len(cores) < 2:
        print("this process may use one core only: nothing can scale", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
