"""Geometries of dimers and lone molecules before they are labelled.

Every structure has its own random generator, made of the seed, the kind of structure, the pair and
the structure's number, so the data do not depend on the order in which workers finish.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32

from data_pipelines.labels.labelling import Geometry
from data_pipelines.sampling.dimers.settings import (
    MONOMER_NUMBERS,
    PAIR_NUMBERS,
    TRANSFER_PAIRS,
    DimerSettings,
    Pair,
)
from data_pipelines.sampling.monomers import MONOMERS, RelaxedMonomer, distort, numbers_of
from data_pipelines.sampling.placement import (
    MAX_SEPARATION,
    closest_contact,
    contact_distances,
    draw_separation,
    random_direction,
    random_rotation,
    separation_at_contact,
)

CURVE_SEPARATIONS = tuple(float(r) for r in np.arange(6.0, MAX_SEPARATION + 0.25, 0.5))
"""Separations in Å of a rigid scan beyond the range of a local model."""

_CURVE_CONTACTS = (1.0, 1.15, 1.35, 1.6)
SHARES = {"train": 0.8, "validation": 0.1, "test": 0.1}
_TEMPERATURES = (100.0, 600.0)

# First words of a structure's random generator.
_DIMER, _ISOLATED, _CURVE, _SPLIT_DIMER, _SPLIT_ISOLATED, FIRST_FREE_WORD = range(6)


@dataclass(frozen=True)
class Plan:
    """A structure before it is labelled.

    Attributes:
        key: Of the structure, unique in its data set.
        split: Where it belongs.
        names: Of the molecules; the second is empty for a lone one.
        positions: Float64 `[atoms, 3]` in Å of each molecule.
        separation: Distance of the centres of mass in Å.
        kind: As of `Structure`.
        group: As of `Structure`.
        curve: As of `Structure`.
    """

    key: str
    split: str
    names: Pair
    positions: tuple[np.ndarray, ...]
    separation: float = float("nan")
    kind: str = ""
    group: str = ""
    curve: int = -1

    @property
    def formal_charges(self) -> Int32[np.ndarray, " 2"]:
        """Charges that the molecules should have, in e."""
        charges = [MONOMERS[name].charge if name else 0 for name in self.names]
        return np.array(charges, np.int32)

    @property
    def contact(self) -> float:
        """Smallest distance of atoms of the two molecules in Å; NaN for a lone one."""
        return closest_contact(*self.positions) if len(self.positions) == 2 else float("nan")

    @property
    def pair(self) -> str:
        """The molecules' names joined by a plus sign."""
        return "+".join(name for name in self.names if name)

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """The whole structure and, if it is a dimer in a random geometry, its two fragments."""
        numbers = [numbers_of(name) for name in self.names if name]
        charges = [int(q) for q in self.formal_charges]
        whole = Geometry(np.concatenate(numbers), np.concatenate(self.positions), int(sum(charges)))
        if len(numbers) == 1 or self.curve >= 0:
            return (whole,)
        fragments = zip(numbers, self.positions, charges, strict=True)
        return (whole, *(Geometry(*fragment) for fragment in fragments))


class Plans:
    """All structures to label."""

    def __init__(self, settings: DimerSettings, relaxed: Mapping[str, RelaxedMonomer]) -> None:
        self.settings = settings
        self.relaxed = relaxed

    def __iter__(self) -> Iterator[Plan]:
        for name in self.settings.monomers:
            yield from self._isolated(name)
        for pair in self.settings.pairs:
            yield from self.dimers(pair)
        yield from self._scans()

    def _rng(self, *words: int) -> np.random.Generator:
        return np.random.default_rng((self.settings.seed, *words))

    def _isolated_count(self, name: str) -> int:
        several = len(MONOMERS[name].atomic_numbers) > 1
        return self.settings.per_monomer if several else min(1, self.settings.per_monomer)

    def _isolated(self, name: str) -> Iterator[Plan]:
        number, count = MONOMER_NUMBERS[name], self._isolated_count(name)
        splits = _assign(self._rng(_SPLIT_ISOLATED, number), count)
        for i in range(count):
            rng = self._rng(_ISOLATED, number, i)
            yield Plan(
                key=f"{name}/{i:05d}",
                split=splits[i],
                names=(name, ""),
                positions=(distorted(self.relaxed[name], rng),),
                kind=self._kind("isolated"),
            )

    def dimers(self, pair: Pair) -> Iterator[Plan]:
        """Dimers of one pair; more of them begin with the same ones."""
        number, count = PAIR_NUMBERS[pair], self.settings.per_pair
        splits = _assign(self._rng(_SPLIT_DIMER, number), count)
        distances = contact_distances(*(numbers_of(name) for name in pair))
        # Equal charges only repel: nothing is to be learnt from pressing them together.
        wall = 1.0 if MONOMERS[pair[0]].charge * MONOMERS[pair[1]].charge > 0 else 0.8
        for i in range(count):
            rng = self._rng(_DIMER, number, i)
            first, second = (distorted(self.relaxed[name], rng) for name in pair)
            direction = random_direction(rng)
            separation = draw_separation(first, second, direction, distances, rng, wall=wall)
            yield Plan(
                key=f"{'+'.join(pair)}/{i:05d}",
                split="transfer" if pair in TRANSFER_PAIRS else splits[i],
                names=pair,
                positions=(first, second + separation * direction),
                separation=separation,
                kind=self._kind("random"),
            )

    def _scans(self) -> Iterator[Plan]:
        for pair in self.settings.pairs:
            number = PAIR_NUMBERS[pair]
            distances = contact_distances(*(numbers_of(name) for name in pair))
            for i in range(self.settings.curves_per_pair):
                rng = self._rng(_CURVE, number, i)
                first, second = (
                    self.relaxed[name].positions @ random_rotation(rng).T for name in pair
                )
                direction = random_direction(rng)
                near = [
                    separation_at_contact(first, second, direction, factor * distances)
                    for factor in _CURVE_CONTACTS
                ]
                inside = [r for r in near if r < CURVE_SEPARATIONS[0] - 0.1]
                curve = number * _CURVES_APART + i
                contact = near[0]
                outside = [r for r in CURVE_SEPARATIONS if r >= contact]
                for j, separation in enumerate((*inside, *outside)):
                    yield Plan(
                        key=f"curve/{'+'.join(pair)}/{i:03d}/{j:03d}",
                        split="curves",
                        names=pair,
                        positions=(first, second + separation * direction),
                        separation=separation,
                        kind=self._kind("scan"),
                        curve=curve,
                    )

    def _kind(self, kind: str) -> str:
        """The kind, where there are others beside these."""
        return kind if self.settings.close else ""


def distorted(relaxed: RelaxedMonomer, rng: np.random.Generator) -> Float64[np.ndarray, "atoms 3"]:
    """Draw a molecule at a temperature from 100 to 600 K in a random orientation."""
    temperature = rng.uniform(*_TEMPERATURES)
    return distort(relaxed, temperature, rng) @ random_rotation(rng).T


_CURVES_APART = 1000


def _assign(rng: np.random.Generator, count: int) -> list[str]:
    """Split `count` structures in fixed shares at random; the first split takes the remainder."""
    splits = ["train"] * count
    order = rng.permutation(count)
    start = 0
    for name in ("validation", "test"):
        stop = start + int(SHARES[name] * count + 0.5)
        for i in order[start:stop]:
            splits[i] = name
        start = stop
    return splits
