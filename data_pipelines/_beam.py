"""Tasks of builders on Apache Beam: on a cluster instead of on the cores of this machine.

A shard of the tasks is a work item. Whoever takes it runs the tasks one after the other in a
process of its own, with the time limit of each, as `data_pipelines._workers` does here, and leaves
the results in a file. Shards without a file, whose worker crashed, are run again.
"""

from __future__ import annotations

import logging
import os
import pickle
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from data_pipelines._progress import quiet
from efa_zoo.base.errors import DataError
from efa_zoo.base.files import write_atomically

__all__ = ["Beam", "run_on_beam"]

_logger = logging.getLogger(__name__)

#: How often a pipeline is started before shards are given up.
_ATTEMPTS = 3

#: Runs in this process. Beam's own choice, `DirectRunner`, first downloads a program, Prism.
_HERE = "apache_beam.runners.portability.fn_api_runner.FnApiRunner"


@dataclass(frozen=True)
class Beam:
    """Where and how Beam runs.

    Attributes:
        folder: For results, which all workers and this process see.
        options: Of Beam's pipeline, such as `("--runner=FlinkRunner", "--flink_master=…")`; without
            a runner among them it runs in this process, one shard after the other.
        tasks: Number of tasks in a shard.
    """

    folder: str | os.PathLike[str]
    options: tuple[str, ...] = ()
    tasks: int = 50

    def __post_init__(self) -> None:
        if self.tasks < 1:
            raise DataError(f"tasks: got {self.tasks}, expected at least 1")


def run_on_beam(
    where: Beam, function: str, tasks: Sequence[Any], time_limit: float
) -> Iterator[tuple[int, Any]]:
    """Run a function over tasks on Beam.

    Args:
        where: Where and how.
        function: As of `run_tasks`; the workers must be able to import it.
        tasks: The tasks.
        time_limit: Seconds one task may take.

    Yields:
        `(i, result)` for task number i, in their order; a task whose process died or overran gives
        a `Failure`.

    Raises:
        DataError: If Beam is missing, or a shard fails again and again.
    """
    folder = Path(where.folder).expanduser().resolve() / f"beam-{uuid.uuid4().hex[:12]}"
    folder.mkdir(parents=True)
    shards = {
        start: tuple(tasks[start : start + where.tasks])
        for start in range(0, len(tasks), where.tasks)
    }
    files = {start: folder / f"{start}.pickle" for start in shards}
    try:
        for attempt in range(1, _ATTEMPTS + 1):
            left = {s: shard for s, shard in shards.items() if not files[s].exists()}
            if not left:
                break
            _logger.info("beam: %d shards of %d tasks, attempt %d", len(left), len(tasks), attempt)
            _run(where, function, left, files, time_limit, last=attempt == _ATTEMPTS)
        failures = 0
        for start, file in files.items():
            for place, result in enumerate(pickle.loads(file.read_bytes())):
                failures += type(result).__name__ == "Failure"
                yield start + place, result
        _logger.info("beam: %d tasks done, %d of them failed", len(tasks), failures)
    finally:
        for file in files.values():
            file.unlink(missing_ok=True)
        folder.rmdir()


def _run(
    where: Beam,
    function: str,
    shards: dict[int, tuple[Any, ...]],
    files: dict[int, Path],
    time_limit: float,
    *,
    last: bool,
) -> None:
    """Start a pipeline once; what it did is in the files."""
    items = [(function, shard, str(files[start]), time_limit) for start, shard in shards.items()]
    with quiet("apache_beam", logging.CRITICAL):  # what fails is raised as well
        try:
            beam = import_module("apache_beam")
            options = import_module("apache_beam.options.pipeline_options").PipelineOptions
        except ModuleNotFoundError as error:
            raise DataError(
                f"beam: package {error.name!r} is missing, expected the extra efa-zoo[beam]"
            ) from error
        # Of two runners the last one counts.
        chosen = options([f"--runner={_HERE}", *where.options])
        try:
            with beam.Pipeline(options=chosen) as pipeline:
                created = pipeline | "Shards" >> beam.Create(items)
                _ = created | "Spread" >> beam.Reshuffle() | "Run" >> beam.Map(run_shard)
        except Exception as error:  # a runner raises whatever its workers do
            reason = " ".join(str(error).split())[:300]
            if last:
                raise DataError(f"beam: shards failed {_ATTEMPTS} times ({reason})") from error
            _logger.warning("beam: a worker failed, its shards are run again (%s)", reason)


def run_shard(item: tuple[str, tuple[Any, ...], str, float]) -> None:
    """Run the tasks of a shard in a process of their own and leave the results; runs in a worker.

    Args:
        item: Function, tasks, file for the results, and time limit of a task.
    """
    from data_pipelines._workers import Failure, on_beam, run_tasks

    function, tasks, file, time_limit = item
    # A runner that works in the process that started it hands on that tasks are for Beam.
    with on_beam(None):
        found = dict(run_tasks(function, tasks, workers=1, time_limit=time_limit))
    results = [found[place] for place in range(len(tasks))]
    metrics = import_module("apache_beam.metrics").Metrics
    metrics.counter("efa_zoo", "tasks").inc(len(results))
    failed = sum(isinstance(result, Failure) for result in results)
    metrics.counter("efa_zoo", "failures").inc(failed)
    write_atomically(Path(file), pickle.dumps(results))
