"""Structures to compute on: cumulenes, clusters in a ball, and matter of a liquid's density."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

__all__ = ["Molecules", "Structures"]

#: Atoms per Å³: of liquid water, and of the balls of 32 atoms within 5 Å.
_LIQUID, _CLUSTER = 0.1, 0.061


@dataclass(frozen=True)
class Molecules:
    """Atomic numbers `[molecules, atoms]` and positions `[molecules, atoms, 3]` in Å, float32."""

    numbers: np.ndarray
    positions: np.ndarray

    @property
    def radius(self) -> float:
        """Largest distance of an atom from the origin, in Å."""
        return float(np.max(np.linalg.norm(self.positions, axis=-1)))


@dataclass(frozen=True, kw_only=True)
class Structures:
    """What kind of molecules, how many, and of how many atoms each.

    A crystal is periodic, and is made where it is computed.
    """

    kind: Literal["cumulene", "cluster", "liquid", "crystal"]
    molecules: int
    atoms: int

    def make(self) -> Molecules:
        """The molecules, the same ones every time, centred at the origin."""
        generator = np.random.default_rng(0)
        if self.kind == "cumulene":
            numbers, positions = _cumulene(self.atoms - 4)
            positions = positions + generator.normal(0, 0.06, (self.molecules, *positions.shape))
        else:
            spacing = (_LIQUID if self.kind == "liquid" else _CLUSTER) ** (-1 / 3)
            lattice = spacing * _ball(self.atoms)
            shape = (self.molecules, self.atoms, 3)
            positions = lattice + generator.uniform(-0.2, 0.2, shape) * spacing
            numbers = generator.choice([1, 6, 8], self.atoms, p=[0.6, 0.2, 0.2])
        positions -= positions.mean(axis=1, keepdims=True)
        numbers = np.broadcast_to(numbers, (self.molecules, self.atoms))
        return Molecules(numbers.astype(np.int32), positions.astype(np.float32))


def _cumulene(carbons: int) -> tuple[np.ndarray, np.ndarray]:
    """A chain of carbons 1.3 Å apart with CH₂ at both ends."""
    chain = np.zeros((carbons, 3))
    chain[:, 0] = 1.3 * np.arange(carbons)
    out, side = 0.54, 0.93
    ends = [(-out, 0), (chain[-1, 0] + out, 1)]
    hydrogens = [(x, *(sign * side * np.eye(2)[axis])) for x, axis in ends for sign in (1.0, -1.0)]
    numbers = np.asarray([6] * carbons + [1] * 4)
    return numbers, np.concatenate([chain, np.asarray(hydrogens)])


def _ball(count: int) -> np.ndarray:
    """The points of a cubic lattice of spacing 1 nearest to its origin, which is a corner."""
    half = int(np.ceil((count * 3 / (4 * np.pi)) ** (1 / 3))) + 2
    axis = np.arange(-half, half) + 0.5
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    order = np.argsort(np.sum(points**2, axis=1), kind="stable")
    return points[order[:count]]
