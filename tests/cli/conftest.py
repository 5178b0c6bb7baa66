"""Where the tests of the commands run."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def workplace(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder, with the toys in the zoo."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place
