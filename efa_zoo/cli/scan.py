"""`efa-zoo scan`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import arg

import efa_zoo
from efa_zoo.cli._common import DataDir, Name, optional, print_


def run(
    name: Name,
    /,
    *,
    pair: Annotated[
        tuple[str, str] | None,
        optional("NAME NAME", "the two molecules of a dimer, or the two halides of a reaction"),
    ] = None,
    compare: Annotated[
        tuple[str, ...], optional("NAME...", "other models to draw beside the first")
    ] = (),
    out: Annotated[
        str | None,
        optional("FILE", "picture to write (png, pdf, svg); default: scan_NAME.png"),
    ] = None,
    seed: Annotated[int, arg(metavar="INT", help="of the orientation of dimers")] = 0,
    data_dir: DataDir = None,
) -> None:
    """Draw the profile that belongs to a model, beside the truth.

    Of dimers the energy over the separation, of others what their data set was made to show.

    Examples:
      efa-zoo scan mpnn_efa_dimers --pair ammonium water
      efa-zoo scan mpnn_efa_dimers --compare mpnn_dimers --pair chloride water --out scan.png
    """
    model = efa_zoo.card(name).name  # refused before anything heavy is imported
    from efa_zoo.scan import draw_scans, scan

    found = scan([name, *compare], pair=pair, seed=seed, data_dir=data_dir)
    picture = draw_scans([found], out or f"scan_{'_'.join((model, *(pair or ())))}.png")
    print_(str(found))
    print_(f"picture: {picture}")
