"""A loaded model: network and card together."""

from __future__ import annotations

from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import DTypeLike

from efa_zoo.base.errors import InputError
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.mpnn import EnergyModel

__all__ = ["Potential", "cast"]

_Tree = TypeVar("_Tree")


class Potential(eqx.Module):
    """A network with its weights, and the card that says what they are worth.

    A pytree like any other module: `jax.tree.map`, `jax.jit` and fine-tuning see the weights only.

    Attributes:
        network: atomic energies of one molecule (eV) relative to the card's reference energies.
        card: architecture, data, reference energies (eV) and domain.
    """

    network: EnergyModel
    card: Card = eqx.field(static=True)


def cast(tree: _Tree, dtype: DTypeLike) -> _Tree:
    """Cast the floating-point arrays of a pytree.

    Args:
        tree: for example a `Potential`.
        dtype: float32, or float64 where JAX's 64-bit mode is on (`with jax.enable_x64(True)`).

    Returns:
        The same tree with arrays of that type.

    Raises:
        InputError: `dtype` is not a floating-point type that JAX has enabled.
    """
    wanted = np.dtype(dtype)
    if not jnp.issubdtype(wanted, jnp.floating):
        raise InputError(f"dtype: got {wanted.name}, expected a floating-point type")
    if jax.dtypes.canonicalize_dtype(wanted) != wanted:
        raise InputError(
            f"dtype: got {wanted.name}, expected float32, because JAX's 64-bit mode is off "
            "(wrap the code in `with jax.enable_x64(True):`)"
        )

    def convert(leaf: object) -> object:
        return jnp.asarray(leaf, wanted) if eqx.is_inexact_array(leaf) else leaf

    return jax.tree.map(convert, tree)
