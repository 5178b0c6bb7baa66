"""Learning curves: the right numbers, drawn whole or refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from commands import fail, succeed

from efa_zoo.analysis.learning_curves import draw_learning_curves, read_log
from efa_zoo.base.errors import DataError, InputError

LOG = """\
step,seconds,train_loss,energy_mae,energy_rmse,force_mae,force_rmse
100,1.5,0.3,0.2,0.3,0.1,0.2
200,3.0,0.1,0.05,0.06,0.04,0.05
300,4.5,nan,0.06,0.07,0.03,0.04
"""


@pytest.fixture
def workplace(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def training_run(name: str, text: str = LOG) -> str:
    Path(name).mkdir()
    Path(name, "log.csv").write_text(text, encoding="utf-8")
    return name


def test_a_log_is_read(workplace: Path) -> None:
    log = read_log(training_run("first"))
    assert log.name == "first"
    assert log.steps.tolist() == [100, 200, 300]
    assert log.columns["energy_mae"].tolist() == [0.2, 0.05, 0.06]
    assert np.isnan(log.columns["train_loss"][2])
    assert read_log("first/log.csv").name == "first"


def test_learning_curves_are_drawn(capsys: pytest.CaptureFixture[str], workplace: Path) -> None:
    pytest.importorskip("matplotlib")
    reminded = LOG.replace("force_rmse\n", "force_rmse,reminder_energy_mae\n")
    reminded = reminded.replace("\n", ",0.1\n").replace(
        "reminder_energy_mae,0.1", "reminder_energy_mae"
    )
    runs = training_run("first"), training_run("second", reminded)
    out = succeed(capsys, "plot", "curves", *runs, "--out", "curves.png")
    assert out == "picture: curves.png\n"
    one = draw_learning_curves([read_log("first")], "one.png").read_bytes()
    two = Path("curves.png").read_bytes()
    assert one.startswith(b"\x89PNG")
    assert one != two
    with pytest.raises(InputError, match="logs: got none"):
        draw_learning_curves([], "none.png")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no validation yet"),
        (LOG.splitlines()[0], "holds no validation yet"),
        ("a,b\n1,2\n", "not a training log, has no column energy_mae"),
        (LOG + "400,6.0,half", "not a training log"),
        (LOG + "400,6.0,0.1,x,1,1,1\n", "not a training log"),
        ("\x00\x01", "log.csv: "),
    ],
)
def test_a_bad_log_is_refused(
    capsys: pytest.CaptureFixture[str], workplace: Path, text: str, message: str
) -> None:
    training_run("bad", text)
    error = fail(capsys, "plot", "curves", "bad")
    assert "bad/log.csv" in error
    assert message in error


def test_a_missing_log_is_refused(capsys: pytest.CaptureFixture[str], workplace: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: cannot read the training log"):
        read_log("nowhere")
    assert "runs: got none" in fail(capsys, "plot", "curves")
