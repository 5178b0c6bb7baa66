"""`efa-zoo export`."""

from __future__ import annotations

from typing import Annotated, Literal

from tyro.conf import arg

import efa_zoo
from efa_zoo.cli._common import Json, Name, dump, optional, output_file, print_


def run(
    name: Name,
    /,
    *,
    out: Annotated[str, arg(metavar="FILE", help="file to write, *.zip")],
    dtype: Annotated[
        Literal["float32", "float64"], arg(help="floating-point type of the program")
    ] = "float32",
    platforms: Annotated[
        str, arg(metavar="LIST", help="where it is to run: cpu, cuda, rocm, tpu, with commas")
    ] = "cpu,cuda",
    attention: Annotated[
        Literal["exact", "quadrature"] | None,
        optional("{exact,quadrature}", "sum over pairs, or linear in the number of atoms"),
    ] = None,
    json: Json = False,
) -> None:
    """Write a model as one file that runs in any program with JAX, without efa_zoo's network.

    The file holds StableHLO for molecules of any size, energies and forces, and the model's card.
    It is read again and compared with the model. `efa_zoo.interop.export.load_exported` loads it.

    Examples:
      efa-zoo export mpnn_efa_dimers --out dimers.zip
      efa-zoo export mpnn_efa_dimers --out dimers64.zip --dtype float64 --platforms cpu
    """
    path = output_file(out, (".zip",))
    efa_zoo.card(name)  # a wrong name or zoo file is refused before anything heavy is imported
    from efa_zoo.interop.export import export_model

    names = [platform.strip() for platform in platforms.split(",") if platform.strip()]
    report = export_model(name, path, dtype=dtype, platforms=names, attention=attention)
    print_(dump(report.to_dict()) if json else str(report))
