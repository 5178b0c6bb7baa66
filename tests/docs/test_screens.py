"""Every page of the site, and a report, as a browser shows them: nothing is cut at two widths."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright", exc_type=ImportError)

from screens import browser_path, cut

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browser_path() is None, reason="no Chromium on the path"),
]

_HEAD = '<!doctype html><meta name="viewport" content="width=device-width"><article>'


def test_what_is_cut_is_found(tmp_path: Path) -> None:
    wide = '<div style="width:2000px;height:9px"></div>'
    code = f"<pre><code>{'x' * 400}</code></pre>"
    table = f"<table><tr><td>{wide}</td></tr></table>"
    texts = {
        "fits": "<p>words</p><table><tr><td>1</td></tr></table><pre><code>x = 1</code></pre>",
        "body": wide,
        "hidden": f'<div style="overflow-x: hidden">{table}</div>',
        "moved": f'<div style="overflow-x: auto">{table}</div>',
        "code": code.replace("<code>", '<code style="display: block; overflow: auto">'),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.html").write_text(_HEAD + text, encoding="utf-8")
    found = {name: list(cut([tmp_path / f"{name}.html"])) for name in texts}
    assert found["fits"] == []
    assert [line.partition(": ")[2] for line in found["body"]] == [
        "the page is 2008 px wide",
        "the page is 2008 px wide",
    ]
    assert len(found["hidden"]) == 2
    assert "table" in found["hidden"][0]
    # A reader may move things sideways on a telephone, but not on a desk.
    for name in ("moved", "code"):
        (line,) = found[name]
        assert "at 1280 px" in line


def test_nothing_is_cut(site: Path) -> None:
    assert list(cut(sorted(site.rglob("*.html")))) == []
