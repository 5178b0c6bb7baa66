"""The TFDS builder `structures`: labelled structures from files of the user's own.

Every file becomes a configuration of this builder, so that several live side by side: `add_file`
builds `structures/<name>`, which is also what `load_split` and a zoo file's `[data]` call it.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from data_pipelines.builders.builder import SettingsConfig, StructureBuilder
from data_pipelines.datasets import finished_versions, prepare
from data_pipelines.files.options import FileOptions
from data_pipelines.files.reading import log_inspection, read_file
from data_pipelines.files.storage import CELL_FIELDS
from data_pipelines.location import data_directory
from data_pipelines.splitting import SplitOptions, deal
from data_pipelines.structure import LabelledStructures
from efa_zoo.base.errors import DataError


@dataclass(frozen=True, kw_only=True)
class FileSettings:
    """What a data set was made of.

    Attributes:
        file: Name of the file.
        sha256: SHA-256 of the file.
        level_of_theory: Method of the labels.
        reading: Key names and units.
        splitting: How structures were dealt to splits.
    """

    file: str
    sha256: str
    level_of_theory: str
    reading: FileOptions
    splitting: SplitOptions


class Structures(StructureBuilder):
    """Store the structures of one file.

    Args:
        made: The structures.
        **kwargs: As of any TFDS builder.
    """

    DESCRIPTION = "Structures of a file: energies in eV, forces in eV/Å."
    FIELDS: ClassVar[tuple[str, ...]] = (
        "group",
        "multiplicity",
        "atomic_dipoles",
        "charges",
        "dipole",
        *CELL_FIELDS,
    )

    def __init__(self, *, made: LabelledStructures, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._made = made

    def level_of_theory(self) -> str:
        """Say where the labels come from."""
        return self.settings.level_of_theory

    def make(self) -> LabelledStructures:
        """Give out the structures."""
        return self._made


def add_file(
    name: str,
    path: str | os.PathLike[str],
    *,
    reading: FileOptions | None = None,
    splitting: SplitOptions | None = None,
    level_of_theory: str = "not given",
    data_dir: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Path:
    """Make a data set of a file: read and check it, deal the structures to splits, store them.

    Structures of one group are never in two splits, nor are copies of one structure, unless the
    file assigns them so. The same file and options give the same data set.

    Args:
        name: Of the new data set, which is then `structures/<name>`.
        path: The file; see `data_pipelines.files.reading.read_structures`.
        reading: Key names and units.
        splitting: How structures are dealt to splits.
        level_of_theory: Method of the labels, as model cards cite it.
        data_dir: Where data sets lie; see `data_pipelines.location.data_directory`.
        overwrite: Replace a data set of that name.

    Returns:
        The directory of the finished data set.

    Raises:
        DataError: If the name is not valid or taken, the file is not a good one, or a split would
            be empty.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", name):
        raise DataError(f"name: got {name!r}, expected letters, digits, '.', '_' and '-'")
    root, path = data_directory(data_dir), Path(path)
    taken = finished_versions(root / "structures" / name)
    if taken and not overwrite:
        raise DataError(
            f"data set structures/{name}: is there already, at {taken[-1]}; expected another name "
            "or overwrite"
        )
    reading, splitting = reading or FileOptions(), splitting or SplitOptions()
    contents = read_file(path, reading, split_key=splitting.split_key)
    found = contents.inspection
    splits = deal(
        contents.structures, splitting, given=contents.splits, duplicates=found.duplicates
    )
    log_inspection(path, found)
    settings = FileSettings(
        file=path.name,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        level_of_theory=level_of_theory,
        reading=reading,
        splitting=splitting,
    )
    made = LabelledStructures(
        splits={
            split: [(f"{i:08d}", contents.structures[i]) for i in members]
            for split, members in splits.items()
        },
        notes={"found": str(found), "warnings": found.warnings},
    )
    config = SettingsConfig(name=name, settings=settings)
    return prepare(Structures, config, root, overwrite=overwrite, made=made)
