"""Fine-tuning on toy sizes: tables, cards, references, replay, resumption, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import runpy
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from toys import TOY_DOMAIN, TOY_REFERENCES, make_model

import efa_zoo
from data_pipelines.files.extxyz import write_extxyz
from data_pipelines.files.options import FileOptions
from data_pipelines.splitting import SplitOptions
from data_pipelines.structure import Structure
from efa_zoo.analysis.evaluation import evaluate
from efa_zoo.base.config import TrainingConfig
from efa_zoo.base.errors import ConfigError, DataError, TrainingError
from efa_zoo.base.files import write_record
from efa_zoo.models.weights import load_weights, named_arrays
from efa_zoo.structures.elements import ATOMIC_NUMBERS
from efa_zoo.structures.graph import Graph
from efa_zoo.training import FineTuned, finetune, finetuning_recipe, loop

CHECKOUT = Path(__file__).parents[2]

_WATER = np.asarray([[0, 0, 0], [0.96, 0, 0], [-0.24, 0.93, 0]])
_SHIFT = {1: -3.0, 8: 20.0, 7: 5.0}  # of the new scale of energy, eV


def _molecule(numbers: list[int], rng: np.random.Generator, scale: dict[int, float]) -> Structure:
    """Three atoms on springs; `scale` is added to the reference energies of the toys."""
    positions = _WATER + 0.05 * rng.normal(size=(3, 3))
    pull = positions - _WATER
    references = {ATOMIC_NUMBERS[e]: energy for e, energy in TOY_REFERENCES.items()}
    zero = sum(references.get(z, 0.0) + scale.get(z, 0.0) for z in numbers)
    return Structure(
        atomic_numbers=np.asarray(numbers, np.int32),
        positions=positions,
        energy=float(zero + 2 * np.sum(pull**2)),
        forces=-4 * pull,
        total_charge=0,
    )


def _molecules(
    count: int, numbers: list[int], seed: int, scale: dict[int, float] | None = None
) -> list[Structure]:
    rng = np.random.default_rng(seed)
    return [_molecule(numbers, rng, scale or {}) for _ in range(count)]


#: The base model's data: the toys name "dimers".
_OLD = {"train": _molecules(10, [8, 1, 1], 0), "validation": _molecules(6, [8, 1, 1], 1)}


@pytest.fixture(autouse=True)
def old_data(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Structure]]:
    """Stands in for the built data set of the base model."""
    splits = {name: list(structures) for name, structures in _OLD.items()}

    def load_split(name: str, split: str, *, data_dir: Any = None) -> list[Structure]:
        if name != "dimers" or split not in splits:
            raise DataError(f"data set {name}: nothing there, expected `efa-zoo data build {name}`")
        return splits[split]

    monkeypatch.setattr("data_pipelines.load_split", load_split, raising=False)
    return splits


_ZOO_FILE = """\
name = "toy"
description = "A toy, never trained, and quick to compile."

[model]
features = 4
iterations = 1
highest_atomic_number = 9
zero_output = false

[model.message_passing]
cutoff = 4.0
degree = 0
num_radial = 4

[data]
name = "dimers"
level_of_theory = "none"

[training]
huber_delta = 0.03
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the toy that is fine-tuned."""
    home = tmp_path_factory.mktemp("base")
    make_model(home, "toy", text=_ZOO_FILE)
    return home


@pytest.fixture(autouse=True)
def base_home(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EFA_ZOO_HOME", str(base))


@pytest.fixture(scope="module")
def new_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new molecule, HNO, on the base model's scale of energy."""
    file = tmp_path_factory.mktemp("new") / "new.extxyz"
    write_extxyz(file, _molecules(20, [7, 8, 1], 2))
    return file


def recipe(**changes: Any) -> TrainingConfig:
    config = TrainingConfig(
        batch_size=4,
        steps=60,
        warmup_steps=2,
        learning_rate=0.05,
        average_decay=0.5,
        validation_interval=10,
        body_rate=0.5,
    )
    return dataclasses.replace(config, **changes)


def run(new_file: Path, out: Path, **options: Any) -> FineTuned:
    changes = options.pop("changes", {})
    return finetune(
        "toy", new_file, out, **{"recipe": recipe(**changes), "references": "keep", **options}
    )


@pytest.fixture(scope="module")
def tuned(
    new_file: Path, base: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[FineTuned, Path]:
    """A finished run with replay."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFA_ZOO_HOME", str(base))
        patch.setattr(
            "data_pipelines.load_split", lambda name, split, data_dir: _OLD[split], raising=False
        )
        out = tmp_path_factory.mktemp("runs") / "tuned"
        return run(new_file, out), out


def _errors(model: Any, structures: list[Structure]) -> dict[str, float]:
    """Errors of a loaded model, by the public way."""
    graphs = [Graph.from_arrays(s.atomic_numbers, s.positions, None) for s in structures]
    found = efa_zoo.predict(model, graphs, out_of_range="warn")
    energy = np.asarray([p.energy - s.energy for p, s in zip(found, structures, strict=True)])
    forces = np.stack([p.forces - s.forces for p, s in zip(found, structures, strict=True)])
    return {
        "energy_mae": float(np.abs(energy).mean()),
        "energy_rmse": float(np.sqrt((energy**2).mean())),
        "force_mae": float(np.abs(forces).mean()),
        "force_rmse": float(np.sqrt((forces**2).mean())),
    }


def _held_back(file: Path, split: str) -> list[Structure]:
    from data_pipelines.files.reading import read_file
    from data_pipelines.splitting import deal

    contents = read_file(file)
    members = deal(contents.structures, SplitOptions(), duplicates=contents.inspection.duplicates)
    return [contents.structures[i] for i in members[split]]


def test_the_table_is_what_the_loaded_models_do(
    tuned: tuple[FineTuned, Path], new_file: Path
) -> None:
    result, out = tuned
    assert [part.part for part in result.parts] == [
        "new, validation",
        "new, test",
        "dimers, validation",
    ]
    parts = [_held_back(new_file, "validation"), _held_back(new_file, "test"), _OLD["validation"]]
    for part, structures in zip(result.parts, parts, strict=True):
        assert part.count == len(structures)
        before, after = (_errors(efa_zoo.load(name), structures) for name in ("toy", str(out)))
        assert part.before == pytest.approx(before, rel=2e-4, abs=2e-6)
        assert part.after == pytest.approx(after, rel=2e-4, abs=2e-6)
        assert part.refitted == part.before
    for part in result.parts:
        assert part.after["energy_mae"] < part.before["energy_mae"] / 2
    lines = str(result).splitlines()
    assert lines[0] == "tuned"
    assert lines[2].split() == ["before", "after", "before", "after"]
    assert f"{1e3 * result.parts[1].after['energy_mae']:.2f}" in lines[4]
    assert result.to_dict()["new, test"]["after"] == result.parts[1].after


def test_the_card_says_what_the_model_was_made_of(
    tuned: tuple[FineTuned, Path], new_file: Path
) -> None:
    result, out = tuned
    card = efa_zoo.card(out)
    base = efa_zoo.card("toy")
    assert card.name == "tuned"
    assert card.description == "toy, fine-tuned on new.extxyz."
    assert card.model == base.model
    assert card.data.name == "new.extxyz"
    assert card.data.splits == "16 train, 2 validation, 2 test (by seed 0)"
    assert card.training == recipe()
    assert card.fine_tuning is not None
    assert base.weights is not None
    assert card.fine_tuning.base == "toy"
    assert card.fine_tuning.base_sha256 == base.weights.sha256
    assert card.fine_tuning.base_data == "dimers"
    assert card.fine_tuning.replay == 0.5
    assert card.fine_tuning.reference_energies == "kept"
    assert card.fine_tuning.data_sha256 == efa_zoo.models.weights.weights_hash(new_file)
    assert card.reference_energies == base.reference_energies
    assert card.domain is not None
    assert card.domain.elements == TOY_DOMAIN.elements
    assert card.metrics["new, test"]["all"]["count"] == 2
    assert card.metrics["before fine-tuning"]["dimers, validation"]["all"] == {
        "count": 6,
        **result.parts[2].before,
    }
    assert card.cost["steps"] == 60
    assert "Fine-tuned on 16 structures of new.extxyz." in card.limits
    text = card.in_full()
    assert "Fine-tuning" in text
    assert "base_sha256" in text


def test_a_tuned_model_is_tuned_again(
    tuned: tuple[FineTuned, Path], new_file: Path, tmp_path: Path
) -> None:
    result = finetune(
        tuned[1],
        new_file,
        tmp_path / "again",
        recipe=recipe(),
        replay=0,
        references="keep",
        name="second",
    )
    assert [part.part for part in result.parts] == ["new, validation", "new, test"]
    assert efa_zoo.load(tmp_path / "again").card.name == "second"


def test_replay_limits_forgetting(
    tuned: tuple[FineTuned, Path], new_file: Path, tmp_path: Path
) -> None:
    alone = run(new_file, tmp_path / "alone", replay=0)
    kept = tuned[0].parts[2].after
    assert alone.parts[2].part == "dimers, validation"  # measured, where it is there
    assert alone.parts[2].after["energy_mae"] > kept["energy_mae"]
    assert "may be forgotten" in efa_zoo.card(tmp_path / "alone").limits
    assert "may be forgotten" not in efa_zoo.card(tuned[1]).limits


def test_frozen_parameters_are_those_of_the_base_model(new_file: Path, tmp_path: Path) -> None:
    changes = {"frozen": ("interactions.*", "embedding.*"), "body_rate": 1.0}
    run(new_file, tmp_path / "frozen", replay=0, changes=changes)
    old = named_arrays(efa_zoo.load("toy").network)
    new = named_arrays(efa_zoo.load(tmp_path / "frozen").network)
    changed = {name for name in old if not np.array_equal(old[name], new[name])}
    assert changed == {"readout", "element_bias"}


def test_another_scale_of_energy_is_fitted_and_the_old_data_moves_along(
    new_file: Path, tmp_path: Path
) -> None:
    shifted = tmp_path / "shifted.extxyz"
    write_extxyz(shifted, _molecules(20, [7, 8, 1], 2, _SHIFT))
    same = run(new_file, tmp_path / "same", references="refit")
    other = run(shifted, tmp_path / "other", references=None, level_of_theory="PBE")
    # To the network both are the same task.
    same_network, other_network = (
        named_arrays(efa_zoo.load(tmp_path / name).network) for name in ("same", "other")
    )
    for name, leaf in same_network.items():
        np.testing.assert_allclose(other_network[name], leaf, rtol=2e-3, atol=2e-4)
    one, two = (efa_zoo.card(tmp_path / name) for name in ("same", "other"))
    move = {e: two.reference_energies[e] - one.reference_energies[e] for e in ("H", "C", "N", "O")}
    # One composition determines one sum; the least change that gives it is spread evenly.
    assert move["C"] == 0
    assert [move[e] for e in ("H", "N", "O")] == pytest.approx([22 / 3] * 3, abs=1e-4)
    assert (two.data.level_of_theory, one.data.level_of_theory) == ("PBE", "unknown")
    assert two.fine_tuning is not None
    assert two.fine_tuning.reference_energies == "refitted"
    # Before: off by the shift. The old data is judged on its own scale.
    assert other.parts[0].before["energy_mae"] > 15
    assert other.parts[0].refitted["energy_mae"] < 1
    assert other.parts[2].before == pytest.approx(same.parts[2].before, rel=1e-3)
    assert other.parts[2].after == pytest.approx(same.parts[2].after, rel=1e-2)
    assert str(other).splitlines()[2].split() == ["before", "refitted", "after"] * 2
    # The card's references belong to the new scale: the loaded model predicts on it.
    test = [dataclasses.replace(s) for s in _held_back(shifted, "test")]
    assert other.parts[1].after == pytest.approx(
        _errors(efa_zoo.load(tmp_path / "other"), test), rel=1e-3, abs=1e-5
    )


@pytest.mark.parametrize(
    ("scale", "level", "refitted"),
    [
        ({}, None, False),
        (_SHIFT, None, True),
        (_SHIFT, "none (another version)", False),
        ({}, "PBE", True),
    ],
)
def test_the_scale_is_told_by_level_and_error(
    scale: dict[int, float], level: str | None, refitted: bool
) -> None:
    from efa_zoo.training.data.references import choose_references

    potential = efa_zoo.load("toy")
    new = _molecules(6, [7, 8, 1], 2, scale)
    # The labels of the same scale are what the model itself says.
    graphs = [Graph.from_arrays(s.atomic_numbers, s.positions, None) for s in new]
    shift = sum(scale.get(z, 0.0) for z in (7, 8, 1))
    labelled = [
        dataclasses.replace(s, energy=p.energy + shift)
        for s, p in zip(new, efa_zoo.predict(potential, graphs), strict=True)
    ]
    found = choose_references(potential, labelled, level or "", None)
    assert found.refitted == refitted
    moved = sum(found.new[z] - found.old[z] for z in (7, 8, 1))
    assert moved == pytest.approx(shift if refitted else 0, abs=1e-4)


def test_an_element_that_is_new_gets_a_reference_energy(tmp_path: Path) -> None:
    file = tmp_path / "fluoride.extxyz"
    rng = np.random.default_rng(0)
    fluorine = {9: -500.0}
    write_extxyz(file, [_molecule([8, 1, 9], rng, fluorine) for _ in range(20)])
    run(file, tmp_path / "out", replay=0)
    card = efa_zoo.card(tmp_path / "out")
    assert card.domain is not None
    assert card.domain.elements == ("H", "C", "N", "O", "F")
    assert card.reference_energies["F"] == pytest.approx(-500, abs=2)
    assert {e: card.reference_energies[e] for e in TOY_REFERENCES} == TOY_REFERENCES


def _weights(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in out.glob("*.safetensors")}


@pytest.mark.parametrize("after", [5, 25, 59])
def test_an_interrupted_run_goes_on_bit_for_bit(
    new_file: Path,
    tuned: tuple[FineTuned, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    after: int,
) -> None:
    step, taken = loop.training_step, 0

    def failing(*arguments: Any) -> Any:
        nonlocal taken
        taken += 1
        if taken > after:
            raise InterruptedError
        return step(*arguments)

    out = tmp_path / "tuned"
    with monkeypatch.context() as patch, pytest.raises(InterruptedError):
        patch.setattr(loop, "training_step", failing)
        run(new_file, out)
    assert not (out / "tuned.toml").exists()
    assert run(new_file, out, resume=True).parts == tuned[0].parts
    assert _weights(out) == _weights(tuned[1])


def test_a_run_is_not_resumed_with_other_data_or_options(
    new_file: Path, tuned: tuple[FineTuned, Path], tmp_path: Path
) -> None:
    _, out = tuned
    with pytest.raises(TrainingError, match="holds a run already"):
        run(new_file, out)
    with pytest.raises(TrainingError, match=r"another recipe \(origin\.replay"):
        run(new_file, out, replay=0.25, resume=True)
    with pytest.raises(TrainingError, match=r"another recipe \(training\.learning_rate\)"):
        run(new_file, out, changes={"learning_rate": 0.01}, resume=True)
    other = tmp_path / "new.extxyz"
    write_extxyz(other, _molecules(20, [7, 8, 1], 3))
    with pytest.raises(TrainingError, match=r"another recipe \(origin\.data\)"):
        run(other, out, resume=True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"replay": 1.0}, ConfigError, "replay: got 1.0, expected 0 to below 1"),
        ({"replay": -0.1}, ConfigError, "replay: got -0.1"),
        (
            {"replay": 0, "changes": {"isolated_share": 0.2}},
            ConfigError,
            "isolated_share: got 0.2, expected 0, because no data",
        ),
        (
            {"changes": {"isolated_share": 0.2}},
            ConfigError,
            "isolated_share: got 0.2, expected 0, because the data do not hold both",
        ),
        ({"changes": {"frozen": ("embeding.*",)}}, ConfigError, "which matches no parameter"),
        ({"changes": {"frozen": ("*",)}}, ConfigError, "which matches every parameter"),
        (
            {"changes": {"frozen": ("interactions*", "embedding*")}},
            ConfigError,
            "body_rate: got 0.5, expected 1",
        ),
        ({"references": "new"}, ConfigError, "references: got 'new', expected 'keep' or 'refit'"),
        ({"name": "a b"}, ConfigError, "name: got 'a b', expected letters"),
        (
            {"reading": FileOptions(energy_key="E")},
            DataError,
            "energy: no key 'E', expected one of what is there",
        ),
        (
            {"splitting": SplitOptions(split="group")},
            DataError,
            "split: got 'group', but the structures have no groups",
        ),
    ],
    ids=str,
)
def test_what_is_wrong_or_without_effect_is_refused_in_one_line(
    new_file: Path, tmp_path: Path, options: dict[str, Any], error: type, message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        run(new_file, tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_replay_needs_the_data_of_the_base_model(
    new_file: Path, tmp_path: Path, old_data: dict[str, list[Structure]]
) -> None:
    old_data.clear()
    with pytest.raises(DataError, match=r"^replay: got 0\.5.*efa-zoo data build dimers") as caught:
        run(new_file, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_options_for_a_file_are_refused_for_a_data_set(tmp_path: Path) -> None:
    for options in (
        {"reading": FileOptions(charge=0)},
        {"splitting": SplitOptions(split_seed=1)},
        {"level_of_theory": "PBE"},
    ):
        (field,) = options
        with pytest.raises(
            DataError, match=f"{field}: got .*expected none for the data set dimers"
        ):
            finetune("toy", "dimers", tmp_path / "out", recipe=recipe(), **options)


def test_a_built_data_set_brings_its_splits_and_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "data_pipelines.metadata",
        lambda name, data_dir: {"level_of_theory": "none"},
        raising=False,
    )
    result = finetune(
        "toy", "dimers", tmp_path / "out", recipe=recipe(), replay=0, data_dir=tmp_path
    )
    assert [part.part for part in result.parts] == ["new, validation", "dimers, validation"]
    card = efa_zoo.card(tmp_path / "out")
    assert (card.data.name, card.data.level_of_theory) == ("dimers", "none")
    assert card.fine_tuning is not None
    assert card.fine_tuning.data_sha256 == ""


def test_elements_beyond_the_network_or_the_training_part_are_named(tmp_path: Path) -> None:
    file = tmp_path / "chlorine.extxyz"
    write_extxyz(file, _molecules(20, [17, 1, 1], 0))
    with pytest.raises(DataError, match=r"elements: got Cl, but.*up to F only"):
        run(file, tmp_path / "out", replay=0)
    rare = tmp_path / "rare.extxyz"
    [one] = _molecules(1, [9, 1, 1], 0)
    structures = _molecules(19, [8, 1, 1], 0)
    held_back = next(
        i for i in range(20) if _split_of(i, [*structures[:i], one, *structures[i:]]) != "train"
    )
    write_extxyz(rare, [*structures[:held_back], one, *structures[held_back:]])
    with pytest.raises(DataError, match="elements: F is in no structure to learn from"):
        run(rare, tmp_path / "out", replay=0)


def _split_of(index: int, structures: list[Structure]) -> str:
    from data_pipelines.splitting import deal

    dealt = deal(structures, SplitOptions())
    return next(name for name, members in dealt.items() if index in members)


def test_a_folder_with_another_model_is_left_alone(new_file: Path, tmp_path: Path) -> None:
    (tmp_path / "other.toml").write_text("")
    with pytest.raises(ConfigError, match=r"found other\.toml, expected no zoo file"):
        run(new_file, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["other.toml"]


def test_the_usual_recipe_follows_the_base_model() -> None:
    potential = efa_zoo.load("toy")
    usual = finetuning_recipe(potential)
    assert potential.card.training is not None
    assert usual.huber_delta == potential.card.training.huber_delta == 0.03
    assert usual.energy_weight == 2 * potential.card.training.energy_weight
    assert usual.force_weight == potential.card.training.force_weight
    assert usual.body_rate < 1
    assert usual.patience is not None
    short = finetuning_recipe(potential, steps=40)
    assert (short.steps, short.warmup_steps, short.validation_interval) == (40, 1, 2)
    readout = finetuning_recipe(potential, frozen=["interactions.*", "embedding.*"])
    assert readout.body_rate == 1
    with pytest.raises(ConfigError, match="steps: got 10, expected at least 20"):
        finetuning_recipe(potential, steps=10)
    with pytest.raises(ConfigError, match="which matches no parameter"):
        finetuning_recipe(potential, frozen=["none"])


def test_the_example_script_runs(
    new_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script = CHECKOUT / "docs" / "examples" / "finetune.py"
    arguments = [new_file, tmp_path / "tuned", "--base", "toy", "--steps", "20", "--replay", "0.25"]
    monkeypatch.setattr(sys, "argv", [str(script), *map(str, arguments)])
    runpy.run_path(str(script), run_name="__main__")
    out = capsys.readouterr().out
    assert "dimers, validation" in out
    assert "first structure: -" in out
    facts = json.loads((tmp_path / "tuned" / "checkpoint.json").read_text())
    assert facts["recipe"]["training"]["frozen"] == ["embedding.*"]
    assert facts["recipe"]["origin"]["replay"] == 0.25


def test_the_command_prints_the_table(
    new_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from efa_zoo.cli import main

    common = ["finetune", "toy", "--data", str(new_file), "--steps", "20", "--batch-size", "4"]
    assert main([*common, "--out", str(tmp_path / "a"), "--freeze", "embedding.*", "--json"]) == 0
    table = json.loads(capsys.readouterr().out)
    assert set(table) == {"new, validation", "new, test", "dimers, validation"}
    card = efa_zoo.card(tmp_path / "a")
    assert card.training is not None
    assert (card.training.batch_size, card.training.frozen) == (4, ("embedding.*",))
    assert main([*common, "--out", str(tmp_path / "b"), "--freeze", "nothing"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("efa-zoo: frozen: got 'nothing'")
    assert error.count("\n") == 1
    assert main([*common, "--out", str(tmp_path / "b"), "--devices", "99"]) == 2
    assert "devices: got 99, expected 1 to" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_the_folder_is_evaluated_on_what_was_held_back(
    tuned: tuple[FineTuned, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from efa_zoo.cli import main

    made, out = tuned
    found = evaluate(out)
    assert set(found.splits) == {"validation", "test"}
    for part in made.parts[:2]:
        row = found.splits[part.part.removeprefix("new, ")]["all"]
        assert row["count"] == part.count
        for name, value in part.after.items():
            assert row[name] == pytest.approx(value, rel=1e-4)
    assert set(evaluate(out, splits=["test"]).splits) == {"test"}
    with pytest.raises(DataError, match=r"got 'curves', expected some of validation, test"):
        evaluate(out, splits=["curves"])
    with pytest.raises(DataError, match=r"reading: given, expected none"):
        evaluate(out, reading=FileOptions(charge=0))

    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("tuned.toml", "tuned.safetensors"):
        (alone / name).write_bytes((out / name).read_bytes())
    assert main(["evaluate", str(alone)]) == 2
    error = capsys.readouterr().err
    assert "expected --data FILE because tuned was fine-tuned on the file new.extxyz" in error
    assert error.count("\n") == 1


def test_checkpoints_hold_the_whole_state(tuned: tuple[FineTuned, Path]) -> None:
    _, out = tuned
    facts = json.loads((out / "checkpoint.json").read_text())
    state = loop.initial_state(efa_zoo.load("toy").network, recipe())
    state = load_weights(out / f"checkpoint-{facts['step']}.safetensors", state, facts["sha256"])
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(state))
    assert {"reminder_energy_mae", "energy_mae"} <= set(
        (out / "log.csv").read_text().splitlines()[0].split(",")
    )


def test_steps_follow_from_a_time_once(
    new_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Any]] = []

    def steps(*arguments: Any, **options: Any) -> int:
        asked.append(options)
        return 40

    module = sys.modules["efa_zoo.training.finetune"]  # whose name is that of a function, too
    monkeypatch.setattr(module, "finetuning_steps", steps)
    trained: list[TrainingConfig] = []

    def fit(network: Any, config: TrainingConfig, *_: Any, **__: Any) -> Any:
        trained.append(config)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "fit", fit)
    out = tmp_path / "tuned"
    with pytest.raises(KeyboardInterrupt):
        run(new_file, out, seconds=300.0)
    # Of 20 structures 16 are learned from, and with half of an epoch replayed there are 32.
    assert (asked[0]["epoch"], asked[0]["seconds"]) == (32, 300.0)
    assert (trained[0].steps, trained[0].warmup_steps, trained[0].validation_interval) == (40, 1, 2)
    # A run that goes on keeps its steps, however busy the machine is now.
    out.mkdir(exist_ok=True)
    write_record(out / "checkpoint.json", {"recipe": {"training": {"steps": 80}}})
    with pytest.raises(KeyboardInterrupt):
        run(new_file, out, seconds=300.0, resume=True)
    assert len(asked) == 1
    assert trained[1].steps == 80
    write_record(out / "checkpoint.json", {"recipe": {}})
    with pytest.raises(TrainingError, match="cannot go on from it"):
        run(new_file, out, seconds=300.0, resume=True)
