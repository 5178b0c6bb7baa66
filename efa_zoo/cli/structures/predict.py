"""`efa-zoo predict`."""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

import efa_zoo
from efa_zoo.base.errors import InputError
from efa_zoo.base.files import replacing, write_atomically
from efa_zoo.cli._common import (
    EXAMPLE_PREFIX,
    Charge,
    DeviceCount,
    Json,
    Multiplicity,
    Name,
    Structure,
    WarnOutOfRange,
    dump,
    flag,
    iterate_structures,
    optional,
    output_file,
    print_,
    progress_bar,
    range_warnings,
    refuse_early,
    with_label,
)

if TYPE_CHECKING:
    from ase import Atoms

    from efa_zoo.models.prediction import Prediction

#: From this number of structures on a summary is printed, and no table beside a file.
_MANY = 100


def run(
    name: Name,
    files: Annotated[
        Positional[tuple[str, ...]],
        optional("FILE...", "structure files that ASE reads, or example:NAME"),
    ] = (),
    /,
    *,
    charge: Charge = None,
    multiplicity: Multiplicity = None,
    out: Annotated[
        str | None, optional("FILE", "write results to FILE.extxyz or FILE.json")
    ] = None,
    json: Json = False,
    dtype: Annotated[
        Literal["float32", "float64"], arg(help="floating-point type to compute in")
    ] = "float32",
    devices: DeviceCount = 1,
    warn_out_of_range: WarnOutOfRange = False,
    skip_bad: Annotated[
        bool, flag("report structures that cannot be predicted and go on with the others")
    ] = False,
) -> None:
    """Predict energies (eV) and forces (eV/Å) of structures, with uncertainties.

    Files of any length are read, computed and written piece by piece. For 100 structures or more a
    summary goes to standard error, and with --out there is no table.

    Examples:
      efa-zoo predict mpnn_efa_dimers example:ammonium_water
      efa-zoo predict mpnn_efa_dimers dimers.extxyz --json
      efa-zoo predict mpnn_efa_dimers a.xyz b.xyz --charge 1 --out results.extxyz --skip-bad
    """
    output = None if out is None else output_file(out, (".extxyz", ".xyz", ".json"), files)
    card = efa_zoo.card(name)
    if not files:
        examples = ", ".join(EXAMPLE_PREFIX + example for example in efa_zoo.list_examples())
        raise InputError(f"files: got none, expected structure files or one of {examples}")
    source = _Source(files)
    if card.weights is not None and not (warn_out_of_range or skip_bad):
        refuse_early(name, source.first(), charge, multiplicity)
    from efa_zoo.models.inference import PredictionStream

    potential = efa_zoo.load(name)
    table, entries, failures = _Table(), list[dict[str, Any]](), list[str]()
    write_json = output is not None and output.suffix == ".json"
    with (
        _extxyz(None if write_json else output) as write,
        range_warnings("", source.labels),
        progress_bar(None, "structure") as show,
    ):
        stream = PredictionStream(
            potential,
            source,
            charge=charge,
            multiplicity=multiplicity,
            dtype=dtype,
            devices=devices,
            out_of_range="warn" if warn_out_of_range else "error",
            on_error="return" if skip_bad else "raise",
            progress=_sum_up(show),
        )
        try:
            for result in stream:
                structure = source.waiting.popleft()
                if isinstance(result, InputError):
                    failures.append(with_label(str(result), source.labels))
                    continue
                write(structure, result)
                if json or write_json:
                    entries.append(_entry(structure, result))
                if not json and (output is None or len(source.labels) < _MANY):
                    table.add(structure, result)
        except InputError as error:
            raise InputError(with_label(str(error), source.labels)) from error
        if len(failures) == len(source.labels):
            raise InputError(f"{failures[0]} (and no other structure could be predicted)")

    for failure in failures:
        print_(f"efa-zoo: skipped: {failure}", file=sys.stderr)
    units = {
        "energy": "eV",
        "forces": "eV/Å",
        "charge": "e",
        "charges": "e",
        "dipole": "e·Å",
        "energy_uncertainty": "eV",
        "force_uncertainty": "eV/Å",
    }
    if any("stress" in entry for entry in entries):
        units["stress"] = "eV/Å³"
    content = dump({"model": name, "units": units, "structures": entries})
    if output is not None and write_json:
        write_atomically(output, f"{content}\n".encode())
    many = len(source.labels) >= _MANY
    if json:
        print_(content)
    elif output is None or not many:
        table.print()
    if many:
        print_(str(stream.summary), file=sys.stderr)


class _Source:
    """Structures of files as they are asked for; keeps those whose results are still to come."""

    def __init__(self, files: Sequence[str]):
        # All files are looked for before one of them is computed.
        self.files: list[Iterator[Structure]] = [iterate_structures(file) for file in files]
        self.labels: list[str] = []
        self.waiting: deque[Structure] = deque()

    def first(self) -> list[Structure]:
        """Read the first structure of each file, which stays to be given out."""
        starts = [next(file) for file in self.files]
        self.files = [
            itertools.chain([start], file) for start, file in zip(starts, self.files, strict=True)
        ]
        return starts

    def __iter__(self) -> Iterator[Atoms]:
        for structure in itertools.chain.from_iterable(self.files):
            self.labels.append(structure.label)
            self.waiting.append(structure)
            yield structure.atoms


def _sum_up(show: Callable[[int], None]) -> Callable[[int], None]:
    """Turn steps into how far they have come."""
    done = 0

    def step(more: int) -> None:
        nonlocal done
        done += more
        show(done)

    return step


@contextmanager
def _extxyz(path: Path | None) -> Generator[Callable[[Structure, Prediction], None]]:
    """Write results as they come; the file takes its name when all are there."""
    if path is None:
        yield lambda structure, prediction: None
        return
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    from efa_zoo.models.prediction import UNCERTAINTIES

    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:

        def write_one(structure: Structure, prediction: Prediction) -> None:
            atoms = structure.atoms.copy()
            atoms.info["charge"] = prediction.charge
            found = {name: getattr(prediction, name) for name in ("charges", "dipole", "stress")}
            atoms.calc = SinglePointCalculator(
                atoms,
                energy=prediction.energy,
                forces=prediction.forces,
                **{name: values for name, values in found.items() if values is not None},
            )
            for name in UNCERTAINTIES:
                values = getattr(prediction, name)
                if isinstance(values, float):
                    atoms.info[name] = values
                elif values is not None:
                    atoms.arrays[name] = values
            write(file, atoms, format="extxyz")

        yield write_one


def _entry(structure: Structure, prediction: Prediction) -> dict[str, Any]:
    from efa_zoo.models.prediction import UNCERTAINTIES

    entry = {
        "file": structure.file,
        "index": structure.index,
        "symbols": structure.atoms.get_chemical_symbols(),
        "charge": prediction.charge,
        "energy": prediction.energy,
        "atomic_energies": prediction.atomic_energies.tolist(),
        "forces": prediction.forces.tolist(),
    }
    for name in ("charges", "dipole", "stress", *UNCERTAINTIES):
        if (values := getattr(prediction, name)) is not None:
            entry[name] = values if isinstance(values, float) else values.tolist()
    return entry


class _Table:
    """Energies and largest forces; of a single structure all forces."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str]] = []
        self.last: tuple[Structure, Prediction] | None = None

    def add(self, structure: Structure, prediction: Prediction) -> None:
        """Add a structure; what the table does not show is not kept."""
        largest = float((prediction.forces**2).sum(axis=1).max() ** 0.5)
        formula = structure.atoms.get_chemical_formula(mode="hill")
        charge = f"{prediction.charge:+d}" if prediction.charge else "0"
        sigma = prediction.energy_uncertainty
        uncertainty = f"{sigma:9.4f}" if sigma is not None else f"{'-':>9}"
        row = (
            f"{formula:>10}  {charge:>6}  {prediction.energy:14.5f}  {uncertainty}  {largest:20.5f}"
        )
        self.rows.append((structure.label, row))
        self.last = structure, prediction

    def print(self) -> None:
        """Print the table."""
        width = max(9, *(len(label) for label, _ in self.rows))
        header = f"{'structure'.ljust(width)}  {'formula':>10}  charge  {'energy (eV)':>14}"
        print_(f"{header}  {'± (eV)':>9}  largest force (eV/Å)")
        for label, row in self.rows:
            print_(f"{label.ljust(width)}  {row}")
        if len(self.rows) == 1 and self.last is not None:
            structure, prediction = self.last
            print_("\natom   force x, y, z (eV/Å)")
            symbols = structure.atoms.get_chemical_symbols()
            for element, force in zip(symbols, prediction.forces, strict=True):
                print_(f"{element:4}" + "".join(f"{component:12.5f}" for component in force))
