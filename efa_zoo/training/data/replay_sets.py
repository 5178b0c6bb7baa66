"""Replay sets: few structures of a model's data, in a file beside its weights.

Whoever fine-tunes a model rarely has what it was trained on. Some hundred structures of it, which
ship with the model, remind the network of the rest.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from efa_zoo.base.errors import ConfigError, DataError
from efa_zoo.base.files import write_atomically
from efa_zoo.models.hub.cards import Card, write_results
from efa_zoo.models.hub.records import ReplaySet
from efa_zoo.models.hub.registry import ModelFiles, find

if TYPE_CHECKING:
    from data_pipelines.structure import Structure

__all__ = ["read_replay_set", "spread", "write_replay_set"]

#: Bytes of a file, unless others are wished.
_LIMIT = 200_000

#: Of the structures that are kept, the share that the model was not trained on.
_HELD_BACK = 0.2

#: More structures than any file of a sensible size holds.
_MOST = 20_000


def spread(structures: Sequence[Structure], seed: int) -> list[Structure]:
    """Order structures such that the first ones are of as many kinds as possible.

    A kind is a set of elements, a total charge, and whether the structure is an isolated molecule.
    Kinds take turns, and within a kind the order is random.

    Args:
        structures: any number.
        seed: of the order.

    Returns:
        All of them.
    """
    kinds: dict[object, list[int]] = defaultdict(list)
    for place in np.random.default_rng(seed).permutation(len(structures)).tolist():
        one = structures[place]
        elements = tuple(np.unique(one.atomic_numbers).tolist())
        alone = bool(one.pair) and bool(np.isnan(one.separation))
        kinds[elements, one.total_charge, alone].append(place)
    turns = [(turn, place) for kind in kinds.values() for turn, place in enumerate(kind)]
    return [structures[place] for _, place in sorted(turns, key=lambda entry: entry[0])]


def write_replay_set(
    model: str | os.PathLike[str],
    *,
    limit: int = _LIMIT,
    seed: int = 0,
    data_dir: str | os.PathLike[str] | None = None,
) -> Card:
    """Keep as many structures of a model's data beside its weights as fit into a file.

    Four fifths are of those that it was trained on, the others of its validation data. Its card
    gets the file's hash.

    Args:
        model: as `efa_zoo.load` takes it; trained on a data set that is built.
        limit: bytes of the file.
        seed: of the choice.
        data_dir: where data sets lie.

    Returns:
        The new card.

    Raises:
        UnknownModelError: there is no such model.
        ConfigError: its zoo file is not valid, or it has no weights.
        DataError: its data are not there, or not even one structure of either kind fits.
    """
    # Imported here: reading data needs packages that the library itself does not.
    from data_pipelines import load_split
    from data_pipelines.files.compact import to_compact

    files = find(model)
    card = Card.from_toml(files.zoo_file)
    if card.weights is None:
        raise ConfigError(f"{files.zoo_file}: has no weights, expected a trained model")
    training, validation = (
        spread(load_split(card.data.name, split, data_dir=data_dir), seed)
        for split in ("train", "validation")
    )

    def judges(count: int) -> list[Structure]:
        return validation[: max(1, round(count * _HELD_BACK / (1 - _HELD_BACK)))]

    def content(count: int) -> bytes:
        """Make the file of so many structures of training, and of those that go with them."""
        learned, held_back = training[:count], judges(count)
        splits = ["train"] * len(learned) + ["validation"] * len(held_back)
        return to_compact([*learned, *held_back], splits)

    fits, beyond = 0, 1 + min(len(training), _MOST)
    while beyond - fits > 1:
        middle = min((fits + beyond) // 2, max(1, 2 * fits))  # a large file takes long to write
        if len(content(middle)) <= limit:
            fits = middle
        else:
            beyond = middle
    if not fits:
        raise DataError(f"limit: got {limit} bytes, expected room for a structure of either kind")
    data = content(fits)
    write_atomically(files.replay, data)
    record = ReplaySet(
        sha256=hashlib.sha256(data).hexdigest(),
        training=fits,
        validation=len(judges(fits)),
        bytes=len(data),
    )
    return write_results(files.zoo_file, replay=record)


def read_replay_set(card: Card, files: ModelFiles) -> dict[str, list[Structure]] | None:
    """Read the structures that ship with a model.

    Args:
        card: of the model.
        files: of the model.

    Returns:
        Those of `train` and `validation`; None for a model without a replay set.

    Raises:
        DataError: the file is missing, was altered, or cannot be read.
    """
    from data_pipelines.files.compact import from_compact

    if card.replay is None:
        return None
    try:
        content = files.replay.read_bytes()
    except OSError as error:
        raise DataError(f"{files.replay}: cannot read the replay set ({error.strerror})") from error
    found = hashlib.sha256(content).hexdigest()
    if found != card.replay.sha256:
        raise DataError(
            f"{files.replay}: has SHA-256 {found}, expected {card.replay.sha256}; it was altered "
            "or belongs to another model"
        )
    return from_compact(content, files.replay)
