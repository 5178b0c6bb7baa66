"""`efa-zoo md`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

import efa_zoo
from efa_zoo.base.errors import InputError
from efa_zoo.cli._common import (
    EXAMPLE_PREFIX,
    Charge,
    Json,
    Multiplicity,
    Name,
    WarnOutOfRange,
    dump,
    flag,
    optional,
    output_file,
    print_,
    progress_bar,
    range_warnings,
    read_structures,
    refuse_early,
)
from efa_zoo.simulation.config import DynamicsConfig

_DEFAULTS = DynamicsConfig()


def run(
    name: Name,
    file: Annotated[
        Positional[str], arg(metavar="FILE", help="one structure that ASE reads, or example:NAME")
    ],
    /,
    *,
    config: Annotated[DynamicsConfig, arg(name="")] = _DEFAULTS,
    out: Annotated[
        str | None,
        optional("FILE", "trajectory, *.extxyz; default: FILE's name with _md; log beside it"),
    ] = None,
    resume: Annotated[bool, flag("go on from the checkpoint beside the trajectory")] = False,
    charge: Charge = None,
    multiplicity: Multiplicity = None,
    dtype: Annotated[
        Literal["float32", "float64"],
        arg(help="floating-point type of the network; positions are float64 always"),
    ] = "float64",
    warn_out_of_range: WarnOutOfRange = False,
    json: Json = False,
) -> None:
    """Run molecular dynamics of a structure; trajectory, log and checkpoint are written as it goes.

    Examples:
      efa-zoo md mpnn_efa_dimers example:ammonium_water --steps 1000
      efa-zoo md mpnn_efa_dimers dimer.xyz --ensemble nvt --temperature 200 --out hot.extxyz
      efa-zoo md mpnn_efa_dimers dimer.xyz --steps 5000 --out dimer.extxyz --resume
      efa-zoo md mpnn_efa_nacl_bulk melt.extxyz --ensemble npt --temperature 1200
    """
    path = output_file(
        out or f"{Path(file.removeprefix(EXAMPLE_PREFIX)).stem}_md.extxyz", (".extxyz",), [file]
    )
    card = efa_zoo.card(name)
    structures = read_structures(file)
    if len(structures) > 1:
        raise InputError(f"{file}: has {len(structures)} structures, expected one")
    if card.weights is not None and not warn_out_of_range:
        refuse_early(name, structures, charge, multiplicity)
    from efa_zoo.simulation import energy_drift, run_dynamics

    if multiplicity is not None:
        structures[0].atoms.info["spin"] = multiplicity
    with range_warnings(f"{file}: "), progress_bar(config.steps, "step") as bar:
        result = run_dynamics(
            name,
            structures[0].atoms,
            config,
            path,
            charge=charge,
            dtype=dtype,
            out_of_range="warn" if warn_out_of_range else "error",
            resume=resume,
            on_row=lambda row: bar(int(row["step"])),
        )
    drift = None
    if config.ensemble == "nve" and result.steps:
        drift = energy_drift(result.log, len(result.atoms))
    if json:
        facts = {
            "model": name,
            "units": {"energy_drift": "eV/atom/ps"},
            "steps": result.steps,
            "seconds": result.seconds,
            "steps_per_second": result.steps_per_second,
            "engine": result.engine,
            "energy_drift": drift,
            "trajectory": str(result.trajectory),
            "log": str(result.log),
        }
        print_(dump(facts))
        return
    print_(
        f"{result.steps} steps in {result.seconds:.1f} s, {result.steps_per_second:.0f} steps per "
        f"second (engine: {result.engine})"
    )
    if drift is not None:
        print_(f"drift of the total energy: {drift:.2e} eV/atom/ps")
    print_(f"trajectory: {result.trajectory}\nlog: {result.log}")
