"""Data sets with a closed form: what they promise, bit for bit, and like the published ones."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import pdist

pytest.importorskip("tensorflow_datasets")

from builders import SYNTHETIC, image, load_all, records
from regression import small_model

from data_pipelines import build, metadata
from data_pipelines.batches.batching import BatchPlan, NumpyBatches
from data_pipelines.batches.buckets import choose_buckets
from data_pipelines.batches.neighborhoods import Neighborhoods
from data_pipelines.builders.chains import CUTOFF
from data_pipelines.builders.nacl_spheres import NEAREST, draw_sphere, number_of_ions
from data_pipelines.labels.energies import fit_reference_energies
from data_pipelines.labels.potentials import (
    cluster_potential,
    damped_coulomb_potential,
    inverse_potential,
    sum_over_pairs,
)
from data_pipelines.sampling.clusters import SHAKE, ClusterTask, make_cluster
from data_pipelines.sampling.drawing import Draw, Sizes, draw_splits
from data_pipelines.sampling.two_body import draw_charge_and_dipole, draw_two_atoms
from efa_zoo.base.config import TrainingConfig
from efa_zoo.base.errors import DataError
from efa_zoo.structures.neighbors import neighbor_matrix
from efa_zoo.training import fit

PUBLISHED = Path(__file__).resolve().parents[3] / "shared" / "reference" / "datasets"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("synthetic")
    for name in SYNTHETIC:
        build(name, data_dir=place, config="tiny", workers=1)
    return place


@pytest.mark.parametrize("name", SYNTHETIC)
def test_building_twice_gives_the_same_bytes(name: str, place: Path, tmp_path: Path) -> None:
    again = build(name, data_dir=tmp_path, config="tiny", workers=2)
    assert records(again) == records(place / name / "tiny" / again.name)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_structures_are_consistent_and_different(name: str, place: Path) -> None:
    splits = load_all(name, place)
    assert set(splits) == {"train", "validation", "test"}
    everything = [s for structures in splits.values() for s in structures]
    assert len({image(s) for s in everything}) == len(everything)
    for s in everything:
        assert s.positions.shape == s.forces.shape == (len(s.atomic_numbers), 3)
        assert s.positions.dtype == s.forces.dtype == np.float64
        np.testing.assert_allclose(s.forces.sum(axis=0), 0, atol=1e-10)
        assert s.total_charge == 0


@pytest.mark.parametrize("name", SYNTHETIC)
def test_formula_and_settings_are_stored(name: str, place: Path) -> None:
    stored = metadata(name, data_dir=place, config="tiny")
    assert stored["level_of_theory"]
    assert stored["settings"]["seed"] == 0


@pytest.mark.parametrize("draw", [draw_two_atoms, draw_charge_and_dipole])
def test_distances_are_spread_evenly_and_directions_are_any(draw: Draw) -> None:
    found = draw_splits(Sizes(300, 0, 0), draw)["train"]
    distances = np.array([s.separation for _, s in found])
    np.testing.assert_allclose(np.sort(distances), np.linspace(1, 10, 300), atol=0.04)
    vectors = np.array([s.positions[1] - s.positions[0] for _, s in found])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), distances, rtol=1e-12)
    assert np.abs((vectors / distances[:, None]).mean(axis=0)).max() < 0.1


def test_a_structure_depends_on_its_seed_split_and_number_alone() -> None:
    few = draw_splits(Sizes(4, 2, 0, seed=3), lambda rng, _: draw_sphere(rng, 6))
    more = draw_splits(Sizes(6, 2, 5, seed=3), lambda rng, _: draw_sphere(rng, 6))
    assert [key for key, _ in few["train"]] == [key for key, _ in more["train"][:4]]
    for split in ("train", "validation"):
        for (_, one), (_, other) in zip(few[split], more[split], strict=False):
            assert image(one) == image(other)
    other_seed = draw_splits(Sizes(4, 0, 0, seed=4), lambda rng, _: draw_sphere(rng, 6))
    assert image(other_seed["train"][0][1]) != image(few["train"][0][1])


def test_negative_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="validation: got -1"):
        Sizes(1, -1, 1)


def test_charge_and_dipole_are_told_apart_and_the_angle_is_theirs(place: Path) -> None:
    for s in load_all("charge_dipole", place)["train"]:
        assert s.atomic_dipoles is not None
        np.testing.assert_array_equal(s.atomic_dipoles[0], 0)
        assert np.linalg.norm(s.atomic_dipoles[1]) == pytest.approx(1)
        r = s.separation
        expected = r**-3 - np.cos(np.radians(s.coordinate)) / r**2
        assert s.energy == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_only_the_ends_of_a_chain_interact_and_neighbours_see_no_further(place: Path) -> None:
    charge = {1: 0, 2: 1, 3: -1}
    signs = Counter()
    for s in load_all("chains", place)["train"]:
        k = int(s.coordinate)
        charges = np.array([charge[int(z)] for z in s.atomic_numbers], float)
        assert len(charges) == k + 2
        assert s.kind == f"k = {k}"
        assert not charges[1:-1].any()
        assert charges[[0, -1]].all()
        energy, forces = sum_over_pairs(inverse_potential, s.positions, charges)
        assert s.energy == energy == charges[0] * charges[-1] / s.separation
        np.testing.assert_array_equal(s.forces, forces)
        signs[np.sign(s.energy)] += 1
        neighbors, mask, _ = neighbor_matrix(s.positions, CUTOFF)
        chain = [{i - 1, i + 1} & set(range(k + 2)) for i in range(k + 2)]
        assert [set(n[m].tolist()) for n, m in zip(neighbors, mask, strict=True)] == chain
    assert min(signs.values()) > 3
    assert set(signs) == {1.0, -1.0}


def test_balls_of_ions_are_neutral_dense_and_apart(place: Path) -> None:
    splits = load_all("nacl_spheres", place)
    assert {s.coordinate for s in splits["train"]} == {6.0, 8.0}
    assert {s.coordinate for s in splits["test"]} == {6.0, 8.0, 10.0}
    for s in splits["test"]:
        charges = np.where(s.atomic_numbers == 11, 1.0, -1.0)
        assert charges.sum() == 0
        assert pdist(s.positions).min() >= NEAREST
        assert np.linalg.norm(s.positions, axis=1).max() <= s.coordinate / 2
        assert len(charges) == number_of_ions(s.coordinate)
        energy, _ = sum_over_pairs(damped_coulomb_potential, s.positions, charges)
        assert s.energy == energy


def test_the_numbers_of_ions_follow_from_the_density() -> None:
    assert [number_of_ions(d) for d in (10, 15, 20, 25, 30)] == [40, 132, 314, 614, 1060]


def test_clusters_have_the_energy_of_the_formula(place: Path) -> None:
    for s in load_all("clusters", place)["test"]:
        assert s.energy == sum_over_pairs(cluster_potential, s.positions)[0]
        assert pdist(s.positions).max() < 5.0


@pytest.mark.parametrize(
    ("file", "task"),
    [
        ("3D_cluster_16_atoms_radius_2point5.npz", ClusterTask(16, 2.5, 3.0, SHAKE, (0,))),
        ("3D_cluster_32_atoms_radius_5.npz", ClusterTask(32, 5.0, 2.39, SHAKE, (0,))),
    ],
)
def test_clusters_are_distributed_as_published(file: str, task: ClusterTask) -> None:
    if not (PUBLISHED / file).exists():
        pytest.skip("the published data sets are not here")
    with np.load(PUBLISHED / file) as published:
        positions, energies = published["positions"].astype(np.float64), published["energy"]
    drawn = np.array([make_cluster(dataclasses.replace(task, words=(7, i))) for i in range(20)])
    found = np.array([sum_over_pairs(cluster_potential, x)[0] for x in drawn])
    spread = float(energies.std())
    assert abs(found.mean() - energies.mean()) < 0.6 * spread
    assert found.std() == pytest.approx(spread, rel=0.5)
    shares = (0.01, 0.1, 0.5, 0.9, 0.99)
    distances = [
        np.quantile(np.concatenate([pdist(x) for x in group]), shares)
        for group in (drawn, positions[:500])
    ]
    np.testing.assert_allclose(*distances, rtol=0.08)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_three_steps_of_training_go_through(name: str, place: Path, tmp_path: Path) -> None:
    splits = load_all(name, place)
    references = fit_reference_energies(splits["train"])
    buckets = choose_buckets(
        splits["train"] + splits["validation"], Neighborhoods(CUTOFF), 4, max_buckets=1
    )

    def source(split: str) -> NumpyBatches:
        return NumpyBatches(BatchPlan(splits[split], buckets, Neighborhoods(CUTOFF)), references)

    batch = next(source("train")(0))
    assert (batch.graph.atomic_dipoles is not None) == (name == "charge_dipole")
    config = TrainingConfig(steps=3, warmup_steps=1, validation_interval=3)
    _, errors = fit(small_model(), config, source("train"), source("validation"), tmp_path)
    assert errors
    assert np.isfinite(list(errors.values())).all()
