"""`efa-zoo md`: what it prints and writes, resumes and refuses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ase.io import write
from commands import dimers, example, fail, succeed
from toys import read_all

from efa_zoo.cli import main
from efa_zoo.simulation import energy_drift, read_log

FILE = "example:ammonium_water"


def test_an_example_is_simulated(capsys: pytest.CaptureFixture[str]) -> None:
    out = succeed(capsys, "md", "toy", FILE, "--steps", "20", "--temperature", "200")
    lines = out.splitlines()
    assert lines[0].startswith("20 steps in ")
    assert lines[0].endswith("steps per second (engine: compiled)")
    drift = energy_drift("ammonium_water_md.csv", 8)
    assert lines[1] == f"drift of the total energy: {drift:.2e} eV/atom/ps"
    assert lines[2:] == ["trajectory: ammonium_water_md.extxyz", "log: ammonium_water_md.csv"]
    assert [frame.info["step"] for frame in read_all("ammonium_water_md.extxyz")] == [0, 10, 20]
    assert read_log("ammonium_water_md.csv")["temperature_K"][0] == pytest.approx(200, abs=1e-3)


def test_options_reach_the_simulation_and_it_can_be_resumed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = (
        *("--ensemble", "nvt", "--temperature", "250", "--friction", "0.05", "--timestep", "0.25"),
        *("--seed", "4", "--interval", "5", "--engine", "ase", "--dtype", "float64", "--json"),
    )
    parts = ("md", "toy", FILE, *options, "--out", "parts.extxyz")
    first = json.loads(succeed(capsys, *parts, "--steps", "10"))
    assert (first["steps"], first["engine"], first["energy_drift"]) == (10, "ase", None)
    assert main((*parts, "--steps", "15", "--resume")) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["steps"] == 5
    assert captured.err == "resumed at step 10\n"
    whole = ("md", "toy", FILE, *options, "--out", "whole.extxyz", "--steps", "15")
    assert json.loads(succeed(capsys, *whole))["steps"] == 15
    for ending in (".extxyz", ".csv"):
        assert Path(f"parts{ending}").read_bytes() == Path(f"whole{ending}").read_bytes()
    setup = json.loads(Path("whole.restart.json").read_text())["setup"]
    assert setup["temperature"] == 250
    assert setup["friction"] == 0.05
    assert setup["timestep"] == 0.25
    assert setup["seed"] == 4


def test_a_simulation_that_blows_up_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("md", "toy", FILE, "--temperature", "900", "--timestep", "40", "--steps", "5000")
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("efa-zoo: step ")
    assert captured.err.count("\n") == 1


def test_leaving_the_range_may_only_be_warned_about(capsys: pytest.CaptureFixture[str]) -> None:
    atoms = example("ammonium_water")
    atoms.positions[5:] += 20
    write("far.extxyz", atoms)
    assert "distances up to 15 Å" in fail(capsys, "md", "toy", "far.extxyz")
    assert main(("md", "toy", "far.extxyz", "--warn-out-of-range", "--steps", "10")) == 0
    captured = capsys.readouterr()
    assert "efa-zoo: warning: far.extxyz: positions: atoms" in captured.err


def test_an_interrupted_simulation_leaves_whole_files_and_goes_on(
    capsys: pytest.CaptureFixture[str], zoo: Path
) -> None:
    arguments = ("md", "toy", FILE, "--interval", "1", "--out", "run.extxyz", "--timestep", "0.01")
    process = subprocess.Popen(
        [sys.executable, "-m", "efa_zoo.cli", *arguments, "--steps", "1000000"],
        env={**os.environ, "EFA_ZOO_HOME": str(zoo)},
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 300
    log = Path("run.csv")
    while not (log.exists() and log.read_bytes().count(b"\n") > 5):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate()
    assert process.returncode == 130
    assert error == b"efa-zoo: interrupted (the same command with --resume goes on)\n"
    done = json.loads(Path("run.restart.json").read_text())["memory"]["step"]
    assert done >= 4
    assert main((*arguments, "--steps", str(done + 2), "--resume")) == 0
    assert capsys.readouterr().err == f"resumed at step {done}\n"
    frames = read_all("run.extxyz")
    assert [frame.info["step"] for frame in frames] == list(range(done + 3))
    assert read_log(log)["step"].tolist() == list(range(done + 3))
    assert all(len(frame) == 8 for frame in frames)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("toyy", FILE), "did you mean toy"),
        (("toy", "missing.xyz"), "missing.xyz: No such file"),
        (("toy", "dimers.extxyz"), "has 2 structures, expected one"),
        (("toy", FILE, "--timestep", "-1"), "timestep: got -1.0"),
        (("toy", FILE, "--friction", "0.1"), "expected none for the ensemble 'nve'"),
        (("toy", FILE, "--steps", "-5"), "steps: got -5"),
        (("toy", FILE, "--out", "a.png"), "out: got 'a.png'"),
        (("toy", FILE, "--resume"), "is missing, expected the checkpoint"),
        (("toy", FILE, "--charge", "0"), "odd number"),
        (("toy", FILE, "--ensemble", "nph"), "nph"),
    ],
)
def test_bad_arguments_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    dimers()
    assert message in fail(capsys, "md", *arguments)
    assert [path.name for path in Path().iterdir()] == ["dimers.extxyz"]
