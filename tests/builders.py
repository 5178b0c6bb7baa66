"""Looking into built data sets."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from data_pipelines import Structure, load_split

SYNTHETIC = ("two_atoms", "chains", "clusters", "charge_dipole", "nacl_spheres")
"""Data sets with a closed form."""


def image(structure: Structure) -> tuple[object, ...]:
    """Everything in a structure, to the last bit."""
    values = (getattr(structure, field.name) for field in dataclasses.fields(structure))
    return tuple(v.tobytes() if isinstance(v, np.ndarray) else repr(v) for v in values)


def records(place: Path) -> dict[str, list[bytes]]:
    """The stored records of a data set by file."""
    from array_record.python.array_record_module import ArrayRecordReader

    found: dict[str, list[bytes]] = {}
    for file in sorted(place.glob("*.array_record*")):
        reader = ArrayRecordReader(str(file))
        found[file.name] = [reader.read([i])[0] for i in range(reader.num_records())]
        reader.close()
    return found


def load_all(name: str, place: Path, config: str = "tiny") -> dict[str, list[Structure]]:
    """Structures by split."""
    import tensorflow_datasets as tfds

    (version,) = (place / name / config).glob("*/dataset_info.json")
    splits = tfds.builder_from_directory(str(version.parent)).info.splits
    return {split: load_split(name, split, data_dir=place, config=config) for split in splits}
