"""Progress of a long loop, as lines of the log."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TypeVar

from efa_zoo.base.progress import Pace

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)


def progress(items: Iterable[_T], total: int, title: str) -> Iterator[_T]:
    """Pass items through and log how many have passed, first and every ten seconds.

    Args:
        items: The items.
        total: How many there will be.
        title: What they are.

    Yields:
        The items.
    """
    pace = Pace("computing", total, title, _logger)
    pace.say(0)
    for done, item in enumerate(items, start=1):
        yield item
        if pace.due or done == total:
            pace.say(done)
