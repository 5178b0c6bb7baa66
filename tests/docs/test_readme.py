"""The README's snippets run as they stand, and its tables say what the cards say."""

from __future__ import annotations

import re
from pathlib import Path

import update_tables

ROOT = Path(__file__).parents[2]


def test_python_snippets_run() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    snippets = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert len(snippets) >= 3
    namespace: dict[str, object] = {}
    for snippet in snippets:
        exec(compile(snippet, "README.md", "exec"), namespace)
    assert "prediction" in namespace


def test_tables_are_up_to_date() -> None:
    for page in update_tables.TABLES:
        made = update_tables.updated(page)
        assert page.read_text(encoding="utf-8") == made, f"{page.name}: run docs/update_tables.py"


def test_links_to_files_are_whole() -> None:
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
