"""`python tests/robustness table` and `fuzz`."""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from robustness.fuzzing import READERS, fuzz
from robustness.inputs import CASES
from robustness.judge import Outcome, judge
from robustness.signals import kill_while_writing

__all__ = ["main", "tally"]

_DOCS = Path(__file__).resolve().parents[2] / "docs"
_KINDS = ("refused", "accepted", "wrong", "crashed")


def tally(
    strategy: st.SearchStrategy[Any], count: int, run: Callable[[Any], Outcome]
) -> tuple[Counter[str], list[str]]:
    """Count the outcomes of cases, the same ones each time.

    Args:
        strategy: makes them.
        count: how many.
        run: judges one.

    Returns:
        How many there are of each outcome, and what the bad ones were.
    """
    found, bad = Counter[str](), list[str]()

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def look(case: Any) -> None:
        outcome = run(case)
        found[outcome.kind] += 1
        if outcome.kind in ("wrong", "crashed"):
            bad.append(outcome.detail)

    look()
    return found, bad


def _killed(case: tuple[signal.Signals, float]) -> Outcome:
    problem = kill_while_writing(*case)
    return Outcome("crashed", problem) if problem else Outcome("accepted")


def _table(share: float) -> int:
    started = time.monotonic()
    rows: list[list[Any]] = []
    problems: list[str] = []
    kinds: dict[str, tuple[Any, int, Callable[[Any], Outcome]]] = {
        name: (strategy, count, judge) for name, (strategy, count) in CASES.items()
    }
    numbers = st.sampled_from([signal.SIGINT, signal.SIGTERM])
    kinds["signals while writing"] = (st.tuples(numbers, st.floats(0, 0.3)), 24, _killed)
    for name, (strategy, count, run) in kinds.items():
        found, bad = tally(strategy, max(1, round(share * count)), run)
        rows.append([name, sum(found.values()), *(found[kind] for kind in _KINDS)])
        problems += [f"{name}: {text}" for text in bad]
        print(*rows[-1], flush=True)
    for problem in problems:
        print(problem)
    if share == 1:
        rows.append(["all", *(sum(row[i] for row in rows) for i in range(1, 6))])
        content = {
            "columns": ["what", "tried", "refused", "accepted", "accepted wrongly", "crashed"],
            "rows": rows,
        }
        text = json.dumps(content, indent=1) + "\n"
        (_DOCS / "robustness.json").write_text(text, encoding="utf-8")
    print(f"{time.monotonic() - started:.0f} s")
    return 1 if problems else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the status is 1 if something was accepted wrongly or crashed."""
    parser = argparse.ArgumentParser(prog="python tests/robustness", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    table = commands.add_parser("table", help="count outcomes, write docs/robustness.json")
    table.add_argument("--share", type=float, default=1.0, help="of the cases; 1 writes the file")
    fuzzing = commands.add_parser("fuzz", help="coverage-guided fuzzing (needs atheris)")
    fuzzing.add_argument("reader", choices=sorted(READERS))
    fuzzing.add_argument("--seconds", type=int, default=3600)
    given_ = parser.parse_args(arguments)
    if given_.command == "table":
        return _table(given_.share)
    with contextlib.suppress(SystemExit):
        fuzz(given_.reader, given_.seconds)
    return 0
