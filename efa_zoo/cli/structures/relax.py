"""`efa-zoo relax`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import Positional, arg

import efa_zoo
from efa_zoo.base.errors import InputError, SimulationError
from efa_zoo.base.files import replacing
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

if TYPE_CHECKING:
    from efa_zoo.simulation import Relaxation

#: Bonds that a message names.
_SHOWN = 4


def run(
    name: Name,
    file: Annotated[
        Positional[str], arg(metavar="FILE", help="structures that ASE reads, or example:NAME")
    ],
    /,
    *,
    out: Annotated[
        str | None,
        optional("FILE", "relaxed structures, *.extxyz; default: FILE's name with _relaxed"),
    ] = None,
    trajectory: Annotated[
        str | None, optional("FILE", "write every step of a single structure, *.extxyz")
    ] = None,
    fmax: Annotated[float, arg(metavar="NUMBER", help="largest force (eV/Å) when relaxed")] = 0.01,
    steps: Annotated[int, arg(metavar="INT", help="largest number of steps")] = 500,
    cell: Annotated[bool, flag("relax the cell of a periodic structure too")] = False,
    pressure: Annotated[
        float, arg(metavar="NUMBER", help="pressure (GPa) that the cell is relaxed at")
    ] = 0.0,
    optimizer: Annotated[Literal["bfgs", "lbfgs", "fire"], arg(help="optimiser of ASE")] = "bfgs",
    charge: Charge = None,
    multiplicity: Multiplicity = None,
    dtype: Annotated[
        Literal["float32", "float64"], arg(help="floating-point type to compute in")
    ] = "float64",
    warn_out_of_range: WarnOutOfRange = False,
    reactions: Annotated[
        bool, flag("bonds may change, for models that know such reactions")
    ] = False,
    json: Json = False,
) -> None:
    """Relax structures until the forces are small; constraints in the file are kept.

    With --cell the cell of a periodic structure is relaxed too.

    Examples:
      efa-zoo relax mpnn_efa_dimers example:water_dimer
      efa-zoo relax mpnn_efa_dimers dimer.xyz --charge 1 --out relaxed.extxyz --fmax 0.002
      efa-zoo relax mpnn_efa_nacl_bulk crystal.extxyz --cell
    """
    path = output_file(
        out or f"{Path(file.removeprefix(EXAMPLE_PREFIX)).stem}_relaxed.extxyz",
        (".extxyz", ".xyz"),
        [file],
    )
    steps_path = None if trajectory is None else output_file(trajectory, (".extxyz",), [file])
    card = efa_zoo.card(name)
    structures = read_structures(file)
    if steps_path is not None and len(structures) > 1:
        raise InputError(
            f"trajectory: got {trajectory!r} for {len(structures)} structures, expected a file "
            "with one"
        )
    if card.weights is not None and not warn_out_of_range:
        refuse_early(name, structures, charge, multiplicity)
    from ase.io import write

    from efa_zoo.simulation import relax

    potential = efa_zoo.load(name)
    results: list[Relaxation] = []
    for structure in structures:
        if multiplicity is not None:
            structure.atoms.info["spin"] = multiplicity
        with range_warnings(f"{structure.label}: "), progress_bar(steps, "step") as bar:
            try:
                result = relax(
                    potential,
                    structure.atoms,
                    optimizer=optimizer,
                    fmax=fmax,
                    steps=steps,
                    cell=cell,
                    pressure=pressure,
                    charge=charge,
                    dtype=dtype,
                    out_of_range="warn" if warn_out_of_range else "error",
                    reactions=reactions,
                    trajectory=steps_path,
                    on_step=lambda step, energy, force: bar(step),
                )
            except (InputError, SimulationError) as error:
                raise type(error)(f"{structure.label}: {error}") from error
        results.append(result)
    with replacing(path) as temporary:
        write(temporary, [result.atoms for result in results], format="extxyz")
    labels = [structure.label for structure in structures]
    if json:
        print_(dump(_to_dict(name, path, labels, results)))
    else:
        _print_table(labels, results)
        print_(f"structures: {path}")
    failures = [
        f"{label}: {_failure(name, result, fmax, steps)}"
        for label, result in zip(labels, results, strict=True)
        if not result.converged
    ]
    if failures:
        raise SimulationError(f"{'; '.join(failures)}; the last structure is in {path}")


def _failure(name: str, result: Relaxation, fmax: float, steps: int) -> str:
    """Say why a relaxation has not converged."""
    if result.unknown is not None:
        return result.unknown
    if result.largest_force > fmax:
        return f"not relaxed to fmax = {fmax:g} eV/Å after {steps} steps"
    changes = result.changed_bonds
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return (
        f"bonds changed ({', '.join(changes[:_SHOWN])}{more}), see whether the model knows such "
        f"reactions (efa-zoo card {name}), and allow them by --reactions"
    )


def _to_dict(
    name: str, path: Path, labels: list[str], results: list[Relaxation]
) -> dict[str, object]:
    return {
        "model": name,
        "units": {"energy": "eV", "largest_force": "eV/Å", "pressure": "GPa"},
        "out": str(path),
        "structures": [
            {
                "structure": label,
                "energy": result.energy,
                "largest_force": result.largest_force,
                "steps": result.steps,
                "converged": result.converged,
                "changed_bonds": list(result.changed_bonds),
                "pressure": result.pressure,
                "unknown": result.unknown,
            }
            for label, result in zip(labels, results, strict=True)
        ],
    }


def _print_table(labels: list[str], results: list[Relaxation]) -> None:
    width = max(9, *map(len, labels))
    print_(f"{'structure'.ljust(width)}   steps     energy (eV)  largest force (eV/Å)")
    for label, result in zip(labels, results, strict=True):
        print_(
            f"{label.ljust(width)}  {result.steps:6}  {result.energy:14.5f}"
            f"  {result.largest_force:20.5f}"
        )
