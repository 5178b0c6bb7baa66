"""The file of an exported model: a ZIP archive of a manifest and the program."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

import efa_zoo
from efa_zoo.base.config import to_table
from efa_zoo.base.config.tables import shown
from efa_zoo.base.contracts import JSON
from efa_zoo.base.errors import ExportError
from efa_zoo.interop.export._program import in_cells, inputs, results
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.hub.digest import (
    altered,
    card_entries,
    digest_of,
    marks_of,
    possible_names,
)

_FORMAT, _VERSION = "efa_zoo exported model", 2
MANIFEST, PROGRAM = "manifest.json", "program.bin"

#: Bytes of the largest manifest, which is little more than a card.
_LARGEST_MANIFEST = 1_000_000


def write(
    path: Path,
    program: bytes,
    card: Card,
    dtype: np.dtype,
    platforms: Sequence[str],
    evaluation: str | None,
    wave_reach: float | None,
    *,
    calibrated: bool,
) -> None:
    cells = wave_reach is not None
    manifest: dict[str, Any] = {
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
            for name, shape, kind, unit in inputs(card.model, dtype, cells=cells)
        ],
        "outputs": [
            {"name": name, "shape": list(shape), "dtype": kind, "unit": unit}
            for name, shape, kind, unit in results(
                card.model, dtype, cells=cells, calibrated=calibrated
            )
        ],
        "program": {
            "member": PROGRAM,
            "sha256": hashlib.sha256(program).hexdigest(),
            "bytes": len(program),
        },
        "card": to_table(card),
    }
    if cells:
        manifest["wave_reach"] = {"value": wave_reach, "unit": "1/Å"}
    entries = _entries(manifest, card)
    manifest |= {"digest": digest_of(entries), "marks": marks_of(entries)}
    with zipfile.ZipFile(path, "w") as archive:
        text = json.dumps(manifest, ensure_ascii=False, indent=1)
        archive.writestr(MANIFEST, text)
        archive.writestr(PROGRAM, program)


def _entries(manifest: Mapping[str, Any], card: Card) -> dict[str, JSON]:
    """Everything that enters a number, or decides where the program runs and what is refused."""
    plain = ["dtype", "platforms", "attention", "cutoff", "inputs", "outputs"]
    if in_cells(card):
        plain.append("wave_reach")
    return {
        **{name: manifest[name] for name in plain},
        "program.sha256": manifest["program"]["sha256"],
        **{f"card.{name}": value for name, value in card_entries(card).items()},
    }


def require_digest(path: Path, manifest: Mapping[str, Any], card: Card) -> None:
    """Refuse a manifest that does not say what it said when it was written.

    Args:
        path: the file, for messages.
        manifest: as `read` gives it.
        card: the one in the manifest.

    Raises:
        ExportError: something was altered, which is named.
        KeyError, TypeError: the manifest lacks entries.
    """
    entries = _entries(manifest, card)
    if digest_of(entries) != manifest["digest"]:
        known = [f"card.{name}" for name in possible_names(card)]
        names = altered(entries, str(manifest["marks"]), known)
        raise ExportError(
            f"{path}: {MANIFEST}: {', '.join(names) or 'the digest'} was altered after the export"
        )


def _listed(names: Sequence[str]) -> str:
    return " ".join(", ".join(sorted(names))[:200].split()) or "nothing"


def read(path: Path, content: bytes) -> tuple[dict[str, Any], bytes]:
    """Read manifest and program from the bytes of a file, which is named in messages only."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            if sorted(names) != [MANIFEST, PROGRAM]:
                raise ExportError(
                    f"{path}: holds {_listed(names)}, expected {MANIFEST} and {PROGRAM}"
                )
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ExportError(f"{path}: is compressed, expected members that are stored as is")
            text, program = archive.read(MANIFEST), archive.read(PROGRAM)
    except ExportError:
        raise
    except Exception as error:  # of many kinds, where a header is damaged
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ExportError(f"{path}: not a whole exported model ({reason})") from error
    if len(text) > _LARGEST_MANIFEST:
        raise ExportError(f"{path}: {MANIFEST}: has over {_LARGEST_MANIFEST:,} bytes")
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ExportError(f"{path}: {MANIFEST}: not valid JSON ({error})") from error
    kind = manifest.get("format") if isinstance(manifest, dict) else None
    if kind != _FORMAT:
        raise ExportError(f"{path}: {MANIFEST}: format: got {shown(kind)}, expected {_FORMAT!r}")
    if manifest.get("version") != _VERSION:
        raise ExportError(
            f"{path}: {MANIFEST}: version: got {shown(manifest.get('version'))}, "
            f"expected {_VERSION}"
        )
    return manifest, program
