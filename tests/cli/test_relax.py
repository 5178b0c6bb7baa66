"""`efa-zoo relax`: what it prints and writes, and when it is not content."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ase.constraints import FixAtoms
from ase.io import write
from commands import dimers, example, fail, succeed
from toys import read_all

import efa_zoo
from efa_zoo.cli import main
from efa_zoo.simulation import relax


def largest_force(name: str) -> float:
    forces = efa_zoo.predict("toy", example(name), dtype="float64").forces
    return float((forces**2).sum(axis=1).max() ** 0.5)


def test_an_example_is_relaxed(capsys: pytest.CaptureFixture[str]) -> None:
    fmax = 0.7 * largest_force("ammonium_water")
    out = succeed(capsys, "relax", "toy", "example:ammonium_water", "--fmax", str(fmax))
    expected = relax("toy", example("ammonium_water"), fmax=fmax)
    lines = out.splitlines()
    assert lines[1].split()[:2] == ["example:ammonium_water:0", str(expected.steps)]
    assert f"{expected.energy:.5f}" in lines[1]
    assert lines[2] == "structures: ammonium_water_relaxed.extxyz"
    (relaxed,) = read_all("ammonium_water_relaxed.extxyz")
    assert relaxed.get_potential_energy() == pytest.approx(expected.energy)
    assert relaxed.positions == pytest.approx(expected.atoms.positions, abs=1e-7)
    assert relaxed.info["charge"] == 1


def test_many_structures_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    fmax = 1.01 * max(map(largest_force, ("ammonium_water", "water_dimer")))
    arguments = ("--fmax", str(fmax), "--json", "--out", "done.xyz", "--optimizer", "fire")
    content = json.loads(succeed(capsys, "relax", "toy", dimers(), *arguments))
    assert content["out"] == "done.xyz"
    assert [found["structure"] for found in content["structures"]] == [
        "dimers.extxyz:0",
        "dimers.extxyz:1",
    ]
    for found, atoms in zip(content["structures"], read_all("done.xyz"), strict=True):
        assert (found["converged"], found["steps"]) == (True, 0)
        assert found["energy"] == pytest.approx(atoms.get_potential_energy())


def test_constraints_in_the_file_are_kept_and_steps_written(
    capsys: pytest.CaptureFixture[str],
) -> None:
    atoms = example("ammonium_water")
    atoms.set_constraint(FixAtoms([0]))
    write("start.extxyz", atoms, columns=["symbols", "positions", "move_mask"])
    fmax = 0.7 * largest_force("ammonium_water")
    succeed(
        capsys, "relax", "toy", "start.extxyz", "--fmax", str(fmax), "--trajectory", "all.extxyz"
    )
    frames = read_all("all.extxyz")
    assert len(frames) > 1
    assert all(frame.positions[0] == pytest.approx(atoms.positions[0]) for frame in frames)
    (relaxed,) = read_all("start_relaxed.extxyz")
    assert relaxed.positions == pytest.approx(frames[-1].positions)


def test_not_arriving_is_an_error_that_keeps_the_structure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ("relax", "toy", "example:ammonium_water", "--fmax", "1e-6", "--steps", "1")
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err == (
        "efa-zoo: example:ammonium_water:0: not relaxed to fmax = 1e-06 eV/Å after 1 steps; the "
        "last structure is in ammonium_water_relaxed.extxyz\n"
    )
    assert len(read_all("ammonium_water_relaxed.extxyz")) == 1


def test_out_of_range_is_warned_about(capsys: pytest.CaptureFixture[str]) -> None:
    atoms = example("ammonium_water")
    atoms.positions[5:] += 20
    write("far.extxyz", atoms)
    assert "distances up to 15 Å" in fail(capsys, "relax", "toy", "far.extxyz")
    assert main(("relax", "toy", "far.extxyz", "--warn-out-of-range", "--fmax", "1e3")) == 0
    captured = capsys.readouterr()
    assert captured.err.startswith("efa-zoo: warning: far.extxyz:0: positions: atoms")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("toyy", "example:water_dimer"), "did you mean toy"),
        (("toy", "missing.xyz"), "missing.xyz: No such file"),
        (("toy", "example:water_dimer", "--fmax", "0"), "fmax: got 0.0"),
        (("toy", "example:water_dimer", "--charge", "1"), "odd number"),
        (("toy", "example:water_dimer", "--out", "a.png"), "out: got 'a.png'"),
        (("toy", "dimers.extxyz", "--trajectory", "a.extxyz"), "for 2 structures"),
        (("toy", "dimers.extxyz", "--out", "dimers.extxyz"), "which is also an input"),
    ],
)
def test_bad_arguments_are_refused(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], message: str
) -> None:
    dimers()
    assert message in fail(capsys, "relax", *arguments)
    assert [path.name for path in Path().iterdir()] == ["dimers.extxyz"]
