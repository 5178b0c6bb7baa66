"""The command line: what it prints, writes and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.io import write
from toys import read_all

import efa_zoo
from efa_zoo.cli import main


@pytest.fixture(autouse=True)
def workplace(zoo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run in an empty folder, with the toys in the zoo."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def succeed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must succeed silently; returns what it printed."""
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def fail(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Run a command that must fail with one line; returns the line."""
    files = sorted(Path().rglob("*"))
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("efa-zoo: ")
    assert captured.err.endswith("\n")
    assert captured.err.count("\n") == 1
    assert sorted(Path().rglob("*")) == files
    return captured.err


def example(name: str) -> Atoms:
    (atoms,) = read_all(efa_zoo.example(name))
    return atoms


def dimers(file: str = "dimers.extxyz", **info: object) -> str:
    """Write two structures of charge 1 and 0; returns the file."""
    frames = [example(name) for name in ("ammonium_water", "water_dimer")]
    for atoms in frames:
        atoms.info.update(info)
    write(file, frames)
    return file


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    out = succeed(capsys, "list", "toy*")
    assert out == "toy          A toy, never trained.\ntoy_neutral  A toy, never trained.\n"
    assert "toy_recipe" in succeed(capsys, "list", "--all")
    assert succeed(capsys, "list", "nothing") == ""


def test_a_card_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert succeed(capsys, "card", "toy") == f"{efa_zoo.card('toy')}\n"


def test_an_example_is_predicted_with_all_forces(capsys: pytest.CaptureFixture[str]) -> None:
    out = succeed(capsys, "predict", "toy", "example:ammonium_water")
    expected = efa_zoo.predict("toy", example("ammonium_water"))
    lines = out.splitlines()
    assert "energy (eV)" in lines[0]
    assert f"{expected.energy:.5f}" in lines[1]
    assert "+1" in lines[1]
    rows = [line.split() for line in lines[4:]]
    assert [row[0] for row in rows] == ["N", "H", "H", "H", "H", "O", "H", "H"]
    np.testing.assert_allclose(
        [[float(number) for number in row[1:]] for row in rows], expected.forces, atol=6e-6
    )


def test_many_structures_make_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    out = succeed(capsys, "predict", "toy", dimers(), "example:water_dimer")
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == [
        "dimers.extxyz:0",
        "dimers.extxyz:1",
        "example:water_dimer:0",
    ]
    assert lines[2].split()[2:] == lines[3].split()[2:]


def test_json_has_everything(capsys: pytest.CaptureFixture[str], workplace: Path) -> None:
    out = succeed(capsys, "predict", "toy", dimers(), "--json", "--dtype", "float32")
    content = json.loads(out)
    assert content["model"] == "toy"
    assert content["units"]["forces"] == "eV/Å"
    frames = read_all("dimers.extxyz")
    assert len(content["structures"]) == 2
    for index, (entry, atoms) in enumerate(zip(content["structures"], frames, strict=True)):
        expected = efa_zoo.predict("toy", atoms)
        assert (entry["file"], entry["index"]) == ("dimers.extxyz", index)
        assert entry["symbols"] == atoms.get_chemical_symbols()
        assert entry["charge"] == expected.charge
        assert entry["energy"] == pytest.approx(expected.energy, abs=1e-4)
        assert sum(entry["atomic_energies"]) == pytest.approx(entry["energy"], abs=1e-9)
        np.testing.assert_allclose(entry["forces"], expected.forces, atol=1e-5)
    assert [path.name for path in workplace.iterdir()] == ["dimers.extxyz"]


@pytest.mark.parametrize("out", ["out/results.extxyz", "results.xyz"])
def test_results_are_written_so_that_ase_reads_them(
    capsys: pytest.CaptureFixture[str], out: str
) -> None:
    succeed(capsys, "predict", "toy", dimers(), "--out", out)
    frames = read_all(out)
    assert len(frames) == 2
    for atoms, original in zip(frames, read_all("dimers.extxyz"), strict=True):
        expected = efa_zoo.predict("toy", original)
        assert atoms.get_potential_energy() == pytest.approx(expected.energy, abs=1e-4)
        np.testing.assert_allclose(atoms.get_forces(), expected.forces, atol=1e-5)
        assert atoms.info["charge"] == expected.charge
    assert [path.name for path in Path(out).parent.glob("*results*")] == [Path(out).name]


def test_results_are_written_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    printed = succeed(capsys, "predict", "toy", dimers(), "--out", "results.json", "--json")
    assert Path("results.json").read_text(encoding="utf-8") == printed


def test_the_charge_can_be_given(capsys: pytest.CaptureFixture[str]) -> None:
    write("plain.xyz", example("water_dimer"), format="xyz")
    assert "--charge" in fail(capsys, "predict", "toy", "plain.xyz")
    succeed(capsys, "predict", "toy", "plain.xyz", "--charge", "0")
    succeed(capsys, "predict", "toy_neutral", "plain.xyz")


def test_out_of_range_can_be_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    file = dimers(charge=3)
    assert "dimers.extxyz:0: charge: got +3" in fail(capsys, "predict", "toy", file)
    assert main(["predict", "toy", file, "--warn-out-of-range"]) == 0
    captured = capsys.readouterr()
    assert "efa-zoo: warning: dimers.extxyz:0: charge: got +3" in captured.err
    assert "efa-zoo: warning: dimers.extxyz:1: charge: got +3" in captured.err
    assert len(captured.out.splitlines()) == 3


# -------------------------------------------------------------------------------------------
# Bad input


def extxyz(header: str, *rows: str) -> str:
    return "\n".join([str(len(rows)), header, *rows, ""])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (extxyz("charge=0", "O 0 0 0", "Na 2 0 0"), "bad.xyz:0: elements: got Na"),
        (extxyz("charge=4", "O 0 0 0", "C 1.1 0 0"), "bad.xyz:0: charge: got +4"),
        (extxyz("charge=1", "O 0 0 0", "C 1.1 0 0"), "odd number"),
        (extxyz("charge=0.5", "O 0 0 0", "C 1.1 0 0"), "charge: got 0.5"),
        (extxyz("charge=plus", "O 0 0 0", "C 1.1 0 0"), "charge: got 'plus'"),
        (extxyz("water", "O 0 0 0", "C 1.1 0 0"), "charge: not given"),
        (extxyz("charge=0", "O 0 0 0", "C nan 0 0"), "positions: atom 1 (C)"),
        (extxyz("charge=0", "O 0 0 0", "C 0 0 0"), "atoms 0 and 1 are 0 Å apart"),
        (extxyz("charge=0", "O 0 0 0", "C 15.5 0 0"), "distances up to 15 Å"),
        (extxyz("charge=0", "O 0 0 0", "C 0.5 0 0"), "distances from 0.6 Å"),
        (extxyz('charge=0 pbc="T F F"', "O 0 0 0", "C 1.1 0 0"), "without periodicity"),
        (extxyz("Properties=species:S:1 charge=0", "O", "C"), "bad.xyz"),
        ("0\ncharge=0\n", "bad.xyz"),
        ("", "bad.xyz: "),
        ("3\ncharge=0\nO 0 0 0\n", "bad.xyz: cannot read structures"),
        ("this is no structure\n", "bad.xyz: cannot read structures"),
    ],
)
def test_a_bad_structure_is_refused(
    capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    Path("bad.xyz").write_text(content, encoding="utf-8")
    assert message in fail(capsys, "predict", "toy", "bad.xyz", "--out", "results.json")


def test_a_bad_structure_among_good_ones_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.xyz").write_text(extxyz("charge=0", "O 0 0 0", "C 0 0 0"), encoding="utf-8")
    message = fail(capsys, "predict", "toy", dimers(), "bad.xyz")
    assert message.startswith("efa-zoo: bad.xyz:0: positions:")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("card", "toyy"), "no model 'toyy' in the zoo, and no such folder (did you mean toy"),
        (("predict", "toyy", "example:water_dimer"), "did you mean toy"),
        (("predict", "toy_recipe", "example:water_dimer"), "has no weights yet"),
        (("predict", "toy"), "files: got none"),
        (("predict", "toy", "missing.xyz"), "missing.xyz: No such file"),
        (("predict", "toy", "."), ".: is a folder"),
        (("predict", "toy", "example:water"), "expected one of ammonium_water, water_dimer"),
        (("predict", "toy", "example:water_dimer", "--out", "a.png"), "out: got 'a.png'"),
        (("predict", "toy", "example:water_dimer", "--charge", "1"), "odd number"),
        (("train", "toyy"), "did you mean toy"),
        (("evaluate", "toyy"), "did you mean toy"),
        (("scan", "toyy"), "did you mean toy"),
        (("data", "build", "trimers"), "'trimers'"),
    ],
)
def test_bad_arguments_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    assert message in fail(capsys, *arguments)


def test_an_input_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    file = dimers()
    before = Path(file).read_bytes()
    assert "also an input" in fail(capsys, "predict", "toy", file, "--out", f"./{file}")
    assert Path(file).read_bytes() == before


def test_a_bad_zoo_file_is_refused(capsys: pytest.CaptureFixture[str], zoo: Path) -> None:
    text = (zoo / "zoo" / "toy_recipe.toml").read_text(encoding="utf-8")
    Path("toy_recipe.toml").write_text(text.replace("steps", "stepps"), encoding="utf-8")
    message = fail(capsys, "card", "toy_recipe.toml")
    assert "toy_recipe.toml: training: unknown key 'stepps' (did you mean 'steps'?)" in message


def test_altered_weights_are_refused(capsys: pytest.CaptureFixture[str], zoo: Path) -> None:
    for file in ("zoo/toy.toml", "pretrained/toy.safetensors"):
        Path(Path(file).name).write_bytes((zoo / file).read_bytes())
    weights = Path("toy.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert "altered" in fail(capsys, "predict", "toy.toml", "example:water_dimer")


@pytest.mark.parametrize(
    "arguments",
    [("predict", "toy", "a.xyz", "--charge", "one"), ("predicd",), ("list", "--al"), ("data",)],
)
def test_usage_errors_exit_with_2(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err


@pytest.mark.parametrize(
    "command",
    ["list", "card", "predict", "train", "evaluate", "scan", "data build"],
)
def test_every_command_has_help_with_an_example(
    capsys: pytest.CaptureFixture[str], command: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), "--help"])
    assert caught.value.code == 0
    assert f"\n  efa-zoo {command}" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [(), ("--help",)])
def test_the_overview_names_every_command(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    out = capsys.readouterr().out
    for command in ("list", "card", "predict", "train", "evaluate", "scan", "data"):
        assert f"• {command}" in out


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert succeed(capsys, "--version") == f"efa-zoo {efa_zoo.__version__}\n"


def test_a_missing_extra_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "ase"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ase", None)
    message = fail(capsys, "predict", "toy", "example:water_dimer")
    assert message == "efa-zoo: this needs ase: pip install 'efa-zoo[ase]'\n"


def test_a_closed_pipe_is_no_error(zoo: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "efa_zoo.cli", "card", "toy"],
        cwd=Path(efa_zoo.__file__).parents[1],
        env={**os.environ, "EFA_ZOO_HOME": str(zoo)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, error = process.communicate()
    assert error == b""
    assert process.returncode == 0


# -------------------------------------------------------------------------------------------
# Commands whose work is done, and tested, elsewhere


class Recorder:
    """Stands in for a function: keeps its arguments and returns something printable."""

    def __init__(self) -> None:
        self.call: tuple[tuple[object, ...], dict[str, object]] = ((), {})

    def __call__(self, *arguments: object, **options: object) -> Recorder:
        self.call = arguments, options
        return self

    def __str__(self) -> str:
        return "done"

    def to_dict(self) -> dict[str, float]:
        return {"energy_mae": 0.5}


@pytest.mark.parametrize(
    ("function", "command", "options"),
    [
        (
            "efa_zoo.training.train",
            "train toy --out here --resume --data-dir there --loader tensorflow --publish",
            {
                "out": "here",
                "resume": True,
                "data_dir": "there",
                "loader": "tensorflow",
                "publish": True,
            },
        ),
        ("efa_zoo.evaluation.evaluate", "evaluate toy --data-dir there", {"data_dir": "there"}),
        (
            "data_pipelines.build",
            "data build toy --data-dir there --config tiny --seed 3 --workers 2 --overwrite",
            {"data_dir": "there", "config": "tiny", "seed": 3, "workers": 2, "overwrite": True},
        ),
    ],
)
def test_options_reach_the_function(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    command: str,
    options: dict[str, object],
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(function, recorder)
    assert succeed(capsys, *command.split()) == "done\n"
    assert recorder.call == (("toy",), options)


def test_an_evaluation_can_be_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("efa_zoo.evaluation.evaluate", Recorder())
    assert json.loads(succeed(capsys, "evaluate", "toy", "--json")) == {"energy_mae": 0.5}


def test_an_interrupt_is_no_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("efa_zoo.training.train", interrupted)
    assert main(["train", "toy"]) == 130
    assert capsys.readouterr().err == "efa-zoo: interrupted\n"
