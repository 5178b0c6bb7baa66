"""What became of a case: refused, accepted, accepted wrongly, or crashed."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from efa_zoo.base.errors import EFAZooError

__all__ = ["Case", "Outcome", "judge"]

#: Seconds that a refusal may take, on a machine that does other things too.
TIME_LIMIT = 20.0

#: Characters of the longest message.
_LONGEST = 1500


@dataclass(frozen=True, kw_only=True)
class Case:
    """Something from outside.

    Attributes:
        what: one line that says how it was made.
        run: takes it in; returns whether the result is right, where it can be told.
        valid: whether it must be accepted (True) or refused (False); None if either is right.
        refusals: errors that refuse it.
    """

    what: str
    run: Callable[[], bool | None]
    valid: bool | None = None
    refusals: tuple[type[Exception], ...] = (EFAZooError,)


@dataclass(frozen=True)
class Outcome:
    """What became of a case, and why."""

    kind: Literal["refused", "accepted", "wrong", "crashed"]
    detail: str = ""


def judge(case: Case) -> Outcome:
    """Run a case.

    A crash is every exception that is not a refusal, a refusal of something valid or in more than
    one line, and anything that takes longer than the limit.
    """
    started = time.monotonic()
    try:
        right = case.run()
    except case.refusals as error:
        message = str(error)
        if case.valid or "\n" in message or not message or len(message) > _LONGEST:
            return Outcome("crashed", f"{case.what}: {type(error).__name__}: {message[:300]}")
        found = Outcome("refused")
    except Exception:
        return Outcome("crashed", f"{case.what}: {traceback.format_exc()[-1500:]}")
    else:
        wrong = right is False or case.valid is False
        found = Outcome("wrong", case.what) if wrong else Outcome("accepted")
    seconds = time.monotonic() - started
    if seconds > TIME_LIMIT:
        return Outcome("crashed", f"{case.what}: took {seconds:.0f} s")
    return found
