"""Writing a model to a file, and comparing the file with the model."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from numpy.typing import DTypeLike

from efa_zoo.base.contracts import JSON
from efa_zoo.base.errors import ExportError, InputError
from efa_zoo.base.files import replacing
from efa_zoo.interop.export import _archive
from efa_zoo.interop.export._platforms import check_platforms
from efa_zoo.interop.export._program import in_cells, make_program, with_evaluation
from efa_zoo.interop.export.loading import ExportedModel, load_exported
from efa_zoo.models.energy import energy_and_forces
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.hub.registry import load
from efa_zoo.models.inputs.checks import as_float_dtype
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.potential import Potential, Predictor
from efa_zoo.models.potential import cast as cast_floats
from efa_zoo.models.prediction import UNCERTAINTIES
from efa_zoo.structures.elements import ATOMIC_NUMBERS
from efa_zoo.structures.graph import Graph, stack

#: Largest relative difference to the model that a program may have.
_TOLERANCES: Mapping[str, float] = {"float32": 1e-4, "float64": 1e-9}


@dataclass(frozen=True, kw_only=True)
class ExportReport:
    """What was exported, and how well it repeats the model.

    Attributes:
        path: the file.
        sha256: SHA-256 of the file, which `load_exported` can check.
        bytes: size of the file.
        dtype: floating-point type of the program.
        platforms: where it runs.
        attention: how it evaluates attention; None for a model without attention.
        energy_error: largest difference of an atomic energy to the model, in eV.
        force_error: largest difference of a force component to the model, in eV/Å.
    """

    path: Path
    sha256: str
    bytes: int
    dtype: str
    platforms: tuple[str, ...]
    attention: str | None
    energy_error: float
    force_error: float

    def to_dict(self) -> dict[str, JSON]:
        """The fields with plain values, for JSON."""
        return {**dataclasses.asdict(self), "path": str(self.path)}

    def __str__(self) -> str:
        attention = f", {self.attention} attention" if self.attention else ""
        return (
            f"{self.path}: {self.bytes / 1024:.0f} kB, {self.dtype}, for "
            f"{' and '.join(self.platforms)}{attention}\n"
            f"reloaded and compared with the model: energies within {self.energy_error:.1g} eV, "
            f"forces within {self.force_error:.1g} eV/Å\n"
            f"SHA-256 {self.sha256}"
        )


def export_model(
    model: Potential | str | PathLike[str],
    path: str | PathLike[str],
    *,
    dtype: DTypeLike = "float32",
    platforms: Sequence[str] = ("cpu", "cuda"),
    attention: Literal["exact", "quadrature"] | None = None,
) -> ExportReport:
    """Write a model as a program that needs only JAX, for molecules of any size.

    The file is read again and compared with the model before it gets its name.

    Args:
        model: a loaded model, or what `efa_zoo.load` takes.
        path: the file to write, `*.zip`.
        dtype: floating-point type of the program, float32 or float64.
        platforms: where it is to run: "cpu", "cuda", "rocm", "tpu". One of them must be present
            here, to compare on.
        attention: how attention is evaluated for molecules of every size: "exact" (a sum over
            pairs) or "quadrature" (linear in the number of atoms). None takes the model's own
            choice; a model that chooses by size gets "exact". In cells there is no choice.

    Returns:
        What was written, and how well it repeats the model.

    Raises:
        InputError: an argument is invalid.
        ExportError: the program does not repeat the model.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    path = Path(path)
    if path.suffix != ".zip":
        raise InputError(f"path: got {str(path)!r}, expected a name that ends in .zip")
    wanted = as_float_dtype(dtype)
    chosen = check_platforms(platforms)
    if attention not in (None, "exact", "quadrature"):
        raise InputError(f"attention: got {attention!r}, expected 'exact', 'quadrature' or None")
    potential = load(model)
    with jax.enable_x64(wanted == np.float64):
        predictor = cast_floats(potential.predictor, wanted)
        cells = in_cells(potential.card)
        evaluation = _evaluation(predictor.network, attention, cells)
        program = make_program(with_evaluation(predictor, evaluation), wanted, chosen, cells)
        with replacing(path) as temporary:
            _archive.write(
                temporary,
                program,
                potential.card,
                wanted,
                chosen,
                evaluation,
                predictor.network.wave_reach if cells else None,
                calibrated=predictor.calibration is not None,
            )
            energy_error, force_error = _compare(load_exported(temporary), predictor, path)
            content = temporary.read_bytes()
    return ExportReport(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        dtype=wanted.name,
        platforms=chosen,
        attention=evaluation,
        energy_error=energy_error,
        force_error=force_error,
    )


def _evaluation(network: EnergyModel, wanted: str | None, cells: bool) -> str | None:
    config = network.config
    if cells:
        if wanted is not None:
            raise InputError(
                f"attention: got {wanted!r}, expected None for a model of structures in cells, "
                "over whose wave vectors attention is summed"
            )
        return None
    if config.attention is None or config.emulate_attention:
        if wanted is not None:
            raise InputError(
                f"attention: got {wanted!r}, expected None for this model: it has none"
            )
        return None
    if wanted is not None:
        return wanted
    return "exact" if config.attention.evaluation == "auto" else config.attention.evaluation


def _compare(exported: ExportedModel, predictor: Predictor, path: Path) -> tuple[float, float]:
    """Largest differences of atomic energies (eV) and force components (eV/Å) to the network.

    Uncertainties and grades are steep functions of features that nearly depend on each other, and
    infinite for elements that were not trained on.

    Raises:
        ExportError: they are too large.
    """
    reach = exported.wave_reach
    batch = stack([_example(exported.card, atoms, exported.dtype, reach) for atoms in (4, 12)])
    expected = jax.jit(jax.vmap(lambda graph: energy_and_forces(predictor, graph)))(batch)
    errors = []
    found = exported.evaluate(batch)
    for name in exported.outputs:
        given, right = (np.asarray(getattr(x, name), np.float64) for x in (found, expected))
        unequal = given != right  # infinities are equal
        error = float(np.abs(given[unequal] - right[unequal]).max(initial=0.0))
        tolerance = _TOLERANCES[exported.dtype] * (100 if name in UNCERTAINTIES else 1)
        allowed = tolerance * max(float(np.abs(right[np.isfinite(right)]).max(initial=0.0)), 1.0)
        if not error <= allowed:  # also where one is not finite
            raise ExportError(
                f"{path}: {name} of the exported program differ by {error:.2g} from those of "
                f"the model, expected at most {allowed:.2g} (eV, Å); nothing was written"
            )
        errors.append(error)
    return errors[0], errors[1]


def _example(card: Card, atoms: int, dtype: str, wave_reach: float | None) -> Graph:
    """Atoms of the elements that the model knows, on a distorted lattice."""
    random = np.random.default_rng(atoms)
    elements = card.domain.elements if card.domain is not None else ("H",)
    numbers = [ATOMIC_NUMBERS[elements[i % len(elements)]] for i in range(atoms)]
    side = int(np.ceil(atoms ** (1 / 3)))
    lattice = np.stack(np.meshgrid(*[np.arange(side)] * 3), axis=-1).reshape(-1, 3)[:atoms]
    return Graph.from_arrays(
        np.asarray(numbers),
        2.0 * lattice + random.uniform(-0.2, 0.2, (atoms, 3)),
        card.model.message_passing.cutoff,
        atomic_dipoles=random.normal(size=(atoms, 3)) if card.model.dipole_embedding else None,
        multiplicity=3 - sum(numbers) % 2 if card.model.spin_embedding else None,
        cell=None if wave_reach is None else 2.5 * side * np.eye(3),
        wave_reach=wave_reach or 0.0,
        dtype=np.dtype(dtype),
    )
