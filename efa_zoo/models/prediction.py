"""Energies and forces of structures in physical units, checked against what a model knows."""

from __future__ import annotations

import itertools
import math
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, overload

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import DTypeLike

from efa_zoo.base.errors import InputError
from efa_zoo.models.checks import (
    Molecule,
    OnOutOfRange,
    OutOfRangeWarning,
    check_structure,
    float_type,
    is_structure,
    on_out_of_range,
)
from efa_zoo.models.energy import batch_energy_and_forces
from efa_zoo.models.hub.registry import load
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.potential import Potential, cast
from efa_zoo.structures.elements import SYMBOLS
from efa_zoo.structures.graph import Graph, neighbor_matrix
from efa_zoo.structures.neighbors import padded_atoms, within_cutoff

if TYPE_CHECKING:
    from ase import Atoms

    Structure: TypeAlias = Atoms | Graph

__all__ = [
    "OnError",
    "OutOfRangeWarning",
    "Prediction",
    "PredictionStream",
    "PredictionSummary",
    "predict",
]

#: What to do about a structure that cannot be predicted.
OnError: TypeAlias = Literal["raise", "return"]

#: Up to this padded number of atoms all pairs are listed, so that atoms alone make a shape.
_ALL_PAIRS_UP_TO = 64

#: Numbers of molecules computed at once: few, many, and the most atoms (with padding) in one go.
_FEW, _MANY, _MAX_ATOMS = 8, 64, 2048

#: Compiling takes about as long as computing this many pairs of atoms on a processor core, so that
#: a shape of its own must save more.
_PAIRS_PER_COMPILATION = 500_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Energy and forces of one structure.

    Attributes:
        energy: total energy in eV, at the level of theory of the model's card.
        forces: `[atoms, 3]` in eV/Å, float64.
        atomic_energies: `[atoms]` in eV, float64; reference energies included, so that they sum
            to `energy`.
        charge: total charge in units of e.
    """

    energy: float
    forces: Float[np.ndarray, "atoms 3"]
    atomic_energies: Float[np.ndarray, " atoms"]
    charge: int


@dataclass(frozen=True, kw_only=True)
class PredictionSummary:
    """What predicting many structures took.

    Attributes:
        structures: number of structures, bad ones included.
        failures: number of structures without a prediction.
        seconds: time of checks and computation, compilations included.
        compilations: number of programs compiled; shapes met before in the process need none.
        shapes: number of padded shapes.
        atoms: number of atoms computed.
        atom_slots: number of atoms computed, padding included.
    """

    structures: int = 0
    failures: int = 0
    seconds: float = 0.0
    compilations: int = 0
    shapes: int = 0
    atoms: int = 0
    atom_slots: int = 0

    @property
    def fill(self) -> float:
        """Share of the padded atoms that are atoms; 1 where nothing was computed."""
        return self.atoms / self.atom_slots if self.atom_slots else 1.0

    @property
    def throughput(self) -> float:
        """Structures per second."""
        return self.structures / self.seconds if self.seconds else 0.0

    def __str__(self) -> str:
        failed = f", {self.failures} of them without a prediction" if self.failures else ""
        return (
            f"{self.structures} structures in {self.seconds:.1f} s{failed}: "
            f"{self.throughput:.0f} structures/s, {self.compilations} compilations for "
            f"{self.shapes} shapes, {self.fill:.0%} of the padded atoms filled"
        )


@overload
def predict(
    model: Potential | str | PathLike[str],
    structures: Structure,
    *,
    charge: int | None = ...,
    dtype: DTypeLike = ...,
    out_of_range: OnOutOfRange = ...,
) -> Prediction: ...


@overload
def predict(
    model: Potential | str | PathLike[str],
    structures: Iterable[Structure],
    *,
    charge: int | None = ...,
    dtype: DTypeLike = ...,
    out_of_range: OnOutOfRange = ...,
    on_error: Literal["raise"] = ...,
    progress: Callable[[int], object] | None = ...,
) -> list[Prediction]: ...


@overload
def predict(
    model: Potential | str | PathLike[str],
    structures: Iterable[Structure],
    *,
    charge: int | None = ...,
    dtype: DTypeLike = ...,
    out_of_range: OnOutOfRange = ...,
    on_error: Literal["return"],
    progress: Callable[[int], object] | None = ...,
) -> list[Prediction | InputError]: ...


def predict(
    model: Potential | str | PathLike[str],
    structures: Structure | Iterable[Structure],
    *,
    charge: int | None = None,
    dtype: DTypeLike = "float32",
    out_of_range: OnOutOfRange = "error",
    on_error: OnError = "raise",
    progress: Callable[[int], object] | None = None,
) -> Prediction | list[Prediction] | list[Prediction | InputError]:
    """Predict energy and forces of one structure or of many.

    Many structures are padded to a few common sizes and computed in batches; every size is compiled
    once per process and architecture. All structures are checked before anything is computed.
    `PredictionStream` takes more structures than fit in memory, and says what it took.

    Args:
        model: a loaded model, or what `efa_zoo.load` takes; load once to predict often.
        structures: ASE atoms or a `Graph` (positions in Å), or several of them. Neighbours are
            always searched anew with the model's cutoff.
        charge: total charge in units of e of every structure. None takes `atoms.info["charge"]`
            or the graph's `total_charge`; without either, 0 if the model knows no other charge.
        dtype: floating-point type to compute in, float32 or float64. JAX's global settings are
            neither needed nor changed.
        out_of_range: whether a structure outside what the card says the model knows (charge,
            electrons, distances) raises or only warns. An unknown element always raises.
        on_error: of several structures, whether a bad one raises, or the others are predicted and
            its error stands in its place.
        progress: of several structures, called with the number of those that are done since the
            last call, such as the `update` of a bar.

    Returns:
        One `Prediction` for one structure, else a list in the order of `structures`.

    Raises:
        InputError: a structure is invalid or outside what the model knows; in a list, its index
            is named.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    run = _Run(model, charge, dtype, out_of_range, on_error, progress)
    if is_structure(structures):
        molecule = check_structure(structures, run.potential.card, charge, run.out_of_range)
        (result,) = run.compute([molecule], single=True)
        assert isinstance(result, Prediction)
        return result
    # Two more frames than from here: the warning belongs to the caller.
    checked = run.check(_iterable(structures), stacklevel=4)
    return run.compute(checked)


class PredictionStream:
    """Predictions of many structures, one after the other in their order.

    Structures are taken from their source, checked and computed in windows, so that a source of any
    length needs the memory of one window; in a window they are sorted into batches as by `predict`.

        stream = PredictionStream(model, ase.io.iread("many.extxyz"), on_error="return")
        for result in stream:
            ...  # a Prediction, or the InputError that says what is wrong
        print(stream.summary)
    """

    def __init__(
        self,
        model: Potential | str | PathLike[str],
        structures: Iterable[Structure],
        *,
        charge: int | None = None,
        dtype: DTypeLike = "float32",
        out_of_range: OnOutOfRange = "error",
        on_error: OnError = "raise",
        progress: Callable[[int], object] | None = None,
        window: int = 8192,
    ):
        """Prepare the predictions; nothing is computed before the iteration.

        Args:
            model: as for `predict`.
            structures: ASE atoms or graphs.
            charge: as for `predict`.
            dtype: as for `predict`.
            out_of_range: as for `predict`.
            on_error: as for `predict`; "raise" raises when the window of the structure comes up.
            progress: as for `predict`.
            window: number of structures that are held at once.

        Raises:
            InputError: an option is not valid.
            UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
        """
        if window < 1:
            raise InputError(f"window: got {window}, expected at least 1")
        self._structures = iter(_iterable(structures))
        self._window = window
        self._run = _Run(model, charge, dtype, out_of_range, on_error, progress)

    def __iter__(self) -> Iterator[Prediction | InputError]:
        """Give out a result for every structure.

        Raises:
            InputError: as for `predict`.
        """
        while window := list(itertools.islice(self._structures, self._window)):
            yield from self._run.compute(self._run.check(window, stacklevel=4))

    @property
    def summary(self) -> PredictionSummary:
        """What the structures so far took."""
        return self._run.summary


def _iterable(structures: object) -> Iterable[object]:
    if isinstance(structures, str | PathLike) or not isinstance(structures, Iterable):
        raise InputError(
            f"structures: got {structures!r}, expected ASE atoms or a Graph (read files with "
            "ase.io.read)"
        )
    return structures


# ---------------------------------------------------------------------------------------------
# Computation


class _Run:
    """Checks and computes structures, and keeps account."""

    def __init__(
        self,
        model: Potential | str | PathLike[str],
        charge: int | None,
        dtype: DTypeLike,
        out_of_range: OnOutOfRange,
        on_error: OnError,
        progress: Callable[[int], object] | None,
    ):
        if on_error not in ("raise", "return"):
            raise InputError(f"on_error: got {on_error!r}, expected 'raise' or 'return'")
        self.out_of_range: OnOutOfRange = on_out_of_range(out_of_range)
        self.dtype = float_type(dtype)
        self.potential = model if isinstance(model, Potential) else load(model)
        self.charge = charge
        self.on_error = on_error
        self.progress = progress
        self.summary = PredictionSummary()
        self._shapes: set[Shape] = set()

    def check(
        self, structures: Iterable[object], *, stacklevel: int
    ) -> list[Molecule | InputError]:
        """Check structures; errors begin with their number in the run."""
        started = time.monotonic()
        checked: list[Molecule | InputError] = []
        for index, structure in enumerate(structures, start=self.summary.structures):
            where = f"structure {index}: "
            try:
                molecule = check_structure(
                    structure,
                    self.potential.card,
                    self.charge,
                    self.out_of_range,
                    where=where,
                    stacklevel=stacklevel,
                )
            except InputError as error:
                if self.on_error == "raise":
                    raise InputError(f"{where}{error}") from error
                checked.append(InputError(f"{where}{error}"))
            else:
                checked.append(molecule)
        self._count(seconds=time.monotonic() - started)
        return checked

    def compute(
        self, checked: Sequence[Molecule | InputError], *, single: bool = False
    ) -> list[Any]:
        """Energies and forces of checked molecules, and the errors of the others, in order."""
        started, traced = time.monotonic(), _traces.count
        first = self.summary.structures
        results: list[Prediction | InputError | None] = [
            None if isinstance(item, Molecule) else item for item in checked
        ]
        self._report(len(results) - results.count(None))
        cutoff = self.potential.card.model.message_passing.cutoff
        molecules = {i: item for i, item in enumerate(checked) if isinstance(item, Molecule)}
        sizes = {i: _size(molecule, cutoff) for i, molecule in molecules.items()}
        references = self.potential.reference_energies(np.arange(len(SYMBOLS)))
        with jax.enable_x64(self.dtype == np.float64):
            network = cast(self.potential.network, self.dtype)

            def collect(members: Sequence[int], outputs: tuple[Array, Array]) -> None:
                energies, forces = jax.device_get(outputs)
                for row, i in enumerate(members):
                    molecule, where = molecules[i], "" if single else f"structure {first + i}: "
                    atoms = len(molecule.numbers)
                    atomic = energies[row, :atoms].astype(np.float64)
                    atomic += references[molecule.numbers]
                    result = _prediction(
                        atomic, forces[row, :atoms].astype(np.float64), molecule.charge, where
                    )
                    if isinstance(result, InputError) and self.on_error == "raise":
                        raise result
                    results[i] = result
                self._report(len(members))

            # One batch is computed while the next one is put together.
            running: tuple[Sequence[int], tuple[Array, Array]] | None = None
            for shape, members in plan_batches(sizes, self._shapes):
                batch = _pad([molecules[i] for i in members], shape, cutoff, self.dtype)
                launched = members, _evaluate(network, batch, cutoff)
                if running is not None:
                    collect(*running)
                running = launched
                self._shapes.add(shape)
                self._count(
                    atoms=sum(len(molecules[i].numbers) for i in members),
                    atom_slots=shape.molecules * shape.atoms,
                )
            if running is not None:
                collect(*running)
        self._count(
            structures=len(results),
            failures=sum(isinstance(result, InputError) for result in results),
            seconds=time.monotonic() - started,
            compilations=_traces.count - traced,
        )
        self.summary = replace(self.summary, shapes=len(self._shapes))
        return results

    def _report(self, done: int) -> None:
        if self.progress is not None and done:
            self.progress(done)

    def _count(self, **more: float) -> None:
        changed = {name: getattr(self.summary, name) + value for name, value in more.items()}
        self.summary = replace(self.summary, **changed)


def _prediction(
    atomic_energies: np.ndarray, forces: np.ndarray, charge: int, where: str
) -> Prediction | InputError:
    energy = float(atomic_energies.sum())
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        return InputError(f"{where}the model gives no finite energy and forces for it")
    return Prediction(energy=energy, forces=forces, atomic_energies=atomic_energies, charge=charge)


class _Traces:
    """Counts how often a function was traced, which is how often it was compiled."""

    def __init__(self) -> None:
        self.count = 0


_traces = _Traces()


@eqx.filter_jit
def _evaluate(
    network: EnergyModel, graphs: Graph, cutoff: float
) -> tuple[Float[Array, "molecules atoms"], Float[Array, "molecules atoms 3"]]:
    """Atomic energies (eV) and forces (eV/Å) of a batch; compiled once per shape and network."""
    _traces.count += 1

    if graphs.num_neighbors == graphs.num_atoms:  # all pairs were listed
        graphs = jax.vmap(lambda graph: within_cutoff(graph, cutoff))(graphs)
    return batch_energy_and_forces(network, graphs)


# ---------------------------------------------------------------------------------------------
# Batches


class Shape(NamedTuple):
    """Padded shape of a batch: molecules, atoms of each and neighbours of each atom."""

    molecules: int
    atoms: int
    neighbors: int


def _size(molecule: Molecule, cutoff: float) -> tuple[int, int]:
    """Common padded numbers of atoms and of neighbours."""
    atoms = padded_atoms(len(molecule.numbers))
    if atoms <= _ALL_PAIRS_UP_TO:
        return atoms, atoms
    neighbors = 16
    while neighbors < neighbor_matrix(molecule.positions, cutoff)[0].shape[1]:
        neighbors *= 2
    return atoms, min(neighbors, atoms)


def plan_batches(
    sizes: Mapping[int, tuple[int, int]], compiled: Collection[Shape] = ()
) -> list[tuple[Shape, list[int]]]:
    """Sort molecules into batches of few shapes.

    Molecules of one size share batches; a size that saves less than its compilation costs is given
    up for the next larger one.

    Args:
        sizes: padded numbers of atoms and neighbours of each molecule by its number.
        compiled: shapes that cost no compilation.

    Returns:
        Shapes and numbers of the molecules, smallest first; every molecule is in one batch.
    """
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, size in sizes.items():
        groups[size].append(number)
    free = {(shape.atoms, shape.neighbors): shape for shape in sorted(compiled)}
    for size in sorted(groups.keys() - free.keys()):
        others = {*groups, *free} - {size}
        larger = [other for other in others if other[0] >= size[0] and other[1] >= size[1]]
        if larger:
            best = min(larger, key=lambda other: (math.prod(other), other))
            if len(groups[size]) * (math.prod(best) - math.prod(size)) < _PAIRS_PER_COMPILATION:
                groups[best] += groups.pop(size)
    batches = []
    for size, members in sorted(groups.items()):
        shape = free.get(size) or Shape(_molecules_at_once(len(members), size[0]), *size)
        batches += [
            (shape, members[start : start + shape.molecules])
            for start in range(0, len(members), shape.molecules)
        ]
    return batches


def _molecules_at_once(count: int, atoms: int) -> int:
    most = _MANY
    while most > 1 and most * atoms > _MAX_ATOMS:
        most //= 2
    if count == 1:
        return 1
    # Many small batches waste time, and one large batch that is mostly empty does so too.
    return most if count > 4 * _FEW else min(most, _FEW)


def _pad(molecules: Sequence[Molecule], shape: Shape, cutoff: float, dtype: np.dtype) -> Graph:
    """A batch of a shape; where molecules are missing it has only padding."""
    count, atoms, width = shape
    numbers = np.zeros((count, atoms), np.int32)
    positions = np.zeros((count, atoms, 3), dtype)
    itself = np.arange(atoms, dtype=np.int32)[:, None]
    neighbors = np.broadcast_to(itself, (count, atoms, width)).copy()
    mask = np.zeros((count, atoms, width), bool)
    dipoles = None if molecules[0].dipoles is None else np.zeros((count, atoms, 3), dtype)
    for row, molecule in enumerate(molecules):
        size = len(molecule.numbers)
        numbers[row, :size] = molecule.numbers
        # float32 resolves positions near the origin best, and the network does not care.
        positions[row, :size] = molecule.positions - molecule.positions.mean(axis=0)
        if dipoles is not None:
            dipoles[row, :size] = molecule.dipoles
        if width < atoms:
            found, found_mask = neighbor_matrix(molecule.positions, cutoff)
            neighbors[row, :size, : found.shape[1]] = found
            mask[row, :size, : found.shape[1]] = found_mask
    if width == atoms:
        real = numbers > 0
        mask = real[:, :, None] & real[:, None, :] & (itself != itself.T)
        neighbors = np.where(mask, itself.T, itself)
    return Graph(
        atomic_numbers=numbers,
        positions=positions,
        neighbors=neighbors,
        neighbor_mask=mask,
        total_charge=np.array(
            [m.charge for m in molecules] + [0] * (count - len(molecules)), np.int32
        ),
        atomic_dipoles=dipoles,
    )
