"""The data set `dimers`: reproducible, lossless, honestly split."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from builders import image, records

pytest.importorskip("tblite")
pytest.importorskip("tensorflow_datasets")

from data_pipelines import build, load_split, metadata
from data_pipelines.labels.labelling import charges_hold
from data_pipelines.sampling.dimers import (
    TRANSFER_PAIRS,
    UNLABELLED_PAIRS,
    DimerSettings,
    make_dimers,
)
from data_pipelines.sampling.monomers import MONOMERS
from efa_zoo.base.errors import DataError

SMALL = DimerSettings(
    monomers=("hydrogen_fluoride", "fluoride"), per_pair=4, per_monomer=2, curves_per_pair=1
)
SPLITS = ("train", "validation", "test", "transfer", "curves")


def test_building_twice_gives_the_same_bytes(tiny_data_dir: Path, tmp_path: Path) -> None:
    again = build("dimers", data_dir=tmp_path, config="tiny", workers=1)
    first = records(tiny_data_dir / "dimers" / "tiny" / again.name)
    assert len(first) == len(SPLITS)
    assert records(again) == first


def test_what_is_stored_is_what_was_labelled(tiny_data_dir: Path) -> None:
    from data_pipelines.builders.dimers import Dimers

    made = make_dimers(Dimers.builder_configs["tiny"].settings, workers=2)  # pyright: ignore
    for split, structures in made.splits.items():
        stored = load_split("dimers", split, data_dir=tiny_data_dir, config="tiny")
        assert {image(s) for s in stored} == {image(s) for _, s in structures}


def test_the_seed_changes_the_data() -> None:
    one = make_dimers(SMALL, workers=2)
    other = make_dimers(dataclasses.replace(SMALL, seed=1), workers=2)
    energies = [{s.energy for _, s in made.splits["train"]} for made in (one, other)]
    # The lone ion is the same in every seed.
    assert len(energies[0] & energies[1]) <= 1


def test_fewer_monomers_give_a_part_of_the_same_data(tiny_data_dir: Path) -> None:
    larger = {
        image(s)
        for split in SPLITS
        for s in load_split("dimers", split, data_dir=tiny_data_dir, config="tiny")
    }
    settings = dataclasses.replace(SMALL, per_pair=10, per_monomer=5)
    smaller = make_dimers(settings, workers=2)
    for structures in smaller.splits.values():
        assert {image(s) for _, s in structures} <= larger


def test_splits_are_disjoint_and_hold_out_whole_pairs(tiny_data_dir: Path) -> None:
    splits = {
        name: load_split("dimers", name, data_dir=tiny_data_dir, config="tiny") for name in SPLITS
    }
    everything = [image(s) for structures in splits.values() for s in structures]
    assert len(everything) == len(set(everything))
    held_out = {"+".join(pair) for pair in TRANSFER_PAIRS}
    assert {s.pair for s in splits["transfer"]} == {"water+carbon_dioxide"}
    for name in ("train", "validation", "test"):
        assert splits[name]
        assert not held_out & {s.pair for s in splits[name]}
    assert not {"+".join(p) for p in UNLABELLED_PAIRS} & {s.pair for s in splits["train"]}
    assert Counter(s.curve >= 0 for s in splits["curves"]) == {True: len(splits["curves"])}


def test_held_out_pairs_are_of_the_intended_kinds() -> None:
    kinds = Counter(tuple(sorted(MONOMERS[n].kind for n in pair)) for pair in TRANSFER_PAIRS)
    expected = [("ion", "polar"), ("polar", "polar"), ("apolar", "polar"), ("ion", "ion")]
    assert kinds == Counter(expected)


def test_structures_are_consistent(tiny_data_dir: Path) -> None:
    structures = [
        s
        for split in SPLITS
        for s in load_split("dimers", split, data_dir=tiny_data_dir, config="tiny")
    ]
    for s in structures:
        assert s.positions.shape == s.forces.shape == (len(s.atomic_numbers), 3)
        assert s.positions.dtype == s.forces.dtype == np.float64
        assert s.total_charge == s.formal_charges.sum()
        assert s.fragment_charges.sum() == pytest.approx(s.total_charge, abs=1e-8)
        np.testing.assert_allclose(s.forces.sum(axis=0), 0.0, atol=1e-6)
        expected = [z for name in s.monomers if name for z in MONOMERS[name].atomic_numbers]
        assert s.atomic_numbers.tolist() == expected
        if not s.monomers[1]:
            assert np.isnan([s.separation, s.closest_contact]).all()
            assert s.interaction_energy == 0.0
            continue
        assert s.separation <= 15.0
        assert charges_hold(s.fragment_charges, s.formal_charges, s.separation)
        first, second = (s.positions[s.fragment == i] for i in range(2))
        nearest = np.linalg.norm(first[:, None] - second[None], axis=-1).min()
        assert s.closest_contact == pytest.approx(nearest, abs=1e-9)
        assert abs(s.interaction_energy) < 10.0


def test_scans_are_rigid_and_their_fragments_relaxed(tiny_data_dir: Path) -> None:
    points = load_split("dimers", "curves", data_dir=tiny_data_dir, config="tiny")
    for number in {s.curve for s in points}:
        scan = sorted((s for s in points if s.curve == number), key=lambda s: s.separation)
        assert len({s.fragment_energies.tobytes() for s in scan}) == 1
        shapes = np.array([s.positions[s.fragment == 0] for s in scan])
        np.testing.assert_array_equal(shapes, np.broadcast_to(shapes[0], shapes.shape))


def test_the_interaction_of_neutral_molecules_fades(tiny_data_dir: Path) -> None:
    points = load_split("dimers", "curves", data_dir=tiny_data_dir, config="tiny")
    for s in points:
        if s.separation > 14 and not s.formal_charges.any():
            assert abs(s.interaction_energy) < 5e-3


def test_counts_and_level_of_theory_are_stored(tiny_data_dir: Path) -> None:
    stored = metadata("dimers", data_dir=tiny_data_dir, config="tiny")
    assert stored["level_of_theory"].startswith("GFN2-xTB (tblite ")
    assert stored["units"]["energy"] == "eV"
    kept = sum(counter.get("kept", 0) for counter in stored["counts"].values())
    sizes = {
        split: len(load_split("dimers", split, data_dir=tiny_data_dir, config="tiny"))
        for split in SPLITS
    }
    assert kept == sum(sizes.values()) - sizes["curves"]
    assert stored["counts"]["water+fluoride"].get("kept", 0) <= 10
    assert "fluoride" in stored["counts"]


def test_dropped_labels_are_counted_by_pair_and_reason() -> None:
    settings = DimerSettings(
        monomers=("hydrogen_chloride", "fluoride"), per_pair=20, per_monomer=0, curves_per_pair=0
    )
    made = make_dimers(settings, workers=2)
    counter = made.notes["counts"]["hydrogen_chloride+fluoride"]
    assert sum(counter.values()) == 20
    assert set(counter) - {"kept"} <= {"unconverged", "charge", "crash", "timeout"}
    assert counter["kept"] < 20


def test_labels_that_take_too_long_are_counted() -> None:
    settings = DimerSettings(
        monomers=("hydrogen_fluoride",),
        per_pair=1,
        per_monomer=1,
        curves_per_pair=0,
        time_limit=1e-9,
    )
    made = make_dimers(settings, workers=1)
    assert [dict(counter) for counter in made.notes["counts"].values()] == [{"timeout": 1}] * 2
    assert not any(made.splits.values())


def test_reading_does_not_import_tensorflow_or_jax(tiny_data_dir: Path) -> None:
    program = (
        "import sys; from data_pipelines import load_split; "
        f"found = load_split('dimers', 'test', data_dir={str(tiny_data_dir)!r}, config='tiny'); "
        "assert len(found) > 5; assert not {'tensorflow', 'jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trimers", "train", "tiny"), "data set: got 'trimers'"),
        (("dimers", "holdout", "tiny"), "split of dimers: got 'holdout'"),
        (("dimers", "train", "huge"), "data set dimers: nothing at"),
    ],
)
def test_reading_what_is_not_there(
    arguments: tuple[str, str, str], message: str, tiny_data_dir: Path
) -> None:
    name, split, config = arguments
    with pytest.raises(DataError, match=message):
        load_split(name, split, data_dir=tiny_data_dir, config=config)


def test_building_what_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="data set: got 'trimers'"):
        build("trimers", data_dir=tmp_path)
    with pytest.raises(DataError, match="config of dimers: got 'huge'"):
        build("dimers", data_dir=tmp_path, config="huge")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [({"monomers": ("water", "gold")}, "monomers"), ({"per_pair": -1}, "per_pair: got -1")],
)
def test_bad_settings(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        dataclasses.replace(SMALL, **change)  # pyright: ignore[reportArgumentType]
