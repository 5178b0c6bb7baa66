"""Errors of a model on the held-back parts of its data or on a file, and at long range."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial.distance import pdist

from efa_zoo._elements import symbol
from efa_zoo._typing import JSON
from efa_zoo.errors import DataError
from efa_zoo.graph import Graph
from efa_zoo.potential import Potential
from efa_zoo.prediction import OutOfRangeWarning, Prediction, predict
from efa_zoo.registry import find, load

if TYPE_CHECKING:
    from data_pipelines.files import FileOptions
    from data_pipelines.splitting import SplitOptions
    from data_pipelines.structure import Structure
    from efa_zoo.cards import Card

__all__ = [
    "HELD_BACK_FILE",
    "Evaluation",
    "evaluate",
    "fit_inverse_powers",
    "predict_structures",
]

_logger = logging.getLogger(__name__)

#: Splits that are held back from training and evaluated unless others are named.
_HELD_BACK = ("validation", "test", "transfer", "curves")

#: What was held back of a file that a model was fine-tuned on, in the model's folder.
HELD_BACK_FILE = "held_back.npz"

#: Bins of separation in Å; the first one begins at contact.
_BINS: tuple[tuple[str, float, float], ...] = (
    ("contact to 4 Å", 0.0, 4.0),
    ("4 to 8 Å", 4.0, 8.0),
    ("8 to 15 Å", 8.0, np.inf),
)

#: Bins of the longest distance in Å, where structures have no separation.
_SIZES: tuple[tuple[str, float, float], ...] = (
    ("up to 5 Å across", 0.0, 5.0),
    ("5 to 10 Å across", 5.0, 10.0),
    ("10 to 20 Å across", 10.0, 20.0),
    ("beyond 20 Å across", 20.0, np.inf),
)

#: Separations (Å) that count as long range, beyond the reach of a local model.
_LONG_RANGE = (6.0, 15.0)

#: Powers of 1/r that interaction energies are fitted to.
_POWERS = (1, 2, 3, 4, 5, 6)


@dataclass(frozen=True)
class Evaluation:
    """Errors of a model.

    Attributes:
        name: of the model.
        splits: split, then `all`, a bin of distance or a kind of structure, then `count`,
            `energy_mae`, `energy_rmse` (eV), `force_mae`, `force_rmse` (eV/Å). A file is one split.
        long_range: interaction energies at separations of 6 to 15 Å, for `all` pairs and by the
            charges of the two: `count`, root mean square of the label and of the error (`rms`,
            `rmse`, eV) and their `ratio`; in `scans` the number of rigid scans and the
            `correlation` between model and label of the coefficients of Σ c_n r^-n, n = 1…6.
            Empty where the data have no scans of two molecules.
        elements: split, then symbol of an element, then `count` of its atoms, `force_mae` and
            `force_rmse` (eV/Å).
    """

    name: str
    splits: Mapping[str, Mapping[str, Mapping[str, float]]]
    long_range: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    elements: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, JSON]:
        """Plain numbers in nested dictionaries, for JSON and for the card."""
        rest = {"long_range": self.long_range, "elements": self.elements}
        return {**self.splits, **{name: table for name, table in rest.items() if table}}

    def __str__(self) -> str:
        lines = [
            self.name,
            f"{'':28}{'structures':>11}{'energy MAE':>12}{'RMSE':>9}{'force MAE':>12}{'RMSE':>9}",
            f"{'':28}{'':>11}{'meV':>12}{'meV':>9}{'meV/Å':>12}{'meV/Å':>9}",
        ]
        for split, table in self.splits.items():
            for part, row in table.items():
                label = split if part == "all" else f"  {part}"
                numbers = [1e3 * row[key] for key in _KEYS]
                lines.append(
                    f"{label:28}{row['count']:11.0f}{numbers[0]:12.2f}{numbers[1]:9.2f}"
                    f"{numbers[2]:12.2f}{numbers[3]:9.2f}"
                )
        for split, table in self.elements.items():
            lines.append(f"{f'{split}, by element':28}{'atoms':>11}")
            for element, row in table.items():
                numbers = [1e3 * row[key] for key in _KEYS[2:]]
                lines.append(
                    f"  {element:26}{row['count']:11.0f}{'':21}{numbers[0]:12.2f}{numbers[1]:9.2f}"
                )
        if self.long_range:
            lines.append(
                f"{'interaction at 6 to 15 Å':28}{'structures':>11}{'RMS':>12}{'RMSE':>9}"
                f"{'ratio':>12}"
            )
            for part in ("all", *_CHARGES):
                row = self.long_range[part]
                label = part if part == "all" else f"  {part}"
                lines.append(
                    f"{label:28}{row['count']:11.0f}{1e3 * row['rms']:12.2f}"
                    f"{1e3 * row['rmse']:9.2f}{100 * row['ratio']:11.1f}%"
                )
            scans = self.long_range["scans"]
            lines.append(
                "coefficients of Σ c_n r^-n (n = 1 to 6): Pearson correlation "
                f"{scans['correlation']:.3f} over {scans['count']:.0f} scans"
            )
        return "\n".join(lines)


#: Kinds of pairs by the number of their charged members.
_CHARGES = ("two neutral", "charged and neutral", "two charged")

_KEYS = ("energy_mae", "energy_rmse", "force_mae", "force_rmse")


def evaluate(
    model: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    splits: Sequence[str] | None = None,
    reading: FileOptions | None = None,
    splitting: SplitOptions | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Evaluation:
    """Evaluate a model on the splits of its data set that it was not trained on, or on other data.

    Args:
        model: what `efa_zoo.load` takes.
        data: another data set, or a file of labelled structures; None takes the model's data set,
            or what fine-tuning held back of its file.
        splits: splits to evaluate, None takes those that are held back from training.
        reading: names and units in the file.
        splitting: how the file is dealt to splits; None takes it as one.
        data_dir: where data sets lie.

    Returns:
        Errors by split, and within each by distance, kind of structure and element; long-range
        errors where the data set has scans of two molecules.

    Raises:
        DataError: the data set or file is missing or cannot be read, or has no such split.
        InputError: the model does not know an element of the structures.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    potential = load(model)
    if data is None and (kept := _held_back(model, potential.card)) is not None:
        _refuse_file_options(potential.card.data.name, reading, splitting)
        found = _read_held_back(kept, splits, dipoles=potential.card.model.dipole_embedding)
    else:
        found = _read(potential, data, splits, reading, splitting, data_dir)
    scans = found.get("curves", [])
    test = found.get("test", [])
    long_range = {}
    # Scans of two molecules are judged by their interaction energies.
    if scans and scans[0].pair and test:
        long_range = _long_range(potential, test, scans)
        del found["curves"]
    errors, elements = {}, {}
    for split, structures in found.items():
        predictions = predict_structures(potential, structures)
        errors[split] = _errors(structures, predictions)
        elements[split] = _element_errors(structures, predictions)
    return Evaluation(potential.card.name, errors, long_range, elements)


def _read(
    potential: Potential,
    data: str | os.PathLike[str] | None,
    splits: Sequence[str] | None,
    reading: FileOptions | None,
    splitting: SplitOptions | None,
    data_dir: str | os.PathLike[str] | None,
) -> dict[str, list[Structure]]:
    """Structures to evaluate, by split."""
    # Imported here: reading data needs packages that the library itself does not.
    from data_pipelines import load_split
    from data_pipelines.datasets import BUILDERS

    name = potential.card.data.name if data is None else os.fspath(data)
    if name.partition("/")[0] not in BUILDERS:
        if data is None:
            raise DataError(
                f"data: got none, expected --data FILE because the data of {potential.card.name}, "
                f"{name!r}, is no data set that can be built"
            )
        return _read_file(name, splits, reading, splitting)
    _refuse_file_options(name, reading, splitting)
    if splits is not None:
        return {split: load_split(name, split, data_dir=data_dir) for split in splits}
    found = {}
    for split in _HELD_BACK:
        try:
            found[split] = load_split(name, split, data_dir=data_dir)
        except DataError:
            if split == "validation":
                raise
    return found


def _refuse_file_options(
    name: str, reading: FileOptions | None, splitting: SplitOptions | None
) -> None:
    for option, given in (("reading", reading), ("splitting", splitting)):
        if given is not None:
            raise DataError(f"{option}: given, expected none, because {name} is no file to read")


def _held_back(model: str | os.PathLike[str], card: Card) -> Path | None:
    """What fine-tuning held back of a file; None for a model of a data set."""
    if card.fine_tuning is None or not card.fine_tuning.data_sha256:
        return None
    file = find(model).zoo_file.with_name(HELD_BACK_FILE)
    if not file.exists():
        raise DataError(
            f"data: got none, and {file} is missing, expected --data FILE because {card.name} was "
            f"fine-tuned on the file {card.data.name}"
        )
    return file


def _read_held_back(
    file: Path, splits: Sequence[str] | None, *, dipoles: bool
) -> dict[str, list[Structure]]:
    from data_pipelines.arrays import DIPOLES_KEY, SPLIT_KEY
    from data_pipelines.files import FileOptions, read_file

    reading = FileOptions(dipoles_key=DIPOLES_KEY if dipoles else None)
    contents = read_file(file, reading, split_key=SPLIT_KEY)
    found: dict[str, list[Structure]] = defaultdict(list)
    for split, structure in zip(contents.splits or (), contents.structures, strict=True):
        found[split].append(structure)
    for split in splits or ():
        if split not in found:
            raise DataError(f"splits: got {split!r}, expected some of {', '.join(found)}")
    return {split: found[split] for split in (splits or found)}


def _read_file(
    name: str,
    splits: Sequence[str] | None,
    reading: FileOptions | None,
    splitting: SplitOptions | None,
) -> dict[str, list[Structure]]:
    """Structures of a file, as one split or dealt to several."""
    from data_pipelines.files import read_file, read_structures
    from data_pipelines.splitting import deal

    if splitting is None:
        if splits is not None:
            raise DataError(f"splits: got {list(splits)}, expected none, because {name} is a file")
        return {Path(name).name: read_structures(name, reading)}
    contents = read_file(name, reading, split_key=splitting.split_key)
    members = deal(
        contents.structures,
        splitting,
        given=contents.splits,
        duplicates=contents.inspection.duplicates,
    )
    wanted = [split for split in _HELD_BACK if split in members] if splits is None else splits
    for split in wanted:
        if split not in members:
            raise DataError(f"split of {name}: got {split!r}, expected one of {list(members)}")
    return {split: [contents.structures[i] for i in members[split]] for split in wanted}


def predict_structures(potential: Potential, structures: Sequence[Structure]) -> list[Prediction]:
    """Predict labelled structures, also those outside of what the model knows.

    Args:
        potential: the model.
        structures: what to predict.

    Returns:
        Predictions in the order of `structures`. How many are out of range is logged.

    Raises:
        InputError: the model does not know an element of the structures.
    """
    return _predict(potential, [_graph(s) for s in structures])


def _graph(structure: Structure) -> Graph:
    return Graph.from_arrays(
        structure.atomic_numbers,
        structure.positions,
        None,
        total_charge=structure.total_charge,
        atomic_dipoles=structure.atomic_dipoles,
        dtype=np.float64,
    )


def _predict(potential: Potential, graphs: Sequence[Graph]) -> list[Prediction]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", OutOfRangeWarning)
        predictions = predict(potential, graphs, out_of_range="warn")
    outside = set()
    for warning in caught:
        if issubclass(warning.category, OutOfRangeWarning):
            outside.add(str(warning.message).partition(":")[0])
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )
    if outside:
        _logger.info(
            "%d of %d structures lie outside of what %s knows",
            len(outside),
            len(graphs),
            potential.card.name,
        )
    return predictions


def _errors(
    structures: Sequence[Structure], predictions: Sequence[Prediction]
) -> dict[str, dict[str, float]]:
    """Errors over all structures, over each bin of distance and over each kind."""
    energy = np.asarray([p.energy - s.energy for s, p in zip(structures, predictions, strict=True)])
    forces = [p.forces - s.forces for s, p in zip(structures, predictions, strict=True)]
    table = {}
    for label, members in _parts(structures).items():
        if not members.any():
            continue
        components = np.concatenate([forces[i].ravel() for i in np.flatnonzero(members)])
        table[label] = {
            "count": int(members.sum()),
            "energy_mae": float(np.abs(energy[members]).mean()),
            "energy_rmse": float(np.sqrt((energy[members] ** 2).mean())),
            "force_mae": float(np.abs(components).mean()),
            "force_rmse": float(np.sqrt((components**2).mean())),
        }
    return table


def _parts(structures: Sequence[Structure]) -> dict[str, np.ndarray]:
    """Which structures belong to each part that errors are given for."""
    separation = np.asarray([s.separation for s in structures])
    apart = ~np.isnan(separation)
    parts = {"all": np.ones(len(structures), bool)}
    if apart.any():
        parts |= {label: (separation >= low) & (separation < high) for label, low, high in _BINS}
        parts["isolated"] = ~apart
    else:
        length = np.asarray([_longest_distance(s.positions) for s in structures])
        sizes = {label: (length >= low) & (length < high) for label, low, high in _SIZES}
        if sum(members.any() for members in sizes.values()) > 1:
            parts |= sizes
    kinds = sorted({s.kind for s in structures}, key=_natural)
    if len(kinds) > 1:
        parts |= {
            kind or "other": np.asarray([s.kind == kind for s in structures]) for kind in kinds
        }
    return parts


def _natural(text: str) -> list[tuple[int, float, str]]:
    """Key that sorts numbers within words by their size."""
    parts = re.split(r"(\d+)", text)
    return [(0, float(part), "") if part.isdigit() else (1, 0.0, part) for part in parts]


def _longest_distance(positions: np.ndarray) -> float:
    return float(pdist(positions).max(initial=0.0))


def _element_errors(
    structures: Sequence[Structure], predictions: Sequence[Prediction]
) -> dict[str, dict[str, float]]:
    """Errors of the forces on the atoms of each element."""
    numbers = np.concatenate([s.atomic_numbers for s in structures])
    residuals = np.concatenate(
        [p.forces - s.forces for s, p in zip(structures, predictions, strict=True)]
    )
    table = {}
    for number in np.unique(numbers):
        components = residuals[numbers == number]
        table[symbol(int(number))] = {
            "count": len(components),
            "force_mae": float(np.abs(components).mean()),
            "force_rmse": float(np.sqrt((components**2).mean())),
        }
    return table


def _long_range(
    potential: Potential, test: Sequence[Structure], curves: Sequence[Structure]
) -> dict[str, dict[str, float]]:
    low, high = _LONG_RANGE
    chosen = [s for s in test if low <= s.separation <= high]
    label = np.asarray([s.interaction_energy for s in chosen])
    error = _interaction_energies(potential, chosen) - label
    charged = np.asarray([np.count_nonzero(s.formal_charges) for s in chosen])
    parts = {"all": charged >= 0} | {name: charged == i for i, name in enumerate(_CHARGES)}
    table = {}
    for name, members in parts.items():
        rms, rmse = (float(np.sqrt((x[members] ** 2).mean())) for x in (label, error))
        table[name] = {"count": int(members.sum()), "rms": rms, "rmse": rmse, "ratio": rmse / rms}

    scans: dict[int, list[Structure]] = defaultdict(list)
    for s in curves:
        if low <= s.separation <= high:
            scans[s.curve].append(s)
    whole = [s for scan in scans.values() if len(scan) > len(_POWERS) for s in scan]
    predicted = _interaction_energies(potential, whole)
    pairs = _group(whole, predicted, lambda s: s.curve)
    coefficients = [
        (
            fit_inverse_powers(r, [s.interaction_energy for s in scan]),
            fit_inverse_powers(r, energies),
        )
        for scan, energies in pairs
        for r in [[s.separation for s in scan]]
    ]
    labels, models = (np.asarray(column).ravel() for column in zip(*coefficients, strict=True))
    correlation = float(np.corrcoef(labels, models)[0, 1])
    return table | {"scans": {"count": len(coefficients), "correlation": correlation}}


def _group(
    structures: Iterable[Structure], values: Iterable[float], key: Callable[[Structure], int]
) -> list[tuple[list[Structure], list[float]]]:
    groups: dict[int, tuple[list[Structure], list[float]]] = defaultdict(lambda: ([], []))
    for structure, value in zip(structures, values, strict=True):
        members, found = groups[key(structure)]
        members.append(structure)
        found.append(value)
    return list(groups.values())


def _interaction_energies(potential: Potential, dimers: Sequence[Structure]) -> np.ndarray:
    """Predicted energies of dimers minus those of their two fragments alone."""
    graphs = []
    for s in dimers:
        parts = [np.ones(len(s.fragment), bool), s.fragment == 0, s.fragment == 1]
        charges = [s.total_charge, *(int(c) for c in s.formal_charges)]
        graphs += [
            Graph.from_arrays(
                s.atomic_numbers[part],
                s.positions[part],
                None,
                total_charge=charge,
                dtype=np.float64,
            )
            for part, charge in zip(parts, charges, strict=True)
        ]
    energies = np.asarray([p.energy for p in _predict(potential, graphs)])
    energies = energies.reshape(-1, 3)
    return energies[:, 0] - energies[:, 1:].sum(axis=1)


def fit_inverse_powers(
    separations: ArrayLike, energies: ArrayLike, *, ridge: float = 1e-3
) -> np.ndarray:
    """Fit Σ c_n r^-n (n = 1 to 6) to a curve.

    Over a short range of r the powers are nearly the same function, so the plain fit amplifies
    noise by many orders. Here r is measured in units of the shortest long-range separation, 6 Å,
    so that every coefficient is the energy (eV) of its term there, and a ridge penalty of
    `ridge` times the mean square of the columns keeps undetermined combinations small.

    Args:
        separations: in Å.
        energies: in eV.
        ridge: strength of the penalty.

    Returns:
        Six coefficients in eV, for n = 1 to 6.
    """
    reduced = np.asarray(separations, dtype=np.float64) / _LONG_RANGE[0]
    columns = reduced[:, None] ** -np.asarray(_POWERS, dtype=np.float64)
    penalty = ridge * np.mean(columns**2) * len(reduced)
    normal = columns.T @ columns + penalty * np.eye(len(_POWERS))
    return np.linalg.solve(normal, columns.T @ np.asarray(energies, dtype=np.float64))
