"""`efa-zoo evaluate`."""

from __future__ import annotations

import logging
from typing import Annotated

import efa_zoo
from efa_zoo.base.errors import InputError
from efa_zoo.base.progress import ongoing
from efa_zoo.cli._common import (
    DataDir,
    Json,
    Name,
    Reading,
    dump,
    flag,
    optional,
    print_,
    require_data,
)
from efa_zoo.models.hub import registry
from efa_zoo.models.hub.cards import write_results

_logger = logging.getLogger(__name__)


def run(
    name: Name,
    /,
    *,
    data: Annotated[
        str | None,
        optional("FILE", "labelled structures, or the name of a data set; default: the model's"),
    ] = None,
    split: Annotated[
        tuple[str, ...],
        optional("NAME...", "splits, such as test; default: all that are held back from training"),
    ] = (),
    reading: Reading,
    counts: Annotated[
        tuple[int, int, int] | None,
        optional(
            "TRAIN VALIDATION TEST",
            "deal the file to splits of these sizes in the order of NumPy's legacy "
            "permutation with seed 0, as published splits are, and evaluate those held back",
        ),
    ] = None,
    json: Json = False,
    write: Annotated[bool, flag("also store the errors in the model's zoo file")] = False,
    data_dir: DataDir = None,
) -> None:
    """Evaluate a model on the held-back parts of its data, or on a file.

    Errors are also given by distance, kind of structure and element.

    Examples:
      efa-zoo evaluate mpnn_efa_dimers
      efa-zoo evaluate mpnn_efa_dimers --split test
      efa-zoo evaluate mpnn_efa_dimers --data md.extxyz --energy-key REF_energy --charge 0
      efa-zoo evaluate mpnn_efa_cluster32 --data 3D_cluster_32_atoms_radius_5.npz --charge 0 \
--counts 1500 500 500
    """
    efa_zoo.card(name)  # a wrong name or zoo file is refused before anything heavy is imported
    if write and (data is not None or split):
        raise InputError("write: expected neither data nor split with it, for the card has all")
    if counts is not None and data is None:
        raise InputError("counts: given without data, expected a file to deal to splits")
    if data is not None:
        require_data(data, data_dir)
    with ongoing(f"evaluating {name}", _logger):
        from data_pipelines import FileOptions, SplitOptions
        from efa_zoo.analysis.evaluation import evaluate

        report = evaluate(
            name,
            data=data,
            splits=split or None,
            reading=None if reading == FileOptions() else reading,
            splitting=None if counts is None else SplitOptions(counts=counts),
            data_dir=data_dir,
        )
    if write:
        write_results(registry.find(name).zoo_file, metrics=report.to_dict())
    print_(dump(report.to_dict()) if json else str(report))
