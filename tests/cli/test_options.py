"""Commands whose work is done, and tested, elsewhere: their options reach it."""

from __future__ import annotations

import json

import pytest
from commands import succeed

from data_pipelines import Beam
from data_pipelines.files.options import FileOptions
from data_pipelines.splitting import SplitOptions
from efa_zoo.cli import COMMANDS
from efa_zoo.cli._common import dump


@pytest.fixture(autouse=True)
def _data_are_there_and_no_report_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    for command in ("evaluate", "finetune", "new", "train"):
        monkeypatch.setattr(f"efa_zoo.cli.models.{command}.require_data", lambda *_: None)
    for command in ("finetune", "train"):
        monkeypatch.setattr(f"efa_zoo.cli.models.{command}.report_on", lambda *_: None)


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
            "train toy --out here --resume --data-dir there --loader grain --devices 2 --publish",
            {
                "out": "here",
                "resume": True,
                "data_dir": "there",
                "loader": "grain",
                "devices": 2,
                "publish": True,
            },
        ),
        (
            "efa_zoo.analysis.evaluation.evaluate",
            "evaluate toy --data-dir there",
            {
                "data": None,
                "splits": None,
                "reading": None,
                "splitting": None,
                "data_dir": "there",
            },
        ),
        (
            "efa_zoo.analysis.evaluation.evaluate",
            "evaluate toy --data md.extxyz --charge 0 --counts 15 5 5",
            {
                "data": "md.extxyz",
                "splits": None,
                "reading": FileOptions(charge=0),
                "splitting": SplitOptions(counts=(15, 5, 5)),
                "data_dir": None,
            },
        ),
        (
            "efa_zoo.analysis.evaluation.evaluate",
            "evaluate toy --split test curves",
            {
                "data": None,
                "splits": ("test", "curves"),
                "reading": None,
                "splitting": None,
                "data_dir": None,
            },
        ),
        (
            "data_pipelines.build",
            "data build toy --data-dir there --seed 3 --workers 2 --overwrite",
            {"data_dir": "there", "seed": 3, "workers": 2, "beam": None, "overwrite": True},
        ),
        (
            "data_pipelines.build",
            "data build toy --beam there --beam-options runner=FlinkRunner streaming=1",
            {
                "data_dir": None,
                "seed": None,
                "workers": None,
                "beam": Beam("there", ("--runner=FlinkRunner", "--streaming=1")),
                "overwrite": False,
            },
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
    monkeypatch.setattr("efa_zoo.analysis.evaluation.evaluate", Recorder())
    assert json.loads(succeed(capsys, "evaluate", "toy", "--json")) == {"energy_mae": 0.5}


#: Commands whose work is done elsewhere, the function that does it, and what they print as JSON.
JSON = {
    "train toy --out here": ("efa_zoo.training.train", {"folder": "done"}),
    "new my.toml --from toy": ("efa_zoo.models.hub.recipes.new_recipe", {"file": "done"}),
    "import there --config c.toml --out here": (
        "efa_zoo.interop.reference.import_checkpoint",
        {"folder": "done"},
    ),
    "data build dimers/tiny": (
        "data_pipelines.build",
        {"name": "dimers/tiny", "folder": "done"},
    ),
    "data add a.xyz --name a --level-of-theory PBE": (
        "data_pipelines.add_file",
        {"name": "structures/a", "level_of_theory": "PBE", "folder": "done"},
    ),
}


@pytest.mark.parametrize("command", JSON)
def test_what_was_made_can_be_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    function, content = JSON[command]
    monkeypatch.setattr(function, Recorder())
    assert json.loads(succeed(capsys, *command.split(), "--json")) == content


def test_every_command_but_completion_has_json(capsys: pytest.CaptureFixture[str]) -> None:
    for command in COMMANDS:
        assert ("--json" in succeed(capsys, *command.split(), "--help")) == (
            command != "completion"
        ), command


def test_numbers_that_are_not_finite_are_null() -> None:
    text = dump({"drift": float("nan"), "rows": ({"a": [float("inf"), 1.5]}, "NaN")})
    assert json.loads(text) == {"drift": None, "rows": [{"a": [None, 1.5]}, "NaN"]}
