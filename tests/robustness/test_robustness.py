"""Nothing from outside is accepted wrongly or crashes; `--hypothesis-profile=long` looks longer."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from robustness.inputs import CASES
from robustness.judge import judge
from robustness.signals import kill_while_writing


@pytest.mark.parametrize("kind", CASES)
def test_no_case_is_accepted_wrongly_or_crashes(kind: str) -> None:
    strategy, _ = CASES[kind]

    @settings(suppress_health_check=list(HealthCheck), deadline=None)
    @given(strategy)
    def check(case: object) -> None:
        outcome = judge(case)  # type: ignore[arg-type]
        assert outcome.kind in ("refused", "accepted"), outcome

    check()


@settings(max_examples=2, deadline=None)
@given(st.sampled_from([signal.SIGINT, signal.SIGTERM]), st.floats(0, 0.2))
def test_a_signal_at_any_moment_leaves_whole_files(number: signal.Signals, delay: float) -> None:
    assert kill_while_writing(number, delay) == ""
