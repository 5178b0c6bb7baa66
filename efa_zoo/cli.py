"""The command line `efa-zoo`. Everything it prints goes through this file."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional, arg
from tyro.extras import SubcommandApp

import efa_zoo
from efa_zoo import registry
from efa_zoo._files import replacing, write_atomically
from efa_zoo.cards import write_results
from efa_zoo.errors import EFAZooError, InputError

if TYPE_CHECKING:
    from ase import Atoms

    from efa_zoo.prediction import Prediction

__all__ = ["main"]

_EXAMPLE_PREFIX = "example:"


def _optional(metavar: str, help: str) -> Any:
    """An option that is off unless given: its help shows no default value."""
    return arg(metavar=metavar, help=help, help_behavior_hint="")


def _flag(help: str) -> Any:
    return arg(help=help, help_behavior_hint="")


_Name = Annotated[
    Positional[str], arg(metavar="NAME", help="model in the zoo, folder of a model, or zoo file")
]
_DataDir = Annotated[
    str | None, _optional("DIR", "where data sets lie; default: $EFA_ZOO_DATA or the cache")
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: as on the command line, without the program's name; None takes them from there.

    Returns:
        The exit status: 0, or 2 after a bad argument, file or structure (one line on standard
        error), or 130 when interrupted.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given == ["--version"]:
        _print(f"efa-zoo {efa_zoo.__version__}")
        return 0
    try:
        with _log_to_stderr():
            _app(short=given in ([], ["-h"], ["--help"])).cli(
                prog="efa-zoo",
                description="Energies and forces of molecules by Euclidean fast attention.",
                args=given or ["--help"],
                config=(tyro.conf.FlagCreatePairsOff,),
            )
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader, `head` for example, has seen enough. Python must not flush into it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except EFAZooError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _fail(f"this needs {error.name}: pip install 'efa-zoo[{extra}]'")
    except KeyboardInterrupt:
        _print("efa-zoo: interrupted", file=sys.stderr)
        return 130
    return 0


#: Extra of efa-zoo that brings a package.
_EXTRAS: Mapping[str, str] = {
    "ase": "ase",
    "matplotlib": "plot",
    "orbax": "interop",
    "tblite": "data",
    "tensorflow": "data",
    "tensorflow_datasets": "data",
    "tqdm": "train",
}


def _print(text: str, file: Any = None) -> None:
    print(text, file=file)


def _fail(message: str) -> int:
    _print(f"efa-zoo: {' '.join(message.split())}", file=sys.stderr)
    return 2


@contextmanager
def _log_to_stderr() -> Iterator[None]:
    """Show what the library logs while a command runs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    loggers = [logging.getLogger(name) for name in ("efa_zoo", "data_pipelines")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)


# ---------------------------------------------------------------------------------------------
# Commands


def _list(
    pattern: Annotated[Positional[str], arg(metavar="PATTERN", help="such as '*efa*'")] = "*",
    /,
    *,
    all: Annotated[bool, _flag("also recipes that are not trained yet")] = False,
) -> None:
    """List the models of the zoo.

    Examples:
      efa-zoo list
      efa-zoo list '*efa*'
    """
    names = efa_zoo.list_models(pattern, trained=not all)
    width = max(map(len, names), default=0)
    for name in names:
        card = efa_zoo.card(name)
        state = "" if card.weights is not None else "  (not trained yet)"
        _print(f"{name.ljust(width)}  {card.description}{state}")


def _card(name: _Name, /) -> None:
    """Show what a model is, what it was trained on, where it is valid, and how well it does.

    Examples:
      efa-zoo card mpnn_efa_dimers
    """
    _print(str(efa_zoo.card(name)))


def _predict(
    name: _Name,
    files: Annotated[
        Positional[tuple[str, ...]],
        _optional("FILE...", "structure files that ASE reads, or example:NAME"),
    ] = (),
    /,
    *,
    charge: Annotated[
        int | None,
        _optional("INT", "total charge (e) of every structure; default: as in the file"),
    ] = None,
    out: Annotated[
        str | None, _optional("FILE", "write results to FILE.extxyz or FILE.json")
    ] = None,
    json: Annotated[bool, _flag("print JSON instead of a table")] = False,
    dtype: Annotated[
        Literal["float32", "float64"], arg(help="floating-point type to compute in")
    ] = "float32",
    warn_out_of_range: Annotated[
        bool, _flag("only warn about structures outside what the model knows")
    ] = False,
) -> None:
    """Predict energies (eV) and forces (eV/Å) of structures.

    Examples:
      efa-zoo predict mpnn_efa_dimers example:ammonium_water
      efa-zoo predict mpnn_efa_dimers dimers.extxyz --json
      efa-zoo predict mpnn_efa_dimers a.xyz b.xyz --charge 1 --out results.extxyz
    """
    output = None if out is None else _output(out, files)
    potential = efa_zoo.load(name)
    structures = [structure for file in files for structure in _read(file)]
    if not structures:
        examples = ", ".join(_EXAMPLE_PREFIX + example for example in efa_zoo.list_examples())
        raise InputError(f"files: got none, expected structure files or one of {examples}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", efa_zoo.OutOfRangeWarning)
        try:
            predictions = efa_zoo.predict(
                potential,
                [structure.atoms for structure in structures],
                charge=charge,
                dtype=dtype,
                out_of_range="warn" if warn_out_of_range else "error",
            )
        except InputError as error:
            raise InputError(_name_structure(str(error), structures)) from error
    for warning in caught:
        if issubclass(warning.category, efa_zoo.OutOfRangeWarning):
            text = _name_structure(str(warning.message), structures)
            _print(f"efa-zoo: warning: {text}", file=sys.stderr)
    if output is not None:
        _write(output, name, structures, predictions)
    if json:
        _print(_to_json(name, structures, predictions))
    else:
        _print_table(structures, predictions)


def _train(
    name: _Name,
    /,
    *,
    out: Annotated[
        str | None, _optional("DIR", "folder of checkpoints and records; default: runs/NAME")
    ] = None,
    resume: Annotated[bool, _flag("go on from the last checkpoint in the folder")] = False,
    data_dir: _DataDir = None,
    loader: Annotated[
        Literal["numpy", "tensorflow"],
        arg(help="hold the batches in memory, or stream them through tf.data"),
    ] = "numpy",
    publish: Annotated[bool, _flag("also write weights and results into the zoo itself")] = False,
) -> None:
    """Train a model by the recipe of its zoo file.

    Examples:
      efa-zoo train mpnn_efa_dimers
      efa-zoo train my_model.toml --out runs/my_model --resume
    """
    efa_zoo.card(name)  # a wrong name or zoo file is refused before anything heavy is imported
    from efa_zoo.training import train

    folder = train(name, out=out, resume=resume, data_dir=data_dir, loader=loader, publish=publish)
    _print(str(folder))


def _evaluate(
    name: _Name,
    /,
    *,
    json: Annotated[bool, arg(help="print JSON instead of a table")] = False,
    write: Annotated[bool, arg(help="also store the errors in the model's zoo file")] = False,
    data_dir: _DataDir = None,
) -> None:
    """Errors of a model on the held-back parts of its data, also by separation.

    Examples:
      efa-zoo evaluate mpnn_efa_dimers
    """
    efa_zoo.card(name)  # a wrong name or zoo file is refused before anything heavy is imported
    from efa_zoo.evaluation import evaluate

    report = evaluate(name, data_dir=data_dir)
    if write:
        write_results(registry.find(name).zoo_file, metrics=report.to_dict())
    _print(_dump(report.to_dict()) if json else str(report))


def _scan(
    name: _Name,
    /,
    *,
    pair: Annotated[
        tuple[str, str],
        arg(metavar="MONOMER MONOMER", help="the two molecules"),
    ] = ("ammonium", "water"),
    compare: Annotated[
        str | None, arg(metavar="NAME", help="another model to draw beside the first")
    ] = None,
    out: Annotated[
        str | None,
        arg(metavar="FILE", help="picture to write (png, pdf, svg); default: scan_NAME_PAIR.png"),
    ] = None,
    seed: Annotated[int, arg(metavar="INT", help="of the molecules' orientation")] = 0,
) -> None:
    """Draw a dimer's energy over its separation: the model, and GFN2-xTB where it is installed.

    Examples:
      efa-zoo scan mpnn_efa_dimers --pair ammonium water
      efa-zoo scan mpnn_efa_dimers --compare mpnn_dimers --pair chloride water --out scan.png
    """
    model = efa_zoo.card(name).name  # refused before anything heavy is imported
    from efa_zoo.scan import draw_scans, scan

    found = scan([name] if compare is None else [name, compare], pair=pair, seed=seed)
    picture = draw_scans([found], out or f"scan_{model}_{'_'.join(pair)}.png")
    _print(str(found))
    _print(f"picture: {picture}")


def _import(
    checkpoint: Annotated[
        Positional[str], arg(metavar="CHECKPOINT", help="folder that the reference wrote")
    ],
    /,
    *,
    config: Annotated[
        str, arg(metavar="FILE", help="its constructor keywords and the card's facts (toml, json)")
    ],
    out: Annotated[str, arg(metavar="DIR", help="folder to write the model to")],
) -> None:
    """Import a trained model of the reference implementation.

    Examples:
      efa-zoo import ckpt_286000 --config cumulene.toml --out cumulene
      efa-zoo predict ./cumulene structure.xyz
    """
    from efa_zoo.interop.reference import import_checkpoint

    _print(str(import_checkpoint(checkpoint, config, out)))


def _data_build(
    name: Annotated[Positional[str], arg(metavar="NAME", help="name of the data set")],
    /,
    *,
    data_dir: _DataDir = None,
    config: Annotated[str, arg(metavar="NAME", help="size of the data set")] = "full",
    seed: Annotated[int | None, _optional("INT", "another seed than the usual")] = None,
    workers: Annotated[
        int | None, _optional("INT", "worker processes; default: one per core")
    ] = None,
    overwrite: Annotated[bool, _flag("build again if it is there already")] = False,
) -> None:
    """Build a data set.

    Examples:
      efa-zoo data build dimers
    """
    from data_pipelines import build

    place = build(
        name, data_dir=data_dir, config=config, seed=seed, workers=workers, overwrite=overwrite
    )
    _print(str(place))


def _app(*, short: bool) -> SubcommandApp:
    """All commands; the overview of them shows only the first line of each one's help."""

    def text(function: Callable[..., None]) -> str:
        lines = (function.__doc__ or "").splitlines()
        return lines[0] if short else "\n".join(line.removeprefix("    ") for line in lines)

    app, data = SubcommandApp(), SubcommandApp()
    data.command(name="build", help=text(_data_build))(_data_build)
    for name, function in {
        "list": _list,
        "card": _card,
        "predict": _predict,
        "scan": _scan,
        "train": _train,
        "evaluate": _evaluate,
        "import": _import,
    }.items():
        app.command(name=name, help=text(function))(function)
    app.command(data, name="data", help="Build data sets.")
    return app


# ---------------------------------------------------------------------------------------------
# Structures in, results out


@dataclass(frozen=True)
class _Structure:
    """A structure, and where it came from: file and position in the file."""

    file: str
    index: int
    atoms: Atoms

    @property
    def label(self) -> str:
        return f"{self.file}:{self.index}"


def _read(file: str) -> list[_Structure]:
    """All structures of a file."""
    from ase import Atoms
    from ase.io import read

    path = Path(file)
    if file.startswith(_EXAMPLE_PREFIX):
        path = registry.example(file.removeprefix(_EXAMPLE_PREFIX))
    if path.is_dir():
        raise InputError(f"{file}: is a folder, expected a structure file")
    with path.open("rb"):
        pass  # a missing or unreadable file says so itself
    try:
        frames = read(path, index=":")
    except Exception as error:  # ASE's readers raise whatever they stumble over
        reason = str(error) or type(error).__name__
        raise InputError(f"{file}: cannot read structures from this file ({reason})") from error
    if isinstance(frames, Atoms):
        frames = [frames]
    if not frames:
        raise InputError(f"{file}: has no structures")
    return [_Structure(file, index, atoms) for index, atoms in enumerate(frames)]


def _name_structure(message: str, structures: Sequence[_Structure]) -> str:
    """Replace `structure 3: ` at the start of a message by the structure's file."""
    start, separator, rest = message.partition(": ")
    number = start.removeprefix("structure ")
    if separator and number != start and number.isdigit():
        return f"{structures[int(number)].label}: {rest}"
    return message


def _output(out: str, files: Sequence[str]) -> Path:
    path = Path(out)
    if path.suffix not in (".extxyz", ".xyz", ".json"):
        raise InputError(f"out: got {out!r}, expected a name that ends in .extxyz, .xyz or .json")
    if any(path.resolve() == Path(file).resolve() for file in files):
        raise InputError(f"out: got {out!r}, which is also an input, expected another file")
    return path


def _write(
    path: Path, name: str, structures: Sequence[_Structure], predictions: Sequence[Prediction]
) -> None:
    if path.suffix == ".json":
        write_atomically(path, (_to_json(name, structures, predictions) + "\n").encode())
        return
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    frames = []
    for structure, prediction in zip(structures, predictions, strict=True):
        atoms = structure.atoms.copy()
        atoms.info["charge"] = prediction.charge
        atoms.calc = SinglePointCalculator(
            atoms, energy=prediction.energy, forces=prediction.forces
        )
        frames.append(atoms)
    with replacing(path) as temporary:
        write(temporary, frames, format="extxyz")


def _to_json(name: str, structures: Sequence[_Structure], predictions: Sequence[Prediction]) -> str:
    return _dump(
        {
            "model": name,
            "units": {"energy": "eV", "forces": "eV/Å", "charge": "e"},
            "structures": [
                {
                    "file": structure.file,
                    "index": structure.index,
                    "symbols": structure.atoms.get_chemical_symbols(),
                    "charge": prediction.charge,
                    "energy": prediction.energy,
                    "atomic_energies": prediction.atomic_energies.tolist(),
                    "forces": prediction.forces.tolist(),
                }
                for structure, prediction in zip(structures, predictions, strict=True)
            ],
        }
    )


def _dump(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1)


def _print_table(structures: Sequence[_Structure], predictions: Sequence[Prediction]) -> None:
    """Energies and largest forces; of a single structure all forces."""
    width = max(9, *(len(structure.label) for structure in structures))
    header = f"{'structure'.ljust(width)}  {'formula':>10}  charge  {'energy (eV)':>14}"
    _print(f"{header}  largest force (eV/Å)")
    for structure, prediction in zip(structures, predictions, strict=True):
        largest = float((prediction.forces**2).sum(axis=1).max() ** 0.5)
        formula = structure.atoms.get_chemical_formula(mode="hill")
        charge = f"{prediction.charge:+d}" if prediction.charge else "0"
        _print(
            f"{structure.label.ljust(width)}  {formula:>10}  {charge:>6}  {prediction.energy:14.5f}"
            f"  {largest:20.5f}"
        )
    if len(structures) == 1:
        _print("\natom   force x, y, z (eV/Å)")
        symbols = structures[0].atoms.get_chemical_symbols()
        for element, force in zip(symbols, predictions[0].forces, strict=True):
            _print(f"{element:4}" + "".join(f"{component:12.5f}" for component in force))


if __name__ == "__main__":
    sys.exit(main())
