"""The table of the original's options names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_TABLE = _ROOT / "docs" / "reference" / "options.md"


@pytest.mark.skipif(not _TABLE.exists(), reason="docs/ is not here")
def test_every_named_test_exists() -> None:
    text = _TABLE.read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text)
    assert len(named) > 50
    for file, test in set(named):
        module = ast.parse((_ROOT / file).read_text(encoding="utf-8"))
        functions = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
        assert test in functions, f"{file}::{test}"
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    for row in rows:
        assert "`tests/" in row or row.startswith("| Original |"), row
