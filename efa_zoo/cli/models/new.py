"""`efa-zoo new`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from efa_zoo.cli._common import DataDir, Json, dump, flag, optional, print_


def run(
    file: Annotated[Positional[str], arg(metavar="[FILE]", help="zoo file to write")] = "my.toml",
    /,
    *,
    base: Annotated[
        str, arg(name="from", metavar="NAME", help="model in the zoo, folder of one, or zoo file")
    ],
    data: Annotated[
        str | None,
        optional("NAME", "data set to train on, such as structures/NAME; default: the model's"),
    ] = None,
    level_of_theory: Annotated[
        str | None, optional("TEXT", "method of the labels; default: as stored with the data set")
    ] = None,
    data_dir: DataDir = None,
    overwrite: Annotated[bool, flag("replace the file if there is one")] = False,
    json: Json = False,
) -> None:
    """Write a zoo file of your own: a model's recipe with every option explained.

    Examples:
      efa-zoo new --from mpnn_efa_dimers
      efa-zoo data add water.extxyz --name water
      efa-zoo new my.toml --from mpnn_efa_dimers --data structures/water
      efa-zoo train my.toml
    """
    from efa_zoo.models.hub.recipes import new_recipe

    written = new_recipe(
        base,
        file,
        data=data,
        level_of_theory=level_of_theory,
        overwrite=overwrite,
        data_dir=data_dir,
    )
    print_(dump({"file": str(written)}) if json else str(written))
