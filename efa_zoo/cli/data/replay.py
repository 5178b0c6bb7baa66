"""`efa-zoo data replay`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import arg

import efa_zoo
from efa_zoo.base.config import to_table
from efa_zoo.cli._common import DataDir, Json, Name, dump, print_


def run(
    name: Name,
    /,
    *,
    size: Annotated[int, arg(metavar="BYTES", help="of the file, at most")] = 200_000,
    seed: Annotated[int, arg(metavar="INT", help="of the choice")] = 0,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Keep some hundred structures of a model's data beside its weights.

    Whoever fine-tunes the model without its data replays these instead. They are of as many kinds
    as possible; one in five is of the validation data. The card gets the file's hash.

    Examples:
      efa-zoo data replay mpnn_efa_dimers
      efa-zoo data replay runs/my --size 50000
    """
    efa_zoo.card(name)  # a wrong name or zoo file is refused before anything heavy is imported
    from efa_zoo.models.hub.registry import find
    from efa_zoo.training.data.replay_sets import write_replay_set

    kept = write_replay_set(name, limit=size, seed=seed, data_dir=data_dir).replay
    assert kept is not None
    if json:
        print_(dump(to_table(kept)))
    else:
        print_(
            f"{find(name).replay}: {kept.training} structures to replay, {kept.validation} to "
            f"validate by, {kept.bytes / 1000:.0f} kB"
        )
