"""Commands whose work is done, and tested, elsewhere: their options reach it."""

from __future__ import annotations

import json

import pytest
from commands import succeed

from data_pipelines.files import FileOptions


class Recorder:
    """Stands in for a function: keeps its arguments and returns something printable."""

    def __init__(self) -> None:
        self.call: tuple[tuple[object, ...], dict[str, object]] = ((), {})

    def __call__(self, *arguments: object, **options: object) -> Recorder:
        self.call = arguments, options
        return self

    def __str__(self) -> str:
        return "done"

    def to_dict(self) -> dict[str, float]:
        return {"energy_mae": 0.5}


@pytest.mark.parametrize(
    ("function", "command", "options"),
    [
        (
            "efa_zoo.training.train",
            "train toy --out here --resume --data-dir there --loader tensorflow --publish",
            {
                "out": "here",
                "resume": True,
                "data_dir": "there",
                "loader": "tensorflow",
                "publish": True,
            },
        ),
        (
            "efa_zoo.evaluation.evaluate",
            "evaluate toy --data-dir there",
            {"data": None, "splits": None, "reading": None, "data_dir": "there"},
        ),
        (
            "efa_zoo.evaluation.evaluate",
            "evaluate toy --data md.extxyz --charge 0",
            {
                "data": "md.extxyz",
                "splits": None,
                "reading": FileOptions(charge=0),
                "data_dir": None,
            },
        ),
        (
            "efa_zoo.evaluation.evaluate",
            "evaluate toy --split test curves",
            {"data": None, "splits": ("test", "curves"), "reading": None, "data_dir": None},
        ),
        (
            "data_pipelines.build",
            "data build toy --data-dir there --config tiny --seed 3 --workers 2 --overwrite",
            {"data_dir": "there", "config": "tiny", "seed": 3, "workers": 2, "overwrite": True},
        ),
    ],
)
def test_options_reach_the_function(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    command: str,
    options: dict[str, object],
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(function, recorder)
    assert succeed(capsys, *command.split()) == "done\n"
    assert recorder.call == (("toy",), options)


def test_an_evaluation_can_be_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("efa_zoo.evaluation.evaluate", Recorder())
    assert json.loads(succeed(capsys, "evaluate", "toy", "--json")) == {"energy_mae": 0.5}
