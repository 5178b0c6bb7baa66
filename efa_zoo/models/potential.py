"""A loaded model: network and card together."""

from __future__ import annotations

import dataclasses
from typing import TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import DTypeLike

from efa_zoo.base.errors import InputError
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.outputs import Outputs
from efa_zoo.models.uncertainty.calibration import Calibration
from efa_zoo.structures.graph import Graph

__all__ = ["Potential", "Predictor", "cast"]

_Tree = TypeVar("_Tree")


class Predictor(eqx.Module):
    """What is computed of a molecule: a network, and what its calibration says of the result.

    Attributes:
        network: the network.
        calibration: statistics of its features, or None.
    """

    network: EnergyModel
    calibration: Calibration | None

    def __call__(self, graph: Graph) -> Outputs:
        """Compute atomic energies of one molecule, with uncertainty if there is a calibration.

        Args:
            graph: as for the network.

        Returns:
            What the network gives, without its features.
        """
        outputs = self.network(graph)
        if self.calibration is None:
            return dataclasses.replace(outputs, features=None)
        return self.calibration(outputs, graph.atomic_numbers)


class Potential(eqx.Module):
    """A network with its weights, and the card that says what they are worth.

    A pytree like any other module: `jax.tree.map`, `jax.jit` and fine-tuning see the weights only.

    Attributes:
        network: atomic energies of one molecule (eV) relative to the card's reference energies.
        card: architecture, data, reference energies (eV) and domain.
        calibration: what uncertainty and known surroundings are told by; None if the weights file
            has no such statistics, and predictions then come without.
    """

    network: EnergyModel
    card: Card = eqx.field(static=True)
    calibration: Calibration | None = None

    @property
    def predictor(self) -> Predictor:
        """Network and calibration, without the card: the part that computes."""
        return Predictor(self.network, self.calibration)


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
