"""Running commands in tests, and files for them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ase import Atoms
from ase.io import write
from toys import read_all

import efa_zoo
from efa_zoo.cli import main


def succeed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must succeed silently; returns what it printed."""
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail with one line and leave no files; returns the line."""
    files = sorted(Path().rglob("*"))
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("efa-zoo: ")
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1
    assert sorted(Path().rglob("*")) == files
    return captured.err


def example(name: str) -> Atoms:
    """A shipped example."""
    (atoms,) = read_all(efa_zoo.example(name))
    return atoms


def dimers(file: str = "dimers.extxyz", **info: object) -> str:
    """Write two structures of charge 1 and 0; returns the file."""
    frames = [example(name) for name in ("ammonium_water", "water_dimer")]
    for atoms in frames:
        atoms.info.update(info)
    write(file, frames)
    return file


def extxyz(header: str, *rows: str) -> str:
    """The text of a structure file."""
    return "\n".join([str(len(rows)), header, *rows, ""])
