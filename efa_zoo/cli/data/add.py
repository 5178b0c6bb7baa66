"""`efa-zoo data add`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

from efa_zoo.cli._common import DataDir, Json, Reading, Splitting, dump, flag, print_


def run(
    file: Annotated[
        Positional[str],
        arg(metavar="FILE", help="labelled structures: extxyz, ASE database, npz or HDF5"),
    ],
    /,
    *,
    name: Annotated[str, arg(metavar="NAME", help="of the new data set")],
    reading: Reading,
    splitting: Splitting,
    level_of_theory: Annotated[
        str, arg(metavar="TEXT", help="method of the labels, as model cards cite it")
    ] = "not given",
    data_dir: DataDir = None,
    overwrite: Annotated[bool, flag("replace a data set of that name")] = False,
    json: Json = False,
) -> None:
    """Make a data set of a file of labelled structures.

    Prints what to write into the [data] of a zoo file.

    Examples:
      efa-zoo data add water.extxyz --name water
      efa-zoo data add md.npz --name md --energy-key E --forces-key F --numbers-key z \
--positions-key R --energy-unit kcal/mol --charge 0
    """
    from data_pipelines import add_file

    place = add_file(
        name,
        file,
        reading=reading,
        splitting=splitting,
        level_of_theory=level_of_theory,
        data_dir=data_dir,
        overwrite=overwrite,
    )
    if json:
        facts = {
            "name": f"structures/{name}",
            "level_of_theory": level_of_theory,
            "folder": str(place),
        }
        print_(dump(facts))
        return
    print_(f'[data]\nname = "structures/{name}"\nlevel_of_theory = "{level_of_theory}"')
