"""Measure a case: one process per side, taking turns."""

from __future__ import annotations

import contextlib
import statistics
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import Case
from benchmarks.processes import Worker, WorkerError

__all__ = ["measure", "relative_deviation"]

#: Seconds that a side is called without a break, and most calls of such a burst.
_BURST = 1.0
_MOST_CALLS = 50


def measure(case: Case, *, reference: Path | None, seconds: float, quick: bool) -> dict[str, Any]:
    """Time, memory and agreement of one case.

    Both sides are compiled one after the other, then called in turns until the time is used, so
    that the two see the same machine. A turn is a burst of calls, as in a training or a dynamics
    run, of which the first does not count: it finds caches and memory as the other side left them.

    Args:
        case: what to measure.
        reference: folder of the reference implementation, None measures the library alone.
        seconds: rough limit on the repeats of all sides together.
        quick: a small version of the case.

    Returns:
        The record, as it is stored: sizes in bytes, times in seconds. A side that failed has an
        `error`.
    """
    problem = case.problem.quick() if quick else case.problem
    structures = problem.structures
    record: dict[str, Any] = {
        "name": case.name,
        "group": case.group,
        "title": case.title,
        "task": case.problem.task,
        "molecules": structures.molecules,
        "atoms": structures.molecules * structures.atoms,
    }
    sides = ["ours", *(["reference"] if reference is not None and case.compared else [])]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers: dict[str, Worker] = {}
        for side in sides:
            workers[side] = stack.enter_context(Worker())
            given = {"reference": str(reference)} if side == "reference" else {}
            workers[side].send("make", case=case.name, side=side, quick=quick, **given)
        for side, worker in list(workers.items()):
            try:
                made = worker.receive()
                prepared = worker.ask("prepare")
                record[side] = {**prepared, "made_bytes": made["resident_bytes"]}
            except WorkerError as error:
                record[side] = {"error": str(error)}
                del workers[side]
        try:
            for side, times in _take_turns(workers, record, seconds).items():
                record[side] |= {"median_s": statistics.median(times), "times_s": times}
            for side, worker in workers.items():
                results = str(folder / f"{side}.npz") if len(workers) == 2 else None
                record[side] |= worker.ask("finish", results=results)
            if len(workers) == 2:
                record["ours"]["kernels"] = workers["ours"].ask("kernels")
        except WorkerError as error:
            record["error"] = str(error)
        if len(workers) == 2 and "error" not in record:
            record["deviation"] = relative_deviation(
                *(_read(folder / f"{side}.npz") for side in sides)
            )
            record["agrees"] = record["deviation"] <= case.agreement
    return record


def _take_turns(
    workers: dict[str, Worker], record: dict[str, Any], limit: float
) -> dict[str, list[float]]:
    """Seconds of the calls of every side, but for the first call of each burst."""
    times: dict[str, list[float]] = {side: [] for side in workers}
    expected = {side: record[side]["first_s"] for side in workers}
    slowest = max(expected.values(), default=0.0)
    bursts = 3 if slowest < 1 else 2 if slowest < 10 else 1
    start = time.perf_counter()
    while times and (bursts > 0 or time.perf_counter() - start < limit):
        bursts -= 1
        for side, worker in workers.items():
            calls = max(1, min(_MOST_CALLS, round(_BURST / max(expected[side], 1e-6))))
            spent = worker.ask("run", calls=calls + 1)[1:]
            times[side] += spent
            expected[side] = min(spent)
        if min(map(len, times.values())) >= 10 * _MOST_CALLS:
            break
    return times


def relative_deviation(
    ours: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]
) -> float:
    """Largest deviation of the named parts of two results, relative to their largest numbers.

    Energies, forces and outputs count each for itself. Of a gradient for weights (whose names have
    dots), which may vanish for some of them, all parts count relative to the largest number.

    Args:
        ours: parts of our result.
        reference: the same of the reference's.

    Returns:
        The deviation; infinity if one is not a number.

    Raises:
        ValueError: the results have different parts or shapes.
    """
    if ours.keys() != reference.keys():
        different = ", ".join(sorted(ours.keys() ^ reference.keys()))
        raise ValueError(f"the results have different parts: {different}")
    scales = {name: float(np.max(np.abs(part), initial=0)) for name, part in reference.items()}
    weights = [name for name in scales if "." in name]
    scales |= dict.fromkeys(weights, max((scales[name] for name in weights), default=0.0))
    worst = 0.0
    for name, scale in scales.items():
        if ours[name].shape != reference[name].shape:
            raise ValueError(f"{name}: shapes {ours[name].shape} and {reference[name].shape}")
        difference = float(np.max(np.abs(ours[name] - reference[name]), initial=0))
        deviation = difference / scale if scale else difference
        worst = max(worst, deviation if np.isfinite(deviation) else float("inf"))
    return worst


def _read(file: Path) -> dict[str, np.ndarray]:
    with np.load(file) as archive:
        return dict(archive)
