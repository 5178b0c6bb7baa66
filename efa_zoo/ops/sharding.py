"""Sums and rows over all atoms where each device holds some atoms of one system.

Whether it does is asked of JAX: inside of a `shard_map` over a mesh with the axis `ATOMS`, arrays
with an axis of atoms hold those of one device. Everywhere else they hold all, and the functions
here give back what they get.
"""

from __future__ import annotations

import jax
from jaxtyping import Array, Shaped

__all__ = ["ATOMS", "all_atoms", "atom_shards", "sum_over_shards"]

#: The axis of a mesh that atoms of one system are dealt over.
ATOMS = "efa_zoo_atoms"


def atom_shards() -> int:
    """Count the devices that share the atoms of the system at hand (static)."""
    try:
        return jax.lax.axis_size(ATOMS)
    except NameError:
        return 1


def sum_over_shards(x: Shaped[Array, "*shape"]) -> Shaped[Array, "*shape"]:
    """Add up what each device has summed over its atoms.

    Args:
        x: a sum over atoms.

    Returns:
        The sum over the atoms of all devices.
    """
    return x if atom_shards() == 1 else jax.lax.psum(x, ATOMS)


def all_atoms(x: Shaped[Array, "atoms *rest"]) -> Shaped[Array, "all_atoms *rest"]:
    """Gather the rows of all atoms, to which neighbours point.

    Args:
        x: rows of the atoms of this device.

    Returns:
        Rows of the atoms of all devices.
    """
    return x if atom_shards() == 1 else jax.lax.all_gather(x, ATOMS, tiled=True)
