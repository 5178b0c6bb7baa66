"""Buckets, plans and batches without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import jax
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from data_pipelines.batches.batching import BatchPlan, NumpyBatches
from data_pipelines.batches.buckets import assign_buckets, buckets_for, choose_buckets
from data_pipelines.batches.neighborhoods import Neighborhoods
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError
from efa_zoo.structures.batch import Batch
from efa_zoo.structures.graph import Shape
from efa_zoo.structures.neighbors import neighbor_matrix

CUTOFF = 3.0
REFERENCES = {1: -0.5, 6: -38.0, 8: -75.0}

Structures = list[Structure]
Buckets = tuple[Shape, ...]


@pytest.fixture(scope="module")
def buckets(structures: Structures) -> Buckets:
    return choose_buckets(structures, Neighborhoods(CUTOFF), batch_size=8, max_buckets=3)


def ready(
    structures: Structures, buckets: Buckets, *, seed: int = 0, shuffle: bool = True
) -> NumpyBatches:
    plan = BatchPlan(structures, buckets, Neighborhoods(CUTOFF), seed=seed, shuffle=shuffle)
    return NumpyBatches(plan, REFERENCES)


def same(one: Sequence[Batch], other: Sequence[Batch]) -> bool:
    if [batch.shape for batch in one] != [batch.shape for batch in other]:
        return False
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("seed", range(5))
def test_buckets_waste_about_as_little_as_any_choice_of_shapes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    atoms = rng.choice([4, 9, 13, 20, 32], 200).astype(np.int32)
    widths = np.minimum(atoms - 1, 4 * rng.integers(1, 5, 200)).astype(np.int32)
    largest = (int(atoms.max()), int(widths.max()))

    def work(shapes: Sequence[tuple[int, int]]) -> float:
        fits = [
            np.where((atoms <= a) & (widths <= w), a * (w + 8 + a / 4), np.inf) for a, w in shapes
        ]
        return float(np.min(fits, axis=0).sum())

    buckets = buckets_for(atoms, widths, 8, 3)
    found = [(bucket.atoms, bucket.neighbors) for bucket in buckets]
    shapes = sorted({(int(a), int(w)) for a in set(atoms.tolist()) for w in set(widths.tolist())})
    best = min(work([*chosen, largest]) for chosen in combinations(shapes, 2))
    assert work(found) <= 1.02 * best
    assert found[-1] == largest
    assignment = assign_buckets(atoms, widths, buckets)
    chosen = np.array([a * (w + 8 + a / 4) for a, w in found])[assignment]
    assert chosen.sum() == work(found)


def test_a_shape_that_saves_little_is_not_compiled() -> None:
    atoms = np.array([20] * 1000 + [19], np.int32)
    widths = np.full(1001, 12, np.int32)
    assert buckets_for(atoms, widths, 8, 4) == (Shape(8, 20, 12),)


def test_every_structure_fits_a_bucket_whose_width_is_rounded_up(
    structures: Structures, buckets: Buckets
) -> None:
    assignment = BatchPlan(structures, buckets, Neighborhoods(CUTOFF)).assignment.tolist()
    for s, number in zip(structures, assignment, strict=True):
        assert len(s.atomic_numbers) <= buckets[number].atoms
        assert neighbor_matrix(s.positions, CUTOFF)[0].shape[1] <= buckets[number].neighbors
    for bucket in buckets:
        assert bucket.neighbors % 4 == 0 or bucket.neighbors == bucket.atoms - 1


def test_fewer_sizes_than_buckets(make_structure: Callable[..., Structure]) -> None:
    alike = [make_structure([8, 1, 1], seed=i) for i in range(3)]
    assert choose_buckets(alike, Neighborhoods(None), 2, 4) == (Shape(2, 3, 2),)
    assert choose_buckets([make_structure([9])], Neighborhoods(4.0), 2) == (Shape(2, 1, 1),)


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_structure_is_in_exactly_one_batch(
    shuffle: bool, structures: Structures, buckets: Buckets
) -> None:
    batches = list(ready(structures, buckets, shuffle=shuffle)(0))
    energies = np.concatenate([b.energy[b.molecule_mask] for b in batches])
    wanted = [s.energy - sum(REFERENCES[int(z)] for z in s.atomic_numbers) for s in structures]
    np.testing.assert_array_equal(np.sort(energies), np.sort(np.array(wanted, np.float32)))


def test_shapes_stay_within_the_buckets(structures: Structures, buckets: Buckets) -> None:
    allowed = {(b.molecules, b.atoms, b.neighbors) for b in buckets}
    source = ready(structures, buckets)
    batches = list(source(0))
    assert {b.shape for b in batches} <= allowed
    assert len(batches) == source.plan.batches_per_epoch


def test_molecules_arrive_whole_and_padding_is_empty(
    structures: Structures, buckets: Buckets
) -> None:
    source = ready(structures, buckets)
    for planned, batch in zip(source.plan(2), source(2), strict=True):
        members = [structures[i] for i in planned.members.tolist()]
        count, total = len(members), len(batch.energy)
        assert batch.molecule_mask.tolist() == [i < count for i in range(total)]
        for i, structure in enumerate(members):
            check_molecule(batch, i, structure)
        for i in range(total):
            check_padding(batch, i, len(members[i].atomic_numbers) if i < count else 0)
        assert not batch.energy[count:].any()
        assert not batch.graph.total_charge[count:].any()


def check_molecule(batch: Batch, i: int, s: Structure) -> None:
    graph, size = batch.graph, len(s.atomic_numbers)
    neighbors, mask, _ = neighbor_matrix(s.positions, CUTOFF)
    width = neighbors.shape[1]
    assert graph.total_charge[i] == s.total_charge
    np.testing.assert_array_equal(graph.atomic_numbers[i, :size], s.atomic_numbers)
    centered = s.positions - s.positions.mean(axis=0)
    np.testing.assert_array_equal(graph.positions[i, :size], centered.astype(np.float32))
    np.testing.assert_array_equal(batch.forces[i, :size], s.forces.astype(np.float32))
    np.testing.assert_array_equal(graph.neighbors[i, :size, :width], neighbors)
    np.testing.assert_array_equal(graph.neighbor_mask[i, :size, :width], mask)
    assert not graph.neighbor_mask[i, :size, width:].any()


def check_padding(batch: Batch, i: int, size: int) -> None:
    graph = batch.graph
    for leaf in (graph.atomic_numbers, graph.positions, batch.forces, graph.neighbor_mask):
        assert not leaf[i, size:].any()
    padded = ~np.asarray(graph.neighbor_mask[i])
    itself = np.broadcast_to(np.arange(graph.num_atoms)[:, None], padded.shape)
    np.testing.assert_array_equal(np.asarray(graph.neighbors[i])[padded], itself[padded])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_types(dtype: type, structures: Structures, buckets: Buckets) -> None:
    plan = BatchPlan(structures, buckets, Neighborhoods(CUTOFF))
    batch = next(NumpyBatches(plan, REFERENCES, dtype)(0))
    assert batch.energy.dtype == batch.forces.dtype == batch.graph.positions.dtype == dtype
    assert batch.graph.neighbors.dtype == batch.graph.total_charge.dtype == np.int32
    assert batch.graph.neighbor_mask.dtype == batch.molecule_mask.dtype == np.bool_


def test_an_epoch_is_determined_by_seed_and_number(
    structures: Structures, buckets: Buckets
) -> None:
    kept = list(ready(structures, buckets, seed=1)(3))
    assert same(kept, list(ready(structures, buckets, seed=1)(3)))
    assert not same(kept, list(ready(structures, buckets, seed=1)(4)))
    assert not same(kept, list(ready(structures, buckets, seed=2)(3)))


def test_order_is_kept_without_shuffling(structures: Structures, buckets: Buckets) -> None:
    plan = BatchPlan(structures, buckets, Neighborhoods(CUTOFF), shuffle=False)
    members = [batch.members for batch in plan(0)]
    again = [batch.members for batch in plan(5)]
    assert all(np.array_equal(a, b) for a, b in zip(members, again, strict=True))
    assert all(np.all(np.diff(m) > 0) for m in members)


def test_report_counts_what_the_batches_hold(structures: Structures, buckets: Buckets) -> None:
    source = ready(structures, buckets)
    batches, report = list(source(0)), source.plan.report
    atoms = sum(np.count_nonzero(b.graph.atomic_numbers) for b in batches)
    pairs = sum(np.count_nonzero(b.graph.neighbor_mask) for b in batches)
    assert report.atom_fill == atoms / sum(b.graph.atomic_numbers.size for b in batches)
    assert report.neighbor_fill == pairs / sum(b.graph.neighbor_mask.size for b in batches)
    smallest = sum(b.shape[1] == buckets[0].atoms for b in batches)
    assert str(report).startswith(f"{smallest} batches of 8 molecules x {buckets[0].atoms} atoms")


def test_fill_ratio_grows_with_the_number_of_buckets(structures: Structures) -> None:
    fills = [
        BatchPlan(
            structures,
            choose_buckets(structures, Neighborhoods(CUTOFF), 1, n),
            Neighborhoods(CUTOFF),
        ).report.neighbor_fill
        for n in (1, 2, 4)
    ]
    assert fills == sorted(fills) and fills[0] < fills[-1]


def test_far_from_the_origin_float32_keeps_every_distance(structures: Structures) -> None:
    far = [replace(s, positions=s.positions + 1e4) for s in structures]
    neighborhoods = Neighborhoods(CUTOFF)
    buckets = choose_buckets(far, neighborhoods, batch_size=8)
    plan = BatchPlan(far, buckets, neighborhoods, shuffle=False)
    for planned, batch in zip(plan(0), NumpyBatches(plan, REFERENCES)(0), strict=True):
        for i, member in enumerate(planned.members.tolist()):
            size = len(far[member].atomic_numbers)
            places = np.asarray(batch.graph.positions[i, :size], np.float64)
            found, wanted = pdist(places), pdist(structures[member].positions)
            np.testing.assert_allclose(found, wanted, atol=2e-6)


def test_neighbors_of_a_structure_are_searched_once(
    structures: Structures, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorflow")
    from data_pipelines.batches.streaming import TensorFlowBatches

    searched: list[int] = []

    def search(positions: np.ndarray, cutoff: float | None, *cell: Any) -> object:
        searched.append(len(positions))
        return neighbor_matrix(positions, cutoff, *cell)

    monkeypatch.setattr("data_pipelines.batches.neighborhoods.neighbor_matrix", search)
    neighborhoods = Neighborhoods(CUTOFF)
    training, held_back = structures[:80] + structures[:5], structures[80:]
    buckets = choose_buckets(training + held_back, neighborhoods, batch_size=8)
    for chosen in (training, held_back):
        plan = BatchPlan(chosen, buckets, neighborhoods)
        for source in (NumpyBatches(plan, REFERENCES), TensorFlowBatches(plan, REFERENCES)):
            assert sum(len(list(source(epoch))) for epoch in range(2)) > 0
    assert len(searched) == len(structures)


def with_dipoles(structures: Structures) -> Structures:
    rng = np.random.default_rng(0)
    return [replace(s, atomic_dipoles=rng.normal(size=s.positions.shape)) for s in structures]


def test_dipoles_arrive_whole(structures: Structures, buckets: Buckets) -> None:
    chosen = with_dipoles(structures)
    source = ready(chosen, buckets)
    for planned, batch in zip(source.plan(0), source(0), strict=True):
        dipoles = batch.graph.atomic_dipoles
        assert isinstance(dipoles, np.ndarray)
        assert dipoles.dtype == np.float32
        assert dipoles.shape == batch.graph.positions.shape
        for i, member in enumerate(planned.members.tolist()):
            expected = chosen[member].atomic_dipoles
            assert expected is not None
            np.testing.assert_array_equal(dipoles[i, : len(expected)], expected.astype(np.float32))
            assert not dipoles[i, len(expected) :].any()
        assert not dipoles[len(planned.members) :].any()
    without = next(ready(structures, buckets)(0))
    assert without.graph.atomic_dipoles is None


def test_dipoles_of_some_structures_only_are_refused(
    structures: Structures, buckets: Buckets
) -> None:
    some = with_dipoles(structures[:3]) + structures[3:]
    with pytest.raises(DataError, match="atomic_dipoles: got them for 3 of 101 structures"):
        BatchPlan(some, buckets, Neighborhoods(CUTOFF))


def test_bad_input(structures: Structures, buckets: Buckets) -> None:
    with pytest.raises(DataError, match="structures: got none"):
        BatchPlan([], buckets, Neighborhoods(CUTOFF))
    with pytest.raises(DataError, match="structures: got none"):
        choose_buckets([], Neighborhoods(CUTOFF), 4)
    with pytest.raises(DataError, match="batch_size: got 0"):
        choose_buckets(structures, Neighborhoods(CUTOFF), 0)
    with pytest.raises(DataError, match="fit one of"):
        BatchPlan(structures, [Shape(4, 3, 2)], Neighborhoods(CUTOFF))(0)
