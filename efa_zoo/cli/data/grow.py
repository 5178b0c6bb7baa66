"""`efa-zoo data grow`."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated

from tyro.conf import arg

import efa_zoo
from efa_zoo.base.errors import DataError
from efa_zoo.cli._common import (
    Charge,
    Json,
    Name,
    dump,
    optional,
    output_file,
    print_,
    read_structures,
)


def run(
    name: Name,
    /,
    *,
    starts: Annotated[
        str, arg(metavar="FILE", help="structures to start from, that ASE reads, or example:NAME")
    ],
    out: Annotated[str, arg(metavar="FILE", help="file to write, .extxyz")],
    count: Annotated[int, arg(metavar="INT", help="number of structures to label")] = 200,
    temperature: Annotated[float, arg(metavar="NUMBER", help="of the dynamics (K)")] = 500.0,
    steps: Annotated[int, arg(metavar="INT", help="of the dynamics, of 0.5 fs each")] = 1000,
    rounds: Annotated[
        int, arg(metavar="INT", help="how often; later ones start from what was labelled before")
    ] = 1,
    seed: Annotated[int, arg(metavar="INT", help="of velocities and thermostats")] = 0,
    charge: Charge = None,
    workers: Annotated[
        int | None, optional("INT", "worker processes for labels; default: one per core")
    ] = None,
    json: Json = False,
) -> None:
    """Label structures that a model is unsure of by GFN2-xTB: relax and heat some, take the worst.

    What comes out is for `finetune --data` or `data add`; see the page on growing a data set.

    Examples:
      efa-zoo data grow mpnn_efa_dimers --starts example:ammonium_water --count 50 --out more.extxyz
      efa-zoo finetune mpnn_efa_dimers --data more.extxyz --group-key group --out tuned
    """
    file = output_file(out, (".extxyz", ".xyz"), [starts])
    efa_zoo.card(name)  # a wrong name or zoo file is refused before anything heavy is imported
    import_module("tblite")
    structures = read_structures(starts)
    from data_pipelines.files.extxyz import write_extxyz
    from efa_zoo.simulation import grow

    grown = grow(
        name,
        [structure.atoms for structure in structures],
        count=count,
        temperature=temperature,
        steps=steps,
        rounds=rounds,
        seed=seed,
        charge=charge,
        workers=workers,
    )
    if not grown.structures:
        raise DataError(f"starts: nothing to write, {grown}")
    write_extxyz(file, grown.structures)
    if json:
        facts = {
            "model": name,
            "visited": grown.visited,
            "unknown": grown.unknown,
            "labelled": len(grown.structures),
            "dropped": dict(grown.dropped),
            "file": str(file),
        }
        print_(dump(facts))
        return
    print_(f"{grown}\n{file}: {len(grown.structures)} structures")
