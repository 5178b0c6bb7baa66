"""Replay: the share of old structures, and that they come up equally often."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines.batches.batching import BatchPlan, NumpyBatches
from data_pipelines.batches.buckets import choose_buckets
from data_pipelines.batches.neighborhoods import Neighborhoods
from data_pipelines.batches.replay import Replay
from data_pipelines.labels.energies import fit_reference_energies
from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError

_SMALL = st.integers(1, 12)


@given(new=_SMALL, pool=_SMALL, drawn=_SMALL, seed=st.integers(0, 3))
def test_epochs_go_through_the_pool_evenly(new: int, pool: int, drawn: int, seed: int) -> None:
    replay = Replay(new, pool, drawn, seed)
    old: list[int] = []
    for epoch in range(7):
        members = replay(epoch).tolist()
        assert members[:new] == list(range(new))
        assert len(members) == new + drawn
        assert members == replay(epoch).tolist()
        old += members[new:]
    assert set(old) <= set(range(new, new + pool))
    counts = Counter(old)
    often = [counts[i] for i in range(new, new + pool)]
    assert max(often) - min(often) <= 1


def test_the_order_of_the_pool_is_random_and_seeded() -> None:
    first, second = (Replay(1, 50, 50, seed)(0)[1:].tolist() for seed in (0, 1))
    assert sorted(first) == sorted(second)
    assert first != second
    assert first != sorted(first)
    assert Replay(1, 50, 50, 0)(1)[1:].tolist() != first


@pytest.mark.parametrize(("share", "drawn"), [(0.5, 160), (0.2, 40), (0.8, 640), (1e-6, 1)])
def test_the_share_is_of_the_epoch(share: float, drawn: int) -> None:
    replay = Replay.of_share(160, 1000, share)
    assert replay.drawn == drawn
    assert len(replay(3)) == 160 + drawn


def test_nothing_to_replay_is_refused() -> None:
    with pytest.raises(DataError, match="pool: got 0, expected at least 1"):
        Replay(10, 0, 5)


def test_batches_hold_what_is_drawn(structures: list[Structure]) -> None:
    cutoff = 3.0
    buckets = choose_buckets(structures, Neighborhoods(cutoff), 4, 2)
    draw = Replay(20, len(structures) - 20, 9, seed=3)
    plan = BatchPlan(structures, buckets, Neighborhoods(cutoff), seed=1, draw=draw)
    references = fit_reference_energies(structures)
    for epoch in (0, 1):
        planned = np.concatenate([batch.members for batch in plan(epoch)])
        assert sorted(planned.tolist()) == sorted(draw(epoch).tolist())
        forces = [
            batch.forces[row, atoms]
            for batch in NumpyBatches(plan, references)(epoch)
            for row in np.flatnonzero(batch.molecule_mask)
            for atoms in [np.asarray(batch.graph.atomic_numbers)[row] > 0]
        ]
        expected = [structures[i].forces for i in planned]
        for one, other in zip(forces, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_repeated_structure_is_dealt_as_often_as_it_is_drawn(
    structures: list[Structure],
) -> None:
    buckets = choose_buckets(structures[:3], Neighborhoods(None), 2, 1)
    plan = BatchPlan(structures[:3], buckets, Neighborhoods(None), draw=Replay(1, 2, 5))
    members = Counter(np.concatenate([batch.members for batch in plan(0)]).tolist())
    assert members[0] == 1
    assert sorted((members[1], members[2])) == [2, 3]
