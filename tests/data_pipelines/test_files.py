"""Reading labelled structures from files: nothing is guessed, and nothing wrong gets through."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase.db
import ase.io
import h5py
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from data_pipelines import Structure
from data_pipelines.files import arrays, extxyz
from data_pipelines.files.options import FileOptions
from data_pipelines.files.reading import read_file, read_structures
from data_pipelines.labels.units import DIPOLE_UNITS, ENERGY_UNITS, LENGTH_UNITS, force_factor
from efa_zoo.base.errors import DataError

Make = Callable[[Path, list[Structure]], None]


def write_extxyz(path: Path, structures: list[Structure]) -> None:
    frames = []
    for s in structures:
        atoms = Atoms(s.atomic_numbers, s.positions, info={"charge": s.total_charge})
        atoms.calc = SinglePointCalculator(atoms, energy=s.energy, forces=s.forces)
        frames.append(atoms)
    write(path, frames, format="extxyz")


def write_database(path: Path, structures: list[Structure]) -> None:
    with ase.db.connect(path) as database:
        for s in structures:
            atoms = Atoms(s.atomic_numbers, s.positions)
            atoms.calc = SinglePointCalculator(atoms, energy=s.energy, forces=s.forces)
            database.write(atoms, charge=s.total_charge)


def padded(structures: list[Structure]) -> dict[str, np.ndarray]:
    most = max(len(s.atomic_numbers) for s in structures)

    def pad(rows: np.ndarray) -> np.ndarray:
        return np.pad(rows, [(0, most - len(rows))] + [(0, 0)] * (rows.ndim - 1))

    return {
        "atomic_numbers": np.array([pad(s.atomic_numbers) for s in structures]),
        "positions": np.array([pad(s.positions) for s in structures]),
        "energy": np.array([s.energy for s in structures]),
        "forces": np.array([pad(s.forces) for s in structures]),
        "charge": np.array([s.total_charge for s in structures]),
    }


def write_npz(path: Path, structures: list[Structure]) -> None:
    np.savez(path, **padded(structures))  # pyright: ignore[reportArgumentType]


def write_hdf5(path: Path, structures: list[Structure]) -> None:
    with h5py.File(path, "w") as file:
        for name, array in padded(structures).items():
            file[name] = array


def check_same(found: list[Structure], expected: list[Structure], tolerance: float) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.atomic_numbers, other.atomic_numbers)
        assert one.atomic_numbers.dtype == np.int32
        np.testing.assert_allclose(one.positions, other.positions, atol=tolerance)
        np.testing.assert_allclose(one.forces, other.forces, atol=tolerance)
        assert one.positions.dtype == one.forces.dtype == np.float64
        assert one.energy == pytest.approx(other.energy, abs=tolerance)
        assert isinstance(one.energy, float)
        assert one.total_charge == other.total_charge


@pytest.mark.parametrize(
    ("name", "make", "tolerance"),
    [
        ("some.extxyz", write_extxyz, 1e-7),
        ("some.db", write_database, 0.0),
        ("some.npz", write_npz, 0.0),
        ("some.h5", write_hdf5, 0.0),
        ("some.hdf5", write_hdf5, 0.0),
    ],
)
def test_every_kind_of_file_gives_the_same_structures(
    name: str, make: Make, tolerance: float, structures: list[Structure], tmp_path: Path
) -> None:
    chosen = structures[:20]
    make(tmp_path / name, chosen)
    check_same(read_structures(tmp_path / name), chosen, tolerance)


def one(make_structure: Callable[..., Structure]) -> Structure:
    return make_structure([8, 1, 1], seed=3)


@pytest.mark.parametrize("energy", list(ENERGY_UNITS))
@pytest.mark.parametrize("length", list(LENGTH_UNITS))
def test_units_are_converted(
    energy: Any, length: Any, make_structure: Callable[..., Structure], tmp_path: Path
) -> None:
    expected = one(make_structure)
    e, r = ENERGY_UNITS[energy], LENGTH_UNITS[length]
    there = dataclasses.replace(
        expected,
        positions=expected.positions / r,
        energy=expected.energy / e,
        forces=expected.forces / (e / r),
    )
    write_npz(tmp_path / "there.npz", [there])
    options = FileOptions(energy_unit=energy, length_unit=length)
    check_same(read_structures(tmp_path / "there.npz", options), [expected], 1e-12)


def with_electrons(structure: Structure, seed: int = 0) -> Structure:
    """The structure as an ion, with charges of its atoms and a dipole moment."""
    rng = np.random.default_rng(seed)
    charges = rng.normal(size=len(structure.atomic_numbers))
    return dataclasses.replace(
        structure, total_charge=2, charges=charges, dipole=rng.normal(size=3)
    )


def test_charges_and_dipoles_go_through_both_kinds_of_files(
    structures: list[Structure], tmp_path: Path
) -> None:
    written = [with_electrons(s, i) for i, s in enumerate(structures[:6])]
    extxyz.write_extxyz(tmp_path / "some.extxyz", written)
    arrays.write_npz(tmp_path / "some.npz", written, ["train"] * 6)
    keys = {
        "some.extxyz": ("charges", "dipole"),
        "some.npz": (arrays.ATOMIC_CHARGES_KEY, arrays.MOLECULAR_DIPOLE_KEY),
    }
    for name, (charges, dipole) in keys.items():
        options = FileOptions(atomic_charges_key=charges, molecular_dipole_key=dipole)
        contents = read_file(tmp_path / name, options)
        assert "6 sets of atomic charges, 6 dipole moments" in str(contents.inspection)
        for found, wanted in zip(contents.structures, written, strict=True):
            assert found.charges is not None
            assert found.dipole is not None
            assert wanted.dipole is not None
            np.testing.assert_allclose(found.charges, wanted.charges, atol=1e-7)
            np.testing.assert_allclose(found.dipole, wanted.dipole, atol=1e-6)
        plain = read_file(tmp_path / name).structures
        assert all(s.charges is None and s.dipole is None for s in plain)


def test_the_dipole_of_a_moved_ion_stays(
    make_structure: Callable[..., Structure], tmp_path: Path
) -> None:
    here = with_electrons(one(make_structure))
    assert here.dipole is not None
    there = dataclasses.replace(here, positions=here.positions + 3.0)
    extxyz.write_extxyz(tmp_path / "two.extxyz", [here, there])
    first, second = ase.io.iread(tmp_path / "two.extxyz")
    moved = second.get_dipole_moment() - first.get_dipole_moment()
    np.testing.assert_allclose(moved, 2 * 3.0, atol=1e-6)
    options = FileOptions(molecular_dipole_key="dipole", dipole_unit="debye")
    for found in read_structures(tmp_path / "two.extxyz", options):
        assert found.dipole is not None
        file = here.dipole + 2 * found.positions.mean(axis=0)
        wanted = file * DIPOLE_UNITS["debye"] - 2 * found.positions.mean(axis=0)
        np.testing.assert_allclose(found.dipole, wanted, atol=1e-6)


def test_units_have_their_published_values() -> None:
    # CODATA 2018 and the definitions of calorie and debye.
    assert ENERGY_UNITS["kcal/mol"] == pytest.approx(0.0433641043, rel=1e-8)
    assert ENERGY_UNITS["hartree"] == pytest.approx(627.5094740631 * ENERGY_UNITS["kcal/mol"])
    assert ENERGY_UNITS["kJ/mol"] == pytest.approx(0.0103642697, rel=1e-8)
    assert LENGTH_UNITS["bohr"] == pytest.approx(0.529177210903)
    assert DIPOLE_UNITS["debye"] == pytest.approx(0.2081943, rel=1e-6)
    assert DIPOLE_UNITS["e*bohr"] == pytest.approx(2.541746473 * DIPOLE_UNITS["debye"], rel=1e-8)
    assert force_factor("hartree/bohr") == pytest.approx(51.422067, rel=1e-7)
    assert force_factor("kcal/mol/Å") == pytest.approx(0.0433641, rel=1e-6)


def test_forces_can_have_a_unit_of_their_own_and_the_other_sign(
    make_structure: Callable[..., Structure], tmp_path: Path
) -> None:
    expected = one(make_structure)
    there = dataclasses.replace(expected, forces=-expected.forces / force_factor("hartree/bohr"))
    write_npz(tmp_path / "there.npz", [there])
    options = FileOptions(forces_unit="hartree/bohr", gradients=True)
    check_same(read_structures(tmp_path / "there.npz", options), [expected], 1e-12)


def test_keys_are_the_callers(structures: list[Structure], tmp_path: Path) -> None:
    arrays = padded(structures[:5])
    dipoles = np.random.default_rng(0).normal(size=arrays["positions"].shape)
    np.savez(
        tmp_path / "R.npz",
        R=arrays["positions"],
        Z=arrays["atomic_numbers"].astype(float),  # as the reference implementation stores them
        E=arrays["energy"][:, None],
        F=arrays["forces"],
        Q=arrays["charge"][:, None].astype(float),
        D=dipoles,
        name=np.array(["a", "a", "b", "b", "c"]),
        part=np.array(["train", "test", "train", "validation", "train"]),
    )
    options = FileOptions(
        energy_key="E",
        forces_key="F",
        charge_key="Q",
        numbers_key="Z",
        positions_key="R",
        dipoles_key="D",
        dipole_unit="debye",
        group_key="name",
    )
    found = read_file(tmp_path / "R.npz", options, split_key="part")
    check_same(found.structures, structures[:5], 0.0)
    assert [s.group for s in found.structures] == ["a", "a", "b", "b", "c"]
    assert found.splits == ["train", "test", "train", "validation", "train"]
    assert found.inspection.dipoles
    for s, rows in zip(found.structures, dipoles, strict=True):
        assert s.atomic_dipoles is not None
        expected = rows[: len(s.atomic_numbers)] * DIPOLE_UNITS["debye"]
        np.testing.assert_allclose(s.atomic_dipoles, expected, rtol=1e-12)


def test_keys_of_extended_xyz_name_headers_and_columns(tmp_path: Path) -> None:
    lines = [
        "2",
        'Properties=species:S:1:pos:R:3:grad:R:3:mu:R:3 E=-2.5 Q=-1 mol=abc pbc="F F F"',
        "O 0 0 0  1 2 3  0.1 0 0",
        "H 0 0 1  -1 -2 -3  0 0.2 0",
    ]
    (tmp_path / "some.xyz").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = FileOptions(
        energy_key="E",
        forces_key="grad",
        charge_key="Q",
        group_key="mol",
        dipoles_key="mu",
        gradients=True,
    )
    (found,) = read_structures(tmp_path / "some.xyz", options)
    assert (found.energy, found.total_charge, found.group) == (-2.5, -1, "abc")
    np.testing.assert_array_equal(found.forces, [[-1, -2, -3], [1, 2, 3]])
    np.testing.assert_array_equal(found.atomic_dipoles, [[0.1, 0, 0], [0, 0.2, 0]])


def test_a_database_has_keys_and_data_of_its_own(
    make_structure: Callable[..., Structure], tmp_path: Path
) -> None:
    s = one(make_structure)
    with ase.db.connect(tmp_path / "some.db") as database:
        database.write(
            Atoms(s.atomic_numbers, s.positions),
            key_value_pairs={"total": s.energy, "molecule": "water"},
            data={"gradient": -s.forces},
        )
    options = FileOptions(
        energy_key="total", forces_key="gradient", charge=0, gradients=True, group_key="molecule"
    )
    (found,) = read_structures(tmp_path / "some.db", options)
    check_same([found], [s], 0.0)
    assert found.group == "water"


def test_forces_of_constrained_atoms_are_read_as_they_are(
    make_structure: Callable[..., Structure], tmp_path: Path
) -> None:
    from ase.constraints import FixAtoms

    s = one(make_structure)
    atoms = Atoms(s.atomic_numbers, s.positions, constraint=FixAtoms([0]))
    atoms.calc = SinglePointCalculator(atoms, energy=s.energy, forces=s.forces)
    with ase.db.connect(tmp_path / "some.db") as database:
        database.write(atoms, charge=0)
    (found,) = read_structures(tmp_path / "some.db")
    np.testing.assert_array_equal(found.forces, s.forces)


def test_arrays_without_the_first_axis_belong_to_all_structures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    positions, forces = rng.normal(size=(2, 4, 3, 3)) * 3
    np.savez(
        tmp_path / "md.npz",
        positions=positions,
        forces=forces,
        energy=rng.normal(size=4),
        atomic_numbers=np.array([8, 1, 1]),
        charge=np.int64(0),
    )
    found = read_structures(tmp_path / "md.npz")
    assert [s.atomic_numbers.tolist() for s in found] == [[8, 1, 1]] * 4
    np.testing.assert_array_equal([s.forces for s in found], forces)


@pytest.mark.parametrize("size", [np.array([3, 2]), np.array([[1, 1, 1], [1, 1, 0]], bool)])
def test_padding_can_be_marked_by_sizes_or_masks(size: np.ndarray, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    positions, forces = rng.normal(size=(2, 2, 3, 3)) * 3
    np.savez(
        tmp_path / "some.npz",
        positions=positions,
        forces=forces,
        energy=np.array([1.0, 2.0]),
        atomic_numbers=np.array([[8, 1, 1], [1, 1, 9]]),
        size=size,
    )
    found = read_structures(tmp_path / "some.npz", FileOptions(size_key="size", charge=0))
    assert [s.atomic_numbers.tolist() for s in found] == [[8, 1, 1], [1, 1]]
    np.testing.assert_array_equal(found[1].forces, forces[1, :2])


def test_groups_of_hdf5_are_groups_of_structures(
    structures: list[Structure], tmp_path: Path
) -> None:
    parts = {"alkanes/a": structures[:3], "alkanes/b": structures[3:7], "c": structures[7:8]}
    with h5py.File(tmp_path / "some.h5", "w") as file:
        for name, members in parts.items():
            for key, array in padded(members).items():
                file[f"{name}/labels/{key}" if key in ("energy", "forces") else f"{name}/{key}"] = (
                    array
                )
    options = FileOptions(energy_key="labels/energy", forces_key="labels/forces")
    found = read_structures(tmp_path / "some.h5", options)
    check_same(found, structures[:8], 0.0)
    assert [s.group for s in found] == ["alkanes/a"] * 3 + ["alkanes/b"] * 4 + ["c"]


def test_a_summary_is_logged(
    structures: list[Structure], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_npz(tmp_path / "some.npz", structures)
    with caplog.at_level(logging.INFO, logger="data_pipelines"):
        read_structures(tmp_path / "some.npz")
    line = caplog.records[0].getMessage()
    assert "101 structures of 1 to 12 atoms; elements H C O; labels: 101 energies" in line
    assert "charges -1 (34), 0 (34), +1 (33)" in line or "charges -1 (34), 0 (33), +1 (34)" in line


def test_inputs_are_left_alone(structures: list[Structure], tmp_path: Path) -> None:
    write_npz(tmp_path / "some.npz", structures[:3])
    before = (tmp_path / "some.npz").read_bytes()
    read_structures(tmp_path / "some.npz")
    assert (tmp_path / "some.npz").read_bytes() == before


# -------------------------------------------------------------------------------------------------
# Bad files


def broken(**changes: Any) -> dict[str, Any]:
    """Arrays of three waters, with some of them changed, or left out by None."""
    water = np.array([[0, 0, 0.12], [0.76, 0, -0.48], [-0.76, 0, -0.48]])
    arrays: dict[str, Any] = {
        "atomic_numbers": np.array([[8, 1, 1]] * 3),
        "positions": np.stack([water, water + 0.1, water * 1.1]),
        "energy": np.array([-1.0, -1.1, -0.9]),
        "forces": np.arange(27.0).reshape(3, 3, 3),
        "charge": np.zeros(3, int),
        **changes,
    }
    return {key: array for key, array in arrays.items() if array is not None}


def put(array: Any, place: tuple[int, ...], value: float) -> np.ndarray:
    array = np.array(array, float)
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"energy": None}, r"energy: no key 'energy', expected one of .*atomic_numbers, charge"),
        ({"forces": None}, r"forces: no key 'forces'"),
        ({"positions": None}, r"positions: no key 'positions'"),
        ({"atomic_numbers": None}, r"atomic numbers: no key 'atomic_numbers'"),
        ({"energy": np.zeros(3)}, r"energy: all energies are zero"),
        ({"forces": np.zeros((3, 3, 3))}, r"forces: all forces are zero"),
        ({"energy": put([1, 2, 3], (1,), np.nan)}, r"structure 1: energy: got nan, expected fin"),
        ({"forces": put(broken()["forces"], (2, 1, 0), np.inf)}, r"structure 2: .* inf at atom 1"),
        ({"positions": put(broken()["positions"], (0, 2, 0), np.nan)}, r"structure 0: positions: "),
        ({"energy": np.zeros(2)}, r"energy: got shape \(2,\), expected \(3,\) or \(3, 1\)"),
        ({"energy": np.float64(1.0)}, r"energy: got shape \(\), expected \(3,\)"),
        ({"forces": np.ones((3, 2, 3))}, r"forces: got shape \(3, 2, 3\), expected \(3, 3, 3\)"),
        ({"forces": np.ones((3, 3))}, r"forces: got shape \(3, 3\), expected \(3, 3, 3\)"),
        ({"positions": np.ones(9)}, r"positions: got shape \(9,\)"),
        ({"positions": np.ones((3, 3, 2))}, r"positions: got shape \(3, 3, 2\)"),
        ({"atomic_numbers": np.ones((3, 2))}, r"got shape \(3, 2\), expected \(3, 3\) or \(3,\)"),
        ({"atomic_numbers": np.zeros((3, 3))}, r"structure 0: .* expected at least one atom"),
        ({"atomic_numbers": np.full((3, 3), 119)}, r"atomic numbers: got 119, expected integers"),
        ({"atomic_numbers": np.full((3, 3), 1.5)}, r"atomic numbers: got 1.5, expected integers"),
        ({"charge": np.array([0, 0.5, 0])}, r"structure 1: charge: got .*0.5.*, expected an int"),
        ({"charge": np.array(["a", "b", "c"])}, r"charge: got .*'a'.*, expected an integer"),
        ({"charge": np.zeros(2)}, r"charge: got shape \(2,\)"),
        ({"positions": np.zeros((3, 3, 3))}, r"atoms 0 and 1 are 0 Å apart, expected different"),
        ({"positions": np.zeros((0, 3, 3)), "energy": np.zeros(0), "forces": np.zeros((0, 3, 3)),
          "atomic_numbers": np.array([8, 1, 1]), "charge": np.zeros(0)}, r"has no structures"),
        ({"energy": np.array([1, None, 2])}, r"cannot read arrays .*allow_pickle"),
    ],
)  # fmt: skip
def test_bad_arrays_are_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.npz"
    np.savez(path, **broken(**changes))
    with pytest.raises(DataError, match=message) as caught:
        read_structures(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_good_arrays_are_not_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "good.npz", **broken())
    assert len(read_structures(tmp_path / "good.npz")) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bad.npz", b"PK\x03\x04 but nothing else", "cannot read arrays from this file"),
        ("bad.npz", b"no archive", "cannot read arrays from this file"),
        ("bad.h5", b"no archive either", "cannot read arrays from this file"),
        ("bad.db", b"no database", "cannot read structures from this file"),
        ("bad.extxyz", b"", "is empty, expected structures"),
        ("bad.extxyz", b"3\nenergy=1\nO 0 0 0\n", "cannot read structures from this file"),
        ("bad.extxyz", b"nothing that ASE knows\n", "cannot read structures from this file"),
        ("bad.extxyz", b"1\ncharge=0 energy=1\nO 0 0 0\n", "structure 0: forces: no key 'forces'"),
        ("bad.extxyz", b'1\nenergy=1 charge=0 pbc="T T T" Lattice="9 0 0 0 0 9 0 9 0" '
         b"Properties=species:S:1:pos:R:3:forces:R:3\nO 0 0 0 1 1 1\n", "is left-handed"),
        ("bad.extxyz", b"1\nenergy=-1 charge=0 Properties=species:S:1:pos:R:3:forces:R:3\n"
         b"O 0 0 0 1 nan 1\n", r"structure 0: forces: got nan at atom 0"),
        ("bad.extxyz", b"1\nenergy=low charge=0 Properties=species:S:1:pos:R:3:forces:R:3\n"
         b"O 0 0 0 1 0 1\n", r"structure 0: energy: got 'low', expected numbers"),
    ],
)  # fmt: skip
def test_bad_files_are_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_structures(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder, expected a file"):
        read_structures(tmp_path)
    with pytest.raises(DataError, match="no such file"):
        read_structures(tmp_path / "missing.npz")


def test_hdf5_without_positions_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        file["water/energy"] = np.ones(3)
    with pytest.raises(DataError, match="positions: no key 'positions' in any group"):
        read_structures(tmp_path / "bad.h5")


def test_names_in_hdf5_that_are_no_text_are_not_looked_at(
    structures: list[Structure], tmp_path: Path
) -> None:
    write_hdf5(tmp_path / "some.h5", structures[:2])
    with h5py.File(tmp_path / "some.h5", "a") as file:
        file[b"\xff\xfe"] = np.zeros(3)
    assert len(read_structures(tmp_path / "some.h5")) == 2
    with h5py.File(tmp_path / "some.h5", "a") as file:
        numbers = next(key for key in file if file[key].dtype == np.int32)
        del file[numbers]
    with pytest.raises(DataError, match="atomic numbers: no key"):
        read_structures(tmp_path / "some.h5")


def test_a_bad_group_of_hdf5_is_named(structures: list[Structure], tmp_path: Path) -> None:
    with h5py.File(tmp_path / "bad.h5", "w") as file:
        for key, array in padded(structures[:3]).items():
            if key != "energy":
                file[f"water/{key}"] = array
    with pytest.raises(DataError, match="group water: energy: no key 'energy'"):
        read_structures(tmp_path / "bad.h5")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"energy_unit": "kcal"}, "energy_unit: got 'kcal', expected one of eV, meV, hartree"),
        ({"length_unit": "pm"}, "length_unit: got 'pm', expected one of Å"),
        ({"forces_unit": "eV"}, "forces_unit: got 'eV', expected ENERGY/LENGTH"),
        ({"forces_unit": "eV/s"}, "forces_unit: got 'eV/s', expected ENERGY/LENGTH"),
        ({"dipoles_key": "D", "dipole_unit": "C"}, "dipole_unit: got 'C', expected one of e·Å"),
        ({"dipole_unit": "debye"}, "dipole_unit: got 'debye', expected dipoles_key or"),
        ({"charge": 0, "charge_key": "Q"}, "charge_key: got 'Q' together with charge = 0"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        FileOptions(**options)


@pytest.mark.parametrize("option", ["numbers_key", "positions_key", "size_key"])
def test_options_without_effect_are_refused(
    option: str, structures: list[Structure], tmp_path: Path
) -> None:
    write_extxyz(tmp_path / "some.extxyz", structures[:2])
    with pytest.raises(DataError, match=f"{option}: got 'R', expected it for npz and HDF5"):
        read_structures(tmp_path / "some.extxyz", FileOptions(**{option: "R"}))


def test_a_missing_package_is_named(
    structures: list[Structure], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_hdf5(tmp_path / "some.h5", structures[:2])
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(DataError, match=r"package 'h5py' is missing, expected .* efa-zoo\[data\]"):
        read_structures(tmp_path / "some.h5")


# -------------------------------------------------------------------------------------------------
# Published files of the reference implementation

REFERENCE = Path(__file__).parents[3] / "shared" / "reference" / "datasets"
reference = pytest.mark.skipif(not REFERENCE.is_dir(), reason="needs the reference's data sets")


@reference
@pytest.mark.parametrize(
    ("name", "count", "elements"),
    [
        ("3D_cluster_16_atoms_radius_2point5", 2500, ("H",)),
        ("two_atoms", 10_000, ("H", "He")),
        ("cumulene_profile", 1000, ("H", "C")),
    ],
)
def test_published_files_are_read(name: str, count: int, elements: tuple[str, ...]) -> None:
    found = read_file(REFERENCE / f"{name}.npz", FileOptions(charge=0))
    with np.load(REFERENCE / f"{name}.npz") as file:
        np.testing.assert_array_equal([s.energy for s in found.structures], file["energy"])
        np.testing.assert_array_equal([s.forces for s in found.structures], file["forces"])
        np.testing.assert_array_equal([s.positions for s in found.structures], file["positions"])
    assert found.inspection.structures == count
    assert found.inspection.elements == elements
    assert found.inspection.warnings == []


@reference
def test_published_labels_that_are_missing_stop_the_reading() -> None:
    with pytest.raises(DataError, match="forces: all forces are zero"):
        read_structures(REFERENCE / "sn2_F_I.npz", FileOptions(charge=-1))


def hdf5(path: Path, **changes: Any) -> h5py.File:
    """Write an HDF5 file of three structures and open it again, to be spoilt."""
    arrays = broken()
    with h5py.File(path, "w") as file:
        for key, array in arrays.items():
            if key not in changes:
                file[key] = array
    return h5py.File(path, "r+")


def test_what_lies_outside_of_an_hdf5_file_is_not_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret.bin"
    energies = np.asarray(broken()["energy"], float)
    secret.write_bytes(energies.tobytes())
    with hdf5(tmp_path / "raw.h5", energy=None) as file:
        file.create_dataset(
            "energy", energies.shape, float, external=[(str(secret), 0, energies.nbytes)]
        )
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["energy"] = energies
    with hdf5(tmp_path / "link.h5", energy=None) as file:
        file["energy"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "energy")
    with hdf5(tmp_path / "virtual.h5", energy=None) as file:
        layout = h5py.VirtualLayout(energies.shape, float)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "energy", energies.shape)
        file.create_virtual_dataset("energy", layout)
    for name, message in (
        ("raw", "energy: lies outside of the file"),
        ("link", "energy: is a link to another file"),
        ("virtual", "energy: lies outside of the file"),
    ):
        with pytest.raises(DataError, match=message):
            read_file(tmp_path / f"{name}.h5")


def test_a_data_set_that_is_not_there_is_refused_where_it_is_used(tmp_path: Path) -> None:
    with hdf5(tmp_path / "unused.h5") as file:
        file.create_dataset("unused", (10**13,), float, chunks=(10**5,))
    assert read_file(tmp_path / "unused.h5").structures
    with hdf5(tmp_path / "used.h5", forces=None) as file:
        shape = np.shape(broken()["forces"])
        file.create_dataset("forces", (10**10, *shape[1:]), float, chunks=(10**4, *shape[1:]))
    with pytest.raises(DataError, match=r"forces: has .* bytes, of which the file holds 0"):
        read_file(tmp_path / "used.h5")


def test_an_array_of_an_npz_that_nobody_asks_for_may_be_broken(tmp_path: Path) -> None:
    np.savez(tmp_path / "some.npz", **broken(), notes=np.array([{}], object))
    assert read_file(tmp_path / "some.npz").structures


def test_a_charge_that_a_file_does_not_give_is_zero_and_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ["O 0 0 0 1 0 0", "C 1.1 0 0 -1 0 0"]
    header = "Properties=species:S:1:pos:R:3:forces:R:3 energy=-1"
    path = tmp_path / "some.extxyz"
    path.write_text("\n".join(["2", header, *rows, ""]))
    np.savez(tmp_path / "some.npz", **broken(charge=None))
    for file in (path, tmp_path / "some.npz"):
        caplog.clear()
        with caplog.at_level("INFO", logger="data_pipelines"):
            structures = read_file(file).structures
        assert {structure.total_charge for structure in structures} == {0}
        assert caplog.messages == [f"{file}: charge: not given, so it is 0"]
    path.write_text("\n".join(["2", f"{header} charge=0", *rows, "2", header, *rows, ""]))
    with pytest.raises(DataError, match="structure 1: charge: given for some structures only"):
        read_file(path)
    with pytest.raises(DataError, match="no key 'Q'"):
        read_file(path, FileOptions(charge_key="Q"))
