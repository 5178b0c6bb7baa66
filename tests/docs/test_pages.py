"""The code on the pages runs as it stands, and prints what they say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest
from snippets import agree, blocks, run_page
from toys import make_model

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

#: Pages with code that is to be run.
PAGES = sorted(
    page
    for page in DOCS.rglob("*.md")
    if any(
        block.language in ("python", "bash") and not block.left_out
        for block in blocks(page.read_text(encoding="utf-8"))
    )
)

#: A trained network of the reference implementation, which is not part of this repository.
CHECKPOINTS = ROOT.parent / "shared" / "reference" / "checkpoints"
CHECKPOINT = CHECKPOINTS / "cumulene_with_efa_num_iterations=3_efa_max_degree=1_seed=0"

#: JAX's options that `use_compilation_cache` sets.
OPTIONS = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_persistent_cache_min_entry_size_bytes",
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, with an empty place for data sets."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EFA_ZOO_DATA", str(tmp_path / "data"))
    before = {name: getattr(jax.config, name) for name in OPTIONS}
    yield tmp_path
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.mark.slow
@pytest.mark.usefixtures("many_networks")
@pytest.mark.parametrize("page", [str(page.relative_to(DOCS)) for page in PAGES])
def test_a_page_runs(
    page: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    if "efa-zoo import checkpoint" in text:
        if not CHECKPOINT.is_dir():
            pytest.skip("needs a checkpoint of the reference implementation")
        (place / "checkpoint").symlink_to(CHECKPOINT)
    if toys := re.search(r"<!-- toys: (\S+) -->", text):
        # The same code with a network that compiles in a moment; its numbers mean nothing.
        home = tmp_path_factory.mktemp("toys")
        make_model(home, toys[1])
        monkeypatch.setenv("EFA_ZOO_HOME", str(home))
    assert run_page(DOCS / page) > 0


def test_tutorials_are_among_the_pages() -> None:
    assert len([page for page in PAGES if page.parent.name == "tutorials"]) == 7


PAGE = """\
Text.

```python
print(f"{2 / 3:.3f} of", 1e-7)
```

```text
0.667 of 1e-07
```

<!-- not run: no such command -->
```bash
rm everything
```

1. A list:

    ```toml title="a.toml"
    [a]
    b = 1
    ```
"""


def test_blocks_are_found() -> None:
    found = list(blocks(PAGE))
    assert [block.language for block in found] == ["python", "text", "bash", "toml"]
    assert [block.line for block in found] == [3, 7, 12, 18]
    assert found[2].left_out == "no such command"
    assert (found[3].title, found[3].code) == ("a.toml", "[a]\nb = 1\n")


def test_a_page_is_run(place: Path) -> None:
    (place / "page.md").write_text(PAGE, encoding="utf-8")
    assert run_page(place / "page.md") == 1
    assert (place / "a.toml").read_text(encoding="utf-8") == "[a]\nb = 1\n"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (PAGE.replace("0.667", "0.767"), r"page\.md:7: expected\n0\.767"),
        ("```bash\nls\n```\n", r"page\.md:1: got 'ls', expected efa-zoo"),
        ("```bash\nefa-zoo no\n```\n", r"page\.md:1: efa-zoo no"),
    ],
)
def test_a_page_that_is_wrong_fails(wrong: str, message: str, place: Path) -> None:
    (place / "page.md").write_text(wrong, encoding="utf-8")
    with pytest.raises(AssertionError, match=message):
        run_page(place / "page.md")


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("-292.17 eV\n", "-292.18 eV\n", True),
        ("-292.17 eV\n", "-292.21 eV\n", False),
        ("2 rows\n", "3 rows\n", False),
        ("(3, 4)\n", "(3, 4)\n", True),
        ("1e-05\n", "1.2e-05\n", True),
        ("a ... b\n", "a 1 2 3 b\n", True),
        ("−1.5 eV", "-1.5 eV", False),
        ("12 structures/s\n", "12 structures/s", True),
    ],
)
def test_numbers_may_differ_in_their_last_digit(expected: str, printed: str, same: bool) -> None:
    assert agree(expected, printed) is same
