"""Structures of files through ASE, one after the other, at a cost that the file's size bounds.

ASE takes what a file in the extended XYZ format says of itself on trust: it counts to any number of
atoms, parses a header of any length, and of a key that stands twice in a header keeps the last
value. So such a file is cut into its structures here, and ASE gets one at a time.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from efa_zoo.base.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["read_frames"]

#: Characters of the longest line; ASE takes seconds for a header of that length.
_LONGEST_LINE = 1_000_000

#: What opens a quoted value in a header, and what ends it.
_QUOTES = {'"': '"', "'": "'", "{": "}", "[": "]"}


def read_frames(path: Path) -> Iterator[Atoms]:
    """Read the structures of a file.

    Args:
        path: The file, of any format that ASE reads. A name is a name: what follows an `@` in it,
            or how it begins, means nothing.

    Yields:
        The structures in the order of the file.

    Raises:
        DataError: If a file in the extended XYZ format ends within a structure, has a line of over
            a million characters, a key twice in a header, or text after its end.
        Exception: Whatever ASE's readers stumble over.
    """
    from ase.io import iread
    from ase.io.extxyz import read_xyz
    from ase.io.formats import filetype, open_with_compression

    name = str(path.absolute())  # "postgres.xyz" and "-" would mean something else to ASE
    if filetype(name) != "extxyz":
        yield from iread(name, index=":", do_not_split_by_at_sign=True)
        return
    with open_with_compression(name, "rb") as binary, io.TextIOWrapper(binary, "utf-8") as file:
        for text in _cut(file):
            (atoms,) = read_xyz(io.StringIO(text), index=slice(None))  # type: ignore[arg-type]
            yield atoms


def _cut(file: TextIO) -> Iterator[str]:
    """Cut a file in the extended XYZ format into the texts of its structures."""
    line = _line(file)
    while line.strip():
        try:
            atoms = int(line)
        except ValueError:
            raise DataError(f"got {_short(line)}, expected a number of atoms") from None
        if atoms < 0:
            raise DataError(f"got {atoms}, expected a number of atoms")
        lines = [f"{atoms}\n", _line(file)]
        _refuse_repeated_keys(lines[1])
        for found in range(atoms):
            lines.append(_line(file))
            if not lines[-1].strip():
                raise DataError(f"a structure ends after {found} of {atoms} atoms")
        line = _line(file)
        while line.lstrip().startswith("VEC"):  # a cell vector, as ADF writes them
            lines.append(line)
            line = _line(file)
        yield "".join(lines)
    while line:
        line = _line(file)
        if line.strip():
            raise DataError(f"got {_short(line)} after an empty line, expected the end of the file")


def _line(file: TextIO) -> str:
    line = file.readline(_LONGEST_LINE + 1)
    if len(line) > _LONGEST_LINE:
        raise DataError(f"a line has over {_LONGEST_LINE:,} characters ({_short(line)})")
    return line


def _short(line: str) -> str:
    text = line.strip()
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _refuse_repeated_keys(header: str) -> None:
    """Refuse a header that has a key twice, of which ASE takes the last one without a word."""
    seen: set[str] = set()
    for key in _keys(header):
        if key in seen:
            raise DataError(f"the header has the key {_short(key)} twice, expected it once")
        seen.add(key)


def _keys(header: str) -> Iterator[str]:
    """Keys that have a value, by the rules of ASE's parser: quotes, escapes, spaces before `=`."""
    word: list[str] = []
    key: str | None = None  # of the value that is being read
    end, escaped, spaced = "", False, False
    for char in header:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
            continue
        elif end:
            if char == end:
                end = ""
                continue
        elif char in _QUOTES:
            end = _QUOTES[char]
            continue
        elif char.isspace():
            spaced = bool(word)
            continue
        elif char == "=" and (key is None or spaced):
            key, word, spaced = "".join(word), [], False
            yield key
            continue
        if spaced:  # the word before is whole: a value, or a key without one
            word, key, spaced = [], None, False
        word.append(char)
