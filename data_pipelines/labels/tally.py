"""Counts of structures that were kept and dropped."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

from data_pipelines._workers import Failure

_logger = logging.getLogger(__name__)


class Tally:
    """How many structures of each group were kept, and how many dropped for which reason.

    Attributes:
        title: What is counted, for the log.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._counts: dict[str, Counter[str]] = {}

    def count(self, group: str, outcome: Any) -> None:
        """Count an outcome: as dropped if it is a `Failure`, else as kept."""
        reason = outcome.reason if isinstance(outcome, Failure) else "kept"
        self._counts.setdefault(group, Counter())[reason] += 1

    @property
    def counts(self) -> dict[str, dict[str, int]]:
        """Numbers by group and reason, as stored beside the data."""
        return {group: dict(counter) for group, counter in self._counts.items()}

    def log(self) -> None:
        """Log the groups of which something was dropped, and the sum over all."""
        for group, counter in self._counts.items():
            reasons = [f"{n} {reason}" for reason, n in sorted(counter.items()) if reason != "kept"]
            if reasons:
                text = "%s of %s: %d kept, dropped %s"
                _logger.info(text, self.title, group, counter["kept"], ", ".join(reasons))
        everything = sum(self._counts.values(), Counter[str]())
        _logger.info("%s: %d kept of %d", self.title, everything["kept"], everything.total())
