"""A model as a calculator of ASE, for its optimisers, dynamics, vibrations and reaction paths."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from os import PathLike
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from ase.calculators.calculator import Calculator, Parameters, all_changes
from numpy.typing import DTypeLike

from efa_zoo.base.errors import ConfigError, InputError
from efa_zoo.base.interrupts import forbid_fork, require_no_fork
from efa_zoo.models.energy import energy_and_forces
from efa_zoo.models.hub.registry import load
from efa_zoo.models.inputs.checks import (
    OutOfRange,
    as_float_dtype,
    as_out_of_range,
    check_structure,
)
from efa_zoo.models.inputs.surroundings import judge_surroundings
from efa_zoo.models.outputs import Outputs
from efa_zoo.models.potential import Potential, Predictor, cast
from efa_zoo.models.prediction import UNCERTAINTIES, Prediction
from efa_zoo.structures.graph import Graph, pack_one
from efa_zoo.structures.molecule import Molecule
from efa_zoo.structures.neighbors import NeighborList, padded_atoms
from efa_zoo.structures.packing import WaveWidth

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["EFACalculator"]


class EFACalculator(Calculator):
    """Energies (eV), forces (eV/Å) and in cells stress (eV/Å³) of a model for ASE.

        atoms.calc = EFACalculator("mpnn_efa_dimers")
        atoms.get_potential_energy(), atoms.get_forces(), atoms.get_potential_energies()

    The numbers are those of `efa_zoo.predict`, reference energies included, and structures are
    checked in the same way at every call. One calculator serves any atoms objects, also of
    changing sizes: molecules are padded to a few common sizes and the network is compiled once
    for each. Neighbours are searched anew only after atoms have moved by half the skin.

    Constraints are ASE's business: forces come without them. Calculators can be copied deeply and
    pickled; they carry their weights along.

    Attributes:
        potential: the loaded model, its network in the calculator's type.
        neighbors: the neighbour list that is carried from call to call.
    """

    #: Charges of the atoms and the dipole moment too, if the model has them, and stress if it can
    #: attend in a cell or has no attention; of a calibrated model `energy_uncertainty`,
    #: `force_uncertainty` and `extrapolation` as a `Prediction` has them.
    implemented_properties: list[str] = ["energy", "free_energy", "forces", "energies"]  # noqa: RUF012
    discard_results_on_any_change = True

    potential: Potential
    neighbors: NeighborList
    atoms: Atoms | None
    results: dict[str, float | np.ndarray]

    def __init__(
        self,
        model: Potential | str | PathLike[str],
        *,
        charge: int | None = None,
        multiplicity: int | None = None,
        dtype: DTypeLike = "float64",
        out_of_range: OutOfRange = "error",
        skin: float = 0.5,
    ):
        """Load the model.

        Args:
            model: a loaded model, or what `efa_zoo.load` takes.
            charge: total charge in units of e. None takes `atoms.info["charge"]` of the atoms that
                are computed; without it, it is 0, which is logged.
            multiplicity: 2S + 1. None takes `atoms.info["spin"]`; without it, the lowest.
            dtype: floating-point type to compute in, float64 or float32. JAX's global settings
                are neither needed nor changed.
            out_of_range: whether a structure outside what the card says the model knows (charge,
                electrons, distances), or with an atom in surroundings that the model does not
                know, raises or only warns.
            skin: in Å, how much farther than the cutoff neighbours are searched.

        Raises:
            InputError: an argument is not as above.
            UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
        """
        self._dtype = as_float_dtype(dtype)
        potential = load(model)
        with jax.enable_x64(self._dtype == np.float64):
            self.potential = cast(potential, self._dtype)
        self.neighbors = NeighborList(potential.card.model.message_passing.cutoff, skin)
        self._waves: WaveWidth | None = None
        if potential.card.model.atomic_charges:
            self.implemented_properties = [*self.implemented_properties, "charges", "dipole"]
        with contextlib.suppress(ConfigError):
            _ = self.potential.network.wave_reach
            self.implemented_properties = [*self.implemented_properties, "stress"]
        if potential.calibration is not None:
            self.implemented_properties = [*self.implemented_properties, *UNCERTAINTIES]
        super().__init__()
        self.parameters: Any = Parameters(  # what ASE stores with results
            model=potential.card.name,
            charge=charge,
            multiplicity=multiplicity,
            dtype=self._dtype.name,
            out_of_range=as_out_of_range(out_of_range),
            skin=skin,
        )

    def set(self, **kwargs: Any) -> dict[str, Any]:
        """Change `charge`, `multiplicity` or `out_of_range`; results are forgotten if one differs.

        Args:
            **kwargs: new values.

        Returns:
            What was changed.

        Raises:
            InputError: another parameter, which only a new calculator can have, or a bad value.
        """
        for name in kwargs:
            if name not in ("charge", "multiplicity", "out_of_range"):
                raise InputError(
                    f"set: got {name!r}, expected 'charge', 'multiplicity' or 'out_of_range'"
                )
        if "out_of_range" in kwargs:
            as_out_of_range(kwargs["out_of_range"])
        return super().set(**kwargs)

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Tell what has changed since the last calculation; ASE overlooks charge, spin and dipoles.

        Args:
            atoms: the structure to compare with the last one.
            tol: two numbers that differ by less are the same.

        Returns:
            Names of what differs, none if the last results hold.
        """
        changes = list(super().check_state(atoms, tol=tol))
        if not atoms.pbc.any():  # then the cell means nothing
            changes = [name for name in changes if name != "cell"]
        if self.atoms is None or changes:
            return changes
        changes += [
            name for name in ("charge", "spin") if self.atoms.info.get(name) != atoms.info.get(name)
        ]
        last, now = (found.arrays.get("atomic_dipoles", ()) for found in (self.atoms, atoms))
        if not np.array_equal(last, now):
            changes.append("atomic_dipoles")
        return changes

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Compute all properties of a structure; ASE calls this when it needs one.

        Args:
            atoms: the structure; None takes the last one again.
            properties: ignored, energy and forces come together.
            system_changes: ignored, the calculator notices by itself.

        Raises:
            InputError: the structure is invalid or outside what the model knows, or the model gives
                no finite numbers for it. No results are left behind then.
            EFAZooError: the process was forked after a model was loaded.
        """
        require_no_fork()
        atoms = self.atoms if atoms is None else atoms
        self.reset()
        if atoms is None:
            raise InputError("atoms: got none, expected a structure")
        molecule = check_structure(
            atoms,
            self.potential.card,
            self.parameters["charge"],
            self.parameters["out_of_range"],
            multiplicity=self.parameters["multiplicity"],
        )
        lists = self.neighbors.update(molecule.positions, molecule.cell, molecule.pbc)
        graph = pack_one(
            molecule,
            padded_atoms(molecule.num_atoms),
            lists.width,
            reach=self.neighbors.cutoff,
            lists=lists,
            dtype=self._dtype,
            **self._wave_options(molecule),
        )
        with jax.enable_x64(self._dtype == np.float64):
            outputs = jax.device_get(_evaluate(self.potential.predictor, graph))
        prediction = Prediction.of(outputs, molecule, self.potential.card)
        judge_surroundings(
            prediction.extrapolation,
            molecule.numbers,
            self.potential.card,
            self.parameters["out_of_range"],
        )
        self.atoms = atoms.copy()
        self.results = {
            "energy": prediction.energy,
            "free_energy": prediction.energy,
            "forces": prediction.forces,
            "energies": prediction.atomic_energies,
        }
        for name in ("charges", "dipole", "stress", *UNCERTAINTIES):
            if (found := getattr(prediction, name)) is not None:
                self.results[name] = found

    def _wave_options(self, molecule: Molecule) -> dict[str, Any]:
        """Padded number and reach of the wave vectors of a structure in a cell."""
        if molecule.cell is None:
            return {}
        if self._waves is None:
            self._waves = WaveWidth(self.potential.network.wave_reach)
        return {"waves": self._waves(molecule), "wave_reach": self._waves.reach}

    def __getstate__(self) -> dict[str, Any]:
        # JAX would load arrays of float64 as float32 where its 64-bit mode is off.
        return vars(self) | {"potential": _convert(self.potential, np.asarray)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        require_no_fork()
        forbid_fork()
        vars(self).update(state)
        with jax.enable_x64(self._dtype == np.float64):
            self.potential = _convert(self.potential, jnp.asarray)


def _convert(potential: Potential, to: Callable[[object], object]) -> Potential:
    return jax.tree.map(lambda leaf: to(leaf) if _is_array(leaf) else leaf, potential)


def _is_array(leaf: object) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray)


@eqx.filter_jit
def _evaluate(predictor: Predictor, graph: Graph) -> Outputs:
    """Compute one molecule; compiled once per shape and architecture."""
    return energy_and_forces(predictor, graph)
