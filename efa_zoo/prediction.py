"""Energies and forces of structures in physical units, checked against what a model knows."""

from __future__ import annotations

import sys
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Literal, TypeAlias, overload

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import DTypeLike
from scipy.spatial import KDTree

from efa_zoo._elements import ATOMIC_NUMBERS, SYMBOLS, symbol
from efa_zoo.cards import Card, Domain
from efa_zoo.energy import energy_and_forces
from efa_zoo.errors import ConfigError, InputError
from efa_zoo.graph import Graph, stack
from efa_zoo.mpnn import EnergyModel
from efa_zoo.potential import Potential, cast
from efa_zoo.registry import load

if TYPE_CHECKING:
    from ase import Atoms

    Structure: TypeAlias = Atoms | Graph

__all__ = ["OutOfRangeWarning", "Prediction", "predict"]

#: Atoms closer than this (Å) are the same atom given twice, whatever a model knows.
_SAME_PLACE = 0.1

#: Numbers of molecules computed at once, and the most atoms (with padding) in one go.
_BATCH_SIZES = (64, 8, 1)
_MAX_ATOMS = 2048


class OutOfRangeWarning(UserWarning):
    """A prediction was made for a structure outside what the model knows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Energy and forces of one structure.

    Attributes:
        energy: total energy in eV, at the level of theory of the model's card.
        forces: `[atoms, 3]` in eV/Å, float64.
        atomic_energies: `[atoms]` in eV, float64; reference energies included, so that they sum
            to `energy`.
        charge: total charge in units of e.
    """

    energy: float
    forces: Float[np.ndarray, "atoms 3"]
    atomic_energies: Float[np.ndarray, " atoms"]
    charge: int


@dataclass(frozen=True, kw_only=True)
class _Molecule:
    """A structure after the checks: float64 positions, no padding."""

    numbers: np.ndarray
    positions: np.ndarray
    charge: int
    dipoles: np.ndarray | None


@overload
def predict(
    model: Potential | str | PathLike[str],
    structures: Structure,
    *,
    charge: int | None = ...,
    dtype: DTypeLike = ...,
    out_of_range: Literal["error", "warn"] = ...,
) -> Prediction: ...


@overload
def predict(
    model: Potential | str | PathLike[str],
    structures: Iterable[Structure],
    *,
    charge: int | None = ...,
    dtype: DTypeLike = ...,
    out_of_range: Literal["error", "warn"] = ...,
) -> list[Prediction]: ...


def predict(
    model: Potential | str | PathLike[str],
    structures: Structure | Iterable[Structure],
    *,
    charge: int | None = None,
    dtype: DTypeLike = "float32",
    out_of_range: Literal["error", "warn"] = "error",
) -> Prediction | list[Prediction]:
    """Predict energy and forces of one structure or of many.

    Many structures are padded to a few common sizes and computed in batches; every size is compiled
    once per process and architecture. All structures are checked before anything is computed.

    Args:
        model: a loaded model, or what `efa_zoo.load` takes; load once to predict often.
        structures: ASE atoms or a `Graph` (positions in Å), or several of them. Neighbours are
            always searched anew with the model's cutoff.
        charge: total charge in units of e of every structure. None takes `atoms.info["charge"]`
            or the graph's `total_charge`; without either, 0 if the model knows no other charge.
        dtype: floating-point type to compute in, float32 or float64. JAX's global settings are
            neither needed nor changed.
        out_of_range: whether a structure outside what the card says the model knows (charge,
            electrons, distances) raises or only warns. An unknown element always raises.

    Returns:
        One `Prediction` for one structure, else a list in the order of `structures`.

    Raises:
        InputError: a structure is invalid or outside what the model knows; in a list, its index
            is named.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    if out_of_range not in ("error", "warn"):
        raise InputError(f"out_of_range: got {out_of_range!r}, expected 'error' or 'warn'")
    wanted = _float_type(dtype)
    potential = model if isinstance(model, Potential) else load(model)
    if _is_structure(structures):
        molecule = _check(structures, potential.card, charge, out_of_range, where="")
        return _compute(potential, [molecule], wanted)[0]
    if isinstance(structures, str | PathLike) or not isinstance(structures, Iterable):
        raise InputError(
            f"structures: got {structures!r}, expected ASE atoms or a Graph (read files with "
            "ase.io.read)"
        )
    molecules = []
    for index, structure in enumerate(structures):
        where = f"structure {index}: "
        try:
            molecules.append(_check(structure, potential.card, charge, out_of_range, where=where))
        except InputError as error:
            raise InputError(f"{where}{error}") from error
    return _compute(potential, molecules, wanted)


def _float_type(dtype: DTypeLike) -> np.dtype:
    try:
        wanted = np.dtype(dtype)
    except TypeError as error:
        raise InputError(f"dtype: got {dtype!r}, expected float32 or float64") from error
    if wanted not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise InputError(f"dtype: got {wanted.name}, expected float32 or float64")
    return wanted


# ---------------------------------------------------------------------------------------------
# Checks


def _is_atoms(structure: object) -> bool:
    # Nobody can hold ASE atoms where ASE was not imported.
    if sys.modules.get("ase") is None:
        return False
    from ase import Atoms

    return isinstance(structure, Atoms)


def _is_structure(structure: object) -> bool:
    return isinstance(structure, Graph) or _is_atoms(structure)


def _check(
    structure: object,
    card: Card,
    charge: int | None,
    out_of_range: Literal["error", "warn"],
    *,
    where: str,
) -> _Molecule:
    """Check a structure and take its arrays; raises InputError. Warnings start with `where`."""
    domain = card.domain
    if domain is None:
        raise ConfigError(f"{card.name}: the card has no [domain], which says what the model knows")
    if isinstance(structure, Graph):
        numbers, positions, dipoles = _graph_arrays(structure)
        given = int(structure.total_charge) if charge is None else charge
    elif _is_atoms(structure):
        numbers, positions, dipoles = _atoms_arrays(structure)  # type: ignore[arg-type]
        given = structure.info.get("charge") if charge is None else charge  # type: ignore[attr-defined]
    else:
        raise InputError(
            f"got an object of type {type(structure).__name__}, expected ASE atoms or a Graph"
        )
    if card.model.dipole_embedding and dipoles is None:
        raise InputError("atomic_dipoles: none given, but the model needs them (e·Å, [atoms, 3])")
    _check_geometry(numbers, positions)
    _check_elements(numbers, card, domain)
    total_charge = _charge(given, card, domain)
    for problem in _out_of_range(numbers, positions, total_charge, card, domain):
        if out_of_range == "error":
            raise InputError(problem)
        warnings.warn(f"{where}{problem}", OutOfRangeWarning, stacklevel=3)
    return _Molecule(
        numbers=numbers,
        positions=positions,
        charge=total_charge,
        dipoles=dipoles if card.model.dipole_embedding else None,
    )


def _graph_arrays(graph: Graph) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    if np.ndim(graph.atomic_numbers) != 1:
        raise InputError(
            f"atomic_numbers: got shape {np.shape(graph.atomic_numbers)}, expected (atoms,); give "
            "a batch as a list of graphs"
        )
    numbers = np.asarray(graph.atomic_numbers)
    atoms = numbers > 0
    dipoles = graph.atomic_dipoles
    return (
        numbers[atoms],
        np.asarray(graph.positions, dtype=np.float64)[atoms],
        None if dipoles is None else np.asarray(dipoles, dtype=np.float64)[atoms],
    )


def _atoms_arrays(atoms: Atoms) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    if np.any(atoms.pbc):
        raise InputError(
            f"pbc: got {atoms.pbc.tolist()}, expected a molecule without periodicity "
            "(atoms.pbc = False if the cell is only a box around it)"
        )
    return (
        atoms.get_atomic_numbers(),
        np.asarray(atoms.get_positions(), dtype=np.float64),
        atoms.arrays.get("atomic_dipoles"),
    )


def _check_geometry(numbers: np.ndarray, positions: np.ndarray) -> None:
    if numbers.size == 0:
        raise InputError("got no atoms, expected at least one")
    broken = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if broken.size:
        atom = int(broken[0])
        raise InputError(
            f"positions: atom {atom} ({symbol(int(numbers[atom]))}) is at "
            f"{positions[atom].tolist()}, expected finite numbers (Å)"
        )
    distance, first, second = _closest(positions)
    if distance < _SAME_PLACE:
        hint = "" if positions.any() else "; all positions are zero, were they given?"
        raise InputError(
            f"positions: atoms {first} and {second} are {distance:.3g} Å apart, expected different "
            f"places{hint}"
        )


def _check_elements(numbers: np.ndarray, card: Card, domain: Domain) -> None:
    known = [ATOMIC_NUMBERS[element] for element in domain.elements]
    unknown = [symbol(int(number)) for number in np.unique(numbers) if number not in known]
    if unknown:
        raise InputError(
            f"elements: got {', '.join(unknown)}, but {card.name} knows only "
            f"{', '.join(domain.elements)}"
        )


def _charge(given: object, card: Card, domain: Domain) -> int:
    if given is None:
        if domain.total_charges == (0,):
            return 0
        raise InputError(
            f"charge: not given, but {card.name} knows molecules of charge "
            f"{_signed(domain.total_charges)}; set atoms.info['charge'] (in a file: charge=1 in "
            "the extxyz header), or pass charge= (on the command line: --charge)"
        )
    if isinstance(given, bool | np.bool_) or not isinstance(
        given, int | float | np.integer | np.floating
    ):
        raise InputError(f"charge: got {given!r}, expected an integer (e)")
    if not float(given).is_integer():
        raise InputError(f"charge: got {given}, expected an integer (e)")
    return int(given)


def _out_of_range(
    numbers: np.ndarray, positions: np.ndarray, charge: int, card: Card, domain: Domain
) -> list[str]:
    """What lies outside the card's domain, one sentence each."""
    problems = []
    if charge not in domain.total_charges:
        problems.append(
            f"charge: got {charge:+d}, but {card.name} knows only {_signed(domain.total_charges)}"
        )
    electrons = int(numbers.sum()) - charge
    if domain.closed_shell and electrons % 2:
        problems.append(
            f"charge: {charge:+d} leaves {electrons} electrons, an odd number, but {card.name} "
            "knows closed shells only"
        )
    shortest, first, second = _closest(positions)
    if shortest < domain.min_distance:
        problems.append(
            f"positions: atoms {first} and {second} are {shortest:.3g} Å apart, but {card.name} "
            f"knows distances from {domain.min_distance:g} Å"
        )
    longest, first, second = _farthest(positions)
    if longest > domain.max_distance:
        problems.append(
            f"positions: atoms {first} and {second} are {longest:.4g} Å apart, but {card.name} "
            f"knows distances up to {domain.max_distance:g} Å"
        )
    return problems


def _signed(charges: Sequence[int]) -> str:
    return ", ".join(f"{charge:+d}" if charge else "0" for charge in charges)


def _closest(positions: np.ndarray) -> tuple[float, int, int]:
    """Shortest distance and its two atoms; infinity for a single atom."""
    if len(positions) < 2:
        return float("inf"), 0, 0
    distances, neighbors = map(np.asarray, KDTree(positions).query(positions, k=2))
    first = int(np.argmin(distances[:, 1]))
    # Of two atoms at one place, the tree may name the atom itself second.
    second = next(atom for atom in neighbors[first, ::-1].tolist() if atom != first)
    return float(distances[first, 1]), min(first, second), max(first, second)


def _farthest(positions: np.ndarray) -> tuple[float, int, int]:
    """Longest distance and its two atoms."""
    # Atoms near the middle cannot beat the distance found from the outermost atom.
    center = (positions.min(axis=0) + positions.max(axis=0)) / 2
    radii = np.linalg.norm(positions - center, axis=1)
    outermost = int(np.argmax(radii))
    distances = np.linalg.norm(positions - positions[outermost], axis=1)
    best = float(distances.max()), outermost, int(np.argmax(distances))
    candidates = np.flatnonzero(radii + radii[outermost] >= best[0])
    for atom in candidates.tolist():
        distances = np.linalg.norm(positions[candidates] - positions[atom], axis=1)
        other = int(np.argmax(distances))
        best = max(best, (float(distances[other]), atom, int(candidates[other])))
    distance, *pair = best
    first, second = sorted(pair)
    return distance, first, second


# ---------------------------------------------------------------------------------------------
# Computation


def _compute(
    potential: Potential, molecules: Sequence[_Molecule], dtype: np.dtype
) -> list[Prediction]:
    """Energies and forces of checked molecules, in order."""
    cutoff = potential.card.model.message_passing.cutoff
    groups: dict[tuple[int, int], list[int]] = defaultdict(list)
    graphs = []
    for index, molecule in enumerate(molecules):
        graph = Graph.from_arrays(
            molecule.numbers,
            # float32 resolves positions near the origin best, and the network does not care.
            molecule.positions - molecule.positions.mean(axis=0),
            cutoff,
            total_charge=molecule.charge,
            atomic_dipoles=molecule.dipoles,
            dtype=dtype.type,
        )
        graphs.append(graph)
        groups[_padded_size(graph)].append(index)

    references = np.zeros(len(SYMBOLS))
    for element, energy in potential.card.reference_energies.items():
        references[ATOMIC_NUMBERS[element]] = energy

    predictions: dict[int, Prediction] = {}
    with jax.enable_x64(dtype == np.float64):
        network = cast(potential.network, dtype)
        for (num_atoms, num_neighbors), members in sorted(groups.items()):
            for chunk, size in _chunks(members, num_atoms):
                # The last batch is filled with copies of its last molecule.
                filled = chunk + chunk[-1:] * (size - len(chunk))
                batch = stack(
                    [graphs[index] for index in filled],
                    num_atoms=num_atoms,
                    num_neighbors=num_neighbors,
                )
                atomic_energies, forces = jax.device_get(_evaluate(network, batch))
                for row, index in enumerate(chunk):
                    molecule = molecules[index]
                    atoms = len(molecule.numbers)
                    atomic = atomic_energies[row, :atoms].astype(np.float64)
                    atomic += references[molecule.numbers]
                    predictions[index] = _prediction(
                        atomic, forces[row, :atoms].astype(np.float64), molecule.charge, index
                    )
    return [predictions[index] for index in range(len(molecules))]


def _prediction(
    atomic_energies: np.ndarray, forces: np.ndarray, charge: int, index: int
) -> Prediction:
    energy = float(atomic_energies.sum())
    if not (np.isfinite(energy) and np.isfinite(forces).all()):
        raise InputError(f"structure {index}: the model gives no finite energy and forces for it")
    return Prediction(energy=energy, forces=forces, atomic_energies=atomic_energies, charge=charge)


@eqx.filter_jit
def _evaluate(
    network: EnergyModel, graphs: Graph
) -> tuple[Float[Array, "molecules atoms"], Float[Array, "molecules atoms 3"]]:
    """Atomic energies (eV) and forces (eV/Å) of a batch; compiled once per shape and network."""
    return jax.vmap(lambda graph: energy_and_forces(network, graph))(graphs)


def _padded_size(graph: Graph) -> tuple[int, int]:
    """Common padded numbers of atoms (8, 16, 24, 32, 48, 64, 96 …) and neighbours (8, 16, 32 …)."""
    atoms = 8
    while atoms < graph.num_atoms:
        power = 1 << (atoms.bit_length() - 1)
        atoms = 2 * power if atoms > power or atoms == 8 else power + power // 2
    neighbors = 8
    while neighbors < graph.num_neighbors:
        neighbors *= 2
    return atoms, min(neighbors, atoms)


def _chunks(members: Sequence[int], num_atoms: int) -> list[tuple[list[int], int]]:
    """Split molecules of one padded size into batches of fixed sizes (the last may be short)."""
    sizes = [size for size in _BATCH_SIZES if size == 1 or size * num_atoms <= _MAX_ATOMS]
    chunks = []
    rest = list(members)
    while rest:
        size = next((size for size in sizes if size <= len(rest)), sizes[-1])
        if size == 1 and len(rest) > 1 and len(sizes) > 1:
            # Two to seven molecules cost less in one padded batch than one by one.
            size = sizes[-2]
        chunks.append((rest[:size], size))
        rest = rest[size:]
    return chunks
