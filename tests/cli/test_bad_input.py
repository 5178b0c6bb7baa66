"""Bad files and options: each gives one clear line, status 2, and no file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import dimers, extxyz, fail

PREDICT = ("predict", "toy", "bad.xyz")
LABELLED = "Properties=species:S:1:pos:R:3:forces:R:3"


def atoms(*rows: str, header: str = "charge=0") -> str:
    return extxyz(header, *rows)


#: What is in bad.xyz, the command, and what its one line says.
BAD_STRUCTURES = {
    "empty file": ("", "bad.xyz: cannot read structures from this file"),
    "text that is no structure": ("once upon a time\n", "cannot read structures"),
    "truncated structure": ("3\ncharge=0\nO 0 0 0\n", "cannot read structures"),
    "truncated second structure": (
        atoms("O 0 0 0", "C 1.1 0 0") + "3\ncharge=0\nO 0 0 0\n",
        "cannot read structures",
    ),
    "column that is missing": (extxyz("Properties=species:S:1 charge=0", "O", "C"), "bad.xyz"),
    "word for a coordinate": (atoms("O 0 zero 0", "C 1.1 0 0"), "cannot read structures"),
    "no atoms": ("0\ncharge=0\n", "bad.xyz:0: got no atoms"),
    "position that is not a number": (
        atoms("O 0 0 0", "C nan 0 0"),
        "bad.xyz:0: positions: atom 1 (C) is at [nan, 0.0, 0.0], expected finite numbers",
    ),
    "infinite position": (atoms("O 0 0 0", "C 0 0 inf"), "positions: atom 1 (C) is at"),
    "all positions zero": (atoms("O 0 0 0", "C 0 0 0"), "all positions are zero, were they given?"),
    "atoms at one place": (
        atoms("O 1 0 0", "C 1 0 0"),
        "atoms 0 and 1 are 0 Å apart, expected different places",
    ),
    "overlapping atoms": (atoms("O 0 0 0", "C 0.5 0 0"), "toy knows distances from 0.6 Å"),
    "atoms too far apart": (atoms("O 0 0 0", "C 15.5 0 0"), "toy knows distances up to 15 Å"),
    "unknown element": (atoms("O 0 0 0", "Na 2 0 0"), "elements: got Na, but toy knows only H, C"),
    "symbol of no element": (atoms("O 0 0 0", "Xq 2 0 0"), "bad.xyz"),
    "dummy atom": (atoms("O 0 0 0", "X 2 0 0"), "elements: got atomic number 0"),
    "impossible charge": (
        atoms("O 0 0 0", "C 1.1 0 0", header="charge=4"),
        "charge: got +4, but toy knows only -1, 0, +1",
    ),
    "odd number of electrons": (
        atoms("O 0 0 0", "C 1.1 0 0", header="charge=1"),
        "leaves 13 electrons, an odd number",
    ),
    "fraction of a charge": (
        atoms("O 0 0 0", "C 1.1 0 0", header="charge=0.5"),
        "charge: got 0.5, expected an integer",
    ),
    "word for a charge": (
        atoms("O 0 0 0", "C 1.1 0 0", header="charge=plus"),
        "charge: got 'plus', expected an integer",
    ),
    "no charge where 0 cannot be": (
        atoms("O 0 0 0", "H 1 0 0", header="hydroxide"),
        "leaves 9 electrons, an odd number, but toy knows closed shells only; none was given, "
        "which means 0 (for one of -1, +1: ",
    ),
    "key that stands twice": (
        atoms("O 0 0 0", "C 1.1 0 0", header="charge=0 charge=2"),
        "the header has the key 'charge' twice, expected it once",
    ),
    "text after the end": (
        atoms("O 0 0 0", "C 1.1 0 0") + "\n" + atoms("O 0 0 0", "C 1.1 0 0"),
        "got '2' after an empty line, expected the end of the file",
    ),
    "more atoms than there are lines": (
        "99999999999\ncharge=0\nO 0 0 0\n",
        "ends after 1 of 99999999999 atoms",
    ),
    "negative number of atoms": ("-3\ncharge=0\n", "got -3, expected a number of atoms"),
    "header without an end": (
        f"1\ncharge=0 {'x' * 2_000_000}\nO 0 0 0\n",
        "a line has over 1,000,000 characters ('charge=0 xxx",
    ),
    "charges of atoms that contradict": (
        extxyz(
            "Properties=species:S:1:pos:R:3:initial_charges:R:1 charge=0",
            "O 0 0 0 -0.5",
            "C 1.1 0 0 1.5",
        ),
        "charge: got 0, but the atoms' initial charges add up to 1, expected the same (e)",
    ),
    "magnetic moments": (
        extxyz(
            "Properties=species:S:1:pos:R:3:initial_magmoms:R:1 charge=0",
            "O 0 0 0 1",
            "O 1.2 0 0 1",
        ),
        "initial_magmoms: got magnetic moments of atoms, which no model takes",
    ),
    "periodic structure": (
        atoms("O 0 0 0", "C 1.1 0 0", header='charge=0 pbc="T F F"'),
        "pbc: got [True, False, False], expected a molecule without periodicity",
    ),
    "bad structure after a good one": (
        atoms("O 0 0 0", "C 1.1 0 0") + atoms("O 0 0 0", "Na 2 0 0"),
        "bad.xyz:1: elements: got Na",
    ),
}


@pytest.mark.parametrize("case", BAD_STRUCTURES)
def test_bad_structures(capsys: pytest.CaptureFixture[str], case: str) -> None:
    content, message = BAD_STRUCTURES[case]
    Path("bad.xyz").write_text(content, encoding="utf-8")
    assert message in fail(capsys, *PREDICT, "--out", "results.extxyz")


def test_a_file_that_is_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.xyz").write_bytes(bytes(range(256)))
    assert "bad.xyz" in fail(capsys, *PREDICT)


def test_bad_structures_are_still_an_error_when_all_are_skipped(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("bad.xyz").write_text(BAD_STRUCTURES["unknown element"][0], encoding="utf-8")
    line = fail(capsys, *PREDICT, "--skip-bad", "--out", "results.extxyz")
    assert "bad.xyz:0: elements: got Na" in line


#: Arguments of commands, and what the one line says. `good.xyz` has labels, `dimers.xyz` has none.
BAD_ARGUMENTS = {
    "no command of that name": (("predicd",), "unknown command 'predicd' (did you mean predict?)"),
    "no option of that name": (("predict", "toy", "good.xyz", "--chage", "0"), "--chage"),
    "word for a number": (("predict", "toy", "good.xyz", "--charge", "one"), "--charge"),
    "unknown model": (("predict", "toyy", "good.xyz"), "did you mean toy"),
    "unknown model in training": (("train", "toyy"), "did you mean toy"),
    "model without weights": (("predict", "toy_recipe", "good.xyz"), "has no weights yet"),
    "no files": (("predict", "toy"), "files: got none, expected structure files or one of"),
    "missing file": (("predict", "toy", "missing.xyz"), "missing.xyz: No such file"),
    "missing second file": (
        ("predict", "toy", "dimers.xyz", "missing.xyz"),
        "missing.xyz: No such file",
    ),
    "folder": (("predict", "toy", "."), ".: is a folder, expected a structure file"),
    "unknown example": (("predict", "toy", "example:water"), "expected one of ammonium_water"),
    "unknown suffix": (("predict", "toy", "good.xyz", "--out", "a.png"), "expected a name that"),
    "output that is an input": (
        ("predict", "toy", "dimers.xyz", "--out", "dimers.xyz"),
        "also an input",
    ),
    "unknown type": (("predict", "toy", "good.xyz", "--dtype", "float16"), "float16"),
    "charge that leaves a radical": (
        ("predict", "toy", "example:water_dimer", "--charge", "1"),
        "odd number",
    ),
    "unknown data set": (("data", "build", "trimers"), "'trimers'"),
    "data set made of files": (("data", "build", "structures"), "expected `efa-zoo data add FILE"),
    "file without a name": (("data", "add", "good.xyz"), "--name"),
    "bad name": (("data", "add", "good.xyz", "--name", "a/b"), "name: got 'a/b'"),
    "missing data file": (("data", "add", "missing.npz", "--name", "a"), "missing.npz: no such"),
    "folder for data": (("data", "add", ".", "--name", "a"), "is a folder"),
    "unknown unit of energy": (
        ("data", "add", "good.xyz", "--name", "a", "--energy-unit", "kcal"),
        "kcal/mol",
    ),
    "unknown unit of forces": (
        ("data", "add", "good.xyz", "--name", "a", "--forces-unit", "newton"),
        "forces_unit: got 'newton', expected ENERGY/LENGTH",
    ),
    "missing key": (
        ("data", "add", "good.xyz", "--name", "a", "--energy-key", "E"),
        "structure 0: energy: no key 'E', expected one of what is there",
    ),
    "no labels": (("data", "add", "dimers.xyz", "--name", "a"), "energy: no key 'energy'"),
    "key without effect": (
        ("data", "add", "good.xyz", "--name", "a", "--positions-key", "R"),
        "positions_key: got 'R', expected it for npz and HDF5 files only",
    ),
    "two charges": (
        ("data", "add", "good.xyz", "--name", "a", "--charge", "0", "--charge-key", "Q"),
        "charge_key: got 'Q' together with charge = 0",
    ),
    "shares that do not add up": (
        ("data", "add", "good.xyz", "--name", "a", "--shares", "1", "1", "1"),
        "shares: got (1.0, 1.0, 1.0)",
    ),
    "too few structures": (
        ("data", "add", "good.xyz", "--name", "a"),
        "split: got 2 different structures, expected at least 3",
    ),
    "groups that are not there": (
        ("data", "add", "good.xyz", "--name", "a", "--split", "group"),
        "split: got 'group', but the structures have no groups",
    ),
    "missing data set": (
        ("train", "toy_own_data.toml", "--data-dir", "nowhere"),
        "expected a data set built by `efa-zoo data add FILE --name own`",
    ),
}


@pytest.mark.parametrize("case", BAD_ARGUMENTS)
def test_bad_arguments(
    capsys: pytest.CaptureFixture[str], case: str, zoo: Path, tmp_path: Path
) -> None:
    arguments, message = BAD_ARGUMENTS[case]
    dimers("dimers.xyz")
    header = f"{LABELLED} energy=-1 charge=0"
    good = [extxyz(header, "O 0 0 0 1 0 0", f"C {r} 0 0 -1 0 0") for r in (1.1, 1.2)]
    Path("good.xyz").write_text("".join(good), encoding="utf-8")
    recipe = (zoo / "zoo" / "toy_recipe.toml").read_text(encoding="utf-8")
    recipe = recipe.replace('"toy_recipe"', '"toy_own_data"').replace(
        '"dimers"', '"structures/own"'
    )
    Path("toy_own_data.toml").write_text(recipe, encoding="utf-8")
    more = ("--data-dir", str(tmp_path / "data")) if arguments[:2] == ("data", "add") else ()
    assert message in fail(capsys, *arguments, *more)
    assert not (tmp_path / "data").exists()


def arrays(**changes: Any) -> dict[str, Any]:
    """Arrays of four carbon monoxides, with some of them changed, or left out by None."""
    rng = np.random.default_rng(0)
    positions = np.array([[0, 0, 0], [1.1, 0, 0]]) + 0.02 * rng.normal(size=(4, 2, 3))
    made = {
        "atomic_numbers": np.array([[6, 8]] * 4),
        "positions": positions,
        "energy": rng.normal(size=4),
        "forces": rng.normal(size=(4, 2, 3)),
        "charge": np.zeros(4, int),
    }
    return {key: array for key, array in {**made, **changes}.items() if array is not None}


BAD_ARRAYS = {
    "missing forces": ({"forces": None}, "forces: no key 'forces'"),
    "complex energies": ({"energy": np.ones(4, complex)}, "energy: got complex128, expected real"),
    "truth values for forces": ({"forces": np.ones((4, 2, 3), bool)}, "forces: got bool, expected"),
    "energies that nothing has": ({"energy": np.full(4, 1e300)}, "energy: got 1e+300, expected at"),
    "forces that nothing has": ({"forces": np.full((4, 2, 3), 1e9)}, "forces: got 1e+09, expected"),
    "positions in another unit": (
        {"positions": 1e6 * np.arange(24).reshape(4, 2, 3)},
        "from the centre of the structure, expected at most 10000 Å (is length_unit right?)",
    ),
    "positions beyond numbers": (
        {"positions": 1e300 * np.arange(24).reshape(4, 2, 3)},
        "from the centre of the structure, expected at most",
    ),
    "truth values for elements": (
        {"atomic_numbers": np.ones((4, 2), bool)},
        "atomic numbers: got bool, expected integers",
    ),
    "charge that nothing has": ({"charge": np.full(4, 10**12)}, "charge: got "),
    "all energies zero": ({"energy": np.zeros(4)}, "energy: all energies are zero"),
    "all forces zero": ({"forces": np.zeros((4, 2, 3))}, "forces: all forces are zero"),
    "energy that is not a number": (
        {"energy": np.array([1, np.nan, 1, 1])},
        "structure 1: energy: got nan, expected finite numbers",
    ),
    "too few energies": ({"energy": np.ones(3)}, "energy: got shape (3,), expected (4,)"),
    "forces of another shape": (
        {"forces": np.ones((4, 3, 2))},
        "forces: got shape (4, 3, 2), expected (4, 2, 3)",
    ),
    "numbers of no element": (
        {"atomic_numbers": np.full((4, 2), 200)},
        "atomic numbers: got 200, expected integers from 1 to 118",
    ),
    "objects instead of numbers": (
        {"energy": np.array([1, "a", None, 2], object)},
        "cannot read arrays from this file",
    ),
}


@pytest.mark.parametrize("case", BAD_ARRAYS)
def test_bad_arrays(capsys: pytest.CaptureFixture[str], case: str, tmp_path: Path) -> None:
    changes, message = BAD_ARRAYS[case]
    np.savez("bad.npz", **arrays(**changes))
    place = tmp_path / "data"
    line = fail(capsys, "data", "add", "bad.npz", "--name", "a", "--data-dir", str(place))
    assert line.startswith("efa-zoo: bad.npz: ")
    assert message in line
    assert not place.exists()
