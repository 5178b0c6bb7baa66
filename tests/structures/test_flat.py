"""Flat batches: the dense layout and attention over them."""

from __future__ import annotations

import re
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array
from symmetry import filled, quick_jit

from efa_zoo.attention import EuclideanFastAttention
from efa_zoo.attention.flat import attend_flat
from efa_zoo.base.config import AttentionConfig
from efa_zoo.base.errors import InputError
from efa_zoo.nn.coupling import Irreps
from efa_zoo.structures.flat import FlatLayout


@pytest.mark.parametrize(
    ("segments", "extra"),
    [([], 0), ([0, 0, 1, 2, 2, 2, 3], 0), ([3, 1, 1, 3, 0, 3], 2), ([2, 2], 1), ([0, 3, 0, 3], 0)],
)
def test_there_and_back(segments: list[int], extra: int) -> None:
    """Any order of segments, empty molecules, more room than needed."""
    batch_segments = np.array(segments, np.int32)
    tight = FlatLayout.of(batch_segments, 4)
    layout = FlatLayout.of(batch_segments, 4, tight.max_atoms + extra)
    values = np.arange(1, len(segments) + 1, dtype=np.float32)
    dense = np.asarray(layout.to_dense(values))
    np.testing.assert_array_equal(layout.to_flat(jnp.asarray(dense)), values)
    np.testing.assert_array_equal(layout.mask, dense != 0)
    for molecule in range(4):
        own = values[batch_segments == molecule]
        np.testing.assert_array_equal(dense[molecule, : len(own)], own)
        assert not dense[molecule, len(own) :].any()


def test_traced_segments_give_the_same_places() -> None:
    segments = np.array([2, 0, 2, 1, 0, 2])
    found = quick_jit(lambda segments: FlatLayout.of(segments, 3, 4).places)(segments)
    np.testing.assert_array_equal(found, FlatLayout.of(segments, 3, 4).places)


@pytest.mark.parametrize(
    ("segments", "molecules", "max_atoms", "message"),
    [
        ([0, 3], 3, None, "batch_segments: got 3, expected 0 to 2"),
        ([0, -1], 3, None, "batch_segments: got -1, expected 0 to 2"),
        ([0, 1, 1, 1], 2, 2, "max_atoms: got 2, expected at least 3"),
        ([0], 1, 0, "max_atoms: got 0, expected at least 1"),
        ([0], 0, None, "num_molecules: got 0, expected at least 1"),
    ],
)
def test_known_segments_that_do_not_fit(
    segments: list[int], molecules: int, max_atoms: int | None, message: str
) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        FlatLayout.of(np.array(segments), molecules, max_atoms)


@pytest.mark.parametrize(
    ("segments", "max_atoms", "message"),
    [
        ([0, 1, 1, 1], 2, "max_atoms: got 2, expected at least the number of atoms"),
        ([0, 1, 2, 1], 3, "batch_segments: got a value out of range, expected 0 to 1"),
    ],
)
def test_traced_segments_that_do_not_fit(segments: list[int], max_atoms: int, message: str) -> None:
    layout = eqx.filter_jit(lambda segments: FlatLayout.of(segments, 2, max_atoms).places)
    with pytest.raises(RuntimeError, match=re.escape(message)):
        jax.block_until_ready(layout(jnp.asarray(segments)))


def test_max_atoms_is_needed_where_it_cannot_be_derived() -> None:
    segments = np.array([0, 1, 1])
    with pytest.raises(InputError, match="max_atoms: got None, expected a static number"):
        jax.eval_shape(lambda segments: FlatLayout.of(segments, 2).places, segments)
    places = jax.eval_shape(lambda segments: FlatLayout.of(segments, 1).places, segments)
    assert places.shape == (3,)


@pytest.fixture(scope="module")
def attention() -> EuclideanFastAttention:
    return filled(EuclideanFastAttention, Irreps(1, False), 4, AttentionConfig(evaluation="exact"))


def _batch() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    return {
        "inputs": rng.normal(size=(6, 1, 4, 4)).astype(np.float32),
        "positions": rng.normal(size=(6, 3)).astype(np.float32),
        "batch_segments": np.array([1, 0, 1, 3, 0, 1]),
        "graph_mask": np.array([True, True, True, False]),
    }


def _attend(attention: EuclideanFastAttention, batch: dict[str, Any]) -> Array:
    """With known segments, as outside `jax.jit`."""
    fixed = {name: batch[name] for name in ("batch_segments", "graph_mask")}
    call = quick_jit(lambda inputs, positions: attend_flat(attention, inputs, positions, **fixed))
    return call(batch["inputs"], batch["positions"])


def test_attention_agrees_with_the_one_molecule_form(attention: EuclideanFastAttention) -> None:
    """In a padding molecule (3) too: its atoms attend to each other."""
    batch = _batch()
    found = np.asarray(_attend(attention, batch))
    alone = quick_jit(lambda inputs, positions: attention(inputs, positions))
    for molecule in (1, 3):
        own = batch["batch_segments"] == molecule
        expected = alone(batch["inputs"][own], batch["positions"][own])
        np.testing.assert_allclose(found[own], expected, atol=1e-5)


def test_attention_under_jit_and_grad(attention: EuclideanFastAttention) -> None:
    batch = _batch()
    fixed = {"batch_segments": batch["batch_segments"], "graph_mask": batch["graph_mask"]}

    def total(moving: dict[str, Array], **options: Any) -> Array:
        return jnp.sum(attend_flat(attention, **moving, **options) ** 2)

    moving = {name: batch[name] for name in ("inputs", "positions")}
    expected = quick_jit(jax.grad(lambda moving: total(moving, **fixed)))(moving)
    found = quick_jit(jax.grad(lambda moving, fixed: total(moving, **fixed, max_atoms=5)))(
        moving, fixed
    )
    for name in moving:
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4)


def test_a_single_molecule_needs_no_segments(attention: EuclideanFastAttention) -> None:
    batch = _batch() | {"graph_mask": np.array([True])}
    traced = quick_jit(lambda batch: attend_flat(attention, **batch))(batch)
    alone = quick_jit(lambda inputs, positions: attention(inputs, positions))
    expected = alone(batch["inputs"], batch["positions"])
    np.testing.assert_allclose(traced, expected, atol=1e-5)
