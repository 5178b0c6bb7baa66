"""`efa-zoo plot parity`."""

from __future__ import annotations

from typing import Annotated

from tyro.conf import Positional, arg

import efa_zoo
from efa_zoo.analysis.figures import PICTURES
from efa_zoo.base.errors import InputError
from efa_zoo.cli._common import (
    Charge,
    DataDir,
    Json,
    Name,
    WarnOutOfRange,
    dump,
    optional,
    output_file,
    print_,
    range_warnings,
    read_structures,
    with_label,
)


def run(
    name: Name,
    files: Annotated[
        Positional[tuple[str, ...]],
        optional("FILE...", "structure files with energies and forces; default: the split"),
    ] = (),
    /,
    *,
    split: Annotated[
        str, arg(metavar="NAME", help="part of the model's own data, where no files are given")
    ] = "test",
    charge: Charge = None,
    warn_out_of_range: WarnOutOfRange = False,
    data_dir: DataDir = None,
    out: Annotated[
        str | None, optional("FILE", "picture to write (png, pdf, svg); default: parity_NAME.png")
    ] = None,
    json: Json = False,
) -> None:
    """Draw predicted against labelled energies and forces.

    Examples:
      efa-zoo plot parity mpnn_efa_dimers
      efa-zoo plot parity mpnn_efa_dimers labelled.extxyz --out parity.pdf
    """
    model = efa_zoo.card(name).name  # refused before anything heavy is imported
    picture = output_file(out or f"parity_{model}.png", PICTURES, files)
    if files and (split != "test" or data_dir is not None):
        option = "--split" if split != "test" else "--data-dir"
        raise InputError(f"{option}: given together with files, expected one of both")
    if not files and (charge is not None or warn_out_of_range):
        option = "--warn-out-of-range" if warn_out_of_range else "--charge"
        raise InputError(f"{option}: given without files, expected structure files")
    from efa_zoo.analysis.parity import draw_parity, parity_of_split, parity_of_structures

    if files:
        structures = [structure for file in files for structure in read_structures(file)]
        atoms = [structure.atoms for structure in structures]
        labels = [structure.label for structure in structures]
        try:
            with range_warnings("", labels):
                found = parity_of_structures(
                    name,
                    atoms,
                    source=", ".join(files),
                    charge=charge,
                    out_of_range="warn" if warn_out_of_range else "error",
                )
        except InputError as error:
            # The library counts structures; here they have files.
            raise InputError(with_label(str(error), labels)) from error
    else:
        found = parity_of_split(name, split, data_dir=data_dir)
    draw_parity(found, picture)
    if json:
        print_(dump({**found.to_dict(), "picture": str(picture)}))
    else:
        print_(f"{found}\npicture: {picture}")
