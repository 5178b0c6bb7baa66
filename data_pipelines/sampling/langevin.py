"""Molecular dynamics that draws geometries at a temperature."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from jaxtyping import Float64

from data_pipelines.labels.labelling import Geometry, require_label
from data_pipelines.sampling.monomers import BOLTZMANN, MASSES
from efa_zoo.base.contracts import contract

Forces = Callable[[np.ndarray], np.ndarray]
"""Forces in eV/Å of positions `[atoms, 3]` in Å."""

TIME_STEP = 1.0
"""Of restrained dynamics, in fs."""

FRICTION = 0.02
"""Of restrained dynamics, in 1/fs."""

_EV_PER_A_U = 9.648533212331e-3
"""One eV/(Å·u) in Å/fs²."""


@contract
def langevin(
    start: Float64[np.ndarray, "atoms 3"],
    masses: Float64[np.ndarray, " atoms"],
    forces: Forces,
    rng: np.random.Generator,
    *,
    temperature: float,
    time_step: float,
    friction: float,
    record: Sequence[int],
) -> Iterator[Float64[np.ndarray, "atoms 3"]]:
    """Run Langevin dynamics from velocities of the Maxwell-Boltzmann distribution.

    The integrator is BAOAB (Leimkuhler and Matthews, doi:10.1093/amrx/abs010).

    Args:
        start: Positions in Å.
        masses: In u.
        forces: The force field.
        rng: Source of randomness.
        temperature: In K.
        time_step: In fs.
        friction: In 1/fs.
        record: Steps whose positions are wanted, ascending, from 1.

    Yields:
        Positions in Å after each of these steps.
    """
    mass = masses[:, None]
    width = np.sqrt(BOLTZMANN * temperature * _EV_PER_A_U / mass)
    keep = np.exp(-friction * time_step)
    kick = np.sqrt(1 - keep**2)
    positions = start.copy()
    velocities = width * rng.standard_normal(start.shape)
    acceleration = forces(positions) * _EV_PER_A_U / mass
    wanted = set(record)
    for step in range(1, max(record) + 1):
        velocities += time_step / 2 * acceleration
        positions = positions + time_step / 2 * velocities
        velocities = keep * velocities + kick * width * rng.standard_normal(start.shape)
        positions = positions + time_step / 2 * velocities
        acceleration = forces(positions) * _EV_PER_A_U / mass
        velocities += time_step / 2 * acceleration
        if step in wanted:
            yield positions.copy()


def restrained_langevin(
    start: Geometry,
    restraint: Forces,
    rng: np.random.Generator,
    *,
    temperature: float,
    record: Sequence[int],
) -> Iterator[np.ndarray]:
    """Run Langevin dynamics by GFN2-xTB with a restraint, which holds a coordinate in place.

    Args:
        start: The molecule at its start.
        restraint: Forces besides those of GFN2-xTB; they choose geometries only.
        rng: Source of randomness.
        temperature: In K.
        record: As of `langevin`.

    Yields:
        Float64 `[atoms, 3]` in Å, as `langevin` does.

    Raises:
        Unlabelled: If a geometry on the way has no label.
    """

    def forces(positions: np.ndarray) -> np.ndarray:
        found = require_label(Geometry(start.atomic_numbers, positions, start.total_charge))
        return found.forces + restraint(positions)

    yield from langevin(
        start.positions,
        np.array([MASSES[int(z)] for z in start.atomic_numbers]),
        forces,
        rng,
        temperature=temperature,
        time_step=TIME_STEP,
        friction=FRICTION,
        record=record,
    )
