"""`efa-zoo report`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import efa_zoo
from efa_zoo.base.progress import ongoing
from efa_zoo.cli._common import (
    DataDir,
    Json,
    Name,
    Reading,
    dump,
    optional,
    output_file,
    print_,
    require_data,
)
from efa_zoo.models.hub.registry import is_unfinished

_logger = logging.getLogger(__name__)


def run(
    name: Name,
    /,
    *,
    data: Annotated[
        str | None,
        optional("FILE", "labelled structures, or the name of a data set; default: the model's"),
    ] = None,
    reading: Reading,
    out: Annotated[
        str | None,
        optional(
            "FILE", "page to write, *.html; default: report_NAME.html, or report.html in a folder"
        ),
    ] = None,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Write a page about a model or a training run, which any browser shows.

    Learning curves, predictions against labels, errors by distance, kind, group and element, the
    structures with the largest errors, times and the recipe. A run that is not finished has its
    curves.

    Examples:
      efa-zoo report runs/my
      efa-zoo report mpnn_efa_dimers --data md.extxyz --energy-key REF_energy --charge 0
    """
    folder = Path(name)
    title = folder.resolve().name if is_unfinished(folder) else efa_zoo.card(name).name
    usual = folder / "report.html" if folder.is_dir() else f"report_{title}.html"
    path = output_file(out or str(usual), (".html",))
    if data is not None:
        require_data(data, data_dir)
    with ongoing(f"looking at {title}", _logger):
        from data_pipelines import FileOptions
        from efa_zoo.analysis.report import write_report

        write_report(
            name,
            path,
            data=data,
            reading=None if reading == FileOptions() else reading,
            data_dir=data_dir,
        )
    print_(dump({"page": str(path)}) if json else f"page: {path}")
