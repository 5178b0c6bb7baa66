"""`efa-zoo train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import arg

import efa_zoo
from efa_zoo.base.interrupts import resumable
from efa_zoo.cli._common import DataDir, DeviceCount, Json, Name, dump, flag, optional, print_


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

    Examples:
      efa-zoo train mpnn_efa_dimers
      efa-zoo train my_model.toml --out runs/my_model --resume
      efa-zoo train my_model.toml --devices all
      srun efa-zoo train my_model.toml --devices all --processes auto
    """
    card = efa_zoo.card(name)  # a wrong name is refused before anything heavy is imported
    if (processes, process, coordinator) != (None, None, None):
        from efa_zoo.models.parallel.processes import join_processes

        join_processes(coordinator, None if processes == "auto" else processes, process)
    with resumable(Path(out or f"runs/{card.name}") / "checkpoint.json"):
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
    print_(dump({"folder": str(folder)}) if json else str(folder))
