"""Drawing structures at random, each from its own generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError

Draw = Callable[[np.random.Generator, float], Structure]
"""Makes a structure from a generator and a number from 0 to 1, spread evenly over a split."""


@dataclass(frozen=True)
class Sizes:
    """How many structures each split of a drawn data set has.

    Attributes:
        train: Number of training structures.
        validation: Number of validation structures.
        test: Number of test structures.
        seed: Of everything random.
    """

    train: int
    validation: int
    test: int
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test", "seed"):
            if getattr(self, name) < 0:
                value = getattr(self, name)
                raise DataError(f"{name}: got {value}, expected an integer of at least 0")

    @property
    def splits(self) -> Mapping[str, int]:
        """Number of structures by name of the split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def places(counts: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    """List the structures of all splits.

    Args:
        counts: Number of structures by name of the split.

    Yields:
        Name and number of the split, and the number of the structure in it.
    """
    for number, (split, count) in enumerate(counts.items()):
        for i in range(count):
            yield split, number, i


def draw_splits(
    sizes: Sizes, draw: Draw, *words: int, prefix: str = ""
) -> dict[str, list[tuple[str, Structure]]]:
    """Draw all splits independently of one another.

    Every structure has its own generator, made of the seed, `words`, and the number of its split
    and its own, so that it depends on nothing else.

    Args:
        sizes: Of the splits.
        draw: Makes one structure.
        *words: Further words of the generators, where several series share a seed.
        prefix: Of the keys.

    Returns:
        For each split, key and structure.
    """
    splits: dict[str, list[tuple[str, Structure]]] = {split: [] for split in sizes.splits}
    for split, number, i in places(sizes.splits):
        rng = np.random.default_rng((sizes.seed, *words, number, i))
        spread = (i + float(rng.random())) / sizes.splits[split]
        splits[split].append((f"{prefix}{split}/{i:05d}", draw(rng, spread)))
    return splits
