"""From the words of a command line to the call of a command's function."""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import io
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, Protocol

import tyro
from tyro.constructors import ConstructorRegistry
from tyro.extras import SubcommandApp

from efa_zoo.base.errors import InputError
from efa_zoo.cli._common import print_
from efa_zoo.cli._fields import REGISTRY
from efa_zoo.cli._usage import usage_error

__all__ = ["HELP", "command_call", "completion_script", "show_help"]

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
        members = {
            command.removeprefix(f"{name} "): module
            for command, module in commands.items()
            if command.startswith(f"{name} ")
        }
        prog = f"efa-zoo {name}"
        if not rest or rest[0] in HELP:
            example = f"{prog} {next(iter(members))} --help"
            show_help(members, groups, prog, f"{groups[name]}\n\nExamples:\n  {example}\n")
            return None
        _check(rest[0], members, prog)
        name, rest = f"{name} {rest[0]}", rest[1:]

    function = _function(commands[name])

    # Parsing and running are apart, so that what the command itself writes is left alone.
    @functools.wraps(function)
    def prepare(*positional: Any, **options: Any) -> Callable[[], None]:
        return functools.partial(function, *positional, **options)

    def parse(**keywords: Any) -> Callable[[], None]:
        return tyro.cli(prepare, **keywords)

    return _parse(parse, f"efa-zoo {name}", _help_of(function), rest)


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
    # Only looked at, because some commands take long to import.
    functions = {name: _stub(_summary(module)) for name, module in commands.items()}
    _parse(_application(functions, groups).cli, prog, description, ["--help"])


def completion_script(commands: Mapping[str, str], groups: Mapping[str, str], shell: str) -> str:
    """What makes a shell complete commands and options.

    Args:
        commands: names and modules of the commands.
        groups: first words of commands of two words, and what they have in common.
        shell: `"bash"`, `"zsh"` or `"fish"`.

    Returns:
        The shell's script.
    """
    functions = {name: _function(module) for name, module in commands.items()}
    script = io.StringIO()
    with redirect_stdout(script), suppress(SystemExit):
        _application(functions, groups).cli(
            prog="efa-zoo",
            args=["--tyro-print-completion", shell],
            config=_CONFIG,
            registry=REGISTRY,
        )
    return script.getvalue()


def _application(
    functions: Mapping[str, Callable[..., None]], groups: Mapping[str, str]
) -> SubcommandApp:
    """All commands in one parser, each with the first line of its help."""
    made, subparsers = SubcommandApp(), dict[str, SubcommandApp]()
    for name, function in functions.items():
        group, _, last = name.rpartition(" ")
        if group and group not in subparsers:
            subparsers[group] = SubcommandApp()
            made.command(subparsers[group], name=group, help=groups[group])
        summary = _help_of(function).partition("\n")[0]
        subparsers.get(group, made).command(name=last, help=summary)(function)
    return made


def _summary(module: str) -> str:
    """First line of a command's help, without importing the command."""
    source = Path(__file__).with_name(f"{module}.py").read_text(encoding="utf-8")
    run = next(
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and node.name == "run"
    )
    return (ast.get_docstring(run) or "").partition("\n")[0]


def _stub(text: str) -> Callable[..., None]:
    def run() -> None: ...

    run.__doc__ = text
    return run


def _help_of(function: Callable[..., None]) -> str:
    """The docstring of a command, without its indentation."""
    return "\n".join(line.removeprefix("    ") for line in (function.__doc__ or "").splitlines())


def _function(module: str) -> Callable[..., None]:
    return importlib.import_module(f"efa_zoo.cli.{module}").run


def _check(given: str, known: Mapping[str, str] | set[str], prog: str) -> None:
    if given in known:
        return
    close = difflib.get_close_matches(given, known, n=1)
    hint = f"did you mean {close[0]}?" if close else f"see {prog} --help"
    kind = "option" if given.startswith("-") else "command"
    raise InputError(f"unknown {kind} {given!r} ({hint})")


class _Parser(Protocol):
    def __call__(
        self,
        *,
        prog: str,
        description: str,
        args: Sequence[str],
        config: Sequence[Any],
        registry: ConstructorRegistry,
    ) -> Any: ...


def _parse(parser: _Parser, prog: str, description: str, arguments: Sequence[str]) -> Any:
    """Call tyro; None after it printed help.

    Raises:
        InputError: the arguments are not what is taken; tyro's box of lines becomes one.
    """
    # tyro colours what goes to a terminal, and knows nothing of NO_COLOR.
    output = _File() if os.environ.get("NO_COLOR") else sys.stdout
    errors = _File()
    try:
        with redirect_stderr(errors), redirect_stdout(output):
            return parser(
                prog=prog,
                description=description,
                args=arguments,
                config=_CONFIG,
                registry=REGISTRY,
            )
    except SystemExit as stop:
        if stop.code:
            raise InputError(usage_error(errors.content(), prog)) from stop
    if isinstance(output, _File):
        print_(output.content().removesuffix("\n"))
    return None


class _File(io.TextIOWrapper):
    """A text file in memory; unlike `io.StringIO` it has an encoding, which tyro looks at."""

    def __init__(self) -> None:
        self._bytes = io.BytesIO()
        super().__init__(self._bytes, encoding="utf-8")

    def content(self) -> str:
        self.flush()
        return self._bytes.getvalue().decode()
