"""The command line: `python tests/benchmarks`."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.cases import CASES, Case, select
from benchmarks.measure import measure
from benchmarks.processes import Worker, WorkerError
from benchmarks.reference import find_reference
from benchmarks.report import text_report
from benchmarks.startup import measure_startup

__all__ = ["main", "run"]

#: What is measured beside the table of cases, by name.
_EXTRAS = ("crossover", "attention_kernels", "programs", "startup")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table and store the results.

    Args:
        arguments: command line, `sys.argv` if not given.

    Returns:
        The exit status: 1 if a case failed or the results of two sides differ, 2 for wrong use.
    """
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks",
        description="Measure time, memory and compile time, alone or beside the reference.",
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="PATH",
        help="checkout or installation of the reference implementation, for ratios",
    )
    parser.add_argument(
        "--case",
        metavar="PATTERN",
        help="only cases whose name holds this, such as molecules_16x13 or 'scaling_*/forward'",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="store the results as JSON")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="tiny sizes: does everything run and agree?",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=3.0,
        metavar="S",
        help="rough limit on the repeats of a case, both sides together; default %(default)s",
    )
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="where the library's time goes in the chosen cases, instead of the table",
    )
    given = parser.parse_args(arguments)
    cases = select(given.case)
    extras = [name for name in _EXTRAS if given.case is None or given.case in name]
    if given.list:
        print("\n".join([*(case.name for case in cases), *extras]))
        return 0
    if not cases and not extras:
        names = ", ".join([*(case.name for case in CASES), *_EXTRAS])
        print(f"--case {given.case}: no such case, expected one of {names}", file=sys.stderr)
        return 2
    try:
        reference = None if given.reference is None else find_reference(given.reference)
    except FileNotFoundError as error:
        print(f"--reference {error}", file=sys.stderr)
        return 2
    if given.profile:
        for case in cases:
            print(_profile(case, given.quick), end="\n\n")
        return 0
    results = run(cases, extras, reference=reference, seconds=given.seconds, quick=given.quick)
    print(text_report(results))
    if given.out is not None:
        temporary = given.out.with_name(f"{given.out.name}.tmp")
        temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        temporary.replace(given.out)
    return int(any(_failed(record) for record in results["cases"]) or bool(results["errors"]))


def run(
    cases: Sequence[Case],
    extras: Sequence[str] = (),
    *,
    reference: Path | None,
    seconds: float,
    quick: bool,
) -> dict[str, Any]:
    """Measure cases one after the other, with a line to the standard error for each.

    Args:
        cases: rows of the table.
        extras: what else, of "crossover", "attention_kernels", "programs" and "startup".
        reference: folder of the reference implementation, if any.
        seconds: rough limit on the repeats of a case.
        quick: tiny sizes.

    Returns:
        The results, as they are stored.
    """
    began = time.perf_counter()
    with Worker() as worker:
        results: dict[str, Any] = worker.ask("machine", quick=quick)
    now = datetime.datetime.now(datetime.UTC)
    results |= {"date": f"{now:%Y-%m-%d}", "quick": quick, "cases": [], "errors": {}}
    for number, case in enumerate(cases, 1):
        record = measure(case, reference=reference, seconds=seconds, quick=quick)
        results["cases"].append(record)
        state = "failed" if _failed(record) else "done"
        elapsed = time.perf_counter() - began
        print(f"{elapsed:5.0f} s  {number}/{len(cases)}  {case.name}: {state}", file=sys.stderr)
    for name in extras:
        try:
            if name != "startup":
                with Worker() as worker:
                    results[name] = worker.ask(name, quick=quick, seconds=seconds / 6)
            else:
                results[name] = measure_startup("mpnn_efa_dimers")
        except WorkerError as error:
            results["errors"][name] = str(error)
        print(f"{time.perf_counter() - began:5.0f} s  {name}", file=sys.stderr)
    results["seconds"] = round(time.perf_counter() - began)
    return results


def _failed(record: dict[str, Any]) -> bool:
    sides = [record[side] for side in ("ours", "reference") if side in record]
    return (
        "error" in record
        or any("error" in side for side in sides)
        or not record.get("agrees", True)
    )


def _profile(case: Case, quick: bool) -> str:
    """Where the time of a case goes, as text."""
    with Worker() as worker:
        worker.ask("make", case=case.name, side="ours", quick=quick)
        worker.ask("prepare")
        return f"{case.name}\n{worker.ask('profile', rows=25)}"
