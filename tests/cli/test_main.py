"""The command line as a whole: help, errors and exit statuses."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from commands import dimers, fail, succeed

import efa_zoo
from data_pipelines.structure import Structure
from efa_zoo.cli import COMMANDS, main
from efa_zoo.cli._common import log_to_stderr
from efa_zoo.cli._dispatch import one_line
from efa_zoo.cli._interrupts import interruptible
from efa_zoo.simulation import Grown

CHECKOUT = Path(efa_zoo.__file__).parents[1]


def run(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "efa_zoo.cli", *arguments],
        cwd=CHECKOUT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("card", "toyy"), "no model 'toyy' in the zoo, and no such folder (did you mean toy"),
        (("predict", "toyy", "example:water_dimer"), "did you mean toy"),
        (("predict", "toy_recipe", "example:water_dimer"), "has no weights yet"),
        (("predict", "toy"), "files: got none"),
        (("predict", "toy", "missing.xyz"), "missing.xyz: No such file"),
        (("predict", "toy", "."), ".: is a folder"),
        (("predict", "toy", "example:water"), "expected one of ammonium_water, water_dimer"),
        (("predict", "toy", "example:water_dimer", "--out", "a.png"), "out: got 'a.png'"),
        (("predict", "toy", "example:water_dimer", "--charge", "1"), "odd number"),
        (("train", "toyy"), "did you mean toy"),
        (("evaluate", "toyy"), "did you mean toy"),
        (("scan", "toyy"), "did you mean toy"),
        (("data", "build", "trimers"), "'trimers'"),
    ],
)
def test_bad_arguments_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in fail(capsys, *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("predicd toy", "unknown command 'predicd' (did you mean predict?)"),
        ("frobnicate", "unknown command 'frobnicate' (see efa-zoo --help)"),
        ("--verson", "unknown option '--verson' (see efa-zoo --help)"),
        ("data biuld", "unknown command 'biuld' (did you mean build?)"),
        ("list --al", "unrecognized options: --al (did you mean --all?)"),
        ("predict toy --jsn", "unrecognized options: --jsn (did you mean --json?)"),
        ("predict toy -x", "unrecognized options: -x (see efa-zoo predict --help)"),
        ("card toy toy", "unrecognized options: toy (see efa-zoo card --help)"),
        ("card", "missing from efa-zoo card: NAME model in the zoo"),
        ("import there", "missing from efa-zoo import: --config FILE its constructor keywords"),
        ("new", "from: got none, expected --from NAME, or --data NAME and --time TIME, by which"),
        ("new --time 3x", "time: got '3x', expected a time such as 30m, 90s or 1h30m"),
        ("new --time 3m", "time: given without --data, expected the data set to fit a recipe to"),
        ("new --time 3m --data structures/none", "data set structures/none: nothing at"),
        ("finetune toy --data a --out b --time 3m --steps 9", "time: given together with steps"),
        ("data build", "missing from efa-zoo data build: NAME[/SIZE] one of chains, charge"),
        (
            "predict toy a.xyz --charge one",
            "error parsing --charge: no type matching INT could be instantiated from ['one'] "
            "(expected --charge INT)",
        ),
        (
            "scan toy --seed 1.5",
            "error parsing --seed: invalid literal for int() with base 10: '1.5' (expected --seed",
        ),
        ("predict toy a.xyz --charge", "missing value for argument '--charge'. Expected 1 values"),
        (
            "scan toy --pair water",
            "error parsing --pair: no type matching {STR STR} could be instantiated from "
            "['water'] (expected --pair NAME NAME)",
        ),
        (
            "predict toy a.xyz --dtype float16",
            "invalid choice 'float16' for argument '--dtype'. Expected one of ('float32', 'float",
        ),
        (
            "completion powershell",
            "invalid choice 'powershell' for argument 'shell'. Expected one of ('bash', 'zsh', 'f",
        ),
    ],
)
@pytest.mark.parametrize("columns", ["80", "30"])
def test_wrong_usage_isone_line_with_a_hint(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    message: str,
    columns: str,
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert fail(capsys, *arguments.split()).startswith(f"efa-zoo: {message}")


def test_wrong_usage_isone_line_where_no_frame_can_be_drawn(zoo: Path) -> None:
    result = run("predict", "toy", "--jsn", env={"PYTHONIOENCODING": "ascii"})
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr == "efa-zoo: unrecognized options: --jsn (did you mean --json?)\n"
    result = run("predict", "--help", env={"PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0
    assert "forces (eV/?) of structures" in result.stdout


def test_an_error_of_an_unknown_kind_becomes_its_first_part() -> None:
    rule = f" {'-' * 40} "
    error = f" News\n{rule}\n Whatever \n  it is. \n {rule} \n  more \n"
    assert one_line(error, "efa-zoo card") == "whatever it is (see efa-zoo card --help)"
    assert one_line("", "efa-zoo card") == "wrong arguments (see efa-zoo card --help)"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    out = succeed(capsys, *command.split(), "--help")
    assert out.startswith(f"usage: efa-zoo {command} ")
    examples = out.partition("\nExamples:\n")[2].partition("\n\n")[0]
    assert f"efa-zoo {command}" in examples


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(capsys: pytest.CaptureFixture[str], command: str) -> None:
    function = importlib.import_module(f"efa_zoo.cli.{COMMANDS[command]}").run
    out = succeed(capsys, *command.split(), "--help")
    hints = get_type_hints(function, include_extras=True)
    hints.pop("return")
    # What is imported late, and dataclasses, explain themselves.
    groups = [
        name
        for name, hint in hints.items()
        if is_dataclass(hint.__origin__)
        or any(getattr(extra, "constructor_factory", None) for extra in hint.__metadata__)
    ]
    for name in set(hints) - set(groups):
        assert any(getattr(extra, "help", None) for extra in hints[name].__metadata__), name
    # Options of dataclasses are explained like the others.
    for word in ("None", "STR", ". (default"):
        assert word not in out, word
    assert "reading" not in groups or "--energy-key KEY" in out
    assert "config" not in groups or "--timestep FLOAT" in out


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_the_overview_names_every_command(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    out = succeed(capsys, *arguments)
    assert "\n  efa-zoo predict" in out
    for command in COMMANDS:
        assert f"• {command.partition(' ')[0]}" in out


@pytest.mark.parametrize("arguments", [("data",), ("data", "--help")])
def test_a_group_names_its_commands(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    out = succeed(capsys, *arguments)
    assert out.startswith("usage: efa-zoo data ")
    assert "• build" in out


def test_help_needs_no_jax() -> None:
    code = """
import sys
from efa_zoo.cli import main
main([])
main(["data"])
for command in ("list", "card", "predict", "relax", "md", "scan", "train", "explain", "plot parity",
                "export"):
    main([*command.split(), "--help"])
main(["predict", "--wrong"])
main(["md", "toy", "a.xyz", "--timestep", "-1"])
heavy = {"jax", "ase", "matplotlib", "tensorflow", "numpy"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else 0)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("no_color", "colored"), [("", True), ("1", False)])
def test_colors_are_for_terminals_that_want_them(no_color: str, colored: bool) -> None:
    receiver, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "efa_zoo.cli", "card", "--help"],
        cwd=CHECKOUT,
        env={**os.environ, "NO_COLOR": no_color, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"},
        stdout=terminal,
        stderr=subprocess.STDOUT,
    )
    os.close(terminal)
    written = b""
    with suppress(OSError):  # how Linux tells the end of a terminal
        while chunk := os.read(receiver, 4096):
            written += chunk
    os.close(receiver)
    assert process.wait() == 0
    assert b"usage" in written
    assert (b"\x1b[" in written) == colored


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert succeed(capsys, "--version") == f"efa-zoo {efa_zoo.__version__}\n"


def test_a_missing_extra_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "ase"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ase", None)
    message = fail(capsys, "predict", "toy", "example:water_dimer")
    assert message == "efa-zoo: this needs ase: pip install 'efa-zoo[ase]'\n"


def test_a_closed_pipe_is_no_error(zoo: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "efa_zoo.cli", "card", "toy"],
        cwd=CHECKOUT,
        env={**os.environ, "EFA_ZOO_HOME": str(zoo)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, error = process.communicate()
    assert error == b""
    assert process.returncode == 0


def test_an_interrupt_is_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("efa_zoo.training.train", interrupted)
    monkeypatch.setattr("efa_zoo.cli.models.train.require_data", lambda name, data_dir: None)
    assert main(["train", "toy"]) == 130
    error = capsys.readouterr().err
    start = "efa-zoo: interrupted (before the first checkpoint, so there is nothing to go on from)"
    assert error == f"{start}\n"
    checkpoint = Path("runs/toy/checkpoint.json")
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_text("{}", encoding="utf-8")
    assert main(["train", "toy"]) == 130
    error = capsys.readouterr().err
    assert error == "efa-zoo: interrupted (the same command with --resume goes on)\n"


#: The five-letter word for "clear the screen", and others that terminals obey.
ESCAPES = "\x1b[2J\x07\r\x9b31m\x7f"


def test_names_with_escape_sequences_reach_a_terminal_as_text(
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = f"a{ESCAPES}b"
    Path(f"{name}.xyz").write_text("1\ncharge=0\nO 0 0 0\n", encoding="utf-8")
    for arguments in (
        ("predict", name),
        ("predict", "toy", f"{name}.xyz"),
        ("predict", "toy", f"missing{name}.xyz"),
        (name,),
        ("predict", f"--{name}"),
        ("md", "toy", f"{name}.xyz", "--timestep", name),
    ):
        main(arguments)
        captured = capsys.readouterr()
        printed = captured.out + captured.err
        assert printed.startswith("efa-zoo: ") or "O" in printed, arguments
        assert not set(printed) & set(ESCAPES) - set("[2Jm31"), arguments


def test_what_is_logged_has_no_escape_sequences(capsys: pytest.CaptureFixture[str]) -> None:
    with log_to_stderr():
        logging.getLogger("efa_zoo.test").info("%s\nsecond line", ESCAPES)
    assert capsys.readouterr().err == r"\x1b[2J\x07\x0d\x9b31m\x7f" + "\nsecond line\n"


def test_a_full_disk_names_the_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = dimers()
    monkeypatch.setattr("ase.io.write", full)
    assert main(["predict", "toy", file, "--out", "results.extxyz"]) == 2
    assert capsys.readouterr().err == "efa-zoo: results.extxyz: No space left on device\n"
    monkeypatch.setattr(Path, "write_bytes", full)
    assert main(["predict", "toy", file, "--out", "results.json"]) == 2
    assert capsys.readouterr().err == "efa-zoo: results.json: No space left on device\n"
    assert [path.name for path in Path().iterdir()] == [file]


def test_what_is_logged_is_shown_once(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    # The root logger has a handler here, as packages that read data sets may give it one.
    logger = logging.getLogger("efa_zoo.test")
    with log_to_stderr():
        logger.info("once")
    assert capsys.readouterr().err == "once\n"
    assert caplog.records == []
    logger.warning("again")
    assert caplog.messages == ["again"]


class Finalized:
    """Is interrupted while the interpreter finalizes it, and drops what is raised then."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_an_interrupt_is_not_lost_where_exceptions_are(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = signal.signal(signal.SIGINT, signal.default_int_handler)
    start = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt), interruptible():
            finalized = Finalized()
            del finalized
            time.sleep(30)
        assert time.monotonic() - start < 20, "the interrupt did not end the wait"
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with interruptible():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, usual)


#: Commands that write a file, the file, and a function that is called in the midst of it.
INTERRUPTED = {
    "predict toy dimers.extxyz --out results.extxyz": ("results.extxyz", "ase.io.write"),
    "relax toy dimers.extxyz --steps 1": ("dimers_relaxed.extxyz", "ase.io.write"),
    "export toy --out toy.zip": ("toy.zip", "efa_zoo.interop.export._archive.write"),
    "data pair water water --out pair.extxyz": ("pair.extxyz", "ase.io.write"),
    "data grow toy --starts dimers.extxyz --out grown.extxyz": ("grown.extxyz", "ase.io.write"),
}


@pytest.mark.parametrize("command", INTERRUPTED)
def test_an_interrupt_while_writing_leaves_the_old_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    def half(place: Any, *_: object, **__: object) -> None:
        if isinstance(place, Path):
            place.write_text("half of")
        else:
            place.write("half of")
        raise KeyboardInterrupt

    file, writer = INTERRUPTED[command]
    structure = Structure(
        atomic_numbers=np.ones(2, np.int32),
        positions=np.eye(3)[:2],
        energy=-1.0,
        forces=np.ones((2, 3)),
        total_charge=0,
    )
    monkeypatch.setattr("data_pipelines.sampling.dimers.make_pair", lambda *_, **__: [structure])
    grown = Grown(structures=[structure], visited=1, unknown=0, dropped={})
    monkeypatch.setattr("efa_zoo.simulation.grow", lambda *_, **__: grown, raising=False)
    monkeypatch.setattr("efa_zoo.interop.export.writing.make_program", lambda *_: b"")
    dimers()
    Path(file).write_text("whole", encoding="utf-8")
    before = sorted(Path().iterdir())
    monkeypatch.setattr(writer, half)
    assert main(command.split()) == 130
    assert capsys.readouterr().err == "efa-zoo: interrupted\n"
    assert sorted(Path().iterdir()) == before
    assert Path(file).read_text(encoding="utf-8") == "whole"


@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_an_interrupt_leaves_the_old_file_whole(
    workplace: Path, number: signal.Signals, status: int, word: str
) -> None:
    # A command that stops in the middle of writing, until it is interrupted for real.
    code = """
import signal, sys, time
from pathlib import Path
import efa_zoo.cli.show.card
from efa_zoo.base.files import replacing
from efa_zoo.cli import main

def run(name: str) -> None:
    with replacing(Path("results.json")) as temporary:
        temporary.write_text("half of")
        print("writing", flush=True)
        time.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)  # shells switch it off in the background
efa_zoo.cli.show.card.run = run
sys.exit(main(["card", "--name", "toy"]))
"""
    (workplace / "results.json").write_text("whole", encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=workplace,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == status
    assert error == f"efa-zoo: {word}\n"
    assert [path.name for path in workplace.iterdir()] == ["results.json"]
    assert (workplace / "results.json").read_text(encoding="utf-8") == "whole"
