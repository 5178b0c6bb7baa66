"""Long work speaks of itself; what is quick stays silent."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator

import pytest

from data_pipelines._progress import progress
from efa_zoo.base import progress as module
from efa_zoo.base.progress import Pace, duration, ongoing

_logger = logging.getLogger("efa_zoo.test")


class Clock:
    """A clock that is set."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Clock]:
    caplog.set_level(logging.INFO)
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    yield clock


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99, "99 s"), (150, "2 min"), (7200, "2.0 h")]
)
def test_durations_have_a_fitting_unit(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_pace_tells_rate_and_time_left(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    pace = Pace("training", 1000, "steps", _logger, initial=100)
    assert not pace.due
    clock.now = 9.9
    assert not pace.due
    clock.now = 20.0
    assert pace.due
    pace.leave_out(10.0)  # of which half was a compilation
    pace.say(200, "loss 0.5")
    assert not pace.due
    clock.now = 90.0
    pace.say(1000)
    assert caplog.messages == [
        "training: 200 of 1000 steps: 10 steps/s, loss 0.5, 80 s left",
        "training: 1000 of 1000 steps: 11.2 steps/s",
    ]


def test_items_are_counted_from_the_start(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    seen = []
    for item in progress(iter("abcd"), 4, "labels"):
        seen.append(item)
        clock.now += 6.0
    assert seen == list("abcd")
    lines = [re.sub(r": [^:]*/s.*", "", line) for line in caplog.messages]
    assert lines == [
        "computing: 0 of 4 labels",
        "computing: 2 of 4 labels",
        "computing: 4 of 4 labels",
    ]


def test_what_goes_on_is_said_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with ongoing("compiling", _logger, first=0.01, every=0.02):
        time.sleep(0.2)
    lines = caplog.messages
    assert len(lines) >= 3
    assert set(lines) == {"compiling (0 s so far)"}
    time.sleep(0.05)
    assert caplog.messages == lines


def test_what_is_quick_is_not_spoken_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(ValueError, match="wrong"), ongoing("compiling", _logger):
        raise ValueError("wrong")
    assert caplog.messages == []
