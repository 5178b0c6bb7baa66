"""Weights files: bit for bit the same arrays, or an error that says what differs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from jaxtyping import Array

from efa_zoo.base.errors import WeightsError
from efa_zoo.models.weights import load_weights, named_arrays, save_weights, weights_hash


class Part(eqx.Module):
    weight: Array
    bias: Array | None
    name: str = eqx.field(static=True, default="part")


class Whole(eqx.Module):
    parts: tuple[Part, ...]
    scale: Array
    table: dict[str, Array]


def whole(seed: float = 0.0, parts: int = 2) -> Whole:
    return Whole(
        parts=tuple(
            Part(weight=jnp.arange(6.0).reshape(2, 3) + seed + i, bias=None) for i in range(parts)
        ),
        scale=jnp.asarray(0.5 + seed),
        table={"count": jnp.arange(3)},
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.safetensors"


def test_tensors_are_named_by_their_path() -> None:
    assert list(named_arrays(whole())) == [
        "parts.0.weight",
        "parts.1.weight",
        "scale",
        "table.count",
    ]


def test_loading_restores_every_bit(path: Path) -> None:
    saved = whole(seed=1.5)
    sha256 = save_weights(path, saved, {"name": "toy"})
    like = eqx.filter_eval_shape(whole)
    for expected in (None, sha256):
        assert eqx.tree_equal(load_weights(path, like, expected), saved)
    assert sha256 == weights_hash(path) == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_weights_give_the_same_bytes(tmp_path: Path) -> None:
    metadata = {letter: letter for letter in "abcdefgh"}
    hashes = {save_weights(tmp_path / f"{i}", whole(), metadata) for i in range(4)}
    assert len(hashes) == 1


def test_saving_leaves_no_other_file_and_replaces_an_old_one(path: Path) -> None:
    save_weights(path, whole(seed=1.0))
    save_weights(path, whole(seed=2.0))
    assert list(path.parent.iterdir()) == [path]
    assert eqx.tree_equal(load_weights(path, whole()), whole(seed=2.0))


def test_a_failed_save_leaves_the_old_file(path: Path) -> None:
    save_weights(path, whole(seed=1.0))
    with pytest.raises(TypeError):
        save_weights(path, whole(seed=2.0), {"not JSON": object()})
    assert list(path.parent.iterdir()) == [path]
    assert eqx.tree_equal(load_weights(path, whole()), whole(seed=1.0))


def test_a_missing_file_is_named(path: Path) -> None:
    with pytest.raises(WeightsError, match=r"weights\.safetensors: cannot read"):
        load_weights(path, whole())


def test_every_altered_byte_is_noticed(path: Path) -> None:
    sha256 = save_weights(path, whole())
    content = path.read_bytes()
    for position in range(len(content)):
        altered = bytearray(content)
        altered[position] ^= 1
        path.write_bytes(altered)
        with pytest.raises(WeightsError, match="altered"):
            load_weights(path, whole(), sha256)


def test_every_truncation_is_noticed_even_without_a_hash(path: Path) -> None:
    sha256 = save_weights(path, whole())
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        for expected in (sha256, None):
            with pytest.raises(WeightsError):
                load_weights(path, whole(), expected)


def test_a_damaged_header_is_a_weights_error_even_without_a_hash(path: Path) -> None:
    save_weights(path, whole())
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    for position in range(header):
        for flip in (1, 4, 0x80):
            altered = bytearray(content)
            altered[position] ^= flip
            path.write_bytes(altered)
            try:
                load_weights(path, whole())
            except WeightsError as error:
                assert "\n" not in str(error)


def test_every_differing_leaf_is_named(path: Path) -> None:
    saved = whole(parts=3)
    saved = eqx.tree_at(lambda w: w.parts[1].weight, saved, jnp.zeros((3, 2)))
    saved = eqx.tree_at(lambda w: w.scale, saved, jnp.asarray(1))
    saved = eqx.tree_at(lambda w: w.table, saved, {"size": jnp.arange(3)})
    save_weights(path, saved)
    with pytest.raises(WeightsError) as caught:
        load_weights(path, whole())
    message = str(caught.value)
    for part in (
        "table.count is missing",
        "table.size is not part of the network",
        "parts.2.weight is not part of the network",
        "parts.1.weight is float32[3, 2], expected float32[2, 3]",
        "scale is int32[], expected float32[]",
    ):
        assert part in message
    assert "parts.0" not in message


def test_a_scalar_stays_a_scalar(path: Path) -> None:
    save_weights(path, {"y": jnp.asarray(3.0)})
    loaded = load_weights(path, {"y": jax.ShapeDtypeStruct((), jnp.float32)})
    assert loaded["y"].shape == ()


@pytest.mark.usefixtures("x64")
def test_float64_is_kept_and_not_taken_for_float32(path: Path) -> None:
    saved = {"x": jnp.asarray([1 / 3], jnp.float64)}
    save_weights(path, saved)
    assert eqx.tree_equal(load_weights(path, saved), saved)
    with pytest.raises(WeightsError, match=r"x is float64\[1\], expected float32\[1\]"):
        load_weights(path, {"x": jnp.zeros(1, jnp.float32)})
