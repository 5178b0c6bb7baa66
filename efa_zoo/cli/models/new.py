"""`efa-zoo new`."""

from __future__ import annotations

import logging
from typing import Annotated

from tyro.conf import Positional, arg

import efa_zoo
from efa_zoo.base.errors import InputError
from efa_zoo.base.progress import ongoing, seconds_of
from efa_zoo.cli._common import DataDir, Json, dump, flag, optional, print_, require_data

_logger = logging.getLogger(__name__)

#: Model whose recipe is fitted to data unless another one is named.
_USUAL = "mpnn_efa_dimers"


def run(
    file: Annotated[Positional[str], arg(metavar="[FILE]", help="zoo file to write")] = "my.toml",
    /,
    *,
    base: Annotated[
        str | None,
        arg(
            name="from",
            metavar="NAME",
            help=f"model in the zoo, folder of one, or zoo file; default with --time: {_USUAL}",
            help_behavior_hint="",
        ),
    ] = None,
    data: Annotated[
        str | None,
        optional("NAME", "data set to train on, such as structures/NAME; default: the model's"),
    ] = None,
    time: Annotated[
        str | None,
        optional("TIME", "such as 30m: fit the recipe to the data and to so long a training here"),
    ] = None,
    level_of_theory: Annotated[
        str | None, optional("TEXT", "method of the labels; default: as stored with the data set")
    ] = None,
    data_dir: DataDir = None,
    overwrite: Annotated[bool, flag("replace the file if there is one")] = False,
    json: Json = False,
) -> None:
    """Write a zoo file of your own: a model's recipe with every option explained.

    With --time, cutoff, frequencies, batch, steps, warm-up, averaging and weights follow from the
    data and from how long a step takes here; the file says why.

    Examples:
      efa-zoo new --from mpnn_efa_dimers
      efa-zoo data add water.extxyz --name water
      efa-zoo new my.toml --data structures/water --time 30m
      efa-zoo train my.toml
    """
    if time is not None:
        seconds = seconds_of(time)
        if data is None:
            raise InputError("time: given without --data, expected the data set to fit a recipe to")
        efa_zoo.card(base or _USUAL)  # refused before JAX is imported, as the data are
        require_data(data, data_dir)
        with ongoing("importing JAX", _logger):
            from efa_zoo.training.fitted import fitted_recipe

        written = fitted_recipe(
            base or _USUAL,
            file,
            data=data,
            seconds=seconds,
            level_of_theory=level_of_theory,
            overwrite=overwrite,
            data_dir=data_dir,
        )
    elif base is None:
        raise InputError(
            "from: got none, expected --from NAME, or --data NAME and --time TIME, by which a "
            "recipe is made"
        )
    else:
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
