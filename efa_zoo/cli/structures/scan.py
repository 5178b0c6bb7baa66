"""`efa-zoo scan`."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

from tyro.conf import arg

import efa_zoo
from efa_zoo.base.progress import ongoing
from efa_zoo.cli._common import DataDir, Json, Name, dump, optional, print_

if TYPE_CHECKING:
    from efa_zoo.analysis.scan import Scan

_logger = logging.getLogger(__name__)


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
    view: Annotated[
        str | None,
        optional("NAME", "which profile where there are several, such as distance or error"),
    ] = None,
    out: Annotated[
        str | None,
        optional("FILE", "picture to write (png, pdf, svg); default: scan_NAME.png"),
    ] = None,
    seed: Annotated[int, arg(metavar="INT", help="of the orientation of dimers")] = 0,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Draw the profile that belongs to a model, beside the truth.

    Of dimers the energy over the separation, of others what their data set was made to show.

    Examples:
      efa-zoo scan mpnn_efa_dimers --pair ammonium water
      efa-zoo scan mpnn_efa_dimers --compare mpnn_dimers --pair chloride water --out scan.png
      efa-zoo scan mpnn_efa_charge_dipole --view distance
    """
    model = efa_zoo.card(name).name  # refused before anything heavy is imported
    with ongoing(f"computing the profile of {', '.join((name, *compare))}", _logger):
        from efa_zoo.analysis.scan import draw_scans, scan

        found = scan([name, *compare], pair=pair, view=view, seed=seed, data_dir=data_dir)
    picture = draw_scans(
        [found], out or f"scan_{'_'.join((model, *(pair or ()), *([view] if view else [])))}.png"
    )
    if json:
        print_(dump({**_to_dict(found), "picture": str(picture)}))
    else:
        print_(f"{found}\npicture: {picture}")


def _to_dict(found: Scan) -> dict[str, object]:
    return {
        "title": found.title,
        "coordinate": found.coordinate,
        "quantity": found.quantity,
        "coordinates": found.coordinates.tolist(),
        "models": {name: values.tolist() for name, values in found.models.items()},
        "truth_name": found.truth_name,
        "truth": None if found.truth is None else found.truth.tolist(),
    }
