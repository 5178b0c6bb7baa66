"""Runs: exact resume from any interruption, records, the best weights, and what stops a run."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import pytest
from regression import Source, make_batch, small_model
from symmetry import filled

from efa_zoo.base.config import (
    AttentionConfig,
    FrequencyConfig,
    MessagePassingConfig,
    ModelConfig,
    TrainingConfig,
    Waves,
)
from efa_zoo.base.errors import DataError, EFAZooError, TrainingError
from efa_zoo.base.files import read_record
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.weights import load_weights, named_arrays
from efa_zoo.training import Batch, batch_errors, checkpoints, fit, loop, mean_errors
from efa_zoo.training.loop import Reminder

# Four batches an epoch, so that checkpoints fall into the middle of epochs.
_CONFIG = TrainingConfig(
    steps=11, warmup_steps=2, learning_rate=0.05, validation_interval=3, average_decay=0.9
)


def _batches() -> list[Batch]:
    return [make_batch(seed) for seed in range(4)]


def _validation() -> Source:
    return Source([make_batch(seed) for seed in (10, 11)])


def _records(directory: Path) -> dict[str, Any]:
    """What a run leaves, apart from how long it took."""
    with (directory / "log.csv").open(newline="") as file:
        rows = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]
    facts = read_record(directory / "checkpoint.json")
    return {
        "log": rows,
        "facts": {k: v for k, v in facts.items() if k != "seconds"},
        **{path.name: path.read_bytes() for path in directory.glob("*.safetensors")},
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("uninterrupted")
    fit(small_model(), _CONFIG, Source(_batches()), _validation(), directory)
    return _records(directory)


def test_a_run_leaves_its_records(uninterrupted: dict[str, Any]) -> None:
    assert set(uninterrupted) == {
        "log",
        "facts",
        f"best-{uninterrupted['facts']['best_step']}.safetensors",
        "checkpoint-11.safetensors",
    }
    assert [row["step"] for row in uninterrupted["log"]] == ["3", "6", "9", "11"]
    assert uninterrupted["facts"]["step"] == 11
    assert (uninterrupted["facts"]["epoch"], uninterrupted["facts"]["batch"]) == (2, 3)
    assert set(uninterrupted["log"][0]) == {
        "step", "train_loss", "energy_mae", "energy_rmse", "force_mae", "force_rmse",
    }  # fmt: skip


@pytest.mark.parametrize("after", range(11))
def test_a_run_interrupted_anywhere_goes_on_bit_for_bit(
    tmp_path: Path, uninterrupted: dict[str, Any], after: int
) -> None:
    with pytest.raises(InterruptedError):
        fit(
            small_model(),
            _CONFIG,
            Source(_batches(), fails_after=after),
            _validation(),
            tmp_path,
        )
    training = Source(_batches())
    fit(small_model(), _CONFIG, training, _validation(), tmp_path)
    assert _records(tmp_path) == uninterrupted
    # It went on from the last checkpoint, at a multiple of three steps: the epoch's batches
    # before it are given out, and passed over.
    reached = after // 3 * 3
    assert training.given == 12 - reached // 4 * 4


def test_a_run_starts_where_it_goes_on_if_batches_come_by_number(
    tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    class Numbered(Source):
        def start_at(self, epoch: int, batch: int) -> Iterator[Batch]:
            chosen = np.random.default_rng(epoch).permutation(len(self.batches))[batch:]
            for index in chosen:
                self.given += 1
                yield self.batches[index]

    with pytest.raises(InterruptedError):
        fit(small_model(), _CONFIG, Source(_batches(), fails_after=7), _validation(), tmp_path)
    training = Numbered(_batches())
    fit(small_model(), _CONFIG, training, _validation(), tmp_path)
    assert _records(tmp_path) == uninterrupted
    assert training.given == 12 - 6


def test_a_run_interrupted_while_it_writes_goes_on_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uninterrupted: dict[str, Any]
) -> None:
    writers = ["save_weights", "_append_row", "write_record"]
    calls = {name: getattr(checkpoints, name) for name in writers}

    def failing(name: str, on_call: int) -> Callable[..., Any]:
        count = 0

        def write(*arguments: Any) -> Any:
            nonlocal count
            count += 1
            if count == on_call:
                raise InterruptedError
            return calls[name](*arguments)

        return write

    for name in writers:
        for on_call in (1, 2, 3):
            directory = tmp_path / f"{name}-{on_call}"
            with monkeypatch.context() as patched, pytest.raises(InterruptedError):
                patched.setattr(checkpoints, name, failing(name, on_call))
                fit(small_model(), _CONFIG, Source(_batches()), _validation(), directory)
            fit(small_model(), _CONFIG, Source(_batches()), _validation(), directory)
            assert _records(directory) == uninterrupted, (name, on_call)


def test_a_run_interrupted_by_its_callback_goes_on_bit_for_bit(
    tmp_path: Path, uninterrupted: dict[str, Any]
) -> None:
    def stop(step: int, errors: loop.Errors) -> None:
        if step == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(
            small_model(),
            _CONFIG,
            Source(_batches()),
            _validation(),
            tmp_path,
            on_validation=stop,
        )
    with (tmp_path / "log.csv").open("a") as file:
        file.write("12")  # the torn row of a later step
    fit(small_model(), _CONFIG, Source(_batches()), _validation(), tmp_path)
    assert _records(tmp_path) == uninterrupted


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    first, errors = fit(small_model(), _CONFIG, Source(_batches()), _validation(), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    again, same = fit(small_model(1), _CONFIG, Source(_batches()), _validation(), tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert same == errors
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_network_resumes_bit_for_bit(tmp_path: Path) -> None:
    config = ModelConfig(
        features=2,
        iterations=1,
        highest_atomic_number=9,
        message_passing=MessagePassingConfig(cutoff=4.0, degree=0, num_radial=2),
        attention=AttentionConfig(
            evaluation="exact", kernel=Waves(frequencies=FrequencyConfig(trainable=True))
        ),
    )
    model = filled(EnergyModel, config)
    recipe = TrainingConfig(
        steps=6, warmup_steps=1, learning_rate=0.01, validation_interval=2, optimizer="muon"
    )
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    fit(model, recipe, Source(_batches()), _validation(), whole)
    with pytest.raises(InterruptedError):
        fit(model, recipe, Source(_batches(), fails_after=3), _validation(), resumed)
    assert (resumed / "checkpoint-2.safetensors").exists()
    best, _ = fit(model, recipe, Source(_batches()), _validation(), resumed)
    assert _records(resumed) == _records(whole)
    # The caller's model is untouched, the trained one differs in every weight that counts.
    for name, leaf in named_arrays(model).items():
        assert np.any(leaf != named_arrays(best)[name]) or "element_bias" in name, name


def _with_nan(batch: Batch) -> Batch:
    return eqx.tree_at(lambda b: b.energy, batch, np.full_like(batch.energy, np.nan))


class _NamedSource:
    """Batches in order, one of which has no energy."""

    def __init__(self, per_epoch: int, wrong: tuple[int, int]):
        self.per_epoch, self.wrong = per_epoch, wrong

    def __call__(self, epoch: int) -> Iterator[Batch]:
        for number in range(self.per_epoch):
            batch = make_batch(number)
            yield _with_nan(batch) if (epoch, number) == self.wrong else batch


def test_a_loss_that_is_not_finite_names_step_and_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = r"^loss: got nan at step 8 \(epoch 2, batch 1\), expected a finite number"
    with pytest.raises(TrainingError, match=message):
        fit(small_model(), _CONFIG, _NamedSource(3, (2, 1)), _validation(), tmp_path)
    facts = json.loads((tmp_path / "checkpoint.json").read_text())
    assert facts["step"] == 6
    state = loop.initial_state(small_model(), _CONFIG)
    state = load_weights(tmp_path / "checkpoint-6.safetensors", state, facts["sha256"])
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
    # With the batch mended it goes on, to what it would have been.
    mended = tmp_path / "mended"
    fit(small_model(), _CONFIG, _NamedSource(3, (-1, 0)), _validation(), tmp_path)
    fit(small_model(), _CONFIG, _NamedSource(3, (-1, 0)), _validation(), mended)
    assert _records(tmp_path) == _records(mended)
    # Where validations are rare, losses are looked at in between.
    monkeypatch.setattr(loop, "_CHECK_INTERVAL", 4)
    rare = dataclasses.replace(_CONFIG, validation_interval=1000)
    with pytest.raises(TrainingError, match=r"step 5 \(epoch 1, batch 1\)"):
        fit(small_model(), rare, _NamedSource(3, (1, 1)), _validation(), tmp_path / "rare")
    assert not (tmp_path / "rare" / "checkpoint.json").exists()


def test_validation_errors_that_are_not_finite_stop_the_run(tmp_path: Path) -> None:
    validation = Source([_with_nan(make_batch(10))])
    with pytest.raises(TrainingError, match="energy_mae: got nan in the validation at step 3"):
        fit(small_model(), _CONFIG, Source(_batches()), validation, tmp_path)
    assert not (tmp_path / "checkpoint.json").exists()


def test_a_gradient_that_is_not_finite_never_reaches_a_checkpoint(tmp_path: Path) -> None:
    # The loss of the last step before the validation is finite, its gradient is not.
    def training(epoch: int) -> Iterator[Batch]:
        for number in range(3):
            batch = make_batch(number)
            if (epoch, number) == (1, 2):
                energy = np.where(batch.molecule_mask, 3e38, 0).astype(np.float32)
                batch = eqx.tree_at(lambda b: b.energy, batch, energy)
            yield batch

    config = dataclasses.replace(_CONFIG, loss="huber", huber_delta=1e-3, force_weight=0.0)
    with pytest.raises(TrainingError, match="step 6"):
        fit(small_model(), config, training, _validation(), tmp_path)
    assert json.loads((tmp_path / "checkpoint.json").read_text())["step"] == 3


def test_a_directory_of_another_recipe_is_refused(tmp_path: Path) -> None:
    fit(small_model(), _CONFIG, Source(_batches()), _validation(), tmp_path)
    other = dataclasses.replace(_CONFIG, learning_rate=0.01)
    with pytest.raises(TrainingError, match="holds a run of another recipe"):
        fit(small_model(), other, Source(_batches()), _validation(), tmp_path)
    model = dataclasses.replace(small_model(), config=ModelConfig(features=4))
    with pytest.raises(TrainingError, match="holds a run of another recipe"):
        fit(model, _CONFIG, Source(_batches()), _validation(), tmp_path)


def test_an_altered_checkpoint_is_refused(tmp_path: Path) -> None:
    fit(small_model(), _CONFIG, Source(_batches()), _validation(), tmp_path)
    path = tmp_path / "checkpoint-11.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(Exception, match="has SHA-256"):
        fit(small_model(), _CONFIG, Source(_batches()), _validation(), tmp_path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("finished")
    fit(small_model(), _CONFIG, Source(_batches()), _validation(), directory)
    return directory


def flip(path: Path) -> None:
    """Change one byte."""
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def replace_text(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def best(directory: Path) -> Path:
    (path,) = directory.glob("best-*.safetensors")
    return path


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "best weights by a byte": (lambda d: flip(best(d)), "best-.*has SHA-256"),
    "best weights gone": (lambda d: best(d).unlink(), "best-.*cannot read the weights file"),
    "checkpoint by a byte": (lambda d: flip(d / "checkpoint-11.safetensors"), "has SHA-256"),
    "checkpoint gone": (lambda d: (d / "checkpoint-11.safetensors").unlink(), "cannot read"),
    "position cut": (
        lambda d: (d / "checkpoint.json").write_text("{"),
        r"checkpoint\.json: cannot go on from it",
    ),
    "position empty": (lambda d: (d / "checkpoint.json").write_text("{}"), "has no digest"),
    "position a list": (lambda d: (d / "checkpoint.json").write_text("[]"), "has no digest"),
    "position deep": (lambda d: (d / "checkpoint.json").write_text("[" * 10**5), "too deeply"),
    "position of bytes": (
        lambda d: (d / "checkpoint.json").write_bytes(b"\xff\xfe"),
        "cannot go on from it",
    ),
    "step shifted": (
        lambda d: replace_text(d / "checkpoint.json", '"step": 11', '"step": 10'),
        "was altered",
    ),
    "hash of the best": (
        lambda d: replace_text(d / "checkpoint.json", '"best_sha256": "', '"best_sha256": "0'),
        "was altered",
    ),
    "log": (lambda d: replace_text(d / "log.csv", "\n3,", "\nthree,"), "is no log of a training"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_run_is_refused_by_name(finished: Path, tmp_path: Path, case: str) -> None:
    directory = tmp_path / "run"
    shutil.copytree(finished, directory)
    damage, message = DAMAGE[case]
    damage(directory)
    with pytest.raises(EFAZooError, match=message) as caught:
        fit(small_model(), _CONFIG, Source(_batches()), _validation(), directory)
    assert str(directory) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_in_which_another_process_trains_is_refused(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time\nfrom pathlib import Path\nfrom efa_zoo.base.files import locked\n"
            "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)",
            str(tmp_path),
        ],
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(TrainingError, match=f"process {holder.pid} on .* trains in this"):
            fit(small_model(), _CONFIG, Source(_batches()), _validation(), tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    assert (tmp_path / ".lock").exists()  # of a process that was killed, it locks nobody out
    fit(small_model(), _CONFIG, Source(_batches()), _validation(), tmp_path)
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize(("after", "note"), [(1, "before the first checkpoint"), (4, "--resume")])
def test_an_interrupt_says_whether_there_is_something_to_go_on_from(
    tmp_path: Path, after: int, note: str
) -> None:
    def training(epoch: int) -> Iterator[Batch]:
        for number, batch in enumerate(_batches()):
            if 4 * epoch + number == after:
                raise KeyboardInterrupt
            yield batch

    with pytest.raises(KeyboardInterrupt) as caught:
        fit(small_model(), _CONFIG, training, _validation(), tmp_path)
    assert note in caught.value.__notes__[-1]


def test_validation_chooses_the_best_averaged_weights(tmp_path: Path) -> None:
    # A learning rate at which later weights are worse.
    config = dataclasses.replace(_CONFIG, learning_rate=2.0, validation_interval=1)
    seen: dict[int, loop.Errors] = {}
    best, errors = fit(
        small_model(),
        config,
        Source(_batches()),
        _validation(),
        tmp_path,
        on_validation=seen.__setitem__,
    )
    assert list(seen) == list(range(1, 12))
    scores = {step: e["energy_mae"] + e["force_mae"] for step, e in seen.items()}
    chosen = min(scores, key=scores.__getitem__)
    assert errors == seen[chosen]
    assert chosen != 11
    assert mean_errors(best, _validation()(0)) == errors


def test_nothing_to_learn_from_or_to_validate_by_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="training: got no batches in epoch 0"):
        fit(small_model(), _CONFIG, Source([]), _validation(), tmp_path)
    with pytest.raises(DataError, match="batches: got no molecules"):
        fit(small_model(), _CONFIG, Source(_batches()), Source([]), tmp_path)


def test_mean_errors_weigh_molecules_and_components_alike() -> None:
    model, batches = small_model(), [make_batch(0, molecules=2), make_batch(1, molecules=1)]
    together = mean_errors(model, iter(batches))
    sums = [eqx.filter_jit(batch_errors)(model, batch) for batch in batches]
    total = {name: sum(float(s[name]) for s in sums) for name in sums[0]}
    assert total["molecules"] == 3
    np.testing.assert_allclose(together["energy_mae"], total["energy_absolute"] / 3, rtol=1e-6)
    np.testing.assert_allclose(
        together["force_rmse"],
        np.sqrt(total["force_squared"] / total["force_count"]),
        rtol=1e-6,
    )


#: A learning rate at which validation soon gets worse.
_RESTLESS = dataclasses.replace(_CONFIG, learning_rate=2.0, validation_interval=1, patience=2)


def test_a_run_stops_when_validation_has_not_improved_for_long(tmp_path: Path) -> None:
    seen: list[float] = []
    fit(
        small_model(),
        _RESTLESS,
        Source(_batches()),
        _validation(),
        tmp_path,
        on_validation=lambda _, e: seen.append(e["energy_mae"] + e["force_mae"]),
    )
    assert len(seen) < 11
    best = int(np.argmin(seen))
    assert len(seen) == best + 1 + 2
    assert all(later >= seen[best] for later in seen[best + 1 :])
    # Stopped means finished: going on changes nothing.
    before = _records(tmp_path)
    fit(small_model(), _RESTLESS, Source(_batches()), _validation(), tmp_path)
    assert _records(tmp_path) == before
    # Without patience the run is the same up to there, and goes on.
    whole = tmp_path / "whole"
    free = dataclasses.replace(_RESTLESS, patience=None)
    fit(small_model(), free, Source(_batches()), _validation(), whole)
    assert _records(whole)["log"][: len(seen)] == before["log"]
    assert len(_records(whole)["log"]) == 11


def test_patience_is_kept_over_an_interruption(tmp_path: Path) -> None:
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    fit(small_model(), _RESTLESS, Source(_batches()), _validation(), whole)
    stopped = len(_records(whole)["log"])
    with pytest.raises(InterruptedError):
        fit(
            small_model(),
            _RESTLESS,
            Source(_batches(), fails_after=stopped - 1),
            _validation(),
            resumed,
        )
    fit(small_model(), _RESTLESS, Source(_batches()), _validation(), resumed)
    assert _records(resumed) == _records(whole)


def _reminded(directory: Path, weight: float) -> tuple[dict[int, loop.Errors], loop.Errors]:
    seen: dict[int, loop.Errors] = {}
    config = dataclasses.replace(_RESTLESS, patience=None)
    _, errors = fit(
        small_model(),
        config,
        Source(_batches()),
        _validation(),
        directory,
        reminder=Reminder(Source([make_batch(20)]), weight),
        on_validation=seen.__setitem__,
    )
    return seen, errors


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.9])
def test_a_reminder_counts_by_its_weight(tmp_path: Path, weight: float) -> None:
    seen, errors = _reminded(tmp_path, weight)

    def score(e: loop.Errors) -> float:
        first, second = (e[f"{p}energy_mae"] + e[f"{p}force_mae"] for p in ("", "reminder_"))
        return (1 - weight) * first + weight * second

    assert errors == min(seen.values(), key=score)
    best = load_weights(next(tmp_path.glob("best-*.safetensors")), small_model())
    again = mean_errors(best, iter([make_batch(20)]))
    assert again == {name: errors[f"reminder_{name}"] for name in again}
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["reminder_force_rmse"]) for row in rows] == [
        e["reminder_force_rmse"] for e in seen.values()
    ]


def test_a_run_of_another_origin_is_refused_by_name(tmp_path: Path) -> None:
    def go(**origin: Any) -> None:
        arguments = (small_model(), _CONFIG, Source(_batches()), _validation(), tmp_path)
        fit(*arguments, origin=origin)

    go(data="a", share=0.5)
    go(data="a", share=0.5)
    with pytest.raises(TrainingError, match=r"another recipe \(origin\.data\), expected the same"):
        go(data="b", share=0.5)
    with pytest.raises(TrainingError, match=r"\(origin\.data, origin\.share\)"):
        go()
