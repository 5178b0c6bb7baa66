"""How far long work has come, as lines of a log: soon, and then every ten seconds.

Nothing here prints. A logger takes the lines; the command line shows them, also where its standard
error is a file or a pipe.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

from efa_zoo.base.errors import InputError

__all__ = ["EVERY", "FIRST", "Pace", "duration", "ongoing", "seconds_of"]

#: Seconds until work that has no number is spoken of, and between two lines.
FIRST, EVERY = 2.0, 10.0


def duration(seconds: float) -> str:
    """Write a time in the largest fitting unit, such as `45 s`, `12 min` or `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


_UNITS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


def seconds_of(text: str) -> float:
    """Read a time as people write it.

    Args:
        text: numbers with units s, m or min, h and d, such as `30m` or `1h30m`.

    Returns:
        Seconds.

    Raises:
        InputError: it is no time.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(min|[smhd])", text)
    if not parts or "".join(a + b for a, b in parts) != re.sub(r"\s", "", text):
        raise InputError(f"time: got {text!r}, expected a time such as 30m, 90s or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)


@contextmanager
def ongoing(
    what: str, logger: logging.Logger, *, first: float | None = None, every: float = EVERY
) -> Generator[None]:
    """Log that something goes on for as long as the block takes; quick work is not spoken of.

    Args:
        what: goes on, such as "compiling".
        logger: takes the lines.
        first: seconds until the first line; None takes `FIRST`.
        every: seconds between two lines.
    """
    started, done = time.monotonic(), threading.Event()

    def speak() -> None:
        wait = FIRST if first is None else first
        while not done.wait(wait):
            logger.info("%s (%s so far)", what, duration(time.monotonic() - started))
            wait = every

    speaker = threading.Thread(target=speak, daemon=True)
    speaker.start()
    try:
        yield
    finally:
        done.set()
        speaker.join()


class Pace:
    """How far counted work has come: logged first, every ten seconds, and in the end."""

    def __init__(
        self,
        what: str,
        total: int,
        unit: str,
        logger: logging.Logger,
        *,
        initial: int = 0,
        every: float = EVERY,
    ):
        """Start the clock.

        Args:
            what: is done, such as "training".
            total: what it comes to in the end.
            unit: of `total` in the plural, such as "steps".
            logger: takes the lines.
            initial: how much of it was done before.
            every: seconds between two lines.
        """
        self.what: str = what
        self.total: int = total
        self.unit: str = unit
        self.logger: logging.Logger = logger
        self.every: float = every
        self._started = self._spoken = time.monotonic()
        self._initial, self._idle = initial, 0.0

    @property
    def due(self) -> bool:
        """Whether it is time for the next line."""
        return time.monotonic() - self._spoken >= self.every

    def leave_out(self, seconds: float) -> None:
        """Count time as none of the work's own, such as that of a compilation."""
        self._idle += seconds

    def say(self, done: int, facts: str = "") -> None:
        """Log how far it is.

        Args:
            done: in all.
            facts: what else to say.
        """
        self._spoken = time.monotonic()
        spent = self._spoken - self._started - self._idle
        parts = [facts] if facts else []
        if done > self._initial and spent > 0:
            rate = (done - self._initial) / spent
            parts = [_rate(rate, self.unit), *parts]
            if done < self.total:
                parts.append(f"{duration((self.total - done) / rate)} left")
        tail = f": {', '.join(parts)}" if parts else ""
        self.logger.info("%s: %d of %d %s%s", self.what, done, self.total, self.unit, tail)


def _rate(rate: float, unit: str) -> str:
    return f"{rate:.3g} {unit}/s" if rate < 100 else f"{rate:.0f} {unit}/s"
