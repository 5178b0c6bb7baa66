"""Outcomes of workers on disk, with which a build that was cut off goes on.

A full build takes hours. Every start that is finished becomes a line of JSON, whose arrays are
base64 of their bytes, so what is read is what was written to the last bit.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from data_pipelines._progress import progress
from data_pipelines._workers import Failure, run_tasks
from data_pipelines.labels.labelling import Label
from data_pipelines.sampling.organic.drawing import Sample

Outcome = tuple[Sample | Failure, ...]


def identity(settings: Any) -> str:
    """Name what outcomes depend on: the settings, RDKit, tblite, and the code that draws.

    Args:
        settings: A dataclass.

    Returns:
        A digest; outcomes of another one are not used.
    """
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(settings), sort_keys=True).encode())
    for package in ("rdkit", "tblite", "numpy", "scipy"):
        digest.update(f"{package} {version(package)}".encode())
    root = Path(__file__).resolve().parents[2]
    for file in sorted((*root.rglob("*.py"), *root.rglob("*.toml"))):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def run_kept(
    function: str,
    tasks: Sequence[Any],
    file: Path,
    *,
    made_of: str,
    workers: int,
    time_limit: float,
    title: str,
) -> list[Outcome | Failure]:
    """Run a function over tasks as `run_all` does, but keep outcomes and use those that are kept.

    Args:
        function: A worker's function, which gives an `Outcome`.
        tasks: The tasks.
        file: Where outcomes are kept; its folder is made.
        made_of: What `identity` says.
        workers: Number of worker processes.
        time_limit: Seconds for one task.
        title: What the tasks are, for the progress.

    Returns:
        The outcome of each task; a `Failure` where its worker died or overran, which is not kept.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    found: dict[int, Outcome | Failure] = dict(_read(file, made_of))
    left = [i for i in range(len(tasks)) if i not in found]
    outcomes = run_tasks(function, (tasks[i] for i in left), workers=workers, time_limit=time_limit)
    with file.open("a", encoding="utf-8") as stream:
        if not found:
            stream.write(json.dumps(made_of) + "\n")
        for place, outcome in progress(outcomes, len(left), title):
            found[left[place]] = outcome
            if not isinstance(outcome, Failure):
                record = [left[place], [_pack(one) for one in outcome]]
                stream.write(json.dumps(record) + "\n")
                stream.flush()
    return [found[i] for i in range(len(tasks))]


def _read(file: Path, made_of: str) -> dict[int, Outcome]:
    """Read whole lines, and cut off what is left of a last one; start anew if they do not fit."""
    lines = file.read_bytes().split(b"\n")[:-1] if file.exists() else []
    if len(lines) < 2 or json.loads(lines[0]) != made_of:
        file.unlink(missing_ok=True)
        return {}
    with file.open("rb+") as stream:
        stream.truncate(sum(len(line) + 1 for line in lines))
    records = [json.loads(line) for line in lines[1:]]
    return {number: tuple(_unpack(one) for one in outcome) for number, outcome in records}


def _pack(one: Sample | Failure) -> Any:
    if isinstance(one, Failure):
        return dataclasses.asdict(one)
    labels = [
        {"energy": at.energy}
        | {name: _text(getattr(at, name)) for name in ("forces", "charges", "dipole")}
        for at in one.labels
    ]
    return {"way": one.way, "positions": _text(one.positions), "labels": labels}


def _unpack(packed: Any) -> Sample | Failure:
    if "reason" in packed:
        return Failure(**packed)
    labels = tuple(
        Label(
            energy=at["energy"],
            forces=_array(at["forces"]).reshape(-1, 3),
            charges=_array(at["charges"]),
            dipole=_array(at["dipole"]),
        )
        for at in packed["labels"]
    )
    return Sample(packed["way"], _array(packed["positions"]).reshape(-1, 3), labels)


def _text(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array, "<f8").tobytes()).decode("ascii")


def _array(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f8").astype(np.float64)
