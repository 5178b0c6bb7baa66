"""`efa-zoo train`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

import efa_zoo
from efa_zoo.base.interrupts import resumable
from efa_zoo.base.progress import ongoing
from efa_zoo.cli._common import (
    DataDir,
    DeviceCount,
    Json,
    Name,
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
    out: Annotated[
        str | None, optional("DIR", "folder of checkpoints and records; default: runs/NAME")
    ] = None,
    resume: Annotated[bool, flag("go on from the last checkpoint in the folder")] = False,
    data_dir: DataDir = None,
    loader: Annotated[
        Literal["numpy", "tensorflow", "grain"],
        arg(help="hold batches in memory, or structures (tf.data), or neither (Grain)"),
    ] = "numpy",
    devices: DeviceCount = 1,
    processes: Annotated[
        int | Literal["auto"] | None,
        optional(
            "INT|auto",
            "train together with other processes that run this command; auto: as SLURM or MPI "
            "started them",
        ),
    ] = None,
    process: Annotated[int | None, optional("INT", "number of this process, from 0")] = None,
    coordinator: Annotated[
        str | None, optional("HOST:PORT", "where the first of the processes is reached")
    ] = None,
    publish: Annotated[bool, flag("also write weights and results into the zoo itself")] = False,
    json: Json = False,
) -> None:
    """Train a model by the recipe of its zoo file.

    In the end there is a page about it in the folder, report.html (extras: ase, plot).

    Examples:
      efa-zoo train mpnn_efa_dimers
      efa-zoo train my_model.toml --out runs/my_model --resume
      efa-zoo train my_model.toml --devices all
      srun efa-zoo train my_model.toml --devices all --processes auto
    """
    card = efa_zoo.card(name)
    if card.training is not None and card.fine_tuning is None:
        require_data(card.data.name, data_dir)
    if (processes, process, coordinator) != (None, None, None):
        from efa_zoo.models.parallel.processes import join_processes

        join_processes(coordinator, None if processes == "auto" else processes, process)
    with resumable(Path(out or f"runs/{card.name}") / "checkpoint.json"):
        with ongoing("importing JAX", _logger):
            from efa_zoo.training import train

        folder = train(
            name,
            out=out,
            resume=resume,
            data_dir=data_dir,
            loader=loader,
            devices=devices,
            publish=publish,
        )
    report_on(folder, data_dir)
    print_(dump({"folder": str(folder)}) if json else str(folder))
