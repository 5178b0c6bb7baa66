"""Replay: epochs of new structures mixed with some of those that were trained on before."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from efa_zoo.base.errors import DataError


@dataclass(frozen=True)
class Replay:
    """Draw the structures of an epoch from new ones and a pool of old ones, in this order.

    Every epoch takes all new structures and the next `drawn` of the pool, which is gone through in
    a random order, again and again, so that old structures come up equally often.

    Attributes:
        new: Number of new structures.
        pool: Number of old structures.
        drawn: How many old structures an epoch takes.
        seed: Of the order of the pool.
    """

    new: int
    pool: int
    drawn: int
    seed: int = 0

    def __post_init__(self) -> None:
        for field in ("new", "pool", "drawn"):
            value = getattr(self, field)
            if value < 1:
                raise DataError(f"{field}: got {value}, expected at least 1")

    @classmethod
    def of_share(cls, new: int, pool: int, share: float, seed: int = 0) -> Replay:
        """Draw so many that a share of each epoch is old.

        Args:
            new: Number of new structures.
            pool: Number of old structures.
            share: Of the old structures in an epoch, above 0 and below 1.
            seed: Of the order of the pool.

        Returns:
            The draw; at least one old structure an epoch.
        """
        return cls(new, pool, max(1, round(share / (1 - share) * new)), seed)

    def __call__(self, epoch: int) -> Int[np.ndarray, " drawn"]:
        """Give the indices of the structures of an epoch, the same ones each time.

        Args:
            epoch: Number of the pass over the new structures, from 0.

        Returns:
            Indices, new structures first.
        """
        places = np.arange(epoch * self.drawn, (epoch + 1) * self.drawn)
        rounds, within = np.divmod(places, self.pool)
        orders = {
            int(number): np.random.default_rng((self.seed, int(number))).permutation(self.pool)
            for number in np.unique(rounds)
        }
        old = [
            orders[number][i] for number, i in zip(rounds.tolist(), within.tolist(), strict=True)
        ]
        return np.concatenate([np.arange(self.new), self.new + np.array(old, np.int64)])
