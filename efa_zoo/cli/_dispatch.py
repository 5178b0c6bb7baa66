"""From the words of a command line to the call of a command's function."""

from __future__ import annotations

import difflib
import functools
import importlib
import io
import os
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from typing import Any

import tyro
from tyro.extras import SubcommandApp

from efa_zoo.base.errors import InputError
from efa_zoo.cli._fields import REGISTRY

__all__ = ["COMMANDS", "command_call", "completion_script", "one_line"]

#: Commands in the order of the overview, and the module below `efa_zoo.cli` that each is in.
COMMANDS: Mapping[str, str] = {
    "list": "show.list_",
    "card": "show.card",
    "which": "structures.which",
    "predict": "structures.predict",
    "relax": "structures.relax",
    "md": "structures.md",
    "scan": "structures.scan",
    "explain": "structures.explain",
    "new": "models.new",
    "train": "models.train",
    "finetune": "models.finetune",
    "calibrate": "models.calibrate",
    "evaluate": "models.evaluate",
    "report": "show.report",
    "plot curves": "show.curves",
    "plot parity": "show.parity",
    "export": "models.export",
    "import": "models.import_",
    "data build": "data.build",
    "data add": "data.add",
    "data pair": "data.pair",
    "data replay": "data.replay",
    "data grow": "data.grow",
    "completion": "completion",
}

#: First words of commands of two words, and what stands above their overview; "" is of all.
GROUPS: Mapping[str, str] = {
    "": """\
Energies and forces of molecules by Euclidean fast attention.

Examples:
  efa-zoo list
  efa-zoo predict mpnn_efa_dimers example:ammonium_water
  efa-zoo predict --help
  efa-zoo --version
""",
    "plot": """\
Draw learning curves, or predictions against labels.

Examples:
  efa-zoo plot curves --help
""",
    "data": """\
Build data sets, or make them of files.

Examples:
  efa-zoo data build --help
""",
}

_HELP = ("-h", "--help")
_CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)


def command_call(arguments: Sequence[str]) -> Callable[[], None] | None:
    """Find the command and parse its arguments.

    Args:
        arguments: the command's name, one word or two, and its arguments.

    Returns:
        The call of the command's function; None if help was asked for, and printed.

    Raises:
        InputError: there is no such command, or the arguments are not what it takes.
    """
    name, prog, rest = "", "efa-zoo", list(arguments)
    while name in GROUPS:
        if not rest or rest[0] in _HELP:
            return _parse(_application(name).cli, prog, GROUPS[name], ["--help"])
        _check(rest[0], _members(name), prog)
        name, prog = f"{name} {rest[0]}".lstrip(), f"{prog} {rest.pop(0)}"
    function = _function(name)

    # Parsing and running are apart, so that what the command itself writes is left alone.
    @functools.wraps(function)
    def prepare(*positional: Any, **options: Any) -> Callable[[], None]:
        return functools.partial(function, *positional, **options)

    return _parse(functools.partial(tyro.cli, prepare), prog, _help(function), rest)


def completion_script(shell: str) -> str:
    """Make the script by which a shell completes commands and options.

    Args:
        shell: `"bash"`, `"zsh"` or `"fish"`.

    Returns:
        The shell's script.
    """
    script, arguments = io.StringIO(), ["--tyro-print-completion", shell]
    with redirect_stdout(script), suppress(SystemExit):
        _application("").cli(prog="efa-zoo", args=arguments, config=_CONFIG, registry=REGISTRY)
    return script.getvalue()


def _application(group: str) -> SubcommandApp:
    """Put the commands of a group into one parser, each with the first line of its help."""
    made = SubcommandApp()
    for name in _members(group):
        if name in GROUPS:
            made.command(_application(name), name=name, help=GROUPS[name].partition("\n")[0])
        else:
            function = _function(f"{group} {name}".lstrip())
            made.command(name=name, help=_help(function).partition("\n")[0])(function)
    return made


def _members(group: str) -> list[str]:
    """List the first words of all commands, or the second words of those of a group."""
    start = f"{group} ".lstrip()
    words = [command.removeprefix(start) for command in COMMANDS if command.startswith(start)]
    return list(dict.fromkeys(word.partition(" ")[0] for word in words))


def _function(command: str) -> Callable[..., None]:
    return importlib.import_module(f"efa_zoo.cli.{COMMANDS[command]}").run


def _help(function: Callable[..., None]) -> str:
    """Return the docstring of a command without its indentation."""
    return "\n".join(line.removeprefix("    ") for line in (function.__doc__ or "").splitlines())


def _check(given: str, known: Collection[str], prog: str) -> None:
    if given in known:
        return
    close = difflib.get_close_matches(given, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"see {prog} --help"
    kind = "option" if given.startswith("-") else "command"
    raise InputError(f"unknown {kind} {given!r} ({hint})")


def _parse(
    parser: Callable[..., Any], prog: str, description: str, arguments: Sequence[str]
) -> Any:
    """Call tyro; None after it printed help.

    Raises:
        InputError: the arguments are not what is taken.
    """
    call = functools.partial(
        parser,
        prog=prog,
        description=description,
        args=arguments,
        config=_CONFIG,
        registry=REGISTRY,
    )
    # For a file that is neither a terminal nor UTF-8, tyro writes without colours and frames.
    plain = io.StringIO()
    try:
        with redirect_stdout(plain), redirect_stderr(plain):
            return call()
    except SystemExit as stop:
        if stop.code:
            raise InputError(one_line(plain.getvalue(), prog)) from stop
    if os.environ.get("NO_COLOR"):
        os.environ["TERM"] = "dumb"  # tyro, which knows nothing of NO_COLOR, knows this
    with suppress(SystemExit):
        call()
    return None


def one_line(error: str, prog: str) -> str:
    """Return what tyro says is wrong, with its hint, or else one to the help.

    Args:
        error: parts between rules: a title, the problem, perhaps a hint, the command for help.
        prog: the command.
    """
    parts = re.split(r"\n *-{9,} *\n", f"\n{error}")
    _, problem, hint, *_ = [*parts, "", ""]
    problem = " ".join(problem.partition("Got errors:")[0].split())
    problem = problem.replace(" (required)", ",").rstrip(".,") or "wrong arguments"
    kind, _, words = hint.strip().partition(":")
    option = words.strip().partition("\n")[0].strip()  # with what stands for its value
    if kind == "Argument helptext":
        hint = f"expected {option}"
    elif kind.startswith(("Perhaps you meant", "Arguments similar")):
        hint = f"did you mean {option.split()[0]}?"
    else:
        hint = f"see {prog} --help"
    return f"{problem[:1].lower()}{problem[1:]} ({hint})"
