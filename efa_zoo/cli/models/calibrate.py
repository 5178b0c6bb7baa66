"""`efa-zoo calibrate`."""

from __future__ import annotations

from typing import Annotated

import efa_zoo
from efa_zoo.base.config import to_table
from efa_zoo.cli._common import DataDir, Json, Name, Reading, Splitting, dump, optional, print_


def run(
    name: Name,
    /,
    *,
    data: Annotated[
        str | None,
        optional("FILE", "labelled structures, or the name of a data set; default: the model's"),
    ] = None,
    reading: Reading,
    splitting: Splitting,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Teach a trained model what it knows, for uncertainties and unknown surroundings.

    One pass over the data it was trained on; weights file and card are written again, the network
    stays as it is. Training and fine-tuning do the same at their end.

    Examples:
      efa-zoo calibrate mpnn_efa_dimers
      efa-zoo calibrate runs/imported --data trained_on.extxyz --charge 0
    """
    efa_zoo.card(name)  # a wrong name or zoo file is refused before anything heavy is imported
    from data_pipelines import FileOptions, SplitOptions
    from efa_zoo.training import calibrate

    card = calibrate(
        name,
        data=data,
        reading=None if reading == FileOptions() else reading,
        splitting=None if splitting == SplitOptions() else splitting,
        data_dir=data_dir,
    )
    print_(dump(to_table(card)) if json else str(card))
