"""Where the time of a compiled function goes: seconds by operation of the compiled program."""

from __future__ import annotations

import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path

from benchmarks.report import aligned, seconds, size
from benchmarks.worker import Measurement

__all__ = ["kernels", "profile"]

_CALLS = 3
#: Instructions that run others.
_OUTER = ("while", "call", "conditional")
_INSTRUCTION = re.compile(r"^\s*(?:ROOT )?%?([\w.-]+) = (\S+) ([\w-]+)\(")
_ORIGIN = re.compile(r'op_name="([^"]*)"')
_SHAPE = re.compile(r"(pred|[a-z]+\d+)\[([\d,]*)\]")


def profile(measurement: Measurement, rows: int) -> str:
    """Trace some calls and sum the time of every instruction.

    Args:
        measurement: compiled.
        rows: how many instructions to show, the slowest first.

    Returns:
        A table: time per call, number of runs per call, size of the result, instruction and where
        it comes from in the Python program.
    """
    instructions = _instructions(measurement.hlo())
    median, times, runs = _trace(measurement, instructions)
    table = [("time", "runs", "result", "instruction", "from")]
    for name, time in sorted(times.items(), key=lambda item: -item[1])[:rows]:
        shape, opcode, origin = instructions[name]
        table.append(
            (
                seconds(time),
                f"{runs[name] / _CALLS:g}",
                size(_bytes(shape)),
                f"{opcode} {shape.partition('{')[0]}",
                origin[-90:],
            )
        )
    total = sum(times.values())
    return (
        f"{seconds(median)} a call; {len(instructions)} instructions, {seconds(total)} in those "
        f"that were traced (several at a time where there are several cores)\n{aligned(table)}"
    )


def kernels(measurement: Measurement) -> dict[str, float]:
    """How a call divides into kernels, the pieces that the compiled program starts.

    Args:
        measurement: compiled.

    Returns:
        `runs` of kernels a call, the `seconds` in them, and the `matrix_seconds` of those that are
        matrix products, alone or fused with what follows.
    """
    instructions = _instructions(measurement.hlo())
    _, times, runs = _trace(measurement, instructions)
    inner = [name for name in times if instructions[name][1] not in _OUTER]
    matrix = [name for name in inner if _is_matrix_product(*instructions[name][1:])]
    return {
        "runs": sum(runs[name] for name in inner) / _CALLS,
        "seconds": sum(times[name] for name in inner),
        "matrix_seconds": sum(times[name] for name in matrix),
    }


def _is_matrix_product(opcode: str, origin: str) -> bool:
    # Products that XLA gives to a library of matrix products lose their origin in a fusion.
    return opcode == "dot" or origin.endswith("dot_general") or (opcode == "fusion" and not origin)


def _trace(
    measurement: Measurement, instructions: Mapping[str, object]
) -> tuple[float, dict[str, float], Counter[str]]:
    """Median seconds of some calls; seconds of every instruction per call; its runs in all."""
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            median = sorted(measurement.run(_CALLS))[_CALLS // 2]
        (file,) = Path(folder).rglob("*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(file))
    times: defaultdict[str, float] = defaultdict(float)
    runs: Counter[str] = Counter()
    for plane in data.planes:
        for line in plane.lines:
            for event in line.events:
                name = event.name.removeprefix("%")
                if name in instructions:
                    times[name] += 1e-9 * event.duration_ns / _CALLS
                    runs[name] += 1
    return median, dict(times), runs


def _instructions(hlo: str) -> dict[str, tuple[str, str, str]]:
    """Shape, operation and origin of every instruction by name."""
    found = {}
    for line in hlo.splitlines():
        match = _INSTRUCTION.match(line)
        if match and match[3] not in ("parameter", "constant", "tuple", "get-tuple-element"):
            origin = _ORIGIN.search(line)
            found[match[1]] = (match[2], match[3], origin[1] if origin else "")
    return found


def _bytes(shape: str) -> int:
    """Size of a shape as the compiled program writes it, such as `f32[16,13]{1,0}`."""
    total = 0
    for kind, axes in _SHAPE.findall(shape):
        width = 1 if kind == "pred" else int(re.sub(r"\D", "", kind)) // 8
        count = 1
        for axis in filter(None, axes.split(",")):
            count *= int(axis)
        total += width * count
    return total
