"""The TFDS builder `nacl_spheres`: balls of positive and negative ions of growing diameter."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import KDTree

from data_pipelines.builders.builder import StructureBuilder, full_and_tiny
from data_pipelines.labels.potentials import damped_coulomb_potential, sum_over_pairs
from data_pipelines.sampling.drawing import Sizes, draw_splits
from data_pipelines.sampling.placement import random_direction
from data_pipelines.structure import LabelledStructures, Structure

DENSITY = 0.075
"""Atoms per Å³."""

NEAREST = 1.8
"""No two atoms are closer than this, in Å."""

SODIUM, CHLORINE = 11, 17

_DESCRIPTION = """\
Balls of Na⁺ and Cl⁻ ions, as many of one as of the other, at 0.075 atoms/Å³ in diameters of 10, 15,
20, 25 and 30 Å (40, 132, 314, 614 and 1060 atoms). The atoms lie at random, no two closer than
1.8 Å, and the charges are dealt at random, so that nothing screens them and the energy has parts
from every distance. V = Σ k_e q q' erf(r/2)/r over all pairs, q = ±1 e, r in Å. Training and
validation hold diameters up to 20 Å, 1000/500/250 and 50/50/50 of them; the test split holds 50 of
each diameter. `kind` is the diameter, `coordinate` the same in Å.
"""


@dataclass(frozen=True)
class SphereSettings:
    """What to build.

    Attributes:
        train: Training structures by diameter in Å.
        validation: Validation structures by diameter in Å.
        test: Test structures by diameter in Å.
        seed: Of everything random.
    """

    train: dict[int, int] = field(default_factory=lambda: {10: 1000, 15: 500, 20: 250})
    validation: dict[int, int] = field(default_factory=lambda: {10: 50, 15: 50, 20: 50})
    test: dict[int, int] = field(
        default_factory=lambda: {10: 50, 15: 50, 20: 50, 25: 50, 30: 50},
    )
    seed: int = 0


class NaclSpheres(StructureBuilder):
    """Build the data set `nacl_spheres`."""

    DESCRIPTION = _DESCRIPTION
    CITATION = "After the NaCl-like systems of J. T. Frank et al., arXiv:2412.08541."
    THEORY = "damped Coulomb, k_e q q' erf(r/2)/r"
    FIELDS = ("kind", "coordinate")
    BUILDER_CONFIGS = full_and_tiny(
        _DESCRIPTION,
        SphereSettings(),
        SphereSettings({6: 12, 8: 4}, {6: 4}, {6: 2, 8: 2, 10: 2}),
    )

    def make(self) -> LabelledStructures:
        """Draw the structures."""
        settings: SphereSettings = self.settings
        counts = (settings.train, settings.validation, settings.test)
        diameters = sorted({diameter for by_diameter in counts for diameter in by_diameter})
        splits: dict[str, list[tuple[str, Structure]]] = {}
        for diameter in diameters:
            sizes = Sizes(*(count.get(diameter, 0) for count in counts), seed=settings.seed)

            def draw(rng: np.random.Generator, _: float, diameter: int = diameter) -> Structure:
                return draw_sphere(rng, diameter)

            for split, found in draw_splits(sizes, draw, diameter, prefix=f"{diameter}/").items():
                splits.setdefault(split, []).extend(found)
        return LabelledStructures(splits)


def number_of_ions(diameter: float) -> int:
    """Even number of ions closest to the density in a ball of this diameter in Å."""
    return 2 * round(DENSITY * np.pi * diameter**3 / 12)


def draw_sphere(rng: np.random.Generator, diameter: int) -> Structure:
    """Draw a ball of ions.

    Args:
        rng: Source of randomness.
        diameter: In Å.

    Returns:
        The structure.
    """
    count = number_of_ions(diameter)
    positions = _scatter(rng, count, diameter / 2)
    charges = rng.permutation(np.repeat([1.0, -1.0], count // 2))
    energy, forces = sum_over_pairs(damped_coulomb_potential, positions, charges)
    return Structure(
        atomic_numbers=np.where(charges > 0, SODIUM, CHLORINE).astype(np.int32),
        positions=positions,
        energy=energy,
        forces=forces,
        total_charge=0,
        kind=f"{diameter} Å",
        coordinate=float(diameter),
    )


def _scatter(rng: np.random.Generator, count: int, radius: float) -> np.ndarray:
    """Place points in a ball one after the other, each where it is far enough from the others."""
    placed = np.empty((0, 3))
    while len(placed) < count:
        tried = [radius * rng.random() ** (1 / 3) * random_direction(rng) for _ in range(count)]
        if len(placed):
            distances, _ = KDTree(placed).query(tried)
            tried = [p for p, d in zip(tried, distances, strict=True) if d >= NEAREST]
        kept: list[np.ndarray] = []
        for point in tried:
            if not kept or np.sum((np.array(kept) - point) ** 2, axis=1).min() >= NEAREST**2:
                kept.append(point)
        placed = np.concatenate([placed, np.reshape(kept, (-1, 3))])[:count]
    return placed
