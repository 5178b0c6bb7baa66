"""One measurement in a process of its own: `python -m benchmarks.worker`.

Requests come as lines of JSON on the standard input, answers go the same way to the standard
output, so that two of these processes can take turns.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cases import CASES
from benchmarks.memory import PeakMemory, available_bytes, resident_bytes
from benchmarks.operations import count_operations
from benchmarks.problems import Work
from benchmarks.reference import import_reference

__all__ = ["Measurement", "main"]


class Measurement:
    """A piece of work, compiled and run.

    Attributes:
        work: what is measured.
        result: of the latest call.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self.result: Any = None
        self._compiled: Any = None
        self._arguments: Any = None
        self._peak: PeakMemory | None = None

    def prepare(self) -> dict[str, Any]:
        """Compile and call once; times in seconds, sizes in bytes."""
        import jax

        self._arguments = jax.block_until_ready(jax.device_put(self.work.arguments))
        compiling = PeakMemory()
        start = time.perf_counter()
        traced = jax.jit(self.work.function).trace(*self._arguments)
        lowered = traced.lower()
        lowered_at = time.perf_counter()
        self._compiled = lowered.compile()
        compiled_at = time.perf_counter()
        found: dict[str, Any] = {
            "lower_s": lowered_at - start,
            "compile_s": compiled_at - lowered_at,
            "compile_bytes": compiling.bytes(),
            "operations": count_operations(traced.jaxpr),
            **self._analysis(),
        }
        del traced, lowered
        needed, left = found["xla_temporary_bytes"], available_bytes()
        if left is not None and needed > 0.9 * left:
            raise MemoryError(f"needs {1e-9 * needed:.1f} GB of {1e-9 * left:.1f} GB that are free")
        self._peak = PeakMemory()
        (found["first_s"],) = self.run(1)
        return found

    def _analysis(self) -> dict[str, Any]:
        """What XLA says of the compiled function."""
        memory = self._compiled.memory_analysis()
        sizes = [
            memory.argument_size_in_bytes,
            memory.output_size_in_bytes - memory.alias_size_in_bytes,
            memory.temp_size_in_bytes,
        ]
        cost = self._compiled.cost_analysis() or {}
        cost = cost[0] if isinstance(cost, list) else cost
        text = self._compiled.as_text()
        loops = " while(" in text
        return {
            "xla_bytes": sum(sizes),
            "xla_temporary_bytes": sizes[-1],
            # A loop's body is counted once there.
            "bytes_accessed": None if loops else cost.get("bytes accessed"),
        }

    def run(self, calls: int) -> list[float]:
        """Call some times; seconds of each."""
        import jax

        seconds = []
        for _ in range(calls):
            self.result = None
            start = time.perf_counter()
            self.result = jax.block_until_ready(self._compiled(*self._arguments))
            seconds.append(time.perf_counter() - start)
        return seconds

    def finish(self, results: str | None) -> dict[str, Any]:
        """Memory at the end; the parts of the result go to a file if wanted."""
        import jax

        assert self._peak is not None
        found: dict[str, Any] = {
            "resident_bytes": self._peak.bytes(),
            "resident_reliable": self._peak.reliable,
        }
        device = jax.devices()[0]
        if device.platform != "cpu":
            statistics = device.memory_stats() or {}
            found["device_bytes"] = statistics.get("peak_bytes_in_use")
        if results is not None:
            parts = self.work.comparable(jax.device_get(self.result))
            np.savez(results, **parts)  # type: ignore[arg-type]
        return found

    def hlo(self) -> str:
        """The compiled program."""
        return self._compiled.as_text()


def _work(case: str, side: str, quick: bool) -> Work:
    (found,) = (row for row in CASES if row.name == case)
    problem = found.problem.quick() if quick else found.problem
    return problem.ours() if side == "ours" else problem.reference()


def main() -> None:
    """Answer requests until the input ends."""
    # Libraries may print; only answers belong on the standard output.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    measurement: Measurement | None = None
    for line in sys.stdin:
        request = json.loads(line)
        kind = request.pop("do")
        if kind == "make":
            reference = request.pop("reference", None)
            if reference is not None:
                import_reference(Path(reference))
            measurement = Measurement(_work(**request))
            answer: Any = {"resident_bytes": resident_bytes()}
        elif kind == "machine":
            from benchmarks.machine import describe

            answer = describe(**request)
        elif kind == "crossover":
            from benchmarks.crossover import measure_crossover

            answer = measure_crossover(**request)
        elif kind == "attention_kernels":
            from benchmarks.attention_kernels import measure_attention_kernels

            answer = measure_attention_kernels(**request)
        elif kind == "programs":
            from benchmarks.programs import count_programs

            answer = count_programs(**request)
        elif kind == "profile":
            from benchmarks.profile import profile

            assert measurement is not None
            answer = profile(measurement, **request)
        elif kind == "kernels":
            from benchmarks.profile import kernels

            assert measurement is not None
            answer = kernels(measurement)
        else:
            assert measurement is not None
            answer = getattr(measurement, kind)(**request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
