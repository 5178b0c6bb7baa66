"""What a build of `organic` that was cut off has done is kept and used."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tblite")
pytest.importorskip("rdkit")

from data_pipelines._workers import Failure, run_tasks
from data_pipelines.labels.labelling import Label
from data_pipelines.sampling.organic import keeping
from data_pipelines.sampling.organic.drawing import MoleculeTask, Sample, Sampling
from data_pipelines.sampling.organic.molecules import parse
from data_pipelines.sampling.organic.planning import OrganicSettings

SAMPLING = Sampling(2, 1, 0, turned=0, stretched=1)
TASKS = [MoleculeTask(parse(smiles), SAMPLING, (0, i)) for i, smiles in enumerate("CNOFS")]
FUNCTION = "data_pipelines.sampling.organic.drawing:sample_molecule"


def run(file: Path, made_of: str = "a") -> list[Any]:
    return keeping.run_kept(
        FUNCTION, TASKS, file, made_of=made_of, workers=1, time_limit=60.0, title="starts"
    )


def image(outcomes: list[Any]) -> list[Any]:
    """Everything in outcomes, to the last bit."""
    return [
        [
            (one.way, one.positions.tobytes(), *(_bytes(at) for at in one.labels))
            if isinstance(one, Sample)
            else one
            for one in outcome
        ]
        for outcome in outcomes
    ]


def _bytes(at: Label) -> tuple[Any, ...]:
    return at.energy, at.forces.tobytes(), at.charges.tobytes(), at.dipole.tobytes()


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Note every task that is run."""
    begun: list[Any] = []

    def watched(function: str, tasks: Any, **options: Any) -> Iterator[Any]:
        def noted() -> Iterator[Any]:
            for task in tasks:
                begun.append(task)
                yield task

        yield from run_tasks(function, noted(), **options)

    monkeypatch.setattr(keeping, "run_tasks", watched)
    return begun


def test_what_is_kept_is_not_run_again(tmp_path: Path, started: list[Any]) -> None:
    file = tmp_path / "folder" / "kept.jsonl"
    first = run(file)
    assert len(started) == len(TASKS)
    text = file.read_bytes()
    lines = text.split(b"\n")
    file.write_bytes(b"\n".join(lines[:4]) + b"\n" + lines[4][:50])  # cut off within a line
    again = run(file)
    assert len(started) == 2 * len(TASKS) - 3
    assert image(again) == image(first)
    assert image(run(file)) == image(first)
    assert len(started) == 2 * len(TASKS) - 3
    assert sorted(file.read_bytes().split(b"\n")) == sorted(lines)


def test_outcomes_of_something_else_are_not_used(tmp_path: Path, started: list[Any]) -> None:
    run(tmp_path / "kept.jsonl")
    run(tmp_path / "kept.jsonl", made_of="b")
    assert len(started) == 2 * len(TASKS)


def test_what_a_worker_did_not_finish_is_run_again(tmp_path: Path) -> None:
    file = tmp_path / "kept.jsonl"
    tasks = [TASKS[0]]
    options: dict[str, Any] = {"made_of": "a", "workers": 1, "title": "starts"}
    (slow,) = keeping.run_kept(FUNCTION, tasks, file, time_limit=1e-9, **options)
    assert isinstance(slow, Failure)
    (found,) = keeping.run_kept(FUNCTION, tasks, file, time_limit=60.0, **options)
    assert not isinstance(found, Failure)


def test_the_identity_changes_with_the_settings() -> None:
    settings = OrganicSettings()
    assert keeping.identity(settings) == keeping.identity(OrganicSettings())
    assert keeping.identity(settings) != keeping.identity(dataclasses.replace(settings, seed=1))
