"""Molecular dynamics of one structure: engine, limits, records, resumption."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import DTypeLike

from efa_zoo.base.errors import InputError, SimulationError
from efa_zoo.base.interrupts import resumable
from efa_zoo.models.hub.registry import load
from efa_zoo.models.inputs.checks import (
    OutOfRange,
    as_float_dtype,
    as_out_of_range,
    check_structure,
    problems_out_of_range,
)
from efa_zoo.models.potential import Potential
from efa_zoo.simulation.ase_engine import AseEngine
from efa_zoo.simulation.compiled import CompiledEngine
from efa_zoo.simulation.config import DynamicsConfig
from efa_zoo.simulation.records import Records, at_state
from efa_zoo.simulation.state import Limits, State
from efa_zoo.simulation.velocities import degrees_of_freedom, initial_momenta
from efa_zoo.structures.molecule import Molecule

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["DynamicsResult", "run_dynamics"]

_logger = logging.getLogger(__name__)

#: Largest molecule that "auto" gives to the compiled engine, which takes all pairs of its atoms; in
#: a cell it searches neighbours.
_COMPILED_UP_TO = 64

#: Seconds between two checkpoints.
_CHECKPOINT_SECONDS = 5.0


class Engine(Protocol):
    """Something that moves atoms."""

    @property
    def state(self) -> State:
        """Where the simulation stands."""
        ...

    def advance(self, steps: int) -> None:
        """Do some steps, fewer if one ends outside the limits."""
        ...

    def memory(self) -> dict[str, Any]:
        """Return what `restore` needs to go on exactly; JSON takes it."""
        ...

    def restore(self, memory: Mapping[str, Any]) -> None:
        """Take up where `memory` was asked for."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class DynamicsResult:
    """What a simulation came to.

    Attributes:
        atoms: the structure at the end with its momenta.
        steps: number of steps done in this call.
        seconds: that they took, without compilation.
        engine: that did them, "compiled" or "ase".
        trajectory: file of the frames.
        log: file of the rows.
    """

    atoms: Atoms
    steps: int
    seconds: float
    engine: str
    trajectory: Path
    log: Path

    @property
    def steps_per_second(self) -> float:
        """Steps per second, 0 if there were none."""
        return self.steps / self.seconds if self.steps else 0.0


def run_dynamics(
    model: Potential | str | PathLike[str],
    atoms: Atoms,
    config: DynamicsConfig,
    out: str | PathLike[str],
    *,
    charge: int | None = None,
    dtype: DTypeLike = "float64",
    out_of_range: OutOfRange = "error",
    resume: bool = False,
    on_row: Callable[[Mapping[str, float]], None] | None = None,
) -> DynamicsResult:
    """Run molecular dynamics of one structure.

    Frames go to `out`, and beside it energies, temperature, largest force and total momentum (in a
    cell also volume and pressure) to a log (`.csv`) and a checkpoint (`.restart.json`) every few
    seconds. A simulation that was interrupted and resumed writes the same files, byte for byte, as
    one that was not.

    Args:
        model: a loaded model, or what `efa_zoo.load` takes.
        atoms: the structure; it is not changed. Constraints are kept by the engine "ase".
        config: settings.
        out: trajectory to write, in the extended XYZ format.
        charge: total charge in units of e. None takes `atoms.info["charge"]`; without it,
            it is 0, which is logged.
        dtype: floating-point type the network computes in; positions are float64 always.
        out_of_range: whether the simulation stops or only warns (once) where atoms leave the
            distances or the surroundings that the model knows.
        resume: go on from the checkpoint of a simulation of the same structure and settings; only
            the number of steps may differ.
        on_row: called with every row of the log as it is written.

    Returns:
        The structure at the end, and the speed.

    Raises:
        InputError: the structure is invalid or outside what the model knows, a file exists
            already, or the checkpoint is missing or of another simulation.
        SimulationError: temperature or forces blow up, a number is not finite, or atoms leave what
            the model knows. The frame and row of that step are the last ones in the files, the
            checkpoint is of the row before.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    wanted, out_of_range = as_float_dtype(dtype), as_out_of_range(out_of_range)
    potential = load(model)
    molecule = check_structure(atoms, potential.card, charge, out_of_range)
    engine_name = _choose_engine(atoms, config)
    setup = _setup(potential, molecule, atoms, config, wanted, engine_name)
    records = Records(Path(out), cells=all(molecule.pbc))
    memory = _resume(records, setup) if resume else None
    if not resume:
        records.require_new()

    limits = Limits(
        max_temperature=config.max_temperature,
        max_force=config.max_force,
        degrees_of_freedom=degrees_of_freedom(atoms, config),
        max_known=config.max_extrapolation,
        card=potential.card,
        out_of_range=out_of_range,
    )
    named = atoms.copy()
    named.info["charge"] = molecule.charge
    momenta = initial_momenta(atoms, config)
    engine: Engine
    if engine_name == "compiled":
        engine = CompiledEngine(
            potential, molecule, momenta, atoms.get_masses(), config, limits, wanted
        )
    else:
        from efa_zoo.calculator import EFACalculator

        moving = named.copy()
        moving.set_momenta(momenta)
        moving.calc = EFACalculator(
            potential, charge=molecule.charge, dtype=wanted, out_of_range="warn"
        )
        engine = AseEngine(moving, config, limits, molecule)
    run = _Run(engine, records, setup, config, limits, molecule, named, on_row)
    if memory is not None:
        engine.restore(memory)
        _logger.info("resumed at step %d", engine.state.step)
    else:
        run.require_good_start()
        records.start()
    first = engine.state.step
    with resumable(records.checkpoint):
        seconds = run.until_the_end(new=memory is None)
    state = engine.state
    return DynamicsResult(
        atoms=at_state(named, state),
        steps=state.step - first,
        seconds=seconds,
        engine=engine_name,
        trajectory=records.trajectory,
        log=records.log,
    )


def _choose_engine(atoms: Atoms, config: DynamicsConfig) -> str:
    if config.ensemble == "npt":
        if not atoms.pbc.all():
            raise InputError(
                f"ensemble: got 'npt' for pbc {atoms.pbc.tolist()}, expected three periodic "
                "directions"
            )
        if atoms.constraints:
            raise InputError("ensemble: got 'npt', expected a structure without constraints")
        return "ase"
    if config.engine == "compiled" and atoms.constraints:
        names = ", ".join(type(constraint).__name__ for constraint in atoms.constraints)
        raise InputError(
            f"engine: got 'compiled', expected 'ase' or 'auto' for a structure with constraints "
            f"({names})"
        )
    if config.engine == "auto":
        small = len(atoms) <= _COMPILED_UP_TO or atoms.pbc.any()
        return "compiled" if small and not atoms.constraints else "ase"
    return config.engine


def _setup(
    potential: Potential,
    molecule: Molecule,
    atoms: Atoms,
    config: DynamicsConfig,
    dtype: np.dtype,
    engine: str,
) -> dict[str, Any]:
    """Collect what a resumed simulation must share with the one before, as JSON gives it back."""
    weights = potential.card.weights
    settings = asdict(config) | {"engine": engine}
    del settings["steps"]
    setup = {
        "model": potential.card.name,
        "weights": None if weights is None else weights.sha256,
        "dtype": dtype.name,
        "atomic_numbers": molecule.numbers.tolist(),
        "positions": molecule.positions.tolist(),
        "masses": atoms.get_masses().tolist(),
        "charge": molecule.charge,
        "cell": None if molecule.cell is None else molecule.cell.tolist(),
        "pbc": list(molecule.pbc),
        "constraints": [constraint.todict() for constraint in atoms.constraints],
        **settings,
    }
    return json.loads(json.dumps(setup, default=np.ndarray.tolist))


def _resume(records: Records, setup: Mapping[str, Any]) -> dict[str, Any]:
    """Read the engine's memory in the checkpoint of the same simulation."""
    found = records.read_checkpoint()
    for name, value in setup.items():
        before = found["setup"].get(name)
        if before != value and isinstance(value, list):
            raise InputError(f"resume: {name} are not those in {records.checkpoint}")
        if before != value:
            raise InputError(
                f"resume: {name} is {value!r}, expected {before!r} as in {records.checkpoint}"
            )
    records.cut_back(found["lengths"])
    return found["memory"]


class _Run:
    """The loop over rows."""

    def __init__(
        self,
        engine: Engine,
        records: Records,
        setup: Mapping[str, Any],
        config: DynamicsConfig,
        limits: Limits,
        molecule: Molecule,
        atoms: Atoms,
        on_row: Callable[[Mapping[str, float]], None] | None,
    ):
        self.engine, self.records, self.setup, self.config = engine, records, setup, config
        self.limits, self.molecule, self.atoms = limits, molecule, atoms
        self.on_row = on_row
        self.warned = False

    def require_good_start(self) -> None:
        """Refuse a start that is beyond the limits already."""
        problem = self._problem(self.engine.state)
        if problem is not None:
            raise SimulationError(f"step 0: {problem}")

    def _problem(self, state: State) -> str | None:
        return self.limits.problem(state, self.molecule)

    def until_the_end(self, *, new: bool) -> float:
        """Do all steps that are left; return the seconds that they took."""
        if new:
            self._record()
        checkpoint = self._checkpoint()
        self.records.save(checkpoint)
        started = saved = time.monotonic()
        step = self.engine.state.step
        try:
            while step < self.config.steps:
                # Rows fall on multiples of the interval, wherever the simulation was resumed.
                ahead = self.config.interval - step % self.config.interval
                self.engine.advance(min(ahead, self.config.steps - step))
                step = self._record()
                checkpoint = self._checkpoint()
                if time.monotonic() - saved > _CHECKPOINT_SECONDS:
                    self.records.save(checkpoint)
                    saved = time.monotonic()
            return time.monotonic() - started
        finally:
            self.records.save(checkpoint)

    def _checkpoint(self) -> dict[str, Any]:
        return {
            "setup": self.setup,
            "memory": self.engine.memory(),
            "lengths": self.records.lengths(),
        }

    def _record(self) -> int:
        """Add a frame and a row, stop if nothing must come after them; return the step."""
        state = self.engine.state
        problem = self._problem(state)
        if np.isfinite(state.positions).all():
            row = self.records.append(
                state,
                self.atoms,
                timestep=self.config.timestep,
                degrees_of_freedom=self.limits.degrees_of_freedom,
            )
            if self.on_row is not None:
                self.on_row(row)
        if problem is not None:
            raise SimulationError(
                f"step {state.step} ({state.step * self.config.timestep:g} fs): {problem}"
            )
        self._warn_once(state)
        return state.step

    def _warn_once(self, state: State) -> None:
        if self.limits.out_of_range == "error" or self.warned:
            return
        moved = replace(self.molecule, positions=state.positions, cell=state.cell)
        problems = problems_out_of_range(moved, self.limits.card)
        unknown = self.limits.unknown(state, self.molecule)
        if problems or unknown:
            _logger.warning("step %d: %s", state.step, problems[0] if problems else unknown)
            self.warned = True
