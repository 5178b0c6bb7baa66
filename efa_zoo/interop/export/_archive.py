"""The file of an exported model: a ZIP archive of a manifest and the program."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import efa_zoo
from efa_zoo.base.config import to_table
from efa_zoo.base.errors import ExportError
from efa_zoo.interop.export._program import inputs
from efa_zoo.models.hub.cards import Card

_FORMAT, _VERSION = "efa_zoo exported model", 1
MANIFEST, PROGRAM = "manifest.json", "program.bin"

_ENERGY_UNIT, _FORCE_UNIT = "eV, relative to the card's reference energies", "eV/Å"


def write(
    path: Path,
    program: bytes,
    card: Card,
    dtype: np.dtype,
    platforms: Sequence[str],
    evaluation: str | None,
) -> None:
    atoms = ["molecules", "atoms"]
    manifest = {
        "format": _FORMAT,
        "version": _VERSION,
        "efa_zoo": efa_zoo.__version__,
        "jax": jax.__version__,
        "dtype": dtype.name,
        "platforms": list(platforms),
        "attention": evaluation,
        "cutoff": {"value": card.model.message_passing.cutoff, "unit": "Å"},
        "inputs": [
            {"name": name, "shape": list(shape), "dtype": kind, "unit": unit}
            for name, shape, kind, unit in inputs(card.model, dtype)
        ],
        "outputs": [
            {"name": "atomic_energies", "shape": atoms, "dtype": dtype.name, "unit": _ENERGY_UNIT},
            {"name": "forces", "shape": [*atoms, "3"], "dtype": dtype.name, "unit": _FORCE_UNIT},
        ],
        "program": {
            "member": PROGRAM,
            "sha256": hashlib.sha256(program).hexdigest(),
            "bytes": len(program),
        },
        "card": to_table(card),
    }
    with zipfile.ZipFile(path, "w") as archive:
        text = json.dumps(manifest, ensure_ascii=False, indent=1)
        archive.writestr(MANIFEST, text)
        archive.writestr(PROGRAM, program)


def read(path: Path, content: bytes) -> tuple[dict[str, Any], bytes]:
    """Read manifest and program from the bytes of a file, which is named in messages only."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            if sorted(names) != [MANIFEST, PROGRAM]:
                raise ExportError(
                    f"{path}: holds {', '.join(sorted(names)) or 'nothing'}, expected {MANIFEST} "
                    f"and {PROGRAM}"
                )
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ExportError(f"{path}: is compressed, expected members that are stored as is")
            text, program = archive.read(MANIFEST), archive.read(PROGRAM)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ExportError(f"{path}: not a whole exported model ({error})") from error
    try:
        manifest = json.loads(text)
    except ValueError as error:
        raise ExportError(f"{path}: {MANIFEST}: not valid JSON ({error})") from error
    kind = manifest.get("format") if isinstance(manifest, dict) else None
    if kind != _FORMAT:
        raise ExportError(f"{path}: {MANIFEST}: format: got {kind!r}, expected {_FORMAT!r}")
    if manifest.get("version") != _VERSION:
        raise ExportError(
            f"{path}: {MANIFEST}: version: got {manifest.get('version')!r}, expected {_VERSION}"
        )
    return manifest, program
