"""Dimers that random placement hardly finds: in contact, bonded, exchanging a proton, far apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import numpy as np

from data_pipelines.sampling.dimers.bonded import (
    HydrogenBond,
    hydrogen_bonds,
    place_bonded,
    place_transfer,
)
from data_pipelines.sampling.dimers.exploring import Exploration
from data_pipelines.sampling.dimers.plans import (
    FIRST_FREE_WORD,
    SHARES,
    Plan,
    distorted,
)
from data_pipelines.sampling.dimers.settings import (
    PAIR_NUMBERS,
    TRANSFER_PAIRS,
    CloseSettings,
    DimerSettings,
    Pair,
)
from data_pipelines.sampling.monomers import MASSES, MONOMERS, RelaxedMonomer, numbers_of
from data_pipelines.sampling.placement import (
    MAX_SEPARATION,
    contact_distances,
    random_direction,
    separation_at_contact,
)

CONTACT, BOND, TRANSFER, FAR = "contact", "hydrogen bond", "proton transfer", "far"
"""Kinds of the structures that are placed here."""

NEAREST = 0.6
"""Closest approach in contact distances."""

_NEAREST_OF_EQUAL_CHARGES = 0.9
_CONTACTS, _BONDS, _STRETCHES, _PROGRESS = 1.2, 1.3, (-0.15, 1.0), (-0.1, 1.1)
_NEAREST_FAR = 6.0

Molecules = tuple[np.ndarray, np.ndarray]
Draw = Callable[[np.random.Generator], Molecules]
_T = TypeVar("_T")


class ClosePlans:
    """What `CloseSettings` ask for of each pair.

    Args:
        settings: Of the whole data set.
        close: What to build.
        relaxed: The molecules by name.
    """

    def __init__(
        self,
        settings: DimerSettings,
        close: CloseSettings,
        relaxed: Mapping[str, RelaxedMonomer],
    ) -> None:
        self.settings = settings
        self.close = close
        self.relaxed = relaxed

    def __iter__(self) -> Iterator[Plan]:
        """Draw the structures that are placed."""
        for pair in self.settings.pairs:
            for series, (kind, (count, draw)) in enumerate(self._placed(pair).items()):
                for key, split, words in self._members(pair, series, kind, count):
                    yield plan_of(pair, draw(np.random.default_rng(words)), key, split, kind)

    def explorations(self) -> Iterator[tuple[Plan, Exploration]]:
        """Draw the starts of explorations of all pairs but those of equal charges.

        Each comes as a plan too, which says where it belongs.

        Yields:
            Plan and task.
        """
        close = self.close
        for pair in self.settings.pairs:
            if _repel(pair):
                continue  # there is no minimum
            placed = self._placed(pair)
            starts = [kind for kind in (BOND, CONTACT, BOND, TRANSFER) if placed[kind][0]]
            members = self._members(pair, len(placed), "exploration", close.explorations)
            for i, (key, split, words) in enumerate(members):
                rng = np.random.default_rng(words)
                kind = starts[i % len(starts)]
                plan = plan_of(pair, placed[kind][1](rng), key, split, kind)
                first, second = (MONOMERS[name].charge for name in pair)
                stop = close.interval * (close.snapshots + 1)
                task = Exploration(
                    numbers=(numbers_of(pair[0]), numbers_of(pair[1])),
                    charges=(first, second),
                    start=np.concatenate(plan.positions),
                    points=close.points,
                    stretches=close.stretches,
                    temperature=float(rng.uniform(*close.temperatures)),
                    record=tuple(range(close.interval, stop, close.interval)),
                    words=(*words, 2),
                )
                yield plan, task

    def _members(
        self, pair: Pair, series: int, kind: str, count: int
    ) -> Iterator[tuple[str, str, tuple[int, ...]]]:
        """Key, split and words of the generator of every member; more begin with the same ones."""
        words = (self.settings.seed, FIRST_FREE_WORD + series, PAIR_NUMBERS[pair])
        chances = np.cumsum(list(SHARES.values())[:-1])
        for i in range(count):
            dealt = int(np.searchsorted(chances, np.random.default_rng((*words, i, 0)).random()))
            split = "transfer" if pair in TRANSFER_PAIRS else list(SHARES)[dealt]
            yield f"{kind}/{'+'.join(pair)}/{i:05d}", split, (*words, i, 1)

    def _placed(self, pair: Pair) -> dict[str, tuple[int, Draw]]:
        """Number of structures of a pair, and what draws one, by kind."""
        close = self.close
        bonds = hydrogen_bonds(pair, self.relaxed)
        transfers = hydrogen_bonds(pair, self.relaxed, acidic=True)
        return {
            CONTACT: (close.contacts, lambda rng: self._contact(pair, rng)),
            BOND: (close.bonds if bonds else 0, lambda rng: self._bond(pair, bonds, rng)),
            TRANSFER: (
                close.transfers if transfers else 0,
                lambda rng: self._transfer(pair, transfers, rng),
            ),
            FAR: (close.far, lambda rng: self._far(pair, rng)),
        }

    def _molecules(self, pair: Pair, rng: np.random.Generator) -> Molecules:
        return distorted(self.relaxed[pair[0]], rng), distorted(self.relaxed[pair[1]], rng)

    def _contact(self, pair: Pair, rng: np.random.Generator) -> Molecules:
        first, second = self._molecules(pair, rng)
        direction = random_direction(rng)
        nearest = _NEAREST_OF_EQUAL_CHARGES if _repel(pair) else NEAREST
        factor = nearest + (_CONTACTS - nearest) * float(rng.random())
        distances = factor * contact_distances(*(numbers_of(name) for name in pair))
        return first, second + direction * separation_at_contact(
            first, second, direction, distances
        )

    def _bond(self, pair: Pair, bonds: list[HydrogenBond], rng: np.random.Generator) -> Molecules:
        molecules = self._molecules(pair, rng)
        factor = NEAREST + (_BONDS - NEAREST) * float(rng.random())
        return place_bonded(pair, molecules, _one_of(bonds, rng), factor, rng)

    def _transfer(
        self, pair: Pair, bonds: list[HydrogenBond], rng: np.random.Generator
    ) -> Molecules:
        molecules = self._molecules(pair, rng)
        stretch, progress = float(rng.uniform(*_STRETCHES)), float(rng.uniform(*_PROGRESS))
        return place_transfer(pair, molecules, _one_of(bonds, rng), stretch, progress, rng)

    def _far(self, pair: Pair, rng: np.random.Generator) -> Molecules:
        first, second = self._molecules(pair, rng)
        separation = float(rng.uniform(_NEAREST_FAR, MAX_SEPARATION))
        return first, second + separation * random_direction(rng)


def _repel(pair: Pair) -> bool:
    return MONOMERS[pair[0]].charge * MONOMERS[pair[1]].charge > 0


def _one_of(items: list[_T], rng: np.random.Generator) -> _T:
    return items[int(rng.integers(len(items)))]


def plan_of(
    pair: Pair, molecules: Molecules, key: str, split: str, kind: str, group: str = ""
) -> Plan:
    """Make the plan of two molecules at given places.

    Args:
        pair: Names of the molecules.
        molecules: Positions in Å of each.
        key: Of the structure.
        split: Where it belongs.
        kind: As of `Structure`.
        group: As of `Structure`.

    Returns:
        The plan.
    """
    centers: list[np.ndarray] = []
    for name, positions in zip(pair, molecules, strict=True):
        masses = np.array([MASSES[z] for z in MONOMERS[name].atomic_numbers])
        centers.append(masses @ positions / masses.sum())
    return Plan(
        key=key,
        split=split,
        names=pair,
        positions=molecules,
        separation=float(np.linalg.norm(centers[1] - centers[0])),
        kind=kind,
        group=group,
    )
