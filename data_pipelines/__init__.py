"""Data sets and batches for efa_zoo.

Importing this package is cheap: TensorFlow, TFDS, tblite and JAX are imported by the functions that
need them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from data_pipelines._beam import Beam
    from data_pipelines.builders.structures import add_file
    from data_pipelines.datasets import BUILDERS, build, load_split, metadata
    from data_pipelines.files.options import FileOptions
    from data_pipelines.files.reading import read_structures
    from data_pipelines.location import data_directory
    from data_pipelines.splitting import SplitOptions
    from data_pipelines.structure import Structure

__all__ = [
    "BUILDERS",
    "Beam",
    "FileOptions",
    "SplitOptions",
    "Structure",
    "add_file",
    "build",
    "data_directory",
    "load_split",
    "metadata",
    "read_structures",
]

_HOMES = {
    "BUILDERS": "data_pipelines.datasets",
    "Beam": "data_pipelines._beam",
    "FileOptions": "data_pipelines.files.options",
    "SplitOptions": "data_pipelines.splitting",
    "Structure": "data_pipelines.structure",
    "add_file": "data_pipelines.builders.structures",
    "build": "data_pipelines.datasets",
    "data_directory": "data_pipelines.location",
    "load_split": "data_pipelines.datasets",
    "metadata": "data_pipelines.datasets",
    "read_structures": "data_pipelines.files.reading",
}


if not TYPE_CHECKING:  # a type checker would take every name for one that exists

    def __getattr__(name: str) -> object:
        import importlib

        if name in _HOMES:
            return getattr(importlib.import_module(_HOMES[name]), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
