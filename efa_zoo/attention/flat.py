"""Attention over a flat batch of molecules."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from efa_zoo.base.contracts import contract
from efa_zoo.structures.flat import FlatLayout

__all__ = ["attend_flat", "flat_layout"]


@contract
def attend_flat(
    attention: Callable[..., Array],
    inputs: Float[Array | np.ndarray, "atoms parities components features"],
    positions: Float[Array | np.ndarray, "atoms 3"],
    batch_segments: Int[Array | np.ndarray, " atoms"],
    graph_mask: Bool[Array | np.ndarray, " molecules"],
    *,
    max_atoms: int | None = None,
) -> Float[Array, "atoms out_parities out_components out_features"]:
    """Attend within every molecule of a flat batch.

    The atoms are gathered to `[molecules, max_atoms]`, attended molecule by molecule, and put
    back. Works under `jax.jit`, `jax.grad` and `jax.vmap`.

    Args:
        attention: one molecule's attention, called with features `[max_atoms, ...]`, positions
            and atom mask; for example an `EuclideanFastAttention`.
        inputs: equivariant features of all atoms.
        positions: in Å.
        batch_segments: molecule of each atom, 0 to `molecules - 1`, in any order. With one
            molecule it is not looked at: every atom belongs to it.
        graph_mask: one entry per molecule. Its length is the number of molecules; what it says
            does not matter, because a padding molecule's atoms attend to each other only.
        max_atoms: static number of atoms to pad to, see `FlatLayout.of`; needed where
            `batch_segments` is traced and there are several molecules.

    Returns:
        Features of the atoms in the order of `inputs`.

    Raises:
        InputError: `max_atoms` is too small, or missing where it cannot be derived, or a segment
            is out of range.
    """
    layout = flat_layout(batch_segments, graph_mask, max_atoms)
    attended = jax.vmap(attention)(layout.to_dense(inputs), layout.to_dense(positions), layout.mask)
    return layout.to_flat(attended)


def flat_layout(
    batch_segments: Int[Array | np.ndarray, " atoms"],
    graph_mask: Bool[Array | np.ndarray, " molecules"],
    max_atoms: int | None = None,
) -> FlatLayout:
    """The dense layout of a flat batch; with one molecule every atom belongs to it.

    Args and errors are those of `attend_flat`.
    """
    molecules = graph_mask.shape[0]
    if molecules == 1:
        batch_segments = np.zeros(batch_segments.shape, np.int32)
    return FlatLayout.of(batch_segments, molecules, max_atoms)
