"""Structures that fine-tuning learns from: new ones, and those of the base model."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from efa_zoo.base.errors import DataError
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.hub.records import DataSource
from efa_zoo.models.hub.registry import ModelFiles
from efa_zoo.models.weights import weights_hash
from efa_zoo.structures.elements import ATOMIC_NUMBERS, symbol
from efa_zoo.training.data.choosing import require_places
from efa_zoo.training.data.references import References
from efa_zoo.training.data.replay_sets import read_replay_set

if TYPE_CHECKING:
    from data_pipelines.files.options import FileOptions
    from data_pipelines.splitting import SplitOptions
    from data_pipelines.structure import Structure

__all__ = ["NewData", "OldData", "check_elements", "read_new", "read_old", "sample"]

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class NewData:
    """The new structures; `sha256` is that of their file, empty for a data set that is built."""

    source: DataSource
    sha256: str
    training: list[Structure]
    held_back: dict[str, list[Structure]]

    @property
    def validation(self) -> list[Structure]:
        """Structures to choose the best weights by."""
        return self.held_back["validation"]

    @property
    def structures(self) -> list[Structure]:
        """Structures of all splits."""
        return [*self.training, *(s for split in self.held_back.values() for s in split)]


@dataclass(frozen=True)
class OldData:
    """What the base model was trained on, as far as it is there and wanted."""

    training: list[Structure]
    validation: list[Structure]


def read_new(
    data: str | os.PathLike[str],
    reading: FileOptions | None,
    splitting: SplitOptions | None,
    level_of_theory: str | None,
    data_dir: str | os.PathLike[str] | None,
) -> NewData:
    """Read the new structures, from a file or a data set, and split them."""
    from data_pipelines import BUILDERS
    from data_pipelines.files.reading import log_inspection, read_file
    from data_pipelines.splitting import SplitOptions, deal

    if isinstance(data, str) and data.partition("/")[0] in BUILDERS:
        options = {
            "reading": reading,
            "splitting": splitting,
            "level_of_theory": level_of_theory,
        }
        for field, value in options.items():
            if value is not None:
                raise DataError(f"{field}: got {value}, expected none for the data set {data}")
        return _read_built(data, data_dir)
    path, how = Path(data).expanduser(), splitting or SplitOptions()
    contents = read_file(path, reading, split_key=how.split_key)
    members = deal(
        contents.structures,
        how,
        given=contents.splits,
        duplicates=contents.inspection.duplicates,
    )
    log_inspection(path, contents.inspection)
    parts = {split: [contents.structures[i] for i in chosen] for split, chosen in members.items()}
    counts = ", ".join(f"{len(structures)} {split}" for split, structures in parts.items())
    way = "by the file" if how.split_key else f"by seed {how.split_seed}"
    source = DataSource(
        name=path.name, level_of_theory=level_of_theory or "", splits=f"{counts} ({way})"
    )
    return NewData(source, weights_hash(path), parts.pop("train"), parts)


def _read_built(name: str, data_dir: str | os.PathLike[str] | None) -> NewData:
    from data_pipelines import load_split, metadata

    level = str(metadata(name, data_dir=data_dir).get("level_of_theory", ""))
    training = load_split(name, "train", data_dir=data_dir)
    held_back = {"validation": load_split(name, "validation", data_dir=data_dir)}
    for split in ("test", "transfer"):
        with contextlib.suppress(DataError):
            held_back[split] = load_split(name, split, data_dir=data_dir)
    return NewData(DataSource(name=name, level_of_theory=level), "", training, held_back)


def check_elements(new: NewData, base: Card) -> None:
    """Refuse elements that the network has no place for, or that no structure teaches it."""
    require_places(new.structures, base)
    present = {int(z) for s in new.structures for z in s.atomic_numbers}
    trained = {int(z) for s in new.training for z in s.atomic_numbers}
    unseen = present - trained - {ATOMIC_NUMBERS[s] for s in base.reference_energies}
    if unseen:
        raise DataError(
            f"elements: {', '.join(map(symbol, sorted(unseen)))} is in no structure to learn from, "
            "expected another split or more structures"
        )


def read_old(
    base: Card,
    files: ModelFiles,
    replay: float,
    refs: References,
    data_dir: str | os.PathLike[str] | None,
) -> OldData:
    """Read the base model's data, or else its replay set, on the new scale of energy."""
    from data_pipelines import load_split
    from data_pipelines.labels.energies import move_to_references

    name = base.data.name
    try:
        validation = load_split(name, "validation", data_dir=data_dir)
        training = load_split(name, "train", data_dir=data_dir) if replay > 0 else []
    except DataError as error:
        kept = read_replay_set(base, files)
        if kept is None and replay > 0:
            raise DataError(
                f"replay: got {replay}, which needs the data of {base.name} (0 does without): "
                f"{error}"
            ) from error
        if kept is None:
            _logger.info("what is forgotten of %s is not measured: %s", name, error)
            return OldData([], [])
        training, validation = kept["train"] if replay > 0 else [], kept["validation"]
        _logger.info(
            "of %s, what ships with %s is taken, because the data set is not built: "
            "%d structures to replay and %d to validate by",
            name,
            base.name,
            len(training),
            len(validation),
        )
    return OldData(*(move_to_references(s, refs.old, refs.new) for s in (training, validation)))


def sample(structures: list[Structure], count: int, seed: int) -> list[Structure]:
    """Draw at most so many structures, in their order."""
    if len(structures) <= count:
        return structures
    chosen = np.random.default_rng(seed).choice(len(structures), count, replace=False)
    return [structures[i] for i in np.sort(chosen).tolist()]
