"""What the commands share: kinds of options, printing, and structures from files."""

from __future__ import annotations

import json
import logging
import math
import re
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import Positional, arg

import data_pipelines
from efa_zoo.base.errors import DataError, EFAZooError, InputError
from efa_zoo.base.progress import ongoing
from efa_zoo.models.hub import registry

if TYPE_CHECKING:
    from ase import Atoms

__all__ = [
    "EXAMPLE_PREFIX",
    "Charge",
    "DataDir",
    "DeviceCount",
    "Json",
    "Name",
    "Reading",
    "Splitting",
    "Structure",
    "WarnOutOfRange",
    "dump",
    "flag",
    "iterate_structures",
    "log_to_stderr",
    "optional",
    "output_file",
    "print_",
    "progress_bar",
    "range_warnings",
    "read_structures",
    "refuse_early",
    "report_on",
    "require_data",
    "with_label",
]

_logger = logging.getLogger(__name__)

#: How control characters are printed; ends of lines and tabs are as they are.
_CONTROL = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
}

#: Marks a shipped example where a structure file is expected.
EXAMPLE_PREFIX = "example:"


def optional(metavar: str, help: str) -> Any:
    """Describe an option that is off unless given: its help shows no default value."""
    return arg(metavar=metavar, help=help, help_behavior_hint="")


def flag(help: str) -> Any:
    """Describe an option without a value."""
    return arg(help=help, help_behavior_hint="")


Name = Annotated[
    Positional[str], arg(metavar="NAME", help="model in the zoo, folder of a model, or zoo file")
]
DataDir = Annotated[
    str | None, optional("DIR", "where data sets lie; default: $EFA_ZOO_DATA or the cache")
]
Json = Annotated[bool, flag("print JSON instead of text")]
Charge = Annotated[
    int | None, optional("INT", "total charge (e) of every structure; default: as in the file")
]
Multiplicity = Annotated[
    int | None,
    optional("INT", "2S + 1 of every structure; default: spin= in the file, else the lowest"),
]
DeviceCount = Annotated[
    int | Literal["all"], arg(metavar="INT|all", help="devices to share the work, of each process")
]
WarnOutOfRange = Annotated[bool, flag("only warn about structures outside what the model knows")]


def _options_of(name: str) -> Any:
    """Make options of a dataclass of data_pipelines, which is slow to import, when parsing."""
    return arg(name="", constructor_factory=lambda: getattr(data_pipelines, name))


Reading = Annotated[Any, _options_of("FileOptions")]
Splitting = Annotated[Any, _options_of("SplitOptions")]


def print_(text: str, file: Any = None) -> None:
    r"""Print text; everything that commands print goes through here.

    Names come from files and from the command line. Control characters in them, by which a
    terminal is told to do things, are printed as escapes such as `\x1b`.
    """
    print(text.translate(_CONTROL), file=file)


def dump(content: object) -> str:
    """Write JSON as the commands print it, with null for numbers that are not finite."""
    return json.dumps(_finite(content), ensure_ascii=False, indent=1, allow_nan=False)


def _finite(content: object) -> object:
    if isinstance(content, float) and not math.isfinite(content):
        return None
    if isinstance(content, Mapping):
        return {key: _finite(value) for key, value in content.items()}
    return [_finite(value) for value in content] if isinstance(content, list | tuple) else content


class _Printable(logging.Formatter):
    """Formats as others do, without control characters."""

    def format(self, record: logging.LogRecord) -> str:
        """Give the text of a record."""
        return super().format(record).translate(_CONTROL)


@contextmanager
def log_to_stderr() -> Generator[None]:
    """Show what the library logs while a command runs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(message)s"))
    loggers = [logging.getLogger(name) for name in ("efa_zoo", "data_pipelines")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        # Packages that read data sets may give the root logger a handler of its own.
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


@contextmanager
def range_warnings(where: str, labels: Sequence[str] = ()) -> Generator[None]:
    """Print warnings about structures outside what the model knows as lines of the program.

    Args:
        where: begins every line's message, for example the file.
        labels: of the structures, where messages count several.
    """
    from efa_zoo.models.inputs.checks import OutOfRangeWarning

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OutOfRangeWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, OutOfRangeWarning):
            message = str(warning.message)
            message = with_label(message, labels) if labels else message
            print_(f"efa-zoo: warning: {where}{message}", file=sys.stderr)
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


@contextmanager
def progress_bar(total: int | None, unit: str) -> Generator[Callable[[int], None]]:
    """Show how far a command has come, on a terminal only.

    Args:
        total: what it has come to in the end; None if that is not known.
        unit: of `total`, such as "step".

    Yields:
        A function that takes how much is done.
    """
    if not sys.stderr.isatty() or find_spec("tqdm") is None:
        yield lambda done: None
        return
    from tqdm import tqdm

    with tqdm(total=total, unit=unit, leave=False) as bar:

        def show(done: int) -> None:
            bar.update(done - bar.n)

        yield show


@dataclass(frozen=True)
class Structure:
    """A structure, and where it came from.

    Attributes:
        file: as it was given.
        index: position in the file.
        atoms: the structure.
    """

    file: str
    index: int
    atoms: Atoms

    @property
    def label(self) -> str:
        """The file and the position in it."""
        return f"{self.file}:{self.index}"


def with_label(message: str, labels: Sequence[str]) -> str:
    """Replace `structure 3: ` at the start of a message by where the structure came from."""
    number = re.match(r"structure (\d+): ", message)
    return f"{labels[int(number[1])]}: {message[number.end() :]}" if number else message


def read_structures(file: str) -> list[Structure]:
    """Read all structures of a file that ASE reads, or of a shipped example.

    Args:
        file: its path, or `example:NAME`.

    Returns:
        At least one structure.

    Raises:
        OSError: the file is missing or unreadable.
        InputError: it has no structures, or ASE cannot read them.
    """
    return list(iterate_structures(file))


def iterate_structures(file: str) -> Iterator[Structure]:
    """Read the structures of a file one after the other.

    Args:
        file: as for `read_structures`.

    Returns:
        An iterator over at least one structure; while iterating, errors in the file come up.

    Raises:
        OSError: the file is missing or unreadable.
        InputError: it is a folder; or, while iterating, it has no structures, or ASE cannot read
            them.
    """
    from data_pipelines.files.frames import read_frames

    import_module("ase.io")  # a missing package is said here, not in the middle of the file

    path = Path(file)
    if file.startswith(EXAMPLE_PREFIX):
        path = registry.example(file.removeprefix(EXAMPLE_PREFIX))
    if path.is_dir():
        raise InputError(f"{file}: is a folder, expected a structure file")
    with path.open("rb"):
        pass  # a missing or unreadable file says so itself

    def structures() -> Iterator[Structure]:
        index = -1
        try:
            for index, atoms in enumerate(read_frames(path)):
                yield Structure(file, index, atoms)
        except Exception as error:  # ASE's readers raise whatever they stumble over
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(f"{file}: cannot read structures from this file ({reason})") from error
        if index < 0:
            raise InputError(f"{file}: has no structures")

    return structures()


def refuse_early(
    name: str, structures: Iterable[Structure], charge: int | None, multiplicity: int | None
) -> None:
    """Refuse structures that a model does not know before JAX is imported, which takes seconds.

    Args:
        name: of the model.
        structures: to be checked.
        charge: total charge (e) of all of them, or None.
        multiplicity: 2S + 1 of all of them, or None.

    Raises:
        InputError: as for `efa_zoo.predict`, with the file and the position in it.
    """
    from efa_zoo.models.inputs.checks import check_structure

    card = registry.card(name)
    for structure in structures:
        try:
            check_structure(structure.atoms, card, charge, "error", multiplicity=multiplicity)
        except InputError as error:
            raise InputError(f"{structure.label}: {error}") from error


def require_data(name: str, data_dir: str | None) -> None:
    """Refuse a file or data set that is missing before JAX is imported.

    Args:
        name: path of a file, or name of a data set.
        data_dir: where data sets lie.

    Raises:
        DataError: there is no such file, or the data set is not built.
    """
    from data_pipelines import BUILDERS, metadata

    if name.partition("/")[0] in BUILDERS:
        metadata(name, data_dir=data_dir)
    elif not Path(name).expanduser().exists():
        raise DataError(f"{name}: no such file")


def report_on(folder: Path, data_dir: str | None) -> None:
    """Write the report of a run that is done into its folder, where pictures can be drawn.

    What goes wrong with it is said, and is nothing against the run.

    Args:
        folder: of the run and its model.
        data_dir: where data sets lie.
    """
    if find_spec("matplotlib") is None or find_spec("ase") is None:
        return
    from efa_zoo.analysis.report import write_report

    try:
        with ongoing("writing the report", _logger):
            page = write_report(folder, folder / "report.html", data_dir=data_dir)
    except (EFAZooError, OSError, ImportError) as error:
        _logger.warning("no report: %s", error)
    else:
        _logger.info("report: %s", page)


def output_file(out: str, endings: Sequence[str], inputs: Sequence[str] = ()) -> Path:
    """Name a file to write, or refuse it before anything is computed.

    Args:
        out: as it was given.
        endings: those that there is a format for, such as `(".json",)`.
        inputs: files that must not be written over.

    Returns:
        The path.

    Raises:
        InputError: another ending, a folder, or one of the inputs.
    """
    path = Path(out)
    if path.suffix not in endings:
        *most, last = endings
        expected = f"{', '.join(most)} or {last}" if most else last
        raise InputError(f"out: got {out!r}, expected a name that ends in {expected}")
    if path.is_dir():
        raise InputError(f"out: got {out!r}, which is a folder, expected a file")
    if any(path.resolve() == Path(file).resolve() for file in inputs):
        raise InputError(f"out: got {out!r}, which is also an input, expected another file")
    return path
