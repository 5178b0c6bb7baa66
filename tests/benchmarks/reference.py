"""Finding the reference implementation, and importing it without what only its trainer needs."""

from __future__ import annotations

import sys
import types
from pathlib import Path

__all__ = ["REFERENCE_PACKAGE", "find_reference", "import_reference"]

REFERENCE_PACKAGE = "euclidean_fast_attention"


def find_reference(path: Path) -> Path:
    """The folder of the package, given it, a checkout, or the folder it is installed in.

    Raises:
        FileNotFoundError: there is no such package.
    """
    for folder in (path, path / REFERENCE_PACKAGE, path / "src" / REFERENCE_PACKAGE):
        if (folder / "fast_attention.py").is_file():
            return folder.resolve()
    raise FileNotFoundError(f"{path}: expected the package {REFERENCE_PACKAGE} or its checkout")


def import_reference(folder: Path) -> None:
    """Make the package's modules importable, without running its `__init__`.

    That imports its trainer, which needs further libraries.
    """
    package = types.ModuleType(REFERENCE_PACKAGE)
    package.__path__ = [str(folder)]
    sys.modules[REFERENCE_PACKAGE] = package
