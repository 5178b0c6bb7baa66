"""Prediction of one structure or many, checked against what a model knows, in batches."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh
from numpy.typing import DTypeLike

from efa_zoo.base.errors import InputError
from efa_zoo.models.energy import batch_energy_and_forces
from efa_zoo.models.hub.registry import load
from efa_zoo.models.inputs.batches import plan_batches
from efa_zoo.models.inputs.checks import (
    OutOfRange,
    as_float_dtype,
    as_out_of_range,
    check_structure,
)
from efa_zoo.models.inputs.reading import is_structure
from efa_zoo.models.inputs.surroundings import judge_surroundings
from efa_zoo.models.outputs import Outputs
from efa_zoo.models.parallel.devices import Devices, by_device, device_mesh, place, replicate
from efa_zoo.models.potential import Potential, Predictor, cast
from efa_zoo.models.prediction import Prediction, PredictionSummary
from efa_zoo.structures.graph import Graph, Shape, pack
from efa_zoo.structures.molecule import Molecule
from efa_zoo.structures.packing import padded_shape

if TYPE_CHECKING:
    from efa_zoo.models.inputs.reading import AnyStructure

__all__ = ["OnError", "PredictionStream", "predict"]

#: What to do about a structure that cannot be predicted.
OnError: TypeAlias = Literal["raise", "return"]


@overload
def predict(
    model: Potential | str | PathLike[str],
    structures: AnyStructure,
    *,
    charge: int | None = ...,
    multiplicity: int | None = ...,
    dtype: DTypeLike = ...,
    devices: Devices = ...,
    out_of_range: OutOfRange = ...,
) -> Prediction: ...


@overload
def predict(
    model: Potential | str | PathLike[str],
    structures: Iterable[AnyStructure],
    *,
    charge: int | None = ...,
    multiplicity: int | None = ...,
    dtype: DTypeLike = ...,
    devices: Devices = ...,
    out_of_range: OutOfRange = ...,
    on_error: Literal["raise"] = ...,
    progress: Callable[[int], object] | None = ...,
) -> list[Prediction]: ...


@overload
def predict(
    model: Potential | str | PathLike[str],
    structures: Iterable[AnyStructure],
    *,
    charge: int | None = ...,
    multiplicity: int | None = ...,
    dtype: DTypeLike = ...,
    devices: Devices = ...,
    out_of_range: OutOfRange = ...,
    on_error: Literal["return"],
    progress: Callable[[int], object] | None = ...,
) -> list[Prediction | InputError]: ...


def predict(
    model: Potential | str | PathLike[str],
    structures: AnyStructure | Iterable[AnyStructure],
    *,
    charge: int | None = None,
    multiplicity: int | None = None,
    dtype: DTypeLike = "float32",
    devices: Devices = 1,
    out_of_range: OutOfRange = "error",
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
            or the graph's `total_charge`; without either it is 0, which is logged.
        multiplicity: 2S + 1 of every structure. None takes `atoms.info["spin"]` or the graph's
            unpaired electrons; without either, the lowest.
        dtype: floating-point type to compute in, float32 or float64. JAX's global settings are
            neither needed nor changed.
        devices: number of this process's devices to deal several structures to, or "all".
        out_of_range: whether a structure outside what the card says the model knows (charge,
            electrons, distances), or with an atom in surroundings that the model does not know,
            raises or only warns. An unknown element always raises.
        on_error: of several structures, whether a bad one raises, or the others are predicted and
            its error stands in its place.
        progress: of several structures, called with the number of those that are done since the
            last call, such as the `update` of a bar.

    Returns:
        One `Prediction` for one structure, else a list in the order of `structures`.

    Raises:
        InputError: a structure is invalid or outside what the model knows; in a list, its index
            is named.
        ConfigError: there are not so many devices.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    run = _Run(model, charge, multiplicity, dtype, devices, out_of_range, on_error, progress)
    if is_structure(structures):
        molecule = check_structure(
            structures, run.potential.card, charge, run.out_of_range, multiplicity=multiplicity
        )
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
        structures: Iterable[AnyStructure],
        *,
        charge: int | None = None,
        multiplicity: int | None = None,
        dtype: DTypeLike = "float32",
        devices: Devices = 1,
        out_of_range: OutOfRange = "error",
        on_error: OnError = "raise",
        progress: Callable[[int], object] | None = None,
        window: int = 8192,
    ):
        """Prepare the predictions; nothing is computed before the iteration.

        Args:
            model: as for `predict`.
            structures: ASE atoms or graphs.
            charge: as for `predict`.
            multiplicity: as for `predict`.
            dtype: as for `predict`.
            devices: as for `predict`.
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
        self._run = _Run(
            model, charge, multiplicity, dtype, devices, out_of_range, on_error, progress
        )

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
        multiplicity: int | None,
        dtype: DTypeLike,
        devices: Devices,
        out_of_range: OutOfRange,
        on_error: OnError,
        progress: Callable[[int], object] | None,
    ):
        if on_error not in ("raise", "return"):
            raise InputError(f"on_error: got {on_error!r}, expected 'raise' or 'return'")
        self.out_of_range: OutOfRange = as_out_of_range(out_of_range)
        self.dtype = as_float_dtype(dtype)
        self.mesh = device_mesh(devices, local=True)
        self.potential = load(model)
        self.charge, self.multiplicity = charge, multiplicity
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
                    multiplicity=self.multiplicity,
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
        card = self.potential.card
        cutoff = card.model.message_passing.cutoff
        results: list[Prediction | InputError | None] = [
            None if isinstance(item, Molecule) else item for item in checked
        ]
        self._report(len(results) - results.count(None))
        molecules = {i: item for i, item in enumerate(checked) if isinstance(item, Molecule)}
        cells = any(m.cell is not None for m in molecules.values())
        reach = self.potential.network.wave_reach if cells else 0.0
        sizes = {i: padded_shape(m, cutoff, reach)[1:] for i, m in molecules.items()}
        mesh = self.mesh if len(molecules) > 1 else None
        devices = 1 if mesh is None else mesh.size
        with jax.enable_x64(self.dtype == np.float64):
            predictor = replicate(cast(self.potential.predictor, self.dtype), mesh)

            def collect(members: Sequence[int], outputs: Outputs) -> None:
                outputs = jax.device_get(outputs)
                for row, i in enumerate(members):
                    one = jax.tree.map(lambda leaf, row=row: leaf[row], outputs)
                    where = "" if single else f"structure {first + i}: "
                    try:
                        found = Prediction.of(one, molecules[i], card)
                        judge_surroundings(
                            found.extrapolation,
                            molecules[i].numbers,
                            card,
                            self.out_of_range,
                            where=where,
                            stacklevel=5,
                        )
                        results[i] = found
                    except InputError as error:
                        if self.on_error == "raise":
                            raise InputError(f"{where}{error}") from error
                        results[i] = InputError(f"{where}{error}")
                self._report(len(members))

            # One batch is computed while the next one is put together.
            running: tuple[Sequence[int], Outputs] | None = None
            evaluation = predictor.network.evaluation_for
            for shape, members in plan_batches(sizes, self._shapes, evaluation, devices):
                batch = pack(
                    [molecules[i] for i in members],
                    shape,
                    reach=cutoff,
                    wave_reach=reach,
                    dtype=self.dtype,
                )
                launched = members, _evaluate(predictor, place(batch, mesh), mesh)
                if running is not None:
                    collect(*running)
                running = launched
                self._shapes.add(shape)
                self._count(
                    atoms=sum(molecules[i].num_atoms for i in members),
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


class _Traces:
    """Counts how often a function was traced, which is how often it was compiled."""

    def __init__(self) -> None:
        self.count = 0


_traces = _Traces()


@eqx.filter_jit
def _evaluate(predictor: Predictor, graphs: Graph, mesh: Mesh | None) -> Outputs:
    """Compute a batch; compiled once per shape and network."""
    _traces.count += 1
    return by_device(batch_energy_and_forces, mesh, total=False)(predictor, graphs)
