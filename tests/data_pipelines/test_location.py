"""Where data lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from data_pipelines import data_directory


def test_explicit_choice_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EFA_ZOO_DATA", "elsewhere")
    assert data_directory(tmp_path) == tmp_path


def test_environment_comes_second(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EFA_ZOO_DATA", str(tmp_path))
    assert data_directory() == tmp_path


def test_cache_comes_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EFA_ZOO_DATA", "")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_directory() == tmp_path / "efa_zoo" / "data"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data_directory() == Path.home() / ".cache" / "efa_zoo" / "data"
