"""Labels from GFN2-xTB (Bannwarth, Ehlert, Grimme, doi:10.1021/acs.jctc.8b01176) through tblite."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np
from jaxtyping import Float64, Int32

from data_pipelines._workers import Failure, run_tasks
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
class Molecule:
    """What a label is computed for.

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
    """What GFN2-xTB says about a molecule.

    Attributes:
        energy: Total energy in eV.
        forces: Float64 `[atoms, 3]` in eV/Å.
        charges: Mulliken charges, float64 `[atoms]` in e.
    """

    energy: float
    forces: Float64[np.ndarray, "atoms 3"]
    charges: Float64[np.ndarray, " atoms"]


def level_of_theory() -> str:
    """Names the method and the program with its version, as stored beside the data."""
    return f"{METHOD} (tblite {version('tblite')})"


@contract
def label(molecule: Molecule) -> Label | Failure:
    """Labels one molecule in this process.

    Args:
        molecule: The molecule.

    Returns:
        The label, or a `Failure` with reason `unconverged` if the self-consistent field did not
        converge.
    """
    from tblite.exceptions import TBLiteRuntimeError
    from tblite.interface import Calculator

    calculator = Calculator(
        METHOD,
        molecule.atomic_numbers,
        molecule.positions / BOHR,
        charge=float(molecule.total_charge),
    )
    calculator.set("verbosity", 0)
    calculator.set("accuracy", _ACCURACY)
    calculator.set("max-iter", _MAX_ITERATIONS)
    try:
        result = calculator.singlepoint()
    except TBLiteRuntimeError as error:
        return Failure("unconverged", str(error))
    found = Label(
        energy=float(np.asarray(result.get("energy"))) * HARTREE,
        forces=-np.asarray(result.get("gradient"), np.float64) * (HARTREE / BOHR),
        charges=np.array(result.get("charges"), np.float64),
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


def require_label(molecule: Molecule) -> Label:
    """Labels a molecule in the midst of a calculation that needs it.

    Args:
        molecule: What to label.

    Returns:
        The label.

    Raises:
        Unlabelled: If there is none.
    """
    found = label(molecule)
    if isinstance(found, Failure):
        raise Unlabelled(found)
    return found


@contract
def label_all(molecules: Sequence[Molecule]) -> tuple[Label, ...] | Failure:
    """Labels several molecules that are only of use together; stops at the first failure."""
    labels: list[Label] = []
    for molecule in molecules:
        found = label(molecule)
        if isinstance(found, Failure):
            return found
        labels.append(found)
    return tuple(labels)


def label_groups(
    groups: Iterable[Sequence[Molecule]], *, workers: int, time_limit: float = 30.0
) -> Iterator[tuple[int, tuple[Label, ...] | Failure]]:
    """Labels groups of molecules in worker processes with one thread each.

    A crash or hang costs one group, not the run.

    Args:
        groups: Molecules that are only of use together, such as a dimer and its two fragments.
        workers: Number of worker processes.
        time_limit: Seconds for one group.

    Yields:
        `(i, labels)` for group number i in order of completion, or `(i, failure)` with reason
        `unconverged`, `crash` or `timeout`.
    """
    return run_tasks(f"{__name__}:label_all", groups, workers=workers, time_limit=time_limit)


@contract
def charges_hold(
    fragment_charges: Float64[np.ndarray, " 2"],
    formal_charges: Int32[np.ndarray, " 2"],
    separation: float,
) -> bool:
    """Says whether each fragment carries its formal charge.

    GFN2-xTB lets charge leak between distant fragments (self-interaction error); such labels are
    wrong, however well they converged. Near contact some transfer is real.

    Args:
        fragment_charges: Sum of the atomic charges of each fragment, in e.
        formal_charges: The charges they should have, in e.
        separation: Distance of the fragments' centres of mass in Å.

    Returns:
        True if both deviations are within `INNER_TOLERANCE` (separation below `INNER_RADIUS`) or
        `OUTER_TOLERANCE`.
    """
    tolerance = INNER_TOLERANCE if separation < INNER_RADIUS else OUTER_TOLERANCE
    return bool(np.all(np.abs(fragment_charges - formal_charges) <= tolerance))
