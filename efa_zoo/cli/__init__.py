"""The command line `efa-zoo`.

A command is one file with a function `run`: its parameters are the arguments and options, its
docstring is the help. A line in `COMMANDS` adds it. `structures/` has the commands that are applied
to structures, `models/` those that make models, `data/` those that make data sets, `show/` those
that show what there is. Their files import what is slow to import inside of `run` only, for the
overview reads them all.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Mapping, Sequence

import efa_zoo
from efa_zoo.base.compilation import reuse_compiled
from efa_zoo.base.errors import EFAZooError
from efa_zoo.cli._common import log_to_stderr, print_
from efa_zoo.cli._dispatch import COMMANDS, command_call
from efa_zoo.cli._interrupts import interruptible

__all__ = ["COMMANDS", "main"]

#: Extra of efa-zoo that brings a package.
_EXTRAS: Mapping[str, str] = {
    "ase": "ase",
    "chemiscope": "notebook",
    "matplotlib": "plot",
    "orbax": "interop",
    "rdkit": "data",
    "tblite": "data",
    "tensorflow": "data",
    "tensorflow_datasets": "data",
    "tqdm": "train",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: as on the command line, without the program's name; None takes them from there.

    Returns:
        The exit status: 0, or 2 after a bad argument, file or structure (one line on standard
        error), or 130 when interrupted, or 143 when terminated.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # Å, on a terminal that has none, is no error
    received: list[int] = []
    try:
        reuse_compiled()
        with interruptible(received), log_to_stderr():
            _run(arguments)
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader, `head` for example, has seen enough. Python must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except EFAZooError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        extra = _EXTRAS.get(package)
        if extra is None:
            raise
        return _fail(f"this needs {package}: pip install 'efa-zoo[{extra}]'")
    except KeyboardInterrupt as interrupt:
        # What can be resumed says in a note whether there is something to go on from.
        notes = getattr(interrupt, "__notes__", [])
        hint = f" ({notes[-1]})" if notes else ""
        terminated = signal.SIGTERM in received
        what = "terminated" if terminated else "interrupted"
        print_(f"efa-zoo: {what}{hint}", file=sys.stderr)
        return 143 if terminated else 130
    return 0


def _fail(message: str) -> int:
    print_(f"efa-zoo: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _run(arguments: Sequence[str]) -> None:
    if list(arguments) == ["--version"]:
        print_(f"efa-zoo {efa_zoo.__version__}")
    elif call := command_call(arguments):
        call()
