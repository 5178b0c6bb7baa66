"""`efa-zoo import`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from efa_zoo.cli._common import Json, dump, print_


def run(
    checkpoint: Annotated[
        Positional[str], arg(metavar="CHECKPOINT", help="folder that the reference wrote")
    ],
    /,
    *,
    config: Annotated[
        str, arg(metavar="FILE", help="its constructor keywords and the card's facts (toml, json)")
    ],
    out: Annotated[str, arg(metavar="DIR", help="folder to write the model to")],
    json: Json = False,
) -> None:
    """Import a trained model of the reference implementation.

    Examples:
      efa-zoo import ckpt_286000 --config cumulene.toml --out cumulene
      efa-zoo predict ./cumulene structure.xyz
    """
    from efa_zoo.interop.reference import import_checkpoint

    folder = import_checkpoint(checkpoint, config, out)
    print_(dump({"folder": str(folder)}) if json else str(folder))
