"""The structures that a model is evaluated on."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from efa_zoo.base.errors import DataError
from efa_zoo.models.hub.registry import find

if TYPE_CHECKING:
    from data_pipelines.files.options import FileOptions
    from data_pipelines.splitting import SplitOptions
    from data_pipelines.structure import Structure
    from efa_zoo.models.hub.cards import Card

#: What was held back of a file that a model was fine-tuned on, in the model's folder.
HELD_BACK_FILE = "held_back.npz"

#: Splits that are held back from training and evaluated unless others are named.
_HELD_BACK = ("validation", "test", "transfer", "curves")


def find_structures(
    model: str | os.PathLike[str],
    card: Card,
    data: str | os.PathLike[str] | None,
    *,
    splits: Sequence[str] | None,
    reading: FileOptions | None,
    splitting: SplitOptions | None,
    data_dir: str | os.PathLike[str] | None,
) -> dict[str, list[Structure]]:
    """Read what to evaluate a model on; arguments and errors are those of `evaluate`.

    Args:
        model: what `efa_zoo.load` takes.
        card: of the model.
        data: data set or file, None for the model's own.
        splits: which, None takes those that are held back from training.
        reading: names and units in the file.
        splitting: how the file is dealt to splits.
        data_dir: where data sets lie.

    Returns:
        Structures by split.
    """
    if data is None and (kept := _held_back(model, card)) is not None:
        _refuse_file_options(card.data.name, reading, splitting)
        return _read_held_back(kept, splits, dipoles=card.model.dipole_embedding)
    return _read(card, data, splits, reading, splitting, data_dir)


def _read(
    card: Card,
    data: str | os.PathLike[str] | None,
    splits: Sequence[str] | None,
    reading: FileOptions | None,
    splitting: SplitOptions | None,
    data_dir: str | os.PathLike[str] | None,
) -> dict[str, list[Structure]]:
    """Structures to evaluate, by split."""
    # Imported here: reading data needs packages that the library itself does not.
    from data_pipelines import load_split
    from data_pipelines.datasets import BUILDERS

    name = card.data.name if data is None else os.fspath(data)
    if name.partition("/")[0] not in BUILDERS:
        if data is None:
            raise DataError(
                f"data: got none, expected --data FILE because the data of {card.name}, "
                f"{name!r}, is no data set that can be built"
            )
        return _read_file(name, splits, reading, splitting)
    _refuse_file_options(name, reading, splitting)
    if splits is not None:
        return {split: load_split(name, split, data_dir=data_dir) for split in splits}
    found = {}
    for split in _HELD_BACK:
        try:
            found[split] = load_split(name, split, data_dir=data_dir)
        except DataError:
            if split == "validation":
                raise
    return found


def _refuse_file_options(
    name: str, reading: FileOptions | None, splitting: SplitOptions | None
) -> None:
    for option, given in (("reading", reading), ("splitting", splitting)):
        if given is not None:
            raise DataError(f"{option}: given, expected none, because {name} is no file to read")


def _held_back(model: str | os.PathLike[str], card: Card) -> Path | None:
    """What fine-tuning held back of a file; None for a model of a data set."""
    if card.fine_tuning is None or not card.fine_tuning.data_sha256:
        return None
    file = find(model).zoo_file.with_name(HELD_BACK_FILE)
    if not file.exists():
        raise DataError(
            f"data: got none, and {file} is missing, expected --data FILE because {card.name} was "
            f"fine-tuned on the file {card.data.name}"
        )
    return file


def _read_held_back(
    file: Path, splits: Sequence[str] | None, *, dipoles: bool
) -> dict[str, list[Structure]]:
    from data_pipelines.files.arrays import DIPOLES_KEY, SPLIT_KEY
    from data_pipelines.files.options import FileOptions
    from data_pipelines.files.reading import read_file

    reading = FileOptions(dipoles_key=DIPOLES_KEY if dipoles else None)
    contents = read_file(file, reading, split_key=SPLIT_KEY)
    found: dict[str, list[Structure]] = defaultdict(list)
    for split, structure in zip(contents.splits or (), contents.structures, strict=True):
        found[split].append(structure)
    for split in splits or ():
        if split not in found:
            raise DataError(f"splits: got {split!r}, expected some of {', '.join(found)}")
    return {split: found[split] for split in (splits or found)}


def _read_file(
    name: str,
    splits: Sequence[str] | None,
    reading: FileOptions | None,
    splitting: SplitOptions | None,
) -> dict[str, list[Structure]]:
    """Structures of a file, as one split or dealt to several."""
    from data_pipelines.files.reading import read_file, read_structures
    from data_pipelines.splitting import deal

    if splitting is None:
        if splits is not None:
            raise DataError(f"splits: got {list(splits)}, expected none, because {name} is a file")
        return {Path(name).name: read_structures(name, reading)}
    contents = read_file(name, reading, split_key=splitting.split_key)
    members = deal(
        contents.structures,
        splitting,
        given=contents.splits,
        duplicates=contents.inspection.duplicates,
    )
    wanted = [split for split in _HELD_BACK if split in members] if splits is None else splits
    for split in wanted:
        if split not in members:
            raise DataError(f"split of {name}: got {split!r}, expected one of {list(members)}")
    return {split: [contents.structures[i] for i in members[split]] for split in wanted}
