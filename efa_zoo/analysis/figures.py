"""What all pictures share: which files they may be, and that they are written whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from efa_zoo.base.errors import InputError
from efa_zoo.base.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COLORS", "PICTURES", "picture_path", "save_figure"]

#: Colours of models and kinds of data, told apart by the colour-blind too.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")

#: Colours of a stored picture.
_PALETTE = 64

#: Endings of pictures.
PICTURES = (".png", ".pdf", ".svg")


def picture_path(path: str | os.PathLike[str]) -> Path:
    """The path of a picture, refused before anything is computed for it.

    Args:
        path: picture to write.

    Returns:
        The path.

    Raises:
        InputError: its ending is not one of `PICTURES`.
    """
    path = Path(path)
    if path.suffix not in PICTURES:
        raise InputError(
            f"out: got {os.fspath(path)!r}, expected a name that ends in .png, .pdf or .svg"
        )
    return path


def save_figure(figure: Figure, path: Path) -> Path:
    """Write a figure, whole or not at all.

    Args:
        figure: the figure.
        path: where to, one of `PICTURES`.

    Returns:
        The path.
    """
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)
        if path.suffix == ".png":
            _shrink(temporary)
    return path


def _shrink(path: Path) -> None:
    """Store a picture with a palette, which takes about a third of the space."""
    from PIL import Image

    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(_PALETTE, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
