"""Code blocks of a Markdown page, run in their order as a reader would.

- `python` blocks share one namespace.
- `bash` blocks hold commands `efa-zoo …`, run in this process; comments are left out.
- A `text` block below a block is what that block prints. Numbers with decimals may differ by two
  units of their last digit or 5e-5, and `...` stands for anything.
- A block of any other language with `title="NAME"` is a file that the reader writes.
- `<!-- not run: WHY -->` in the line above a block leaves it out.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from efa_zoo.cli import main

__all__ = ["Block", "agree", "blocks", "run_page"]

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)(?P<options>[^\n]*)\n(?P<code>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")


@dataclass(frozen=True)
class Block:
    """One fenced block: what it holds, its line in the page, and the reason why it is not run."""

    language: str
    title: str
    code: str
    line: int
    left_out: str


def blocks(text: str) -> Iterator[Block]:
    """The fenced blocks of a page."""
    for match in _FENCE.finditer(text):
        title = re.search(r'title="([^"]*)"', match["options"])
        above = text[: match.start()].rstrip("\n").rpartition("\n")[2].strip()
        left_out = re.fullmatch(r"<!-- not run: (.+) -->", above)
        indent = match["indent"]
        yield Block(
            language=match["language"],
            title=title[1] if title else "",
            code="".join(x.removeprefix(indent) for x in match["code"].splitlines(keepends=True)),
            line=text.count("\n", 0, match.start()) + 1,
            left_out=left_out[1] if left_out else "",
        )


def run_page(page: Path) -> int:
    """Run a page in the working directory.

    Returns:
        The number of blocks that ran.
    """
    namespace: dict[str, Any] = {"__name__": "__main__"}
    printed, ran = "", 0
    for block in blocks(page.read_text(encoding="utf-8")):
        where = f"{page.name}:{block.line}"
        if block.left_out:
            printed = ""
        elif block.language == "text":
            assert agree(block.code, printed), f"{where}: expected\n{block.code}\ngot\n{printed}"
        elif block.language in ("python", "bash"):
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                if block.language == "python":
                    # Line numbers of a traceback are those of the page.
                    code = "\n" * block.line + block.code
                    exec(compile(code, str(page), "exec"), namespace)
                else:
                    _run_commands(block.code, where)
            printed, ran = output.getvalue(), ran + 1
        elif block.title:
            Path(block.title).write_text(block.code, encoding="utf-8")
    return ran


def _run_commands(code: str, where: str) -> None:
    for line in code.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words:
            assert words[0] == "efa-zoo", f"{where}: got {words[0]!r}, expected efa-zoo"
            assert main(words[1:]) == 0, f"{where}: {line}"


def agree(expected: str, printed: str) -> bool:
    """Whether a page says what was printed."""
    wanted, got = _NUMBER.findall(expected), _NUMBER.findall(printed)
    if "..." not in expected and len(wanted) == len(got):
        pairs = iter(zip(wanted, got, strict=True))

        def replaced(match: re.Match[str]) -> str:
            a, b = next(pairs)
            return a if _close(a, b) else match[0]

        printed = _NUMBER.sub(replaced, printed)
    options = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(expected, printed, options)


def _close(expected: str, printed: str) -> bool:
    mantissa, _, exponent = expected.partition("e")
    digits = len(mantissa.partition(".")[2])
    if digits == 0 and not exponent:
        return expected == printed
    unit = 10.0 ** (int(exponent or 0) - digits)
    difference = abs(_float(expected) - _float(printed))
    return difference <= 2.01 * unit or (not exponent and difference <= 5e-5)


def _float(number: str) -> float:
    return float(number.replace(",", ""))
