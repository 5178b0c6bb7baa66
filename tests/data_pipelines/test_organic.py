"""The data set `organic`: reproducible, honestly split, with labels that hold."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import load_all, records

pytest.importorskip("tblite")
pytest.importorskip("tensorflow_datasets")
pytest.importorskip("rdkit")

from data_pipelines import Structure, build, metadata
from data_pipelines._workers import Failure, run_tasks
from data_pipelines.builders import organic
from data_pipelines.labels.labelling import Geometry, Label, label
from data_pipelines.sampling.organic import conformers, keeping
from data_pipelines.sampling.organic.assemblies import charges_keep
from data_pipelines.sampling.organic.drawing import (
    LARGEST_FORCE,
    AssemblyTask,
    MoleculeTask,
    Sample,
    Sampling,
    sample_assembly,
    sample_molecule,
)
from data_pipelines.sampling.organic.molecules import COMMON_FAMILIES, parse, smiles_by_family
from data_pipelines.sampling.organic.planning import (
    LARGEST_CHARGE,
    AssemblySeries,
    OrganicSettings,
    Plan,
    assembly_series,
)
from efa_zoo.base.errors import DataError

SPLITS = ("train", "validation", "test", "transfer")
COMMON = {smiles for family in COMMON_FAMILIES for smiles in smiles_by_family()[family]}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("organic")
    build("organic", data_dir=place, config="tiny", workers=2)
    return place


@pytest.fixture(scope="module")
def stored(place: Path) -> dict[str, list[Structure]]:
    return load_all("organic", place)


@pytest.fixture(scope="module")
def everything(stored: dict[str, list[Structure]]) -> list[Structure]:
    return [s for structures in stored.values() for s in structures]


def test_one_worker_and_a_break_give_the_same_bytes(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    functions: list[str] = []

    def cut(function: str, tasks: Any, file: Path, **options: Any) -> list[Any]:
        if function.endswith("assembly"):
            raise KeyboardInterrupt
        return keeping.run_kept(function, tasks, file, **options)

    def watched(function: str, tasks: Any, **options: Any) -> Iterator[Any]:
        for outcome in run_tasks(function, tasks, **options):
            functions.append(function.rpartition(":")[2])
            yield outcome

    with monkeypatch.context() as patch:
        patch.setattr(organic, "run_kept", cut)
        with pytest.raises(KeyboardInterrupt):
            build("organic", data_dir=tmp_path, config="tiny", workers=1)
    unfinished = tmp_path / "organic" / "tiny" / "unfinished"
    assert [file.name for file in unfinished.iterdir()] == ["sample_molecule.jsonl"]
    monkeypatch.setattr(keeping, "run_tasks", watched)
    finished = build("organic", data_dir=tmp_path, config="tiny", workers=1)
    assert set(functions) == {"sample_assembly"}
    assert not unfinished.exists()
    whole = records(place / "organic" / "tiny" / finished.name)
    assert len(whole) == len(SPLITS)
    assert records(finished) == whole


def test_no_molecule_is_in_two_splits(stored: dict[str, list[Structure]]) -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for split, structures in stored.items():
        assert structures
        for s in structures:
            for smiles in set(s.group.split(".")) - COMMON:
                homes[smiles].add(split)
    assert {len(splits) for splits in homes.values()} == {1}
    held_out = {smiles for smiles, splits in homes.items() if splits == {"transfer"}}
    assert held_out
    assert held_out <= set(smiles_by_family()["ureas"])
    assert not held_out & {s for s, splits in homes.items() if splits != {"transfer"}}
    # Where all is water and ions, structures are divided.
    groups = {
        split: [s.positions.tobytes() for s in structures if set(s.group.split(".")) <= COMMON]
        for split, structures in stored.items()
    }
    assert not set(groups["train"]) & set(groups["test"])


def test_structures_are_consistent(everything: list[Structure]) -> None:
    for s in everything:
        species = [parse(smiles) for smiles in s.group.split(".")]
        assert s.atomic_numbers.tolist() == [z for one in species for z in one.atomic_numbers]
        assert s.total_charge == sum(one.charge for one in species) == s.formal_charges.sum()
        assert abs(s.total_charge) <= LARGEST_CHARGE
        assert s.charges is not None
        assert s.dipole is not None
        assert s.charges.sum() == pytest.approx(s.total_charge, abs=1e-8)
        np.testing.assert_allclose(s.forces.sum(axis=0), 0.0, atol=1e-6)
        assert np.abs(s.forces).max() <= LARGEST_FORCE
        sizes = [len(one.atomic_numbers) for one in species]
        membership = np.repeat(np.arange(len(species), dtype=np.int32), sizes)
        formal = np.array([one.charge for one in species], np.int32)
        assert charges_keep(s.charges, formal, s.positions, membership)


def test_pairs_have_interactions_of_their_fragments(everything: list[Structure]) -> None:
    pairs = [s for s in everything if s.monomers[1]]
    assert {s.kind.split("/")[0] for s in pairs} == {"dimers", "trimers"}
    for s in everything:
        if s.monomers[1]:
            continue
        assert s.interaction_energy == 0.0
        assert np.isnan(s.separation)
    for s in pairs[::3]:
        first = s.fragment == 0
        assert ".".join(s.monomers) == s.group
        for i, inside in enumerate((first, ~first)):
            alone = label(
                Geometry(s.atomic_numbers[inside], s.positions[inside], int(s.formal_charges[i]))
            )
            assert isinstance(alone, Label)
            assert s.fragment_energies[i] == pytest.approx(alone.energy, abs=1e-6)
        gaps = np.linalg.norm(s.positions[first][:, None] - s.positions[~first][None], axis=-1)
        assert s.closest_contact == pytest.approx(gaps.min(), abs=1e-9)
        assert s.separation >= 0.5
    far = [s for s in pairs if s.closest_contact > 7 and not s.formal_charges.any()]
    assert far
    assert all(abs(s.interaction_energy) < 0.02 for s in far)


def test_all_kinds_are_there(everything: list[Structure]) -> None:
    kinds = Counter(s.kind for s in everything)
    families, ways = (set(part) for part in zip(*(kind.split("/") for kind in kinds), strict=True))
    assembled = {"dimers", "trimers", "solvated", "droplets", "water_clusters"}
    assert families == {*assembled, "water", "ions", "anions", "alcohols", "ureas"}
    assert ways == {"conformer", "relaxation", "langevin", "turn", "stretch", "placed"}
    waters = [s.group for s in everything if s.kind.startswith("water_clusters")]
    assert all(set(group.split(".")) == {"O"} for group in waters)


def test_what_is_kept_and_dropped_is_counted(
    place: Path, stored: dict[str, list[Structure]]
) -> None:
    found = metadata("organic", data_dir=place, config="tiny")
    counts = found["counts"]
    kept = {family: counter.get("kept", 0) for family, counter in counts.items()}
    assert sum(kept.values()) == sum(len(structures) for structures in stored.values())
    assert found["level_of_theory"].startswith("GFN2-xTB (tblite ")
    assert found["conformers"].startswith("RDKit ")
    reasons = {reason for counter in counts.values() for reason in counter}
    assert reasons <= {"kept", "unconverged", "force", "charge", "embedding", "crash", "timeout"}


def test_geometries_depend_on_their_words_alone() -> None:
    sampling = Sampling(10, 2, 1, first=2, interval=1, turned=1, stretched=1)
    one, again, other = (
        sample_molecule(MoleculeTask(parse("CO"), sampling, words))
        for words in ((0, 1), (0, 1), (0, 2))
    )
    ways = [sample.way for sample in one if isinstance(sample, Sample)]
    assert ways == ["conformer", "relaxation", "relaxation", "langevin", "turn", "stretch"]
    for first, second, third in zip(one, again, other, strict=True):
        assert isinstance(first, Sample)
        assert isinstance(second, Sample)
        assert isinstance(third, Sample)
        np.testing.assert_array_equal(first.positions, second.positions)
        assert first.labels[0].energy == second.labels[0].energy
        assert not np.allclose(first.positions, third.positions, atol=1e-3)


def test_charge_that_leaks_is_refused() -> None:
    # GFN2-xTB takes a quarter of an electron from butene to the sodium ion at any distance.
    species = (parse("[Na+]"), parse("C/C=C/C"))
    butene = conformers.embed(species[1].smiles, np.random.default_rng(0))
    assert not isinstance(butene, Failure)
    geometries = (np.zeros((1, 3)), conformers.positions_of(butene))
    reasons: Counter[str] = Counter()
    for i in range(8):
        (outcome,) = sample_assembly(AssemblyTask(species, geometries, False, None, True, (0, i)))
        if isinstance(outcome, Failure):
            reasons[outcome.reason] += 1
        else:
            distances = np.linalg.norm(outcome.positions[1:] - outcome.positions[0], axis=1)
            assert distances.min() < 2.5
    assert reasons["charge"] >= 3


def test_plans_hold_to_sizes_and_charges() -> None:
    settings = OrganicSettings(
        families=("water", "ions", "carboxylates", "ammonium", "nitro"),
        assemblies={
            name: dataclasses.replace(series, count=20)
            for name, series in assembly_series(1.0).items()
        },
    )
    plan = Plan(settings)
    pool = {one.number: [np.zeros((len(one.atomic_numbers), 3))] for one in plan.species}
    splits = {one.number: s for s, members in plan.split_species.items() for one in members}
    tried: Counter[str] = Counter()
    for home, task in plan.assemblies(pool):
        series = settings.assemblies[home.key.split("/")[0]]
        tried[home.key.split("/")[0]] += 1
        count = len(task.species)
        assert series.members[0] <= count <= series.members[1]
        assert sum(len(one.atomic_numbers) for one in task.species) <= series.most_atoms
        assert abs(sum(one.charge for one in task.species)) <= LARGEST_CHARGE
        own = {splits[one.number] for one in task.species if one.number in splits}
        assert own <= {home.split}
        if series.solvent:
            assert {one.smiles for one in task.species[1:]} == {"O"}
    assert tried["dimers"] == 22
    assert tried["water_clusters"] == 20
    largest = max(len(t.species) for h, t in plan.assemblies(pool) if "water" in h.key)
    assert largest > 20


def test_flexible_molecules_have_more_conformers() -> None:
    plan = Plan(OrganicSettings(families=("ions", "hydrocarbons"), conformers=4.0, assemblies={}))
    counts = Counter(home.species[0].smiles for home, _ in plan.molecules())
    assert counts["[Na+]"] == 1
    assert counts["C"] == 2
    assert counts["CCCCCCCC"] == 7  # five rotors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"families": ("water", "metals")}, "families: unknown"),
        ({"held_out": ("metals",)}, "held_out: unknown"),
        ({"held_out": ("water",)}, "held_out: got"),
        ({"conformers": 0.0}, "conformers: got 0.0"),
        ({"families": ("alcohols",)}, "families: expected water"),
    ],
)
def test_bad_settings(change: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        OrganicSettings(**change)  # pyright: ignore[reportArgumentType]


def test_assemblies_that_cannot_be_made() -> None:
    series = {"dimers": AssemblySeries(2, (2, 2), 1)}
    plan = Plan(OrganicSettings(families=("alcohols",), assemblies=series))
    pool = {one.number: [np.zeros((len(one.atomic_numbers), 3))] for one in plan.species}
    with pytest.raises(DataError, match="assemblies: 1000 choices"):
        list(plan.assemblies(pool))
