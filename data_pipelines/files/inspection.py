"""What a set of structures consists of, and which of them deserve a second look."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64
from scipy.spatial import KDTree

from data_pipelines.labels.energies import fit_reference_energies, relative_energies
from data_pipelines.structure import Structure
from efa_zoo.structures.distances import closest
from efa_zoo.structures.elements import symbol

_SAME = 1e-4
"""Structures whose atoms lie at the same places within this (Å) are duplicates."""

_CONFLICT = 1e-3
"""Energies (eV) of duplicates that differ by more contradict each other."""

_TOO_CLOSE = 0.5
"""Atoms closer than this (Å) overlap; the shortest bond, of H₂, is 0.74 Å."""

_MANY = 20
"""Structures of one composition from which a spread of energies can be told."""

_FAR_OUT = 10.0
"""Robust z-score from which a label is an outlier; thermal energies stay below 6."""

_SHOWN = 5


@dataclass(frozen=True)
class Inspection:
    """Summary of a set of structures. Numbers of structures count from 0.

    Attributes:
        structures: How many there are.
        atoms: Smallest and largest number of atoms.
        elements: Symbols, by ascending atomic number.
        charges: How many structures have each total charge (e).
        groups: Number of different groups; 0 if none has a name.
        dipoles: Whether they have atomic dipoles.
        charges_and_moments: Numbers of those with charges of the atoms, and with dipole moments.
        periodic_and_stresses: Numbers of those in a cell, and with stress.
        forces_rms: Root mean square of the force components in eV/Å.
        duplicates: Pairs `(earlier, later)` of structures with the same atoms at the same places.
        conflicts: Duplicates whose energies differ.
        energy_outliers: Structures whose energy is far from that of others of their composition.
        force_outliers: Structures whose largest force is far from that of the others.
        overlaps: Structures with atoms closer than any bond.
    """

    structures: int
    atoms: tuple[int, int]
    elements: tuple[str, ...]
    charges: dict[int, int]
    groups: int
    dipoles: bool
    charges_and_moments: tuple[int, int]
    periodic_and_stresses: tuple[int, int]
    forces_rms: float
    duplicates: tuple[tuple[int, int], ...]
    conflicts: tuple[tuple[int, int], ...]
    energy_outliers: tuple[int, ...]
    force_outliers: tuple[int, ...]
    overlaps: tuple[int, ...]

    def __str__(self) -> str:
        charges = ", ".join(
            f"{charge:+d} ({count})" if charge else f"0 ({count})"
            for charge, count in self.charges.items()
        )
        low, high = self.atoms
        atomic, moments = self.charges_and_moments
        periodic, stresses = self.periodic_and_stresses
        size = f"{low}" if low == high else f"{low} to {high}"
        parts = [
            f"{self.structures} structures of {size} atoms"
            + (f", {periodic} of them in cells" if periodic else ""),
            f"elements {' '.join(self.elements)}",
            f"labels: {self.structures} energies, {self.structures} forces "
            f"(root mean square {self.forces_rms:.3g} eV/Å)"
            + (f", {self.structures} sets of atomic dipoles" if self.dipoles else "")
            + (f", {atomic} sets of atomic charges" if atomic else "")
            + (f", {moments} dipole moments" if moments else "")
            + (f", {stresses} stresses" if stresses else ""),
            f"charges {charges}",
        ]
        return "; ".join([*parts, f"{self.groups} groups"] if self.groups else parts)

    @property
    def warnings(self) -> list[str]:
        """What deserves a second look, one line each."""
        pairs = {
            "duplicates (same atoms at the same places)": self.duplicates,
            f"duplicates whose energies differ by over {_CONFLICT:g} eV": self.conflicts,
        }
        singles = {
            "energies far from the others of their composition": self.energy_outliers,
            "largest forces far from the others": self.force_outliers,
            f"structures with atoms closer than {_TOO_CLOSE:g} Å": self.overlaps,
        }
        listed = {
            what: [f"{later} = {earlier}" for earlier, later in found]
            for what, found in pairs.items()
        } | {what: [str(i) for i in found] for what, found in singles.items()}
        return [
            f"{len(found)} {what}: {', '.join(found[:_SHOWN])}"
            + (", …" if len(found) > _SHOWN else "")
            for what, found in listed.items()
            if found
        ]


def inspect(structures: Sequence[Structure]) -> Inspection:
    """Look over structures.

    Args:
        structures: At least one.

    Returns:
        What they are, with duplicates and outliers.
    """
    sizes = [len(s.atomic_numbers) for s in structures]
    numbers = np.unique(np.concatenate([s.atomic_numbers for s in structures]))
    components = np.concatenate([s.forces.ravel() for s in structures])
    duplicates = find_duplicates(structures)
    return Inspection(
        structures=len(structures),
        atoms=(min(sizes), max(sizes)),
        elements=tuple(symbol(int(z)) for z in numbers),
        charges=dict(sorted(Counter(s.total_charge for s in structures).items())),
        groups=len({s.group for s in structures} - {""}),
        dipoles=any(s.atomic_dipoles is not None for s in structures),
        charges_and_moments=(
            sum(s.charges is not None for s in structures),
            sum(s.dipole is not None for s in structures),
        ),
        periodic_and_stresses=(
            sum(s.cell is not None for s in structures),
            sum(s.stress is not None for s in structures),
        ),
        forces_rms=float(np.sqrt(np.mean(components**2))),
        duplicates=tuple(duplicates),
        conflicts=tuple(
            (i, j)
            for i, j in duplicates
            if abs(structures[i].energy - structures[j].energy) > _CONFLICT
        ),
        energy_outliers=tuple(find_energy_outliers(structures)),
        force_outliers=tuple(find_force_outliers(structures)),
        overlaps=tuple(i for i, s in enumerate(structures) if _overlap(s)),
    )


def _overlap(structure: Structure) -> bool:
    if structure.cell is not None:
        return closest(structure.positions, structure.cell, structure.pbc)[0] < _TOO_CLOSE
    if len(structure.positions) < 2:
        return False
    distances, _ = KDTree(structure.positions).query(structure.positions, k=2)
    return bool(distances[:, 1].min() < _TOO_CLOSE)


# -------------------------------------------------------------------------------------------------
# Duplicates


def find_duplicates(structures: Sequence[Structure]) -> list[tuple[int, int]]:
    """Find structures that are copies of earlier ones.

    Copies have the same charge, and the same elements at the same places to 1e-4 Å; moved and
    relabelled ones count, rotated ones do not. Of periodic structures only exact copies are found.

    Args:
        structures: The structures.

    Returns:
        Pairs `(earlier, later)`, each later one once, by ascending later one.
    """
    first_of: dict[Hashable, int] = {}
    found: dict[int, int] = {}
    kinds: dict[Hashable, list[int]] = defaultdict(list)
    for i, s in enumerate(structures):
        # Exact copies are sorted out first: many of them would make very many close pairs.
        parts = (s.atomic_numbers, s.positions, s.atomic_dipoles, s.cell)
        image = (
            s.pbc,
            s.total_charge,
            s.multiplicity,
            *(None if part is None else part.tobytes() for part in parts),
        )
        earlier = first_of.setdefault(image, i)
        if earlier != i:
            found[i] = earlier
        elif s.atomic_dipoles is None and s.cell is None:
            kinds[_composition(s)].append(i)
    for members in kinds.values():
        averages = np.array([_averages(structures[i]) for i in members])
        # An average of coordinates relative to the centroid moves at most twice as far as an atom.
        close = KDTree(averages).query_pairs(2 * _SAME, p=np.inf, output_type="ndarray")
        for a, b in sorted(np.sort(close, axis=1).tolist()):
            i, j = members[a], members[b]
            # Only with originals, else the small steps of a scan would add up.
            if not found.keys() & {i, j} and _same_places(structures[i], structures[j]):
                found[j] = i
    # An exact copy may be a copy of one that turned out to be a copy itself.
    return [(found.get(earlier, earlier), later) for later, earlier in sorted(found.items())]


def _composition(structure: Structure) -> tuple[int, bytes]:
    return structure.total_charge, np.sort(structure.atomic_numbers).tobytes()


def _averages(structure: Structure) -> Float64[np.ndarray, " averages"]:
    """Averages and root mean squares of the coordinates of each element."""
    places = structure.positions - structure.positions.mean(axis=0)
    parts = [places[structure.atomic_numbers == z] for z in np.unique(structure.atomic_numbers)]
    return np.concatenate(
        [x for p in parts for x in (p.mean(axis=0), np.sqrt((p**2).mean(axis=0)))]
    )


def _same_places(one: Structure, other: Structure) -> bool:
    """Whether every atom of one lies on an atom of its element of the other."""
    # The element is a fourth coordinate, in which different ones are far apart.
    points = [
        np.column_stack([s.positions - s.positions.mean(axis=0), s.atomic_numbers])
        for s in (one, other)
    ]
    distances, partners = KDTree(points[0]).query(points[1])
    return bool(distances.max() < _SAME and len(np.unique(partners)) == len(points[0]))


# -------------------------------------------------------------------------------------------------
# Outliers


def find_energy_outliers(structures: Sequence[Structure]) -> list[int]:
    """Find energies that are far from the median of their composition.

    Compositions of fewer than 20 structures are judged together, by what a sum over the elements
    leaves of the energy per atom.

    Args:
        structures: The structures.

    Returns:
        Their numbers, ascending.
    """
    kinds: dict[Hashable, list[int]] = defaultdict(list)
    for i, s in enumerate(structures):
        kinds[_composition(s)].append(i)
    rare = sorted(i for members in kinds.values() if len(members) < _MANY for i in members)
    found: list[int] = []
    for members in kinds.values():
        if len(members) >= _MANY:
            energies = np.array([structures[i].energy for i in members])
            found += [members[k] for k in _far_out(energies, floor=1e-3)]
    if len(rare) >= _MANY:
        chosen = [structures[i] for i in rare]
        rest = relative_energies(chosen, fit_reference_energies(chosen))
        per_atom = rest / np.array([len(s.atomic_numbers) for s in chosen])
        found += [rare[k] for k in _far_out(per_atom, floor=1e-3)]
    return sorted(found)


def find_force_outliers(structures: Sequence[Structure]) -> list[int]:
    """Find structures whose largest force is far above that of the others, on a log scale.

    Args:
        structures: The structures.

    Returns:
        Their numbers, ascending; none among fewer than 20 structures.
    """
    largest = np.array([np.linalg.norm(s.forces, axis=1).max() for s in structures])
    if len(structures) < _MANY or not largest.any():
        return []
    logarithms = np.log(np.maximum(largest, 1e-3 * largest.max()))
    far = _far_out(logarithms, floor=0.1)
    return [k for k in far if largest[k] > np.median(largest)]


def _far_out(values: Float64[np.ndarray, " structures"], *, floor: float) -> list[int]:
    """Values whose robust z-score (median, median absolute deviation) is large."""
    deviations = np.abs(values - np.median(values))
    # Of a normal distribution the standard deviation is 1.4826 median absolute deviations.
    spread = max(1.4826 * float(np.median(deviations)), floor)
    return np.flatnonzero(deviations > _FAR_OUT * spread).tolist()
