"""`efa-zoo finetune`."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

import efa_zoo
from efa_zoo.base.errors import InputError
from efa_zoo.base.interrupts import resumable
from efa_zoo.base.progress import ongoing, seconds_of
from efa_zoo.cli._common import (
    DataDir,
    DeviceCount,
    Json,
    Name,
    Reading,
    Splitting,
    dump,
    flag,
    optional,
    print_,
    report_on,
    require_data,
)

_logger = logging.getLogger(__name__)


def run(
    name: Name,
    /,
    *,
    data: Annotated[
        str, arg(metavar="FILE", help="labelled structures: a file, or the name of a data set")
    ],
    out: Annotated[str, arg(metavar="DIR", help="folder of the run and of the new model")],
    reading: Reading,
    splitting: Splitting,
    level_of_theory: Annotated[
        str | None, optional("TEXT", "method of the new labels; default: the model's")
    ] = None,
    references: Annotated[
        Literal["keep", "refit"] | None,
        optional(
            "{keep,refit}",
            "energies of the elements: keep the model's, or fit them to the new labels; default: "
            "fit where the levels of theory differ, or else where the model is far off",
        ),
    ] = None,
    replay: Annotated[
        float,
        arg(metavar="SHARE", help="of each epoch that is the model's own training data; 0: none"),
    ] = 0.5,
    freeze: Annotated[
        tuple[str, ...],
        optional("PATTERN...", "parameters that stay, such as 'embedding.*' 'interactions.0.*'"),
    ] = (),
    steps: Annotated[
        int | None, optional("INT", "number of optimiser steps; default: 6000")
    ] = None,
    time: Annotated[
        str | None, optional("TIME", "such as 5m: as many steps as fit into it here")
    ] = None,
    learning_rate: Annotated[
        float | None, optional("FLOAT", "peak learning rate, that of the readout; default: 0.002")
    ] = None,
    body_rate: Annotated[
        float | None,
        optional("FLOAT", "rate of everything else, as a fraction of it; default: 0.5"),
    ] = None,
    batch_size: Annotated[int | None, optional("INT", "structures in a batch; default: 16")] = None,
    patience: Annotated[
        int | None,
        optional(
            "INT",
            "stop after so many validations in a row (of 20) without a better one; default: 10",
        ),
    ] = None,
    seed: Annotated[int, arg(metavar="INT", help="of the order of the structures")] = 0,
    model_name: Annotated[
        str | None, optional("NAME", "of the new model; default: that of the folder")
    ] = None,
    resume: Annotated[bool, flag("go on from the last checkpoint in the folder")] = False,
    devices: DeviceCount = 1,
    json: Json = False,
    data_dir: DataDir = None,
) -> None:
    """Fine-tune a model on structures of your own.

    In the end there is a page about it in the folder, report.html (extras: ase, plot).

    Examples:
      efa-zoo data pair chloride formate --count 250 --out pair.extxyz
      efa-zoo finetune mpnn_efa_dimers --data pair.extxyz --out tuned --time 5m
      efa-zoo finetune mpnn_efa_dimers --data md.npz --out tuned --replay 0 --freeze 'embedding.*'
    """
    efa_zoo.card(name)  # a wrong name or zoo file is refused before anything heavy is imported
    if steps is not None and time is not None:
        raise InputError("time: given together with steps, expected one of both")
    seconds = None if time is None else seconds_of(time)
    require_data(data, data_dir)
    with ongoing("importing JAX", _logger):
        from data_pipelines import FileOptions, SplitOptions
        from efa_zoo.training import finetune, finetuning_recipe

    recipe = finetuning_recipe(
        efa_zoo.load(name), replay=replay, steps=6000 if steps is None else steps, frozen=freeze
    )
    chosen = {
        "learning_rate": learning_rate,
        "body_rate": body_rate,
        "batch_size": batch_size,
        "patience": patience,
        "seed": seed,
    }
    recipe = dataclasses.replace(
        recipe, **{option: value for option, value in chosen.items() if value is not None}
    )
    with resumable(Path(out) / "checkpoint.json"):
        tuned = finetune(
            name,
            data,
            out,
            recipe=recipe,
            seconds=seconds,
            replay=replay,
            references=references,
            reading=None if reading == FileOptions() else reading,
            splitting=None if splitting == SplitOptions() else splitting,
            name=model_name,
            level_of_theory=level_of_theory,
            resume=resume,
            data_dir=data_dir,
            devices=devices,
        )
    report_on(Path(out), data_dir)
    print_(dump(tuned.to_dict()) if json else str(tuned))
