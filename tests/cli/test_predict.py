"""`efa-zoo predict`: what it prints, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from ase.io import write
from commands import dimers, example, extxyz, fail, succeed
from toys import read_all

import efa_zoo
from efa_zoo.cli import main
from efa_zoo.models.inputs import checks


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
    given = succeed(capsys, "predict", "toy", "plain.xyz", "--charge", "0")
    checks._say_neutral.cache_clear()
    assert main(["predict", "toy", "plain.xyz", "plain.xyz"]) == 0
    captured = capsys.readouterr()
    assert captured.err == "charge: not given, so it is 0 (toy)\n"
    assert captured.out.splitlines()[1] == given.splitlines()[1]


@pytest.mark.parametrize("name", ["y@0", "a@b.extxyz", "postgres.xyz", "-"])
def test_the_name_of_a_file_is_only_a_name(capsys: pytest.CaptureFixture[str], name: str) -> None:
    Path(dimers()).rename(name)
    arguments = [name] if name != "-" else ["./-"]
    assert len(succeed(capsys, "predict", "toy", *arguments).splitlines()) == 3


def test_out_of_range_can_be_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    file = dimers(charge=3)
    assert "dimers.extxyz:0: charge: got +3" in fail(capsys, "predict", "toy", file)
    assert main(["predict", "toy", file, "--warn-out-of-range"]) == 0
    captured = capsys.readouterr()
    assert "efa-zoo: warning: dimers.extxyz:0: charge: got +3" in captured.err
    assert "efa-zoo: warning: dimers.extxyz:1: charge: got +3" in captured.err
    assert len(captured.out.splitlines()) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (extxyz("charge=0", "O 0 0 0", "Na 2 0 0"), "bad.xyz:0: elements: got Na"),
        (extxyz("charge=4", "O 0 0 0", "C 1.1 0 0"), "bad.xyz:0: charge: got +4"),
        (extxyz("charge=1", "O 0 0 0", "C 1.1 0 0"), "odd number"),
        (extxyz("charge=0.5", "O 0 0 0", "C 1.1 0 0"), "charge: got 0.5"),
        (extxyz("charge=plus", "O 0 0 0", "C 1.1 0 0"), "charge: got 'plus'"),
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


def test_an_input_is_not_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    file = dimers()
    before = Path(file).read_bytes()
    assert "also an input" in fail(capsys, "predict", "toy", file, "--out", f"./{file}")
    assert Path(file).read_bytes() == before


def test_altered_weights_are_refused(capsys: pytest.CaptureFixture[str], zoo: Path) -> None:
    for file in ("zoo/toy.toml", "pretrained/toy.safetensors"):
        Path(Path(file).name).write_bytes((zoo / file).read_bytes())
    weights = Path("toy.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x7f")
    assert "altered" in fail(capsys, "predict", "toy.toml", "example:water_dimer")


# -------------------------------------------------------------------------------------------
# Many structures


def many(file: str, count: int, bad: tuple[int, ...] = ()) -> str:
    """Write water molecules, some of them with an element that the toys do not know."""
    rng = np.random.default_rng(0)
    frames = []
    for i in range(count):
        atoms = example("water_dimer")[:3]
        atoms.positions += rng.normal(scale=0.02, size=(3, 3))
        atoms.info["charge"] = 0
        if i in bad:
            atoms.symbols[0] = "Na"
        frames.append(atoms)
    write(file, frames)
    return file


def test_many_structures_have_a_summary(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predict", "toy", many("many.extxyz", 120), "--out", "results.extxyz"]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("120 structures in ")
    assert "structures/s" in line
    assert "compilations for 1 shapes" in line
    assert f"{120 * 3 / (128 * 8):.0%} of the padded atoms filled" in line
    results = read_all("results.extxyz")
    originals = read_all("many.extxyz")
    assert len(results) == 120
    for result, original in zip(results, originals, strict=True):
        np.testing.assert_allclose(result.positions, original.positions, atol=1e-7)
    alone = efa_zoo.predict("toy", originals[77])
    assert results[77].get_potential_energy() == pytest.approx(alone.energy, abs=1e-4)


def test_bad_structures_can_be_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    file = many("some.extxyz", 5, bad=(1, 3))
    assert main(["predict", "toy", file, "--skip-bad", "--out", "results.extxyz"]) == 0
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert [line.partition(" elements")[0] for line in lines] == [
        "efa-zoo: skipped: some.extxyz:1:",
        "efa-zoo: skipped: some.extxyz:3:",
    ]
    rows = [line.split()[0] for line in captured.out.splitlines()[1:]]
    assert rows == ["some.extxyz:0", "some.extxyz:2", "some.extxyz:4"]
    assert len(read_all("results.extxyz")) == 3
    assert "some.extxyz:1: elements" in fail(capsys, "predict", "toy", file)
