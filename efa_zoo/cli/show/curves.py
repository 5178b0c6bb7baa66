"""`efa-zoo plot curves`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from efa_zoo.analysis.figures import PICTURES
from efa_zoo.base.errors import InputError
from efa_zoo.cli._common import Json, dump, output_file, print_


def run(
    runs: Annotated[
        Positional[tuple[str, ...]],
        arg(metavar="DIR...", help="folders of training runs, or their log.csv",
            help_behavior_hint=""),
    ] = (),
    /,
    *,
    out: Annotated[
        str, arg(metavar="FILE", help="picture to write (png, pdf, svg)")
    ] = "learning_curves.png",
    json: Json = False,
) -> None:  # fmt: skip
    """Draw the learning curves of training runs.

    Examples:
      efa-zoo plot curves runs/mpnn_efa_dimers
      efa-zoo plot curves runs/a runs/b --out curves.pdf
    """
    picture = output_file(out, PICTURES)
    if not runs:
        raise InputError("runs: got none, expected folders of training runs")
    from efa_zoo.analysis.learning_curves import draw_learning_curves, read_log

    draw_learning_curves([read_log(run) for run in runs], picture)
    print_(dump({"picture": str(picture)}) if json else f"picture: {picture}")
