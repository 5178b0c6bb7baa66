"""Archives of golden numbers: cases of named arrays, computed with the reference implementation."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["Case", "assert_agrees", "case_names", "read_case", "read_structures"]


@dataclass(frozen=True)
class Case:
    """One case of an archive.

    Attributes:
        meta: the reference's constructor keywords.
        params: its parameters, as a nested dictionary.
        inputs: arguments of the call by name.
        outputs: results by name.
    """

    meta: dict[str, Any]
    params: dict[str, Any]
    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]


@functools.cache
def _read(path: Path) -> Mapping[str, Mapping[str, np.ndarray]]:
    cases: dict[str, dict[str, np.ndarray]] = {}
    with np.load(path) as archive:
        for name in archive.files:
            case, _, rest = name.partition("/")
            cases.setdefault(case, {})[rest] = archive[name]
    return cases


def case_names(path: Path) -> list[str]:
    """The cases of an archive; none if it does not exist."""
    return list(_read(path)) if path.is_file() else []


def read_case(path: Path, name: str) -> Case:
    """One case of an archive."""
    arrays = _read(path)[name]
    params: dict[str, Any] = {}
    for key, value in arrays.items():
        if key.startswith("params/"):
            _, *folders, leaf = key.split("/")
            inner = params
            for folder in folders:
                inner = inner.setdefault(folder, {})
            inner[leaf] = value
    return Case(
        meta=json.loads(str(arrays["meta"])),
        params=params,
        inputs=_group(arrays, "in/"),
        outputs=_group(arrays, "out/"),
    )


def read_structures(path: Path, name: str) -> list[Case]:
    """The structures of a case that has several, numbered."""
    structures: dict[str, dict[str, np.ndarray]] = {}
    for key, value in _read(path)[name].items():
        number, separator, rest = key.partition("/")
        if separator:
            structures.setdefault(number, {})[rest] = value
    return [
        Case({}, {}, _group(arrays, "in/"), _group(arrays, "out/"))
        for arrays in structures.values()
    ]


def _group(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {
        key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)
    }


def assert_agrees(found: Any, expected: np.ndarray, relative: float, name: str = "") -> None:
    """Compare with the largest expected number as the scale; noise around zero is forgiven."""
    found = np.asarray(found)
    assert found.shape == expected.shape, f"{name}: {found.shape}, expected {expected.shape}"
    scale = max(float(np.max(np.abs(expected), initial=0)), 1e-4)
    deviation = float(np.max(np.abs(found - expected), initial=0)) / scale
    assert deviation <= relative, f"{name}: relative deviation {deviation:.1e}"
