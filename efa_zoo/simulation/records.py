"""Files of a simulation: trajectory, log and checkpoint, whole at every moment."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from efa_zoo.base.errors import InputError
from efa_zoo.base.files import naming, read_record, write_record
from efa_zoo.simulation.state import State, temperature

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["Records", "append_frame", "at_state", "energy_drift", "read_log"]

_COLUMNS = (
    "step",
    "time_fs",
    "potential_energy_eV",
    "kinetic_energy_eV",
    "total_energy_eV",
    "temperature_K",
    "largest_force_eV_per_A",
    "total_momentum_u_A_per_fs",
)

#: Further columns of structures that are periodic in three directions.
_CELL_COLUMNS = ("volume_A3", "pressure_GPa")


def at_state(atoms: Atoms, state: State) -> Atoms:
    """Put a structure where a simulation stands.

    Args:
        atoms: gives elements, constraints and header.
        state: gives positions, momenta and cell.

    Returns:
        A copy without calculator.
    """
    moved = atoms.copy()
    if state.cell is not None and moved.pbc.all():  # else it never changes
        moved.set_cell(state.cell)
    moved.set_positions(state.positions, apply_constraint=False)
    moved.set_momenta(state.momenta, apply_constraint=False)
    return moved


def append_frame(
    path: Path,
    atoms: Atoms,
    energy: float,
    forces: np.ndarray,
    stress: np.ndarray | None = None,
    **info: object,
) -> None:
    """Add a frame to a trajectory in the extended XYZ format, in one piece.

    Args:
        path: the trajectory; it is made when missing.
        atoms: the structure; constraints are not written.
        energy: in eV.
        forces: `[atoms, 3]` in eV/Å.
        stress: `[6]` in eV/Å³, or None.
        **info: further entries of the frame's header.
    """
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write

    frame = atoms.copy()
    frame.set_constraint()
    frame.info.update(info)
    frame.calc = SinglePointCalculator(frame, energy=energy, forces=forces, stress=stress)
    text = io.StringIO()
    write(text, frame, format="extxyz")
    _append(path, text.getvalue())


class Records:
    """Trajectory, log and checkpoint of one simulation.

    The log lies beside the trajectory as `.csv`, the checkpoint as `.restart.json`. Frames and rows
    are appended in one piece each. A checkpoint says how long both files were, so that whatever
    came after it is dropped when the simulation is resumed.

    Attributes:
        trajectory: file of the frames.
        log: file of the rows.
        checkpoint: file of the checkpoint.
        columns: of the log.
    """

    def __init__(self, trajectory: Path, *, cells: bool = False):
        """Name the files; nothing is written yet.

        Args:
            trajectory: file of the frames.
            cells: whether three directions are periodic, so that volume and pressure are logged.
        """
        self.columns: tuple[str, ...] = _COLUMNS + _CELL_COLUMNS if cells else _COLUMNS
        self.trajectory = trajectory
        self.log: Path = trajectory.with_suffix(".csv")
        self.checkpoint: Path = trajectory.with_suffix(".restart.json")

    def require_new(self) -> None:
        """Refuse files that exist.

        Raises:
            InputError: one of them does.
        """
        for path in (self.trajectory, self.log, self.checkpoint):
            if path.exists():
                raise InputError(
                    f"out: {path} exists, expected a new name (or resume the simulation: --resume)"
                )

    def start(self) -> None:
        """Begin an empty trajectory and an empty log."""
        self.trajectory.parent.mkdir(parents=True, exist_ok=True)
        self.trajectory.touch()
        self.log.write_text(",".join(self.columns) + "\n", encoding="utf-8")

    def read_checkpoint(self) -> dict[str, Any]:
        """Read the last checkpoint.

        Returns:
            What was given to `save`.

        Raises:
            InputError: there is none, or it cannot be read, is damaged or was altered.
        """
        try:
            return read_record(self.checkpoint)
        except FileNotFoundError:
            raise InputError(
                f"resume: {self.checkpoint} is missing, expected the checkpoint of a simulation"
            ) from None
        except (ValueError, OSError) as error:
            raise InputError(f"resume: {self.checkpoint} cannot be read ({error})") from error

    def lengths(self) -> dict[str, int]:
        """Count the bytes of trajectory and log, by the endings of their names."""
        return {path.suffix: path.stat().st_size for path in (self.trajectory, self.log)}

    def cut_back(self, lengths: Mapping[str, int]) -> None:
        """Drop what was written to trajectory and log after `lengths` was asked for.

        Args:
            lengths: the bytes to keep.

        Raises:
            InputError: a file is shorter than that; none is changed then.
        """
        for path in (self.trajectory, self.log):
            found = path.stat().st_size if path.exists() else 0
            if found < lengths[path.suffix]:
                raise InputError(
                    f"resume: {path} has {found} bytes, expected the {lengths[path.suffix]} of the "
                    "checkpoint or more"
                )
        for path in (self.trajectory, self.log):
            os.truncate(path, lengths[path.suffix])

    def append(
        self, state: State, atoms: Atoms, *, timestep: float, degrees_of_freedom: int
    ) -> dict[str, float]:
        """Add a frame and a row.

        Args:
            state: where the simulation stands.
            atoms: gives elements and header of the frame.
            timestep: in fs.
            degrees_of_freedom: that share the kinetic energy.

        Returns:
            The row, by the names of the log's columns.
        """
        time = state.step * timestep
        append_frame(
            self.trajectory,
            at_state(atoms, state),
            state.energy,
            state.forces,
            state.stress,
            step=state.step,
            time_fs=time,
        )
        kinetic = state.kinetic_energy
        values = (
            state.step,
            time,
            state.energy,
            kinetic,
            state.energy + kinetic,
            temperature(kinetic, degrees_of_freedom),
            state.largest_force,
            state.total_momentum,
            *(x for x in (state.volume, state.pressure) if x is not None),
        )
        formats = ("d", ".10g", ".10f", ".10f", ".10f", ".4f", ".6f", ".6e", ".6f", ".6f")
        formats = formats[: len(values)]
        cells = [format(value, kind) for value, kind in zip(values, formats, strict=True)]
        _append(self.log, ",".join(cells) + "\n")
        return dict(zip(self.columns, values, strict=True))

    def save(self, content: Mapping[str, Any]) -> None:
        """Write a checkpoint.

        Args:
            content: what JSON takes.
        """
        write_record(self.checkpoint, content)


def _append(path: Path, text: str) -> None:
    # One call of the operating system, so that nobody ever finds a part of it.
    content = text.encode()
    with naming(path), path.open("ab", buffering=0) as file:
        while content:  # a full disk takes a part first, and says so at the rest
            content = content[file.write(content) :]


def read_log(path: Path | str) -> dict[str, Float[np.ndarray, " rows"]]:
    """Read the log of a simulation.

    Args:
        path: the `.csv` beside the trajectory.

    Returns:
        The columns by name.

    Raises:
        InputError: the file is missing or is no such log.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            rows, found = list(reader), reader.fieldnames or ()
        columns = _COLUMNS + tuple(name for name in _CELL_COLUMNS if name in found)
        return {name: np.asarray([float(row[name]) for row in rows]) for name in columns}
    except OSError as error:
        raise InputError(f"{path}: cannot read the log ({error.strerror})") from error
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: is no log of a simulation ({error})") from error


def energy_drift(log: Path | str, atoms: int) -> float:
    """Fit a line to the total energy in the log of a simulation: its slope is the drift.

    Args:
        log: the `.csv` beside the trajectory, of the ensemble "nve".
        atoms: number of atoms.

    Returns:
        The drift in eV per atom and ps.

    Raises:
        InputError: the log cannot be read, or has fewer than two rows.
    """
    columns = read_log(log)
    if len(columns["step"]) < 2:
        raise InputError(f"{log}: has {len(columns['step'])} rows, expected at least two")
    time, energy = columns["time_fs"] / 1000, columns["total_energy_eV"]
    time = time - time.mean()
    # The mean is taken off first: total energies are thousands of eV.
    return float(time @ (energy - energy.mean()) / (time @ time)) / atoms
