"""What is logged: the progress of a long loop, and of other packages only what matters."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Generator, Iterable, Iterator
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


@contextlib.contextmanager
def quiet(package: str, level: int) -> Generator[None]:
    """Keep a package from logging less than a level, and from configuring the root logger.

    Args:
        package: Name of its logger.
        level: Of what it may still log.
    """
    logger, root = logging.getLogger(package), logging.getLogger()
    before, guard = logger.level, logging.NullHandler()
    logger.setLevel(level)
    root.addHandler(guard)
    try:
        yield
    finally:
        root.removeHandler(guard)
        logger.setLevel(before)
