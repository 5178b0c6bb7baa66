"""The TFDS builder `sn2`: halide ions that take the place of one another on a methyl group."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from data_pipelines._workers import Failure, required, run_all
from data_pipelines.builders.builder import QuantumBuilder, full_and_tiny
from data_pipelines.labels.labelling import Label
from data_pipelines.labels.tally import Tally
from data_pipelines.sampling import sn2 as sampling
from data_pipelines.sampling.drawing import places
from data_pipelines.sampling.sn2 import HALOGENS, Path, TrajectoryTask
from data_pipelines.structure import LabelledStructures, Structure
from efa_zoo.base.errors import DataError

_DESCRIPTION = """\
X⁻ + CH3Y → CH3X + Y⁻ for X and Y among F, Cl, Br and I; total charge -1, GFN2-xTB in eV and eV/Å.
Three kinds of geometries: Langevin dynamics at 200, 400 and 800 K with the reaction coordinate
ξ = r(C-Y) - r(C-X) held at values along the reaction path (half of them between -3 and 3 Å, through
complexes and transition regions, half anywhere on the path up to 10 Å); an ion anywhere around a
distorted CH3Y, from contact to 10 Å; and in `curves` the reaction paths themselves, relaxed with
threefold symmetry, every 0.1 Å up to 2 Å and every 0.25 Å beyond. Where the ion is further than 4 Å
from carbon, structures are dropped unless ion and molecule carry their charges (within 0.15 e,
beyond 6 Å within 0.01 e): GFN2-xTB lets charge leak from X⁻ to CH3Y, mostly where Y is Br or I.
Both ends of the path to 10 Å survive for F/F and Cl/Cl, one for F/Cl, F/Br, F/I, Cl/Br and Cl/I.
`kind` is the pair of halogens, `coordinate` is ξ in Å, `separation` the ion's distance from the
centre of mass of the rest.
Training, validation and test splits hold whole trajectories: 100, 12 and 25 of each pair, four
geometries 15 fs apart; and 250, 30 and 60 placed ions of each ordered pair; less what is dropped.
"""

_TIME_LIMIT = 1800.0
_TASKS_AT_ONCE = 20
_SPLITS = ("train", "validation", "test")

# First words of random generators.
_TRAJECTORY, _APPROACH = range(2)


@dataclass(frozen=True)
class Sn2Settings:
    """What to build.

    Attributes:
        halides: Names from `HALOGENS`.
        trajectories: For each pair, in training, validation and test.
        approaches: Placed ions for each ordered pair, in training, validation and test.
        temperatures: In K, taken in turn.
        first: Step of the first geometry that is kept.
        interval: Steps between geometries.
        count: Geometries of each trajectory.
        seed: Of everything random.
    """

    halides: tuple[str, ...] = tuple(HALOGENS)
    trajectories: tuple[int, int, int] = (100, 12, 25)
    approaches: tuple[int, int, int] = (250, 30, 60)
    temperatures: tuple[float, ...] = (200.0, 400.0, 800.0)
    first: int = 20
    interval: int = 15
    count: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [name for name in self.halides if name not in HALOGENS]
        if unknown:
            raise DataError(f"halides: unknown {unknown}, expected names from {list(HALOGENS)}")


@dataclass(frozen=True)
class _Home:
    """Where labelled geometries belong."""

    split: str
    key: str
    pair: tuple[str, str]


class Sn2(QuantumBuilder):
    """Build the data set `sn2`."""

    DESCRIPTION = _DESCRIPTION
    FIELDS = (
        *QuantumBuilder.FIELDS,
        "group",
        "kind",
        "coordinate",
        "curve",
        "fragment",
        "separation",
        "fragment_charges",
        "formal_charges",
    )
    BUILDER_CONFIGS = full_and_tiny(
        _DESCRIPTION,
        Sn2Settings(),
        Sn2Settings(("chloride",), (2, 1, 1), (6, 2, 2), first=2, interval=1),
        tiny_description="Chloride alone, for tests.",
    )

    def make(self) -> LabelledStructures:
        """Follow the paths, run the trajectories and place the ions in worker processes."""
        pairs = list(combinations_with_replacement(self.settings.halides, 2))
        halogens = [(HALOGENS[first], HALOGENS[second]) for first, second in pairs]
        found = self._run("reaction_path", halogens, "paths")
        paths: dict[tuple[str, str], Path] = dict(
            zip(pairs, required("sn2", pairs, found), strict=True)
        )
        for pair, path in paths.items():
            if not path.points:
                raise DataError(f"sn2, {pair}: {path.failures}, expected a path")
        splits: dict[str, list[tuple[str, Structure]]] = {split: [] for split in _SPLITS}
        tally = Tally("structures")
        for homes, outcomes in (self._trajectories(paths), self._approaches()):
            for home, outcome in zip(homes, outcomes, strict=True):
                pair = "/".join(home.pair)
                if isinstance(outcome, Failure):
                    tally.count(pair, outcome)
                    continue
                for i, (positions, labelled) in enumerate(outcome):
                    tally.count(pair, labelled)
                    if isinstance(labelled, Failure):
                        continue
                    structure = _structure(home.pair, positions, labelled, group=home.key)
                    splits[home.split].append((f"{home.key}/{i:03d}", structure))
        tally.log()
        curves = [
            (
                f"curve/{'/'.join(pair)}/{i:03d}",
                _structure(pair, point.positions, point.label, group="path", curve=number),
            )
            for number, (pair, path) in enumerate(paths.items())
            for i, point in enumerate(path.points)
        ]
        notes = {
            "counts": tally.counts,
            "curve_counts": {
                "/".join(pair): {"kept": len(path.points), **path.failures}
                for pair, path in paths.items()
            },
        }
        return LabelledStructures({**splits, "curves": curves}, notes)

    def _run(self, function: str, tasks: Sequence[Any], title: str) -> list[Any]:
        return run_all(
            f"data_pipelines.sampling.sn2:{function}",
            tasks,
            workers=self.workers,
            time_limit=_TIME_LIMIT,
            title=title,
        )

    def _trajectories(self, paths: Mapping[tuple[str, str], Path]) -> tuple[list[_Home], list[Any]]:
        settings: Sn2Settings = self.settings
        steps = settings.count * settings.interval
        record = tuple(range(settings.first, settings.first + steps, settings.interval))
        homes: list[_Home] = []
        tasks: list[TrajectoryTask] = []
        for pair, path in paths.items():
            for split, i, words in self._words(_TRAJECTORY, pair, settings.trajectories):
                point = _choose_point(path, np.random.default_rng(words))
                temperature = settings.temperatures[i % len(settings.temperatures)]
                tasks.append(
                    TrajectoryTask(
                        path.halogens,
                        point.positions,
                        point.coordinate,
                        temperature,
                        record,
                        (*words, 1),
                    )
                )
                homes.append(_Home(split, f"{split}/{'/'.join(pair)}/{i:05d}", pair))
        return homes, self._run("trajectory", tasks, "trajectories")

    def _approaches(self) -> tuple[list[_Home], list[Any]]:
        settings: Sn2Settings = self.settings
        names = settings.halides
        relaxed = self._run("relax_methyl_halide", [HALOGENS[name] for name in names], "molecules")
        molecules = dict(zip(names, required("sn2", names, relaxed), strict=True))
        homes: list[_Home] = []
        tasks: list[tuple[tuple[int, int], list[np.ndarray]]] = []
        for ion in names:
            for halide in names:
                pair = (ion, halide)
                halogens = (HALOGENS[ion], HALOGENS[halide])
                planned: dict[str, list[np.ndarray]] = {split: [] for split in _SPLITS}
                for split, i, words in self._words(_APPROACH, pair, settings.approaches):
                    rng = np.random.default_rng(words)
                    temperature = settings.temperatures[i % len(settings.temperatures)]
                    positions = sampling.approach(molecules[halide], halogens[0], temperature, rng)
                    planned[split].append(positions)
                for split, geometries in planned.items():
                    for start in range(0, len(geometries), _TASKS_AT_ONCE):
                        tasks.append((halogens, geometries[start : start + _TASKS_AT_ONCE]))
                        key = f"{split}/approach/{'/'.join(pair)}/{start:05d}"
                        homes.append(_Home(split, key, pair))
        return homes, self._run("label_geometries", tasks, "placed ions")

    def _words(
        self, series: int, pair: tuple[str, str], counts: tuple[int, int, int]
    ) -> Iterator[tuple[str, int, tuple[int, ...]]]:
        """Split, number and words of the generator of every member of a series."""
        numbers = [list(HALOGENS).index(name) for name in pair]
        for split, number, i in places(dict(zip(_SPLITS, counts, strict=True))):
            yield split, i, (self.settings.seed, series, *numbers, number, i)


def _choose_point(path: Path, rng: np.random.Generator) -> sampling.PathPoint:
    """Half of the time a point between -3 and 3 Å, else any point of the path, by even ξ."""
    coordinates = np.array([point.coordinate for point in path.points])
    lowest, highest = coordinates.min(), coordinates.max()
    if rng.random() < 0.5:
        lowest, highest = max(lowest, -3.0), min(highest, 3.0)
    wanted = rng.uniform(lowest, highest)
    return path.points[int(np.argmin(np.abs(coordinates - wanted)))]


def _structure(
    pair: tuple[str, str],
    positions: np.ndarray,
    labelled: Label,
    *,
    group: str,
    curve: int = -1,
) -> Structure:
    halogens = (HALOGENS[pair[0]], HALOGENS[pair[1]])
    ion = sampling.leaving_ion(positions)
    symbols = sorted(pair, key=list(HALOGENS).index)
    return Structure(
        atomic_numbers=sampling.numbers_of(halogens),
        positions=positions,
        energy=labelled.energy,
        forces=labelled.forces,
        charges=labelled.charges,
        dipole=labelled.dipole,
        total_charge=sampling.CHARGE,
        group=group,
        kind="/".join(symbols),
        coordinate=sampling.reaction_coordinate(positions),
        curve=curve,
        fragment=(np.arange(6) == ion).astype(np.int32),
        separation=sampling.separation(positions, halogens),
        fragment_charges=sampling.fragment_charges(positions, labelled.charges),
        formal_charges=np.array([0, sampling.CHARGE], np.int32),
    )
