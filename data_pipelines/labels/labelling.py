"""Labels from GFN2-xTB (Bannwarth, Ehlert, Grimme, doi:10.1021/acs.jctc.8b01176) through tblite."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from jaxtyping import Float64, Int32

from data_pipelines._workers import Failure, run_all
from efa_zoo.base.contracts import contract
from efa_zoo.base.errors import DataError

METHOD = "GFN2-xTB"
CITATION = "C. Bannwarth, S. Ehlert, S. Grimme, J. Chem. Theory Comput. 15, 1652 (2019)"
BOHR = 0.529177210903
"""One bohr in Å (CODATA 2018)."""
HARTREE = 27.211386245988
"""One hartree in eV (CODATA 2018)."""

INNER_RADIUS = 6.0
"""Separation in Å that divides the two charge tolerances."""
INNER_TOLERANCE = 0.15
"""Largest deviation of a fragment's charge from its formal value inside `INNER_RADIUS`, in e."""
OUTER_TOLERANCE = 0.01
"""Largest deviation of a fragment's charge from its formal value beyond `INNER_RADIUS`, in e."""

# A hundredth of tblite's default threshold: interaction energies at 15 Å are a few 0.01 meV, about
# what the default leaves in the total energy.
_ACCURACY = 0.01
_MAX_ITERATIONS = 250


@dataclass(frozen=True)
class Geometry:
    """Atoms at their places, which a label is computed for.

    Attributes:
        atomic_numbers: Int32 `[atoms]`.
        positions: Float64 `[atoms, 3]` in Å.
        total_charge: In e. The electrons are always paired.
    """

    atomic_numbers: Int32[np.ndarray, " atoms"]
    positions: Float64[np.ndarray, "atoms 3"]
    total_charge: int


@dataclass(frozen=True)
class Label:
    """What GFN2-xTB says about a geometry.

    Attributes:
        energy: Total energy in eV.
        forces: Float64 `[atoms, 3]` in eV/Å.
        charges: Mulliken charges, float64 `[atoms]` in e.
        dipole: Dipole moment about the centroid of the atoms, float64 `[3]` in e·Å.
    """

    energy: float
    forces: Float64[np.ndarray, "atoms 3"]
    charges: Float64[np.ndarray, " atoms"]
    dipole: Float64[np.ndarray, " 3"]


def level_of_theory() -> str:
    """Name the method and the program with its version, as stored beside the data."""
    return f"{METHOD} (tblite {version('tblite')})"


@contract
def label(geometry: Geometry) -> Label | Failure:
    """Label one geometry in this process.

    Args:
        geometry: Which.

    Returns:
        The label, or a `Failure` with reason `unconverged` if the self-consistent field did not
        converge.
    """
    from tblite.exceptions import TBLiteRuntimeError
    from tblite.interface import Calculator

    calculator = Calculator(
        METHOD,
        geometry.atomic_numbers,
        geometry.positions / BOHR,
        charge=float(geometry.total_charge),
    )
    calculator.set("verbosity", 0)
    calculator.set("accuracy", _ACCURACY)
    calculator.set("max-iter", _MAX_ITERATIONS)
    try:
        result = calculator.singlepoint()
    except TBLiteRuntimeError as error:
        return Failure("unconverged", str(error))
    # tblite gives the dipole about the origin of the coordinates.
    center = geometry.positions.mean(axis=0)
    dipole = np.asarray(result.get("dipole"), np.float64) * BOHR - geometry.total_charge * center
    found = Label(
        energy=float(np.asarray(result.get("energy"))) * HARTREE,
        forces=-np.asarray(result.get("gradient"), np.float64) * (HARTREE / BOHR),
        charges=np.array(result.get("charges"), np.float64),
        dipole=dipole,
    )
    if not (np.isfinite(found.energy) and np.isfinite(found.forces).all()):
        return Failure("unconverged", "energy or forces are not finite")
    return found


class Unlabelled(DataError):
    """A calculation cannot go on, because it needs a label that there is not.

    Attributes:
        failure: Why there is none.
    """

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.detail)
        self.failure = failure


def require_label(geometry: Geometry) -> Label:
    """Label a geometry in the midst of a calculation that needs it.

    Args:
        geometry: What to label.

    Returns:
        The label.

    Raises:
        Unlabelled: If there is none.
    """
    found = label(geometry)
    if isinstance(found, Failure):
        raise Unlabelled(found)
    return found


@contract
def label_all(geometries: Sequence[Geometry]) -> tuple[Label, ...] | Failure:
    """Label several geometries that are only of use together; stop at the first failure."""
    labels: list[Label] = []
    for geometry in geometries:
        found = label(geometry)
        if isinstance(found, Failure):
            return found
        labels.append(found)
    return tuple(labels)


def label_groups(
    groups: Sequence[Sequence[Geometry]],
    *,
    workers: int,
    time_limit: float = 30.0,
    title: str | None = None,
) -> list[tuple[Label, ...] | Failure]:
    """Label groups of geometries in worker processes with one thread each.

    A crash or hang costs one group, not the run.

    Args:
        groups: Geometries that are only of use together, such as a dimer and its two fragments.
        workers: Number of worker processes.
        time_limit: Seconds for one group.
        title: What the groups are, for the progress; None shows none.

    Returns:
        Labels of each group, or a `Failure` with reason `unconverged`, `crash` or `timeout`.
    """
    function = f"{__name__}:label_all"
    return run_all(function, groups, workers=workers, time_limit=time_limit, title=title)


@contract
def charges_hold(
    fragment_charges: Float64[np.ndarray, " 2"],
    formal_charges: Int32[np.ndarray, " 2"],
    separation: float,
    shared: float = 0.0,
) -> bool:
    """Say whether each fragment carries its formal charge.

    GFN2-xTB lets charge leak between distant fragments (self-interaction error); such labels are
    wrong, however well they converged. Near contact some transfer is real.

    Args:
        fragment_charges: Sum of the atomic charges of each fragment, in e.
        formal_charges: The charges they should have, in e.
        separation: Distance of the fragments' centres of mass in Å.
        shared: What bonded fragments may share, in e.

    Returns:
        True if both deviations are within `INNER_TOLERANCE` (separation below `INNER_RADIUS`) or
        `OUTER_TOLERANCE`, or within `shared`.
    """
    tolerance = INNER_TOLERANCE if separation < INNER_RADIUS else OUTER_TOLERANCE
    return bool(np.all(np.abs(fragment_charges - formal_charges) <= max(tolerance, shared)))
