"""Profiles of the data sets other than `dimers`, against the formula or the labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from efa_zoo.analysis.evaluation import predict_structures
from efa_zoo.analysis.scan.profile import Scan
from efa_zoo.base.errors import InputError
from efa_zoo.models.potential import Potential

if TYPE_CHECKING:
    from data_pipelines.structure import Structure

__all__ = [
    "scan_chains",
    "scan_charge_and_dipole",
    "scan_charge_over_distance",
    "scan_cluster_errors",
    "scan_cluster_forces",
    "scan_clusters",
    "scan_cumulene",
    "scan_reaction",
    "scan_spheres",
    "scan_two_atom_errors",
    "scan_two_atoms",
]

#: Gives the structures of a split.
Splits: TypeAlias = "Callable[[str], list[Structure]]"

_POINTS = 181

#: Distance in Å of charge and dipole, beyond the cutoff of local models.
_DIPOLE_DISTANCE = 7.0

#: Most force components in a picture.
_COMPONENTS = 3_000

_HALIDES = ("chloride", "chloride")


def scan_two_atoms(potentials: Sequence[Potential]) -> Scan:
    """Energy of two atoms over their distance."""
    from data_pipelines.sampling.two_body import FARTHEST, NEAREST, place_two_atoms

    distances = _denser_when_near(NEAREST, FARTHEST)
    structures = [
        place_two_atoms(np.zeros(3), np.asarray([0.0, 0.0, distance])) for distance in distances
    ]
    return _beside_formula(
        potentials, structures, distances, title="two atoms", coordinate="distance (Å)"
    )


def scan_two_atom_errors(potentials: Sequence[Potential]) -> Scan:
    """Error of the energy of two atoms over their distance."""
    energies = scan_two_atoms(potentials)
    assert energies.truth is not None
    return replace(
        energies,
        title="two atoms: error",
        quantity="error of the energy (eV)",
        models={name: np.abs(v - energies.truth) for name, v in energies.models.items()},
        truth=None,
        logarithmic=True,
    )


def scan_charge_and_dipole(potentials: Sequence[Potential]) -> Scan:
    """Energy of a charge and a dipole over the angle between them, at a fixed distance."""
    from data_pipelines.sampling.two_body import place_charge_and_dipole

    angles = np.linspace(0, 180, _POINTS)
    vector = np.asarray([0.0, 0.0, _DIPOLE_DISTANCE])
    structures = [
        place_charge_and_dipole(np.zeros(3), vector, np.asarray([np.sin(a), 0.0, np.cos(a)]))
        for a in np.radians(angles)
    ]
    return _beside_formula(
        potentials,
        structures,
        angles,
        title=f"charge and dipole, {_DIPOLE_DISTANCE:g} Å apart",
        coordinate="angle (degrees)",
    )


def scan_charge_over_distance(potentials: Sequence[Potential]) -> Scan:
    """Energy of a charge and a dipole that points to it over their distance."""
    from data_pipelines.sampling.two_body import FARTHEST, NEAREST, place_charge_and_dipole

    distances = _denser_when_near(NEAREST, FARTHEST)
    axis = np.asarray([0.0, 0.0, 1.0])
    structures = [place_charge_and_dipole(np.zeros(3), r * axis, axis) for r in distances]
    return _beside_formula(
        potentials,
        structures,
        distances,
        title="charge and dipole that points to it",
        coordinate="distance (Å)",
    )


def _denser_when_near(nearest: float, farthest: float) -> np.ndarray:
    """Distances, half of them on the first quarter of the way, where the energy varies most."""
    return nearest + (farthest - nearest) * np.linspace(0, 1, _POINTS) ** 2


def _beside_formula(
    potentials: Sequence[Potential],
    structures: Sequence[Structure],
    coordinates: np.ndarray,
    *,
    title: str,
    coordinate: str,
) -> Scan:
    """Energies of models and labels that a formula gives."""
    return Scan(
        title=title,
        coordinate=coordinate,
        quantity="energy (eV)",
        coordinates=coordinates,
        models=_energies(potentials, structures),
        truth=_labels(structures),
        truth_name="formula",
    )


def scan_cumulene(potentials: Sequence[Potential], splits: Splits) -> Scan:
    """Energy of the relaxed molecule over the dihedral angle of its ends."""
    found = _along_curve(potentials, splits("curves"), "cumulene", "dihedral angle (degrees)")
    return replace(found, title=f"cumulene, barrier {found.span:.2f} eV")


def scan_reaction(
    potentials: Sequence[Potential], splits: Splits, *, pair: tuple[str, str] | None
) -> Scan:
    """Energy along the path of X⁻ + CH3Y → CH3X + Y⁻, X and Y the halides of the pair."""
    incoming, leaving = pair or _HALIDES
    points = splits("curves")
    forward = [s for s in points if s.kind == f"{incoming}/{leaving}"]
    backward = [s for s in points if s.kind == f"{leaving}/{incoming}"]
    if not forward and not backward:
        known = ", ".join(sorted({s.kind.replace("/", " ") for s in points}))
        raise InputError(
            f"pair: got {incoming} {leaving}, expected one of {known}, in either order"
        )
    return _along_curve(
        potentials,
        forward or backward,
        f"{incoming} + methyl {leaving}",
        "reaction coordinate, r(C-Y) - r(C-X) (Å)",
        sign=1 if forward else -1,
    )


def _along_curve(
    potentials: Sequence[Potential],
    points: Sequence[Structure],
    title: str,
    coordinate: str,
    *,
    sign: int = 1,
) -> Scan:
    """Energies of models and labels over the points' coordinate, all from the labels' lowest."""
    ordered = sorted(points, key=lambda s: sign * s.coordinate)
    labels = _labels(ordered)
    lowest = labels.min()
    return Scan(
        title=title,
        coordinate=coordinate,
        quantity="energy (eV)",
        coordinates=np.asarray([sign * s.coordinate for s in ordered]),
        models={name: values - lowest for name, values in _energies(potentials, ordered).items()},
        truth=labels - lowest,
        truth_name=potentials[0].card.data.level_of_theory.partition(" (")[0],
    )


def scan_spheres(potentials: Sequence[Potential], splits: Splits) -> Scan:
    """Error of the energy for each atom over the diameter."""

    def error(residuals: np.ndarray, structures: Sequence[Structure]) -> float:
        sizes = np.asarray([len(s.atomic_numbers) for s in structures])
        return float(np.mean(np.abs(residuals) / sizes))

    return _over_kinds(
        potentials, splits("test"), "balls of ions", "diameter (Å)", "error (eV/atom)", error
    )


def scan_chains(potentials: Sequence[Potential], splits: Splits) -> Scan:
    """Error of the energy over the length of the chain, relative to the spread of the labels."""

    def error(residuals: np.ndarray, structures: Sequence[Structure]) -> float:
        spread = np.sqrt(np.mean(_labels(structures) ** 2))
        return float(np.sqrt(np.mean(residuals**2)) / spread)

    return _over_kinds(
        potentials,
        splits("test"),
        "charges at the ends of chains",
        "atoms between the ends",
        "RMSE / RMS of the energy",
        error,
    )


def _over_kinds(
    potentials: Sequence[Potential],
    structures: Sequence[Structure],
    title: str,
    coordinate: str,
    quantity: str,
    error: Callable[[np.ndarray, Sequence[Structure]], float],
) -> Scan:
    """An error over the coordinate that sorts the structures."""
    values = np.unique([s.coordinate for s in structures])
    groups = [[s for s in structures if s.coordinate == value] for value in values]
    models = {}
    for potential in potentials:
        residuals = [_predicted(potential, members) - _labels(members) for members in groups]
        models[potential.card.name] = np.asarray(
            [error(r, members) for r, members in zip(residuals, groups, strict=True)]
        )
    return Scan(title, coordinate, quantity, values, models, style="marks", logarithmic=True)


def scan_clusters(potentials: Sequence[Potential], splits: Splits) -> Scan:
    """Predicted over true energies of the test structures."""
    structures = sorted(splits("test"), key=lambda s: s.energy)
    labels = _labels(structures)
    return Scan(
        title=f"drops of {len(structures[0].atomic_numbers)} atoms",
        coordinate="true energy (eV)",
        quantity="predicted energy (eV)",
        coordinates=labels,
        models=_energies(potentials, structures),
        truth=labels,
        truth_name="formula",
        style="points",
    )


def scan_cluster_errors(potentials: Sequence[Potential], splits: Splits) -> Scan:
    """Error of the energies of the test structures over the true ones."""
    energies = scan_clusters(potentials, splits)
    return replace(
        energies,
        quantity="error of the energy (eV)",
        models={name: v - energies.coordinates for name, v in energies.models.items()},
        truth=None,
    )


def scan_cluster_forces(potentials: Sequence[Potential], splits: Splits) -> Scan:
    """Error of force components in the test structures over the true ones."""
    structures = splits("test")
    labels = np.concatenate([s.forces.ravel() for s in structures])
    chosen = np.arange(0, len(labels), max(1, len(labels) // _COMPONENTS))
    chosen = chosen[np.argsort(labels[chosen], kind="stable")]
    models = {}
    for potential in potentials:
        found = [p.forces.ravel() for p in predict_structures(potential, structures)]
        models[potential.card.name] = (np.concatenate(found) - labels)[chosen]
    return Scan(
        title=f"drops of {len(structures[0].atomic_numbers)} atoms",
        coordinate="true force component (eV/Å)",
        quantity="error of the component (eV/Å)",
        coordinates=labels[chosen],
        models=models,
        style="points",
    )


def _energies(
    potentials: Sequence[Potential], structures: Sequence[Structure]
) -> dict[str, np.ndarray]:
    return {potential.card.name: _predicted(potential, structures) for potential in potentials}


def _predicted(potential: Potential, structures: Sequence[Structure]) -> np.ndarray:
    return np.asarray([p.energy for p in predict_structures(potential, structures)])


def _labels(structures: Sequence[Structure]) -> np.ndarray:
    return np.asarray([s.energy for s in structures])
