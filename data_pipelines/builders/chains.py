"""The TFDS builder `chains`: two charges at the ends of a chain of neutral atoms."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_pipelines.builders.builder import StructureBuilder, full_and_tiny
from data_pipelines.labels.potentials import inverse_potential, sum_over_pairs
from data_pipelines.sampling.drawing import Sizes, draw_splits
from data_pipelines.sampling.placement import random_rotation
from data_pipelines.structure import LabelledStructures, Structure
from efa_zoo.base.errors import DataError

LENGTHS = tuple(range(2, 9))
"""Numbers k of atoms between the two ends."""

SPACING = 2.0
"""Distance of neighbours along the chain in Å."""

CUTOFF = 3.0
"""A cutoff in Å that reaches an atom's neighbours in the chain and no further."""

_DISPLACEMENT = 0.1

# Placeholder elements: neutral, positive, negative.
_NEUTRAL, _POSITIVE, _NEGATIVE = 1, 2, 3

_DESCRIPTION = """\
Straight chains of k = 2 to 8 neutral atoms 2 Å apart with a charge of +1 or -1 at either end, every
atom displaced at random by 0.1 Å in each direction, in random orientations. Only the two ends
interact: V = q q' / r, in eV for r in Å. Elements are placeholders: H is neutral, He positive, Li
negative. The sign of the energy depends on both ends, so with a cutoff of 3 Å a local network needs
k // 2 + 1 iterations before any atom knows of both. `kind` and `coordinate` are k. Splits are drawn
independently for each k: 300 for training, 50 for validation, 100 for testing.
"""


@dataclass(frozen=True)
class ChainSettings:
    """What to build.

    Attributes:
        lengths: Numbers k of atoms between the ends.
        train: Training structures for each k.
        validation: Validation structures for each k.
        test: Test structures for each k.
        seed: Of everything random.
    """

    lengths: tuple[int, ...] = LENGTHS
    train: int = 300
    validation: int = 50
    test: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 1:
            raise DataError(f"lengths: got {self.lengths}, expected numbers of at least 1")


class Chains(StructureBuilder):
    """Build the data set `chains`."""

    DESCRIPTION = _DESCRIPTION
    CITATION = (
        "After the k-chains of C. K. Joshi et al., ICML 2023 (arXiv:2301.09308), which "
        "J. T. Frank et al., arXiv:2412.08541, take up."
    )
    THEORY = "V = q q' / r of the two ends"
    FIELDS = ("kind", "coordinate", "separation")
    BUILDER_CONFIGS = full_and_tiny(
        _DESCRIPTION, ChainSettings(), ChainSettings((2, 5), train=12, validation=4, test=4)
    )

    def make(self) -> LabelledStructures:
        """Draw the structures."""
        settings: ChainSettings = self.settings
        sizes = Sizes(settings.train, settings.validation, settings.test, settings.seed)
        splits: dict[str, list[tuple[str, Structure]]] = {split: [] for split in sizes.splits}
        for k in settings.lengths:

            def draw(rng: np.random.Generator, _: float, k: int = k) -> Structure:
                return draw_chain(rng, k)

            for split, found in draw_splits(sizes, draw, k, prefix=f"{k}/").items():
                splits[split] += found
        return LabelledStructures(splits)


def draw_chain(rng: np.random.Generator, length: int) -> Structure:
    """Draw a chain.

    Args:
        rng: Source of randomness.
        length: Number k of neutral atoms.

    Returns:
        The structure of k + 2 atoms; `separation` is the distance of the ends in Å.
    """
    count = length + 2
    charges = np.zeros(count)
    charges[[0, -1]] = rng.choice([-1.0, 1.0], 2)
    line = np.zeros((count, 3))
    line[:, 2] = SPACING * np.arange(count)
    positions = line + _DISPLACEMENT * rng.standard_normal((count, 3))
    positions = np.einsum("ai,ji->aj", positions, random_rotation(rng))
    energy, forces = sum_over_pairs(inverse_potential, positions, charges)
    elements = {0.0: _NEUTRAL, 1.0: _POSITIVE, -1.0: _NEGATIVE}
    return Structure(
        atomic_numbers=np.array([elements[float(q)] for q in charges], np.int32),
        positions=positions,
        energy=energy,
        forces=forces,
        total_charge=0,
        kind=f"k = {length}",
        coordinate=float(length),
        separation=float(np.sqrt(np.sum((positions[-1] - positions[0]) ** 2))),
    )
