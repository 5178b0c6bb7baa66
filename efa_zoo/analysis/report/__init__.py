"""A page about a model or a training run: how it learned, where it errs, what it took."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from efa_zoo.analysis.report.findings import Findings, find_out
from efa_zoo.analysis.report.page import page
from efa_zoo.base.errors import InputError
from efa_zoo.base.files import write_atomically

if TYPE_CHECKING:
    from data_pipelines.files.options import FileOptions

__all__ = ["Findings", "find_out", "report_path", "write_report"]


def report_path(path: str | os.PathLike[str]) -> Path:
    """The path of a report, refused before anything is computed for it.

    Args:
        path: page to write.

    Returns:
        The path.

    Raises:
        InputError: it does not end in .html.
    """
    path = Path(path)
    if path.suffix != ".html":
        raise InputError(f"out: got {os.fspath(path)!r}, expected a name that ends in .html")
    return path


def write_report(
    model: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    reading: FileOptions | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Write a page about a model or a training run, with nothing in it that lies elsewhere.

    It shows learning curves, predictions against labels, errors by distance, kind, group and
    element, the structures with the largest errors, how well uncertainties fit the errors, times
    and the recipe; of each what there is. A run that is not finished has its curves and its recipe.
    Where the data are missing, errors are those of the card.

    Args:
        model: what `efa_zoo.load` takes, or the folder of a run that is not finished.
        path: page to write, `.html`.
        data: another data set, or a file of labelled structures; None takes what was held back from
            training.
        reading: names and units in the file.
        data_dir: where data sets lie.

    Returns:
        The path.

    Raises:
        InputError: the page's name has another ending, or the model does not know an element of the
            structures.
        DataError: the given data are missing or cannot be read.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    path = report_path(path)
    found = find_out(model, data=data, reading=reading, data_dir=data_dir)
    write_atomically(path, page(found).encode())
    return path
