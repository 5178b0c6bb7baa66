"""The separation curve of a dimer: models, and GFN2-xTB where tblite is installed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
import scipy.optimize

from efa_zoo.analysis.scan.profile import Scan
from efa_zoo.base.errors import InputError
from efa_zoo.models.inference import predict
from efa_zoo.models.inputs.checks import ignore_out_of_range
from efa_zoo.models.potential import Potential
from efa_zoo.structures.molecule import Molecule

__all__ = ["scan_dimer"]

#: Pair drawn when none is named.
_PAIR = ("ammonium", "water")

#: Longest separation of the data in Å, and number of points of a curve.
_LONGEST = 15.0
_POINTS = 60

_LABEL = "GFN2-xTB"

_Molecule = tuple[np.ndarray, np.ndarray, int]


def scan_dimer(
    potentials: Sequence[Potential], *, pair: tuple[str, str] | None = None, seed: int = 0
) -> Scan:
    """Pull two rigid molecules apart and compute their interaction energy.

    The molecules are relaxed with the first model and oriented at random.

    Args:
        potentials: models of dimers.
        pair: names of two molecules of the data set `dimers`; None takes ammonium and water.
        seed: of the orientation.

    Returns:
        Interaction energies over the distance of the centres of mass, relative to the molecules
        alone. The truth is that of GFN2-xTB; NaN where it does not converge, None without tblite.

    Raises:
        InputError: a molecule is unknown, or outside what a model knows.
    """
    # Imported here: the data pipelines are no part of the library's core.
    from data_pipelines.sampling.monomers import MONOMERS
    from data_pipelines.sampling.placement import (
        contact_distances,
        random_direction,
        random_rotation,
        separation_at_contact,
    )

    pair = pair or _PAIR
    for name in pair:
        if name not in MONOMERS:
            raise InputError(f"pair: got {name!r}, expected one of {', '.join(MONOMERS)}")
    numbers = [np.asarray(MONOMERS[name].atomic_numbers, np.int32) for name in pair]
    charges = [MONOMERS[name].charge for name in pair]
    rng = np.random.default_rng(seed)
    first, second = (
        _relaxed(potentials[0], z, np.asarray(MONOMERS[name].guess, np.float64), charge)
        @ random_rotation(rng).T
        for name, z, charge in zip(pair, numbers, charges, strict=True)
    )
    direction = random_direction(rng)
    nearest = separation_at_contact(first, second, direction, 0.85 * contact_distances(*numbers))
    # Half of the points on the first quarter of the way, where the energy varies most.
    separations = nearest + (_LONGEST - nearest) * np.linspace(0, 1, _POINTS) ** 2
    atoms = np.concatenate(numbers)
    molecules: list[_Molecule] = [
        (atoms, np.concatenate([first, second + r * direction]), sum(charges)) for r in separations
    ]
    molecules += zip(numbers, (first, second), charges, strict=True)
    known = [Molecule(numbers=n, positions=r, charge=q) for n, r, q in molecules]
    energies = {
        potential.card.name: _interaction(
            [p.energy for p in predict(potential, known, out_of_range="warn")]
        )
        for potential in potentials
    }
    labels = _labels(molecules) if find_spec("tblite") is not None else None
    return Scan(
        title=" + ".join(name.replace("_", " ") for name in pair),
        coordinate="distance of the centres of mass (Å)",
        quantity="interaction energy (eV)",
        coordinates=separations,
        models=energies,
        truth=labels,
        truth_name=_LABEL,
    )


def _interaction(energies: Sequence[float]) -> np.ndarray:
    """Energies of the dimers minus those of the two fragments, which come last."""
    return np.asarray(energies[:-2]) - sum(energies[-2:])


def _relaxed(
    potential: Potential, numbers: np.ndarray, guess: np.ndarray, charge: int
) -> np.ndarray:
    """Geometry of least energy of the model, its centre of mass at the origin."""
    from data_pipelines.sampling.monomers import MASSES

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        molecule = Molecule(numbers=numbers, positions=flat.reshape(-1, 3), charge=charge)
        with ignore_out_of_range():  # what the first steps look at
            found = predict(potential, molecule, dtype="float64", out_of_range="warn")
        return found.energy, -found.forces.ravel()

    positions = guess
    if len(numbers) > 1:
        # The guesses are good to 0.1 Å; bounds keep the first steps from leaping.
        bounds = [(x - 0.2, x + 0.2) for x in guess.ravel()]
        found = scipy.optimize.minimize(
            objective,
            guess.ravel(),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"gtol": 1e-3},
        )
        positions = found.x.reshape(-1, 3)
    masses = np.asarray([MASSES[int(z)] for z in numbers])
    return positions - masses @ positions / masses.sum()


def _labels(molecules: Sequence[_Molecule]) -> np.ndarray:
    from data_pipelines._workers import Failure
    from data_pipelines.labels.labelling import Geometry, label_groups

    energies = np.full(len(molecules), np.nan)
    groups = [[Geometry(*molecule)] for molecule in molecules]
    for i, found in enumerate(label_groups(groups, workers=1)):
        if not isinstance(found, Failure):
            energies[i] = found[0].energy
    return _interaction(energies.tolist())
