"""GFN2-xTB as the force field that geometries are drawn with.

What it says only chooses geometries, each of which is then labelled on its own: it converges less
tightly than labels do and starts every field from the last one, which takes 40% less time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.optimize
from jaxtyping import Float64

from data_pipelines._workers import Failure
from data_pipelines.labels.labelling import BOHR, HARTREE, METHOD, Geometry, Unlabelled
from data_pipelines.sampling.langevin import langevin
from data_pipelines.sampling.monomers import MASSES

TIME_STEP = 1.0
"""Of Langevin dynamics in fs."""

FRICTION = 0.02
"""Of Langevin dynamics in 1/fs."""

_ACCURACY = 1.0
_MAX_ITERATIONS = 250
_CONVERGED = 0.01  # eV/Å


@dataclass(frozen=True)
class Path:
    """Where a surface led.

    Attributes:
        positions: In Å, each float64 `[atoms, 3]`.
        failure: Why there are no more, None if there are all.
    """

    positions: tuple[Float64[np.ndarray, "atoms 3"], ...]
    failure: Failure | None


class Surface:
    """Energies and forces at positions that differ little from call to call.

    Args:
        geometry: Atoms at their first places.
    """

    def __init__(self, geometry: Geometry) -> None:
        from tblite.interface import Calculator

        self.geometry = geometry
        self._calculator = Calculator(
            METHOD,
            geometry.atomic_numbers,
            geometry.positions / BOHR,
            charge=float(geometry.total_charge),
        )
        self._calculator.set("verbosity", 0)
        self._calculator.set("accuracy", _ACCURACY)
        self._calculator.set("max-iter", _MAX_ITERATIONS)
        self._last = None

    def __call__(
        self, positions: Float64[np.ndarray, "atoms 3"]
    ) -> tuple[float, Float64[np.ndarray, "atoms 3"]]:
        """Compute energy and forces.

        Args:
            positions: In Å.

        Returns:
            Energy in eV and forces in eV/Å.

        Raises:
            Unlabelled: If the self-consistent field does not converge.
        """
        from tblite.exceptions import TBLiteRuntimeError

        try:
            self._calculator.update(positions / BOHR)
            result = self._calculator.singlepoint(self._last)
        except TBLiteRuntimeError as error:
            raise Unlabelled(Failure("unconverged", str(error))) from error
        self._last = result
        energy = float(np.asarray(result.get("energy"))) * HARTREE
        forces = -np.asarray(result.get("gradient"), np.float64) * (HARTREE / BOHR)
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise Unlabelled(Failure("unconverged", "energy or forces are not finite"))
        return energy, forces

    def descend(self, steps: int) -> Path:
        """Go downhill (L-BFGS).

        Args:
            steps: Iterations at most.

        Returns:
            Positions after each iteration, the last of them nearest to a minimum; the first
            positions alone where forces vanish.
        """
        path: list[np.ndarray] = []

        def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
            energy, forces = self(flat.reshape(-1, 3))
            return energy, -forces.ravel()

        try:
            scipy.optimize.minimize(
                evaluate,
                self.geometry.positions.ravel(),
                jac=True,
                method="L-BFGS-B",
                callback=lambda flat: path.append(flat.reshape(-1, 3).copy()),
                options={"maxiter": steps, "gtol": _CONVERGED},
            )
        except Unlabelled as unlabelled:
            return Path(tuple(path), unlabelled.failure)
        return Path(tuple(path) or (self.geometry.positions,), None)

    def wander(
        self,
        start: Float64[np.ndarray, "atoms 3"],
        rng: np.random.Generator,
        *,
        temperature: float,
        record: Sequence[int],
    ) -> Path:
        """Run Langevin dynamics.

        Args:
            start: Positions in Å.
            rng: Source of randomness.
            temperature: In K.
            record: Steps whose positions are wanted, ascending, from 1.

        Returns:
            Positions after each of these steps.
        """
        frames = langevin(
            start,
            np.array([MASSES[int(z)] for z in self.geometry.atomic_numbers]),
            lambda positions: self(positions)[1],
            rng,
            temperature=temperature,
            time_step=TIME_STEP,
            friction=FRICTION,
            record=record,
        )
        found: list[np.ndarray] = []
        try:
            for positions in frames:
                found.append(positions)
        except Unlabelled as unlabelled:
            return Path(tuple(found), unlabelled.failure)
        return Path(tuple(found), None)
