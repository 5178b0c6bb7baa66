"""Shares of charge and spin: they add up, padding gets none, and nothing makes nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from efa_zoo.nn import ElectronicEmbedding, distribute

MASK = jnp.array([True] * 5 + [False] * 3)


def features(dtype: type = np.float32) -> jax.Array:
    return jax.random.normal(jax.random.key(1), (8, 1, 1, 6), dtype)


@pytest.fixture
def layer() -> ElectronicEmbedding:
    return ElectronicEmbedding(6, key=jax.random.key(0))


@pytest.mark.parametrize("number", [-2, -1, 0, 1, 3])
def test_shares_add_up_to_the_number_and_have_its_sign(
    layer: ElectronicEmbedding, number: int
) -> None:
    shares = layer.shares(features(), jnp.asarray(number), MASK)
    assert float(shares.sum()) == pytest.approx(number, abs=1e-6)
    assert (np.sign(number) * shares[:5] > 0).all() if number else not shares.any()
    assert not shares[5:].any()


def test_the_sign_of_a_charge_matters_and_none_gives_no_features(
    layer: ElectronicEmbedding,
) -> None:
    plus, minus, none = (layer(features(), jnp.asarray(n), MASK) for n in (1, -1, 0))
    assert jnp.abs(plus - minus).max() > 1e-3
    assert not none.any()
    assert not plus[5:].any()


def test_padding_changes_neither_values_nor_gradients(layer: ElectronicEmbedding) -> None:
    def total(x: jax.Array, mask: jax.Array) -> jax.Array:
        return jnp.sum(layer(x, jnp.asarray(2), mask) ** 2)

    padded = jax.grad(total)(features(), MASK)
    alone = jax.grad(total)(features()[:5], MASK[:5])
    np.testing.assert_allclose(padded[:5], alone, atol=1e-6)
    assert not padded[5:].any()
    nobody = jax.grad(total)(features(), jnp.zeros(8, bool))
    assert not nobody.any()


def test_charges_are_shifted_alike_to_their_total() -> None:
    charges = jnp.array([0.3, -0.2, 0.5, 0.1, 0.0, 9.0, 9.0, 9.0])
    found = distribute(charges, jnp.asarray(-1), MASK)
    assert float(found.sum()) == pytest.approx(-1, abs=1e-6)
    np.testing.assert_allclose(found[:5] - charges[:5], (-1 - 0.7) / 5, atol=1e-6)
    assert not found[5:].any()
    assert not distribute(charges, jnp.asarray(0), jnp.zeros(8, bool)).any()
