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
from data_pipelines.sampling.monomers import MONOMERS, RelaxedMonomer, distort
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
_DIMER, _ISOLATED, _CURVE, _SPLIT_DIMER, _SPLIT_ISOLATED = range(5)


@dataclass(frozen=True)
class Plan:
    """A structure before it is labelled."""

    key: str
    split: str
    names: Pair
    positions: tuple[np.ndarray, ...]
    formal_charges: Int32[np.ndarray, " 2"]
    separation: float
    contact: float
    curve: int

    @property
    def group(self) -> str:
        """The molecules' names joined by a plus sign."""
        return "+".join(name for name in self.names if name)

    @property
    def geometries(self) -> tuple[Geometry, ...]:
        """The whole structure and, if it is a dimer in a random geometry, its two fragments."""
        numbers = [_numbers(name) for name in self.names if name]
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
                positions=(self._distorted(name, rng),),
                formal_charges=np.array([MONOMERS[name].charge, 0], np.int32),
                separation=float("nan"),
                contact=float("nan"),
                curve=-1,
            )

    def dimers(self, pair: Pair) -> Iterator[Plan]:
        """Dimers of one pair; more of them begin with the same ones."""
        number, count = PAIR_NUMBERS[pair], self.settings.per_pair
        splits = _assign(self._rng(_SPLIT_DIMER, number), count)
        distances = contact_distances(*(_numbers(name) for name in pair))
        # Equal charges only repel: nothing is to be learnt from pressing them together.
        wall = 1.0 if MONOMERS[pair[0]].charge * MONOMERS[pair[1]].charge > 0 else 0.8
        for i in range(count):
            rng = self._rng(_DIMER, number, i)
            first, second = (self._distorted(name, rng) for name in pair)
            direction = random_direction(rng)
            separation = draw_separation(first, second, direction, distances, rng, wall=wall)
            yield _place(
                f"{'+'.join(pair)}/{i:05d}",
                "transfer" if pair in TRANSFER_PAIRS else splits[i],
                pair,
                first,
                second + separation * direction,
                separation,
                curve=-1,
            )

    def _scans(self) -> Iterator[Plan]:
        for pair in self.settings.pairs:
            number = PAIR_NUMBERS[pair]
            distances = contact_distances(*(_numbers(name) for name in pair))
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
                    yield _place(
                        f"curve/{'+'.join(pair)}/{i:03d}/{j:03d}",
                        "curves",
                        pair,
                        first,
                        second + separation * direction,
                        separation,
                        curve=curve,
                    )

    def _distorted(self, name: str, rng: np.random.Generator) -> Float64[np.ndarray, "atoms 3"]:
        temperature = rng.uniform(*_TEMPERATURES)
        return distort(self.relaxed[name], temperature, rng) @ random_rotation(rng).T


_CURVES_APART = 1000


def _numbers(name: str) -> Int32[np.ndarray, " atoms"]:
    return np.array(MONOMERS[name].atomic_numbers, np.int32)


def _place(
    key: str,
    split: str,
    pair: Pair,
    first: Float64[np.ndarray, "m 3"],
    second: Float64[np.ndarray, "n 3"],
    separation: float,
    *,
    curve: int,
) -> Plan:
    return Plan(
        key=key,
        split=split,
        names=pair,
        positions=(first, second),
        formal_charges=np.array([MONOMERS[name].charge for name in pair], np.int32),
        separation=separation,
        contact=closest_contact(first, second),
        curve=curve,
    )


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
