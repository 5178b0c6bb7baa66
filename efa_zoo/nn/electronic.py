"""Total charge and unpaired electrons as features of the atoms, and charges of the atoms back."""

from __future__ import annotations

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from efa_zoo.base.contracts import contract
from efa_zoo.nn.coupling import Irreps
from efa_zoo.nn.dense import Dense
from efa_zoo.ops.sharding import sum_over_shards

__all__ = ["ElectronicEmbedding", "dipole_moment", "distribute"]

_SCALARS = Irreps(0, False)


class ElectronicEmbedding(eqx.Module):
    """Spread a number of electrons over the atoms, and make features of each atom's share.

    Atom i gets the share a_i = Ψ w_i / Σ w of the number Ψ, with w_i = softplus(q(x_i) · k / √F);
    the shares add up to Ψ, and a molecule without any gets no features. Positive and negative
    numbers have keys and values of their own. (Unke et al., SpookyNet, Nat. Commun. 12, 7273
    (2021), equations 9 and 10.)

    Attributes:
        query: of the atoms.
        key: `[2, features]`, of positive and of negative numbers.
        value: `[2, features]`, likewise.
        first: of the perceptron that takes share times value to features.
        second: of the same; without biases both, so that nothing comes of nothing.
    """

    query: Dense
    key: Float[Array, "2 features"]
    value: Float[Array, "2 features"]
    first: Dense
    second: Dense

    def __init__(self, features: int, *, key: PRNGKeyArray, dtype: jnp.dtype | None = None):
        """Make the layer with random weights.

        Args:
            features: number of features.
            key: of the random weights.
            dtype: of the weights.
        """
        keys = jax.random.split(key, 5)
        self.query = Dense(_SCALARS, features, features, key=keys[0], dtype=dtype)
        self.key = jax.random.normal(keys[1], (2, features), dtype)
        self.value = jax.random.normal(keys[2], (2, features), dtype)
        self.first, self.second = (
            Dense(_SCALARS, features, features, use_bias=False, key=k, dtype=dtype)
            for k in keys[3:]
        )

    @contract
    def shares(
        self,
        features: Float[Array, "atoms 1 1 features"],
        number: Int[Array, ""],
        atom_mask: Bool[Array, " atoms"],
    ) -> Float[Array, " atoms"]:
        """Spread the number over the atoms.

        Args:
            features: of the atoms.
            number: total charge (e), or number of unpaired electrons.
            atom_mask: False for padding, which gets nothing.

        Returns:
            Each atom's share, all of the sign of the number, which they add up to.
        """
        sign = (number < 0).astype(int)
        query = self.query(features)[:, 0, 0]
        scores = query @ self.key[sign] / math.sqrt(query.shape[-1])
        weights = jnp.where(atom_mask, jax.nn.softplus(scores), 0)
        total = sum_over_shards(jnp.sum(weights))
        # A molecule of padding only has no weights to divide by.
        return number.astype(weights.dtype) * weights / jnp.where(total > 0, total, 1)

    @contract
    def __call__(
        self,
        features: Float[Array, "atoms 1 1 features"],
        number: Int[Array, ""],
        atom_mask: Bool[Array, " atoms"],
    ) -> Float[Array, "atoms 1 1 features"]:
        """Compute what is to be added to the features; see `shares`."""
        shares = self.shares(features, number, atom_mask)
        value = shares[:, None] * self.value[(number < 0).astype(int)]
        return self.second(jax.nn.silu(self.first(value[:, None, None, :])))


@contract
def distribute(
    charges: Float[Array, " atoms"], total: Int[Array, ""], atom_mask: Bool[Array, " atoms"]
) -> Float[Array, " atoms"]:
    """Make charges of the atoms add up to the total charge, by the same shift of each.

    Args:
        charges: in e.
        total: total charge in e.
        atom_mask: False for padding, whose charge becomes zero.

    Returns:
        The charges; their sum is the total up to rounding.
    """
    charges = jnp.where(atom_mask, charges, 0)
    count = jnp.maximum(sum_over_shards(jnp.sum(atom_mask)), 1).astype(charges.dtype)
    missing = total.astype(charges.dtype) - sum_over_shards(jnp.sum(charges))
    return jnp.where(atom_mask, charges + missing / count, 0)


def dipole_moment(
    charges: Float[Array, " atoms"],
    positions: Float[Array, "atoms 3"],
    atom_mask: Bool[Array, " atoms"],
) -> Float[Array, " 3"]:
    """Dipole moment of charges about the mean of the atoms' positions.

    Args:
        charges: in e, zero for padding.
        positions: in Å.
        atom_mask: False for padding.

    Returns:
        The dipole moment in e·Å.
    """
    positions = jnp.where(atom_mask[:, None], positions, 0)
    count = jnp.maximum(sum_over_shards(jnp.sum(atom_mask)), 1).astype(positions.dtype)
    center = sum_over_shards(jnp.sum(positions, axis=0)) / count
    return sum_over_shards(charges @ (positions - center))
