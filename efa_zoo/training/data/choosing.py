"""Structures that a network can learn from, and how often each comes up."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from efa_zoo.base.errors import ConfigError, DataError
from efa_zoo.models.hub.cards import Card
from efa_zoo.structures.distances import farthest
from efa_zoo.structures.elements import symbol

if TYPE_CHECKING:
    from data_pipelines.structure import Structure

__all__ = ["repeat_isolated", "repeated_places", "require_places"]


def repeat_isolated(structures: Sequence[Structure], share: float) -> list[Structure]:
    """Repeat isolated molecules until they make up a share, every kind equally often.

    Args:
        structures: pairs and isolated molecules.
        share: of the result, 0 to below 1; 0 takes the structures as they are.

    Returns:
        Pairs first.

    Raises:
        ConfigError: a share is wanted, but there are no isolated molecules, or nothing else.
    """
    names = [s.pair if s.pair and np.isnan(s.separation) else None for s in structures]
    return [structures[place] for place in repeated_places(names, share)]


def repeated_places(isolated: Sequence[str | None], share: float) -> list[int]:
    """Say which structures make up an epoch, as `repeat_isolated` does.

    Args:
        isolated: of each isolated molecule its name, None for every other structure.
        share: as of `repeat_isolated`.

    Returns:
        Places of the structures, a repeated one as often as it comes up.

    Raises:
        ConfigError: as of `repeat_isolated`.
    """
    if share == 0:
        return list(range(len(isolated)))
    kinds: dict[str, list[int]] = defaultdict(list)
    pairs: list[int] = []
    for place, name in enumerate(isolated):
        if name is None:
            pairs.append(place)
        else:
            kinds[name].append(place)
    if not kinds or not pairs:
        raise ConfigError(
            f"isolated_share: got {share}, expected 0, because the data do not hold both pairs and "
            "isolated molecules marked as such"
        )
    each = round(share / (1 - share) * len(pairs) / len(kinds))
    return pairs + [kind[i % len(kind)] for kind in kinds.values() for i in range(each)]


def require_places(structures: Sequence[Structure], card: Card) -> None:
    """Refuse structures with elements, spins or distances that a network is not made for.

    Args:
        structures: labelled structures.
        card: of the network.

    Raises:
        DataError: an element is beyond `model.highest_atomic_number`, or a multiplicity is not the
            lowest and the network does not embed the spin.
        ConfigError: a distance is beyond what attention resolves.
    """
    highest = card.model.highest_atomic_number
    beyond = sorted({int(z) for s in structures for z in s.atomic_numbers if z > highest})
    if beyond:
        raise DataError(
            f"elements: got {', '.join(map(symbol, beyond))}, but the network of {card.name} has "
            f"places up to {symbol(highest)} only (model.highest_atomic_number = {highest})"
        )
    if not card.model.spin_embedding:
        lowest = (dataclasses.replace(s, multiplicity=0).spin_multiplicity for s in structures)
        excited = [
            s for s, low in zip(structures, lowest, strict=True) if s.multiplicity not in (0, low)
        ]
        if excited:
            raise DataError(
                f"multiplicity: got {excited[0].multiplicity}, expected the lowest of each "
                f"structure, because {card.name} does not take the spin (model.spin_embedding)"
            )
    lengths = [farthest(s.positions)[0] for s in structures if s.cell is None]
    card.check_reach(max(lengths, default=0.0))
