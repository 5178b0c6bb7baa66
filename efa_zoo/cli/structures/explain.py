"""`efa-zoo explain`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

import efa_zoo
from efa_zoo.analysis.figures import PICTURES
from efa_zoo.base.errors import InputError
from efa_zoo.cli._common import (
    Charge,
    Json,
    Name,
    WarnOutOfRange,
    dump,
    optional,
    output_file,
    print_,
    range_warnings,
    read_structures,
    refuse_early,
)


def run(
    name: Name,
    file: Annotated[
        Positional[str], arg(metavar="FILE", help="structure file that ASE reads, or example:NAME")
    ],
    /,
    *,
    index: Annotated[int, arg(metavar="INT", help="which structure of the file, from 0")] = 0,
    charge: Charge = None,
    warn_out_of_range: WarnOutOfRange = False,
    degree: Annotated[
        int, arg(metavar="INT", help="of the weights to draw; 0 has no direction")
    ] = 0,
    out: Annotated[
        str | None, optional("FILE", "picture to write (png, pdf, svg); default: explain_NAME.png")
    ] = None,
    json: Json = False,
) -> None:
    """Draw how strongly the atoms of a structure attend to each other.

    The picture shows, for every block of the network, the attention weights between the atoms, as
    a matrix, over distance, and by frequency. With --json, the weights are printed too.

    Examples:
      efa-zoo explain mpnn_efa_dimers example:ammonium_water
      efa-zoo explain mpnn_efa_dimers dimers.extxyz --index 3 --out dimer3.pdf
    """
    model = efa_zoo.card(name).name  # refused before anything heavy is imported
    picture = output_file(out or f"explain_{model}.png", PICTURES, (file,))
    structures = read_structures(file)
    if not 0 <= index < len(structures):
        raise InputError(f"index: got {index}, expected 0 to {len(structures) - 1}")
    if efa_zoo.card(name).weights is not None and not warn_out_of_range:
        refuse_early(name, [structures[index]], charge, None)
    from efa_zoo.analysis.draw_explanation import draw_explanation
    from efa_zoo.analysis.explain import explain

    try:
        with range_warnings(f"{structures[index].label}: "):
            found = explain(
                name,
                structures[index].atoms,
                charge=charge,
                out_of_range="warn" if warn_out_of_range else "error",
            )
    except InputError as error:
        raise InputError(f"{structures[index].label}: {error}") from error
    draw_explanation(found, picture, degree=degree)
    if json:
        print_(dump({**found.to_dict(), "picture": str(picture)}))
    else:
        print_(f"{found}\npicture: {picture}")
