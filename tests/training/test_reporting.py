"""A run tells what it compiles and how far it is, without anything printed."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
from regression import Source, make_batch, small_model

from efa_zoo.base import progress
from efa_zoo.base.config import TrainingConfig
from efa_zoo.structures.graph import Shape
from efa_zoo.training import fit
from efa_zoo.training.reporting import Report


def test_a_run_tells_shapes_steps_and_loss(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(progress.Pace, "due", True)  # every step, not every ten seconds
    batch = make_batch(0)
    molecules, atoms, neighbors = batch.graph.neighbors.shape
    config = TrainingConfig(steps=3, warmup_steps=1, validation_interval=2)
    fit(
        small_model(),
        config,
        Source([batch, make_batch(1)]),
        Source([make_batch(2)]),
        tmp_path,
        report=Report([Shape(molecules, atoms, neighbors)]),
    )
    lines = caplog.messages
    compiled = [line for line in lines if line.startswith("compiling")]
    assert compiled == [
        f"compiling for {molecules} molecules of {atoms} atoms with {neighbors} neighbours "
        "(shape 1 of 1)"
    ]
    steps = [line for line in lines if line.startswith("training: ")]
    assert [line.split(" steps")[0] for line in steps] == [f"training: {i} of 3" for i in (1, 2, 3)]
    assert all(re.search(r"\d steps/s, loss [\d.e-]+", line) for line in steps)
    assert re.search(r", \d+ s left$", steps[0])
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
