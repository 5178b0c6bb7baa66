"""What a training run says while it goes on: what is compiled, how fast, how long still."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Generator
from contextlib import contextmanager

from efa_zoo.base.progress import Pace, ongoing
from efa_zoo.structures.batch import Batch
from efa_zoo.structures.graph import Shape

__all__ = ["Report"]

_logger = logging.getLogger(__name__)


class Report:
    """Lines of the log about a training run."""

    def __init__(self, shapes: Collection[Shape] = ()):
        """Prepare to report.

        Args:
            shapes: of the batches to come, each of which is compiled; none if that is not known.
        """
        self._planned = len(shapes)
        self._met: set[Shape] = set()
        self._pace = Pace("training", 0, "steps", _logger)

    @contextmanager
    def running(self, steps: int, initial: int) -> Generator[None]:
        """Run the clock.

        Args:
            steps: of the whole run.
            initial: number of steps that were done before.
        """
        self._pace = Pace("training", steps, "steps", _logger, initial=initial)
        yield

    @contextmanager
    def computing(self, batch: Batch) -> Generator[None]:
        """Say what is compiled where a batch is the first one of its shape.

        Args:
            batch: that a step is done for.
        """
        molecules, atoms, neighbors = batch.graph.neighbors.shape
        waves = 0 if batch.graph.waves is None else batch.graph.waves.shape[1]
        shape = Shape(molecules, atoms, neighbors, waves, batch.graph.pbc)
        if shape in self._met:
            yield
            return
        self._met.add(shape)
        number = f"{len(self._met)} of {self._planned}" if self._planned else f"{len(self._met)}"
        what = (
            f"compiling for {shape.molecules} molecules of {shape.atoms} atoms with "
            f"{shape.neighbors} neighbours (shape {number})"
        )
        _logger.info("%s", what)
        started = time.monotonic()
        with ongoing(what, _logger, first=10.0):
            yield
        self._pace.leave_out(time.monotonic() - started)

    def step(self, step: int, loss: Callable[[], float]) -> None:
        """Say how far the run is, where that is due.

        Args:
            step: that was done.
            loss: gives the mean of the last ones, for which it waits.
        """
        if self._pace.due:
            self._pace.say(step, f"loss {loss():.4g}")

    @contextmanager
    def validating(self) -> Generator[None]:
        """Say that the network is validated, where that takes long."""
        with ongoing("validating", _logger):
            yield
