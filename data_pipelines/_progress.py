"""Progress of a long loop: a bar on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

_T = TypeVar("_T")
_LINES = 10

_logger = logging.getLogger(__name__)


def progress(items: Iterable[_T], total: int, title: str) -> Iterator[_T]:
    """Pass items through and show how many have passed.

    Args:
        items: The items.
        total: How many there will be.
        title: What they are.

    Yields:
        The items.
    """
    if sys.stderr.isatty():
        try:
            from tqdm import tqdm
        except ImportError:
            pass
        else:
            yield from tqdm(items, total=total, desc=title)
            return
    shown = 0
    for done, item in enumerate(items, start=1):
        yield item
        if done * _LINES // max(total, 1) > shown:
            shown = done * _LINES // total
            _logger.info("%s: %d of %d", title, done, total)
