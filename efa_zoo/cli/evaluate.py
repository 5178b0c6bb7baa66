"""`efa-zoo evaluate`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import arg

import efa_zoo
from data_pipelines.files import FileOptions
from efa_zoo import registry
from efa_zoo.cards import write_results
from efa_zoo.cli._common import DataDir, Json, Name, dump, flag, optional, print_
from efa_zoo.errors import InputError

_READING = FileOptions()


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
    reading: Annotated[FileOptions, arg(name="")] = _READING,
    json: Json = False,
    write: Annotated[bool, flag("also store the errors in the model's zoo file")] = False,
    data_dir: DataDir = None,
) -> None:
    """Errors of a model on the held-back parts of its data, or on a file.

    They are also given by distance, kind of structure and element.

    Examples:
      efa-zoo evaluate mpnn_efa_dimers
      efa-zoo evaluate mpnn_efa_dimers --split test
      efa-zoo evaluate mpnn_efa_dimers --data md.extxyz --energy-key REF_energy --charge 0
    """
    efa_zoo.card(name)  # a wrong name or zoo file is refused before anything heavy is imported
    if write and (data is not None or split):
        raise InputError("write: expected neither data nor split with it, for the card has all")
    from efa_zoo.evaluation import evaluate

    report = evaluate(
        name,
        data=data,
        splits=split or None,
        reading=None if reading == _READING else reading,
        data_dir=data_dir,
    )
    if write:
        write_results(registry.find(name).zoo_file, metrics=report.to_dict())
    print_(dump(report.to_dict()) if json else str(report))
