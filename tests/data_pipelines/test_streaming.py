"""tf.data gives the same batches as NumPy."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

pytest.importorskip("tensorflow")

from data_pipelines.batches._tensorflow import import_tensorflow
from data_pipelines.batches.batching import BatchPlan, NumpyBatches
from data_pipelines.batches.buckets import choose_buckets
from data_pipelines.batches.neighborhoods import Neighborhoods
from data_pipelines.batches.streaming import TensorFlowBatches
from data_pipelines.structure import Structure

CUTOFF = 3.0
REFERENCES = {1: -0.5, 6: -38.0, 8: -75.0}


@pytest.fixture(scope="module")
def plan(structures: list[Structure]) -> BatchPlan:
    buckets = choose_buckets(structures, Neighborhoods(CUTOFF), batch_size=8, max_buckets=3)
    return BatchPlan(structures, buckets, Neighborhoods(CUTOFF), seed=5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_tensorflow_and_numpy_agree(dtype: type, plan: BatchPlan) -> None:
    streamed = TensorFlowBatches(plan, REFERENCES, dtype)
    ready = NumpyBatches(plan, REFERENCES, dtype)
    for epoch in (0, 1):
        batches = list(streamed(epoch))
        assert len(batches) == plan.batches_per_epoch
        leaves = zip(jax.tree.leaves(batches), jax.tree.leaves(list(ready(epoch))), strict=True)
        for one, other in leaves:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def test_dipoles_are_streamed(structures: list[Structure], plan: BatchPlan) -> None:
    rng = np.random.default_rng(0)
    chosen = [replace(s, atomic_dipoles=rng.normal(size=s.positions.shape)) for s in structures]
    with_dipoles = replace(plan, structures=chosen)
    streamed = list(TensorFlowBatches(with_dipoles, REFERENCES)(0))
    ready = list(NumpyBatches(with_dipoles, REFERENCES)(0))
    for one, other in zip(streamed, ready, strict=True):
        assert one.graph.atomic_dipoles is not None
        np.testing.assert_array_equal(one.graph.atomic_dipoles, other.graph.atomic_dipoles)


def test_an_epoch_can_be_left_early_and_taken_up_again(plan: BatchPlan) -> None:
    streamed = TensorFlowBatches(plan, REFERENCES)
    left = streamed(7)
    taken = [next(left) for _ in range(3)]
    again = list(streamed(7))[:3]
    for one, other in zip(taken, again, strict=True):
        np.testing.assert_array_equal(one.energy, other.energy)


def test_tensorflow_sees_no_gpu() -> None:
    assert import_tensorflow().config.get_visible_devices("GPU") == []


def test_ranks_are_known_to_tf_data(plan: BatchPlan) -> None:
    spec = TensorFlowBatches(plan, REFERENCES).dataset(0).element_spec
    assert [len(leaf.shape) for leaf in spec] == [2, 3, 3, 3, 1, 1, 3, 1]
