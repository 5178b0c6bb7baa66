"""Strategies: cases of everything that the library takes from outside."""

from __future__ import annotations

import atexit
import hashlib
import io
import itertools
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from ase import Atoms
from hypothesis import strategies as st
from toys import TOY_DOMAIN, TOY_REFERENCES, TOY_ZOO_FILE

from data_pipelines.files.frames import read_frames
from data_pipelines.files.reading import read_file
from efa_zoo.base.config import from_table
from efa_zoo.base.errors import DataError
from efa_zoo.base.files import read_record, write_record
from efa_zoo.interop.export import _archive
from efa_zoo.models.hub.cards import Card, write_results
from efa_zoo.models.hub.digest import card_entries, require_digest
from efa_zoo.models.hub.records import WeightsFile
from efa_zoo.models.hub.registry import find
from efa_zoo.models.inputs.checks import check_structure
from efa_zoo.models.weights import load_weights, save_weights
from efa_zoo.structures.graph import Graph
from robustness.judge import Case

__all__ = ["CASES"]

_PLACE = Path(tempfile.mkdtemp(prefix="robustness-"))
atexit.register(shutil.rmtree, _PLACE, ignore_errors=True)
_numbers = itertools.count()


def _new(name: str) -> Path:
    """A path in a folder of its own."""
    folder = _PLACE / str(next(_numbers) % 50)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder / name


def _card() -> Card:
    path = _PLACE / "toy.toml"
    path.write_text(TOY_ZOO_FILE.format(name="toy"), encoding="utf-8")
    return write_results(
        path,
        weights=WeightsFile(sha256="0" * 64, parameters=10, bytes=100),
        domain=TOY_DOMAIN,
        reference_energies=TOY_REFERENCES,
        metrics={"test": {"energy_mae": 0.001}},
    )


CARD = _card()
CARD_TEXT = (_PLACE / "toy.toml").read_text(encoding="utf-8")
ENTRIES = card_entries(CARD)


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """Bytes with some of them changed, cut out, doubled or put in, or cut off."""

    @st.composite
    def damage(draw: st.DrawFn) -> bytes:
        result = bytearray(content)
        for _ in range(draw(st.integers(1, 4))):
            place = draw(st.integers(0, max(len(result) - 1, 0)))
            length = draw(st.integers(1, 40))
            kind = draw(st.sampled_from(["flip", "cut", "end", "double", "insert", "zero"]))
            part = slice(place, place + length)
            if kind == "flip" and result:
                result[place] ^= draw(st.integers(1, 255))
            elif kind == "cut":
                del result[part]
            elif kind == "end":
                del result[place:]
            elif kind == "double":
                result[part] = result[part] * 2
            elif kind == "insert":
                result[place:place] = draw(st.binary(min_size=1, max_size=20))
            else:
                result[part] = bytes(len(result[part]))
        return bytes(result)

    return damage()


# ------------------------------------------------------------------------------------------------
# Structures

_WATER = np.array([[0.0, 0, 0.12], [0.76, 0, -0.48], [-0.76, 0, -0.48]])

#: Whatever somebody may put where an array of numbers belongs.
_THINGS = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.booleans(),
    st.floats(),
    st.integers(),
    st.lists(st.floats(), max_size=4),
    st.lists(st.lists(st.integers(-5, 200), max_size=3), max_size=4),
    st.sampled_from(
        [
            np.zeros((5, 3)),
            np.zeros((3, 3), complex),
            np.array([8.0, 1.0, 1.0]),
            np.array([8, 1, -1]),
            np.zeros((3, 3), bool),
            np.array([None, 1, 1], object),
            np.array(["O", "H", "H"]),
            np.full((3, 3), np.nan),
            np.full((3, 3), 1e300),
            np.zeros(0),
        ]
    ),
)


def _taken(structure: object, charge: object = None) -> Callable[[], bool]:
    def run() -> bool:
        molecule = check_structure(structure, CARD, charge, "error")  # type: ignore[arg-type]
        return bool(
            np.array_equal(molecule.numbers, [8, 1, 1])
            and molecule.positions.shape == (3, 3)
            and np.isfinite(molecule.positions).all()
            and molecule.charge == 0
        )

    return run


@st.composite
def atoms_cases(draw: st.DrawFn) -> Case:
    """ASE atoms whose arrays or header were tampered with."""
    atoms = Atoms("OH2", _WATER, info={"charge": 0})
    where = draw(
        st.sampled_from(
            ["numbers", "positions", "charge", "initial_charges", "initial_magmoms", "info", "pbc"]
        )
    )
    thing = draw(_THINGS)
    valid: bool | None = None
    if where in ("numbers", "positions"):
        atoms.arrays[where] = thing
    elif where == "charge":
        atoms.info["charge"] = thing
    elif where == "info":
        atoms.info = {draw(st.text(max_size=5)): thing}
    elif where == "pbc":
        atoms.pbc = draw(st.sampled_from([True, (True, False, False), False]))
        valid = not atoms.pbc.any()
    else:
        values = np.array(draw(st.lists(st.floats(-9, 9), min_size=3, max_size=3)))
        atoms.arrays[where] = values
        refused = abs(values).max() > 0.1 if where == "initial_magmoms" else abs(sum(values)) > 0.01
        valid = False if refused else None
    return Case(what=f"atoms, {where} = {thing!r}"[:200], run=_taken(atoms), valid=valid)


@st.composite
def graph_cases(draw: st.DrawFn) -> Case:
    """Graphs whose leaves were tampered with, and arguments of `Graph.from_arrays`."""
    thing = draw(_THINGS)
    if draw(st.booleans()):
        names = ["atomic_numbers", "positions", "total_charge", "atomic_dipoles"]
        name = draw(st.sampled_from(names))
        arguments: dict[str, Any] = {"atomic_numbers": [8, 1, 1], "positions": _WATER}

        def run() -> bool:
            graph = Graph.from_arrays(**{**arguments, name: thing}, cutoff=4.0)
            return _taken(graph)()

        return Case(what=f"from_arrays, {name} = {thing!r}"[:200], run=run)
    graph = Graph.from_arrays([8, 1, 1], _WATER, 4.0).pad(8, 8)
    numbers = np.array(graph.atomic_numbers)
    changes: Mapping[str, Any] = draw(
        st.sampled_from(
            [
                {"atomic_numbers": np.where(numbers > 0, numbers, -1)},
                {"atomic_numbers": numbers.astype(float)},
                {"total_charge": 0.5},
                {"total_charge": 0.0},
                {"total_charge": np.float32(0)},
                {"total_charge": np.zeros(1, int)},
                {"positions": np.array(graph.positions)[:5]},
                {"positions": np.array(graph.positions).astype(complex)},
                {"positions": np.full((8, 3), np.nan)},
            ]
        )
    )
    fields = {name: getattr(graph, name) for name in graph.__dataclass_fields__}
    return Case(
        what=f"graph with {changes!r}"[:200],
        run=_taken(Graph(**{**fields, **changes})),
        valid=False,
    )


@st.composite
def charge_cases(draw: st.DrawFn) -> Case:
    """Charges as an argument."""
    charge = draw(_THINGS | st.sampled_from([10**400, -(10**400), 10**12, np.int64(0), 0j, "0"]))
    atoms = Atoms("OH2", _WATER)
    return Case(what=f"charge = {charge!r}"[:200], run=_taken(atoms, charge))


# ------------------------------------------------------------------------------------------------
# Files of structures

XYZ = (
    '3\ncharge=0 name="some water" Properties=species:S:1:pos:R:3\n'
    "O 0.0 0.0 0.12\nH 0.76 0.0 -0.48\nH -0.76 0.0 -0.48\n"
)


def _read_all(path: Path) -> list[Atoms]:
    try:
        return list(read_frames(path))
    except DataError:
        raise
    except Exception as error:  # what ASE stumbles over, the commands turn into one line
        raise DataError("cannot read structures") from error


@st.composite
def xyz_cases(draw: st.DrawFn) -> Case:
    """Files in the extended XYZ format: damaged bytes, lines, headers."""
    kind = draw(st.sampled_from(["bytes", "lines", "count", "header", "doubled", "long", "name"]))
    name, valid, text = "file.extxyz", None, XYZ
    content = text.encode()
    if kind == "bytes":
        content = draw(damaged(content))
    elif kind == "lines":
        lines = text.splitlines(keepends=True)
        order = draw(st.lists(st.integers(0, len(lines) - 1), max_size=8))
        content = "".join(lines[i] for i in order).encode()
    elif kind == "count":
        count = draw(st.sampled_from(["99999999999", "-3", "3.0", "1e9", "4", "9" * 400, "٣x"]))
        content, valid = text.replace("3\n", f"{count}\n", 1).encode(), False
    elif kind == "header":
        word = draw(st.text(st.characters(exclude_categories=("Cs",)), max_size=30))
        word = " ".join(word.split())
        content = text.replace("name=", f"{word} name=").encode()
    elif kind == "doubled":
        key, value = draw(st.sampled_from([("charge", "2"), ("name", "x"), ("Properties", "y")]))
        content, valid = text.replace("name=", f"{key}={value} name=").encode(), False
    elif kind == "long":
        filler = draw(st.sampled_from(["x", "x ", 'a="', "{", "=", "\\"])) * 1_200_000
        content, valid = text.replace("name=", f"{filler} name=").encode(), False
    else:
        name = draw(st.sampled_from(["y@0.xyz", "a@b.extxyz", "@", "postgres.xyz", "-.xyz"]))
        valid = True
    return take_xyz(content, name, valid, kind)


def take_xyz(
    content: bytes, name: str = "file.extxyz", valid: bool | None = None, kind: str = "bytes"
) -> Case:
    """Read and check all structures of a file."""
    path = _new(name)
    path.write_bytes(content)

    def run() -> bool | None:
        frames = _read_all(path)
        for atoms in frames:
            check_structure(atoms, CARD, None, "error")
        return len(frames) == 1 if valid else None

    return Case(what=f"{kind}: {content[:150]!r}", run=run, valid=valid)


# ------------------------------------------------------------------------------------------------
# Cards, weights, exported models, records


def take_card(text: bytes, what: str = "bytes", valid: bool | None = None) -> Case:
    """Read a zoo file."""
    path = _new("toy.toml")
    path.write_bytes(text)

    def run() -> bool:
        card = Card.from_toml(path)
        str(card)
        if card.weights is None:
            return True  # a recipe, which gives no numbers
        require_digest(card, path)
        return card_entries(card) == ENTRIES

    return Case(what=what, run=run, valid=valid)


@st.composite
def card_cases(draw: st.DrawFn) -> Case:
    """Zoo files: damaged bytes, other values, deep nesting, many digits, large sizes."""
    kind = draw(st.sampled_from(["bytes", "value", "deep", "digits", "size", "line"]))
    lines = CARD_TEXT.splitlines()
    values = [i for i, line in enumerate(lines) if " = " in line and "marks" not in line]
    chosen = draw(st.sampled_from(values))
    key = lines[chosen].partition(" = ")[0]

    def with_value(value: str) -> bytes:
        changed = [*lines[:chosen], f"{key} = {value}", *lines[chosen + 1 :]]
        return "\n".join(changed).encode()

    if kind == "bytes":
        return take_card(draw(damaged(CARD_TEXT.encode())), "damaged bytes")
    if kind == "value":
        value = draw(
            st.integers().map(str)
            | st.floats().map(lambda x: repr(x).replace("e", "e"))
            | st.sampled_from(["true", '"text"', "[]", "[1, 2]", "{}", "1979-05-27", "nan", "-0.0"])
        )
        return take_card(with_value(value), f"{key} = {value}"[:200])
    if kind == "deep":
        depth = draw(st.sampled_from([100, 1000, 20_000]))
        value = draw(
            st.sampled_from(["[" * depth + "]" * depth, "{a=" * depth + "1" + "}" * depth])
        )
        text = with_value(value) if draw(st.booleans()) else b"a." * depth + b"b = 1\n"
        return take_card(text, f"{key}, {depth} deep", valid=False)
    if kind == "digits":
        digits = draw(st.sampled_from([1000, 4300, 10_000, 100_000]))
        return take_card(with_value("9" * digits), f"{key}, {digits} digits")
    if kind == "size":
        sizes = [i for i in values if lines[i].partition(" = ")[2].split()[0].isdigit()]
        chosen = draw(st.sampled_from(sizes))
        key = lines[chosen].partition(" = ")[0]
        return take_card(with_value(str(draw(st.sampled_from([10**9, 10**15])))), f"{key} huge")
    gone = draw(st.sets(st.sampled_from(range(len(lines))), min_size=1, max_size=3))
    text = "\n".join(line for i, line in enumerate(lines) if i not in gone)
    return take_card(text.encode(), f"without lines {sorted(gone)}")


_TREE = {"matrix": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.ones(3, np.float32)}
_WEIGHTS = _PLACE / "whole.safetensors"
_SHA256 = save_weights(_WEIGHTS, _TREE, {"name": "toy"})
WEIGHTS_BYTES = _WEIGHTS.read_bytes()


@st.composite
def weights_cases(draw: st.DrawFn) -> Case:
    """Weights files with damaged bytes, with and without their hash, and headers made up."""
    if draw(st.booleans()):
        content = draw(damaged(WEIGHTS_BYTES))
    else:
        header = draw(
            st.sampled_from(
                [
                    b"[" * 50_000,
                    b'{"a":' * 20_000,
                    b'{"bias":{"dtype":"F32","shape":[1000000000000000],"data_offsets":[0,4]}}',
                    b'{"bias":{"dtype":"F32","shape":[3],"data_offsets":[0,%d]}}' % 10**18,
                    b'{"bias":{"dtype":"F32","shape":[-3],"data_offsets":[0,12]}}',
                    b"{}",
                    b"null",
                ]
            )
        )
        length = draw(st.sampled_from([len(header), 2**63, 10**15, 0]))
        content = length.to_bytes(8, "little") + header + bytes(100)
    return take_weights(content, hashed=draw(st.booleans()))


def take_weights(content: bytes, *, hashed: bool = True) -> Case:
    """Read a weights file."""
    path = _new("toy.safetensors")
    path.write_bytes(content)

    def run() -> bool | None:
        load_weights(path, _TREE, _SHA256 if hashed else None)
        return content == WEIGHTS_BYTES if hashed else None

    return Case(what=f"weights, hashed: {hashed}, {content[:80]!r}", run=run)


_PROGRAM = b"a program"


def _archived() -> bytes:
    path = _PLACE / "toy.zip"
    _archive.write(
        path, _PROGRAM, CARD, np.dtype("float32"), ("cpu",), "exact", None, calibrated=False
    )
    return path.read_bytes()


ARCHIVE = _archived()
_ORIGINAL = _archive._entries(_archive.read(Path("toy.zip"), ARCHIVE)[0], CARD)


@st.composite
def export_cases(draw: st.DrawFn) -> Case:
    """Exported models: damaged archives, and manifests with other values."""
    manifest, _ = _archive.read(Path("toy.zip"), ARCHIVE)
    kind = draw(st.sampled_from(["bytes", "value", "text"]))
    if kind == "bytes":
        content = draw(damaged(ARCHIVE))
    else:
        text: str | bytes = b""
        if kind == "value":
            place: Any = manifest
            while True:
                key = draw(st.sampled_from(sorted(place)))
                if not isinstance(place[key], dict) or not place[key] or draw(st.booleans()):
                    break
                place = place[key]
            place[key] = draw(
                st.none()
                | st.integers()
                | st.floats(allow_nan=False)
                | st.text(max_size=4)
                | st.just([])
            )
            text = json.dumps(manifest)
        else:
            text = draw(
                st.sampled_from(
                    ["[" * 10**5, '{"a":' * 10**5, "9" * 10_000, "{}", "[]", " " * 10**7]
                )
            )
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            archive.writestr(_archive.MANIFEST, text)
            archive.writestr(_archive.PROGRAM, _PROGRAM)
        content = stream.getvalue()
    return take_archive(content, kind)


def take_archive(content: bytes, kind: str = "bytes") -> Case:
    """Read an exported model as far as its program."""
    path = _new("toy.zip")

    def run() -> bool:
        found, program = _archive.read(path, content)
        try:
            card = from_table(Card, found["card"])
            _archive.require_digest(path, found, card)
        except (KeyError, TypeError, AttributeError) as error:  # as `load_exported` does
            raise DataError(repr(error)) from error
        if hashlib.sha256(program).hexdigest() != found["program"]["sha256"]:
            raise DataError("another program")
        return _archive._entries(found, card) == _ORIGINAL and program == _PROGRAM

    return Case(what=f"exported, {kind}: {content[:80]!r}", run=run)


_FACTS = {"step": 11, "best": {"energy_mae": 0.1}, "recipe": {"model": {"features": 4}}}


def take_record(content: bytes, what: str = "bytes") -> Case:
    """Read a checkpoint."""
    path = _new("checkpoint.json")
    path.write_bytes(content)
    return Case(
        what=f"record, {what}",
        run=lambda: read_record(path) == _FACTS,
        refusals=(ValueError, OSError),
    )


@st.composite
def record_cases(draw: st.DrawFn) -> Case:
    """Checkpoints of trainings and simulations, damaged."""
    facts = _FACTS
    path = _new("checkpoint.json")
    write_record(path, facts)
    kind = draw(st.sampled_from(["bytes", "shift", "made up"]))
    if kind == "bytes":
        path.write_bytes(draw(damaged(path.read_bytes())))
    elif kind == "shift":
        old, new = draw(st.sampled_from([("11", "12"), ("0.1", "0.01"), ("4", "5"), ("step", "s")]))
        path.write_text(path.read_text().replace(old, new, 1))
    else:
        text = ["", "{}", "[]", "3", '{"digest": "0"}', "[" * 10**5, "9" * 10_000, '{"digest": 1}']
        path.write_text(draw(st.sampled_from(text)))
    return take_record(path.read_bytes(), kind)


# ------------------------------------------------------------------------------------------------
# Labelled files, names


def _labelled() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "atomic_numbers": np.array([[8, 1, 1]] * 3),
        "positions": np.stack([_WATER, _WATER + 0.1, _WATER * 1.1]),
        "energy": np.array([-1.0, -1.1, -0.9]),
        "forces": rng.normal(size=(3, 3, 3)),
        "charge": np.zeros(3, int),
    }


def _same(path: Path) -> bool:
    expected = _labelled()
    found = read_file(path).structures
    return len(found) == 3 and all(
        s.energy == expected["energy"][i]
        and np.array_equal(s.forces, expected["forces"][i])
        and np.array_equal(s.positions, expected["positions"][i])
        for i, s in enumerate(found)
    )


def _write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    if path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[name] = array


def labelled_bytes(ending: str) -> bytes:
    """A file of labelled structures."""
    path = _new(f"data{ending}")
    _write_arrays(path, _labelled())
    return path.read_bytes()


def take_labelled(content: bytes, ending: str) -> Case:
    """Read a file of labelled structures."""
    path = _new(f"data{ending}")
    path.write_bytes(content)
    # HDF5 keeps no checksums of numbers: another number in it is another number.
    return Case(
        what=f"labelled{ending}, bytes",
        run=lambda: _same(path) or (None if ending == ".h5" else False),
    )


@st.composite
def labelled_cases(draw: st.DrawFn) -> Case:
    """Files of labelled structures, npz and HDF5: other arrays, damaged archives."""
    arrays = _labelled()
    ending = draw(st.sampled_from([".npz", ".h5"]))
    path = _new(f"data{ending}")
    kind = draw(st.sampled_from(["bytes", "array", "scaled"]))
    valid, what = None, kind
    if kind == "array":
        name = draw(st.sampled_from(sorted(arrays)))
        shape = arrays[name].shape
        thing, valid = draw(
            st.sampled_from(
                [
                    (np.zeros(shape, complex), False),
                    (np.ones(shape, bool), False),
                    (np.full(shape, np.nan), False),
                    (np.full(shape, np.inf), False),
                    (np.full(shape, b"text"), False),
                    (np.zeros((7, 2)), False),
                    (np.full(shape, 1e300), False),
                    (np.array(3.5), False),
                    (None, name == "charge"),
                ]
            )
        )
        arrays[name], what = thing, f"{name} = {thing!r}"[:200]
    elif kind == "scaled":
        name, factor = draw(
            st.sampled_from(
                [("energy", 1e300), ("positions", 1e6), ("forces", 1e9), ("energy", 1e9)]
            )
        )
        arrays[name], valid, what = arrays[name] * factor, False, f"{name} × {factor:g}"
    arrays = {name: array for name, array in arrays.items() if array is not None}
    _write_arrays(path, arrays)
    if kind == "bytes":
        return take_labelled(draw(damaged(path.read_bytes())), ending)
    return Case(what=what, run=lambda: bool(read_file(path).structures), valid=valid)


@st.composite
def name_cases(draw: st.DrawFn) -> Case:
    """Names of models."""
    name = draw(
        st.text(max_size=20).map(lambda text: f"no such {text}")
        | st.sampled_from(["", "~nobody_there/x", "a" * 5000, "a/" * 4000, "\0", "\x1b[2J"])
        | st.none()
        | st.integers()
        | st.binary(max_size=5)
        | st.floats()
        | st.just(["list"])
    )
    return Case(what=f"name {name!r}"[:200], run=lambda: bool(find(name)), valid=False)  # type: ignore[arg-type]


#: Kinds of cases: the strategy, and how many of it the table counts.
CASES: dict[str, tuple[st.SearchStrategy[Case], int]] = {
    "ASE atoms": (atoms_cases(), 250),
    "graphs": (graph_cases(), 150),
    "charges": (charge_cases(), 100),
    "extended XYZ files": (xyz_cases(), 300),
    "zoo files": (card_cases(), 300),
    "weights files": (weights_cases(), 200),
    "exported models": (export_cases(), 200),
    "checkpoints": (record_cases(), 150),
    "labelled files": (labelled_cases(), 250),
    "names of models": (name_cases(), 100),
}
