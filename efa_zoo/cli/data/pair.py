"""`efa-zoo data pair`."""

from __future__ import annotations

from typing import Annotated, Any

from tyro.conf import Positional, arg

from efa_zoo.cli._common import Json, dump, optional, output_file, print_


def _first() -> Any:
    from data_pipelines.sampling.monomers import MONOMERS

    return Annotated[str, arg(metavar="MONOMER", help=f"one of {', '.join(MONOMERS)}")]


def run(
    first: Annotated[Positional[Any], arg(constructor_factory=_first)],
    second: Annotated[Positional[str], arg(metavar="MONOMER", help="the same or another one")],
    /,
    *,
    out: Annotated[str, arg(metavar="FILE", help="file to write, .extxyz")],
    count: Annotated[int, arg(metavar="INT", help="number of dimers")] = 200,
    seed: Annotated[int, arg(metavar="INT", help="0 gives those of the data set again")] = 1,
    workers: Annotated[
        int | None, optional("INT", "worker processes; default: one per core")
    ] = None,
    json: Json = False,
) -> None:
    """Label dimers of one pair of molecules by GFN2-xTB, drawn as in the data set dimers.

    Examples:
      efa-zoo data pair formaldehyde ammonium --out pair.extxyz
      efa-zoo data pair water water --count 1000 --seed 2 --out water.extxyz
    """
    file = output_file(out, (".extxyz", ".xyz"))
    from data_pipelines._workers import available_cores
    from data_pipelines.files.extxyz import write_extxyz
    from data_pipelines.sampling.dimers import make_pair

    structures = make_pair((first, second), count, seed=seed, workers=workers or available_cores())
    write_extxyz(file, structures)
    if json:
        print_(dump({"pair": [first, second], "structures": len(structures), "file": str(file)}))
    else:
        print_(f"{file}: {len(structures)} structures")
