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

__all__ = ["HELP", "command_call", "completion_script", "one_line", "show_help"]

#: What asks for help instead of doing something.
HELP = ("-h", "--help")

_CONFIG = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone)


def command_call(
    arguments: Sequence[str], commands: Mapping[str, str], groups: Mapping[str, str]
) -> Callable[[], None] | None:
    """Find the command and parse its arguments.

    Args:
        arguments: the command's name, one word or two, and its arguments.
        commands: names and modules of the commands.
        groups: first words of commands of two words, and what they have in common.

    Returns:
        The call of the command's function; None if help was asked for, and printed.

    Raises:
        InputError: there is no such command, or the arguments are not what it takes.
    """
    name, *rest = arguments
    _check(name, {command.partition(" ")[0] for command in commands}, "efa-zoo")
    if name in groups:
        start, prog = f"{name} ", f"efa-zoo {name}"
        members = {
            command.removeprefix(start): module
            for command, module in commands.items()
            if command.startswith(start)
        }
        if not rest or rest[0] in HELP:
            example = f"{prog} {next(iter(members))} --help"
            show_help(members, {}, prog, f"{groups[name]}\n\nExamples:\n  {example}\n")
            return None
        _check(rest[0], members, prog)
        name, rest = start + rest[0], rest[1:]
    function = _function(commands[name])

    # Parsing and running are apart, so that what the command itself writes is left alone.
    @functools.wraps(function)
    def prepare(*positional: Any, **options: Any) -> Callable[[], None]:
        return functools.partial(function, *positional, **options)

    return _parse(functools.partial(tyro.cli, prepare), f"efa-zoo {name}", _help(function), rest)


def show_help(
    commands: Mapping[str, str], groups: Mapping[str, str], prog: str, description: str
) -> None:
    """Print an overview of commands: the first line of each one's help.

    Args:
        commands: names and modules of the commands.
        groups: first words of commands of two words, and what they have in common.
        prog: what stands before the commands.
        description: what stands above the overview.
    """
    _parse(_application(commands, groups).cli, prog, description, HELP[:1])


def completion_script(commands: Mapping[str, str], groups: Mapping[str, str], shell: str) -> str:
    """Make the script by which a shell completes commands and options.

    Args:
        commands: names and modules of the commands.
        groups: first words of commands of two words, and what they have in common.
        shell: `"bash"`, `"zsh"` or `"fish"`.

    Returns:
        The shell's script.
    """
    script = io.StringIO()
    with redirect_stdout(script), suppress(SystemExit):
        _application(commands, groups).cli(
            prog="efa-zoo",
            args=["--tyro-print-completion", shell],
            config=_CONFIG,
            registry=REGISTRY,
        )
    return script.getvalue()


def _application(commands: Mapping[str, str], groups: Mapping[str, str]) -> SubcommandApp:
    """Put all commands into one parser, each with the first line of its help."""
    made, subparsers = SubcommandApp(), dict[str, SubcommandApp]()
    for name, module in commands.items():
        group, _, last = name.rpartition(" ")
        if group and group not in subparsers:
            subparsers[group] = SubcommandApp()
            made.command(subparsers[group], name=group, help=groups[group])
        function = _function(module)
        summary = _help(function).partition("\n")[0]
        subparsers.get(group, made).command(name=last, help=summary)(function)
    return made


def _function(module: str) -> Callable[..., None]:
    return importlib.import_module(f"efa_zoo.cli.{module}").run


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
