"""The streaming loader over a million structures: `python tests/benchmarks/streaming.py`.

A data set of small random structures is written once and its file linked as often as needed, so
that the loader sees that many records. While an epoch streams by, resident memory of this process
and its workers is sampled; what training takes in is measured before, alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path[0] = str(Path(__file__).resolve().parents[2])

from data_pipelines._workers import available_cores  # noqa: E402
from data_pipelines.batches.buckets import buckets_by_periodicity  # noqa: E402
from data_pipelines.batches.records import GrainBatches, StoredPlan  # noqa: E402
from data_pipelines.batches.survey import survey  # noqa: E402
from data_pipelines.builders.structures import add_file  # noqa: E402
from data_pipelines.files.arrays import write_npz  # noqa: E402
from data_pipelines.splitting import SplitOptions  # noqa: E402
from data_pipelines.stored import StoredStructures  # noqa: E402
from data_pipelines.structure import Structure  # noqa: E402

_CUTOFF, _BATCH = 4.0, 64


def _structures(count: int, atoms: int = 8) -> list[Structure]:
    """Random structures of so many atoms on average."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(count):
        size = int(rng.integers(atoms // 2, 3 * atoms // 2 + 1))
        side = int(np.ceil(size ** (1 / 3)))
        places = np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)[:size]
        positions = 1.5 * places + rng.normal(scale=0.1, size=places.shape)
        found.append(
            Structure(
                atomic_numbers=rng.choice(np.array([1, 6, 7, 8], np.int32), size),
                positions=positions,
                energy=float(rng.normal()),
                forces=rng.normal(size=(size, 3)),
                total_charge=0,
            )
        )
    return found


def write_set(folder: Path, count: int, base: int) -> str:
    """Write a data set of one shard, and one whose shards are all links to it.

    Args:
        folder: where to write.
        count: structures wanted, a multiple of `base`.
        base: structures that are written.

    Returns:
        The directory of the data set.
    """
    file = folder / "made.npz"
    write_npz(file, _structures(base + 2), ["train"] * base + ["validation", "test"])
    splitting = SplitOptions(split_key="split")
    made = add_file("made", file, splitting=splitting, data_dir=folder)
    (shard,) = made.glob("*-train.array_record*")
    many = count // base
    target = folder / "linked"
    target.mkdir()
    for name in ("features.json", "metadata.json"):
        shutil.copyfile(made / name, target / name)
    facts = json.loads((made / "dataset_info.json").read_text())
    (train,) = (split for split in facts["splits"] if split["name"] == "train")
    train["shardLengths"] = [str(base)] * many
    train["numBytes"] = str(int(train["numBytes"]) * many)
    facts["splits"] = [train]
    (target / "dataset_info.json").write_text(json.dumps(facts))
    stem = shard.name.split("-00000-of-")[0]
    for number in range(many):
        (target / f"{stem}-{number:05d}-of-{many:05d}").symlink_to(shard)
    return str(target)


def resident() -> int:
    """Resident bytes of this process and all below it, what they share counted once for each."""
    waiting, total = [os.getpid()], 0
    while waiting:
        process = Path("/proc") / str(waiting.pop())
        try:
            for line in (process / "status").read_text().splitlines():
                if line.startswith("VmRSS:"):
                    total += 1024 * int(line.split()[1])
            for task in (process / "task").iterdir():
                waiting += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
    return total


def training_rate(model: str, structures: list[Structure]) -> float:
    """Structures per second that training takes in on all cores of this process."""
    import efa_zoo
    from efa_zoo.base.config import TrainingConfig
    from efa_zoo.training.fitted import time_steps

    network = efa_zoo.load(model).network
    config = TrainingConfig(batch_size=_BATCH)
    return _BATCH / time_steps(network, config, structures, structures[:_BATCH], 1).step


def main() -> int:
    """Stream an epoch and print memory and throughput."""
    parser = argparse.ArgumentParser(description="Stream an epoch of many small structures.")
    parser.add_argument("--structures", type=int, default=1_000_000, metavar="INT")
    parser.add_argument("--written", type=int, default=20_000, metavar="INT")
    parser.add_argument("--workers", type=int, default=None, metavar="INT")
    parser.add_argument("--model", default="mpnn_efa_dimers", metavar="NAME")
    given = parser.parse_args()
    if given.structures % given.written:
        parser.error("--structures must be a multiple of --written")
    takes = training_rate(given.model, _structures(512))
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        directory = write_set(Path(folder), given.structures, given.written)
        written = time.perf_counter()
        stored = StoredStructures(directory, "train")
        assert len(stored) == given.structures
        found = survey(stored, _CUTOFF)
        surveyed = time.perf_counter()
        buckets = buckets_by_periodicity(found.atoms, found.widths, found.waves, found.pbc, _BATCH)
        plan = StoredPlan(stored, found, buckets, _CUTOFF)
        batches = GrainBatches(plan, dict.fromkeys((1, 6, 7, 8), 0.0), workers=given.workers)
        samples: list[tuple[int, float, int]] = []
        seen, every = 0, max(1, plan.batches_per_epoch // 100)
        began = time.perf_counter()
        for number, batch in enumerate(batches(0)):
            seen += int(batch.molecule_mask.sum())
            if number % every == 0:
                samples.append((seen, time.perf_counter() - began, resident()))
        spent = time.perf_counter() - began
        samples.append((seen, spent, resident()))
        batches.close()
    assert seen == given.structures
    # Workers have started and filled their buffers after the first tenth.
    later = np.array([s for s in samples if s[0] >= seen / 10], float)
    rate = (seen - later[0, 0]) / (spent - later[0, 1])
    slope = np.polyfit(later[:, 0], later[:, 2], 1)[0]
    workers = max(1, available_cores() - 1) if given.workers is None else given.workers
    print(f"{seen} structures, {workers} workers on {available_cores()} cores")
    print(f"written in {written - started:.0f} s, looked at in {surveyed - written:.0f} s")
    print(
        f"resident memory, MB: {later[0, 2] / 1e6:.0f} after {later[0, 0]:.0f} structures, "
        f"{later[-1, 2] / 1e6:.0f} at the end, at most {later[:, 2].max() / 1e6:.0f}; "
        f"{slope:+.2f} bytes a structure"
    )
    print(f"loader: {rate:.0f} structures/s; training takes {takes:.0f}: {rate / takes:.1f} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
