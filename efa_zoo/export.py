"""Models as one file that runs without their network: StableHLO by `jax.export`, and the card.

    from efa_zoo.export import export_model, load_exported

    export_model("mpnn_efa_dimers", "dimers.zip", platforms=("cpu", "cuda"))
    model = load_exported("dimers.zip")
    model(atoms).forces  # as efa_zoo.predict gives them

The file is a ZIP archive, not compressed, of two members:

- `manifest.json`: kind and version of the file, dtype, platforms, cutoff, the program's inputs and
  outputs with shapes and units, its SHA-256, and the card.
- `program.bin`: what `jax.export.Exported.serialize` gives. Any number of molecules, atoms and
  neighbours fits; the weights are in it. `jax.export.deserialize(...).call(...)` runs it where
  only JAX is installed. It gives atomic energies relative to the card's reference energies.

JAX runs such programs for at least six months after they were written, in newer versions of it.
Nothing in the file is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import zipfile
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, overload

import equinox as eqx
import jax
import jax.export
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpy.typing import DTypeLike

import efa_zoo
from efa_zoo._elements import ATOMIC_NUMBERS, symbol
from efa_zoo._files import replacing
from efa_zoo._typing import JSON
from efa_zoo.cards import Card
from efa_zoo.checks import OnOutOfRange, check_structure, float_type, is_structure, on_out_of_range
from efa_zoo.config import AttentionConfig, ModelConfig, from_table, to_table
from efa_zoo.energy import energy_and_forces
from efa_zoo.errors import ConfigError, ExportError, InputError
from efa_zoo.graph import Graph, stack
from efa_zoo.mpnn import EnergyModel
from efa_zoo.neighbors import padded_atoms
from efa_zoo.potential import Potential
from efa_zoo.potential import cast as cast_floats
from efa_zoo.prediction import Prediction
from efa_zoo.registry import load

if TYPE_CHECKING:
    from ase import Atoms

    Structure: TypeAlias = Atoms | Graph

__all__ = ["ExportReport", "ExportedModel", "export_model", "load_exported"]

_FORMAT, _VERSION = "efa_zoo exported model", 1
_MANIFEST, _PROGRAM = "manifest.json", "program.bin"

#: Platforms of `jax.export`, and what JAX calls the devices of each.
_DEVICES: Mapping[str, str] = {"cpu": "cpu", "cuda": "gpu", "rocm": "gpu", "tpu": "tpu"}

#: Largest relative difference to the model that a program may have.
_TOLERANCES: Mapping[str, float] = {"float32": 1e-4, "float64": 1e-9}

_ENERGY_UNIT, _FORCE_UNIT = "eV, relative to the card's reference energies", "eV/Å"


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
            choice; a model that chooses by size gets "exact".

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
    wanted = float_type(dtype)
    chosen = _platforms(platforms)
    if attention not in (None, "exact", "quadrature"):
        raise InputError(f"attention: got {attention!r}, expected 'exact', 'quadrature' or None")
    potential = model if isinstance(model, Potential) else load(model)
    with jax.enable_x64(wanted == np.float64):
        network = cast_floats(potential.network, wanted)
        evaluation = _evaluation(network, attention)
        program = _program(_with_evaluation(network, evaluation), wanted, chosen)
        with replacing(path) as temporary:
            _write(temporary, program, potential.card, wanted, chosen, evaluation)
            energy_error, force_error = _compare(load_exported(temporary), network, path)
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


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedModel:
    """A model from a file of `export_model`; the network itself is not needed.

    Attributes:
        card: of the model.
        dtype: floating-point type of the program, "float32" or "float64".
        platforms: where it runs, such as `("cpu", "cuda")`.
        attention: how it evaluates attention, "exact" or "quadrature"; None without attention.
    """

    card: Card
    dtype: str
    platforms: tuple[str, ...]
    attention: str | None
    _call: Callable[..., Any]

    @overload
    def __call__(
        self,
        structures: Structure,
        *,
        charge: int | None = ...,
        out_of_range: OnOutOfRange = ...,
    ) -> Prediction: ...

    @overload
    def __call__(
        self,
        structures: Iterable[Structure],
        *,
        charge: int | None = ...,
        out_of_range: OnOutOfRange = ...,
    ) -> list[Prediction]: ...

    def __call__(
        self,
        structures: Structure | Iterable[Structure],
        *,
        charge: int | None = None,
        out_of_range: OnOutOfRange = "error",
    ) -> Prediction | list[Prediction]:
        """Energy and forces of one structure or of several, as `efa_zoo.predict` gives them.

        Structures are computed one by one, padded to a few common sizes; each size is compiled
        once. `evaluate` takes batches.

        Args:
            structures: ASE atoms or a `Graph` (positions in Å), or several of them.
            charge: total charge in units of e; None takes the structure's own.
            out_of_range: whether a structure outside what the model knows raises or only warns.

        Returns:
            One `Prediction` for one structure, else a list.

        Raises:
            InputError: a structure is invalid or outside what the model knows.
        """
        on_out_of_range(out_of_range)
        if is_structure(structures):
            return self._predict(cast("Structure", structures), charge, out_of_range, "")
        predictions = []
        for index, structure in enumerate(cast("Iterable[Structure]", structures)):
            where = f"structure {index}: "
            try:
                predictions.append(self._predict(structure, charge, out_of_range, where))
            except InputError as error:
                raise InputError(f"{where}{error}") from error
        return predictions

    def evaluate(
        self, graphs: Graph
    ) -> tuple[Float[Array, "molecules atoms"], Float[Array, "molecules atoms 3"]]:
        """What the program itself gives for a batch, without checks and reference energies.

        Args:
            graphs: a batch as `efa_zoo.graph.stack` makes it, of any size, neighbours within the
                card's cutoff.

        Returns:
            Atomic energies in eV relative to the card's reference energies, and forces in eV/Å.
        """
        floats = np.dtype(self.dtype)
        with jax.enable_x64(self.dtype == "float64"):
            arguments = [
                jnp.asarray(graphs.atomic_numbers, jnp.int32),
                jnp.asarray(graphs.positions, floats),
                jnp.asarray(graphs.neighbors, jnp.int32),
                jnp.asarray(graphs.neighbor_mask, bool),
                jnp.asarray(graphs.total_charge, jnp.int32),
            ]
            if self.card.model.dipole_embedding:
                arguments.append(jnp.asarray(graphs.atomic_dipoles, floats))
            return self._call(*arguments)

    def _predict(
        self,
        structure: Structure,
        charge: int | None,
        out_of_range: OnOutOfRange,
        where: str,
    ) -> Prediction:
        molecule = check_structure(structure, self.card, charge, out_of_range, where=where)
        graph = Graph.from_arrays(
            molecule.numbers,
            molecule.positions - molecule.positions.mean(axis=0),
            self.card.model.message_passing.cutoff,
            total_charge=molecule.charge,
            atomic_dipoles=molecule.dipoles,
            dtype=np.float64,
        )
        width = -(-graph.num_neighbors // 8) * 8
        batch = stack([graph], num_atoms=padded_atoms(graph.num_atoms), num_neighbors=width)
        atoms = len(molecule.numbers)
        energies, forces = (np.asarray(x[0, :atoms], np.float64) for x in self.evaluate(batch))
        energies = energies + [
            self.card.reference_energies[symbol(number)] for number in molecule.numbers.tolist()
        ]
        return Prediction(
            energy=float(energies.sum()),
            forces=forces,
            atomic_energies=energies,
            charge=molecule.charge,
        )


def load_exported(path: str | PathLike[str], *, sha256: str | None = None) -> ExportedModel:
    """Read a file of `export_model`.

    Args:
        path: the file.
        sha256: SHA-256 of the whole file as it was reported when it was written; checked before
            anything is read from it. The program's own hash is always checked.

    Returns:
        The model, to be called with structures.

    Raises:
        ExportError: the file is missing, damaged, altered, of another kind or version, or for
            other platforms than JAX has here.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExportError(f"{path}: cannot read the exported model ({error.strerror})") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ExportError(
            f"{path}: the file has SHA-256 {hashlib.sha256(content).hexdigest()}, expected {sha256}"
        )
    manifest, program = _read(path)
    try:
        card = from_table(Card, manifest["card"])
        dtype, platforms = manifest["dtype"], tuple(manifest["platforms"])
        attention, expected = manifest["attention"], manifest["program"]["sha256"]
    except (ConfigError, KeyError, TypeError) as error:
        raise ExportError(f"{path}: {_MANIFEST}: not as expected ({error!r})") from error
    found = hashlib.sha256(program).hexdigest()
    if found != expected:
        raise ExportError(
            f"{path}: {_PROGRAM} has SHA-256 {found}, expected {expected}; it was altered"
        )
    here = jax.default_backend()
    if here not in {_DEVICES.get(platform) for platform in platforms}:
        raise ExportError(
            f"{path}: was exported for {', '.join(platforms)}, but JAX runs on {here} here"
        )
    try:
        exported = jax.export.deserialize(bytearray(program))
    except Exception as error:  # of many kinds, where another version of JAX wrote it
        raise ExportError(
            f"{path}: JAX {jax.__version__} cannot read the program, which JAX "
            f"{manifest.get('jax')} wrote ({error})"
        ) from error
    return ExportedModel(
        card=card,
        dtype=dtype,
        platforms=platforms,
        attention=attention,
        _call=jax.jit(exported.call),
    )


# ---------------------------------------------------------------------------------------------
# The program


def _platforms(given: Sequence[str]) -> tuple[str, ...]:
    known = ", ".join(_DEVICES)
    if isinstance(given, str) or not given:
        raise InputError(f"platforms: got {given!r}, expected some of {known}")
    for platform in given:
        if platform not in _DEVICES:
            raise InputError(f"platforms: got {platform!r}, expected some of {known}")
    here = jax.default_backend()
    if here not in {_DEVICES[platform] for platform in given}:
        raise InputError(
            f"platforms: got {', '.join(given)}, expected also one that is present here ({here}), "
            "where the file can be compared with the model"
        )
    return tuple(dict.fromkeys(given))


def _evaluation(network: EnergyModel, wanted: str | None) -> str | None:
    config = network.config
    if config.attention is None or config.emulate_attention:
        if wanted is not None:
            raise InputError(
                f"attention: got {wanted!r}, expected None for this model: it has none"
            )
        return None
    if wanted is not None:
        return wanted
    return "exact" if config.attention.evaluation == "auto" else config.attention.evaluation


def _with_evaluation(network: EnergyModel, evaluation: str | None) -> EnergyModel:
    """The network with a fixed evaluation of attention: the choice by size needs a size."""
    config = network.config
    if config.attention is None or evaluation is None:
        return network
    changes: dict[str, Any] = {"evaluation": evaluation}
    if evaluation == "exact":  # which takes no grid
        changes |= {"grid": None, "tolerance": AttentionConfig.tolerance}
    fixed = dataclasses.replace(config, attention=dataclasses.replace(config.attention, **changes))
    like = eqx.filter_eval_shape(EnergyModel, fixed, key=jax.random.key(0))
    return jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(network))


def _arguments(config: ModelConfig, dtype: np.dtype) -> list[tuple[str, tuple[str, ...], str, str]]:
    """Name, shape, type and unit of every input of the program."""
    atoms, neighbors = ("molecules", "atoms"), ("molecules", "atoms", "neighbors")
    arguments = [
        ("atomic_numbers", atoms, "int32", "0 marks a padding atom"),
        ("positions", (*atoms, "3"), dtype.name, "Å"),
        ("neighbors", neighbors, "int32", "index of each neighbour; padding points to the atom"),
        ("neighbor_mask", neighbors, "bool", "True for a neighbour within the cutoff"),
        ("total_charge", ("molecules",), "int32", "e"),
    ]
    if config.dipole_embedding:
        arguments.append(("atomic_dipoles", (*atoms, "3"), dtype.name, "e·Å"))
    return arguments


def _program(network: EnergyModel, dtype: np.dtype, platforms: Sequence[str]) -> bytes:
    """Atomic energies and forces of a batch of any size, serialised."""

    def molecule(
        numbers: Array, positions: Array, neighbors: Array, mask: Array, charge: Array,
        dipoles: Array | None = None,
    ) -> tuple[Array, Array]:  # fmt: skip
        # As `energy_and_forces`, whose contracts cannot handle sizes that are left open.
        def total(moved: Array) -> tuple[Array, Array]:
            energies = network(Graph(numbers, moved, neighbors, mask, charge, dipoles))
            return jnp.sum(energies), energies

        (_, energies), gradient = jax.value_and_grad(total, has_aux=True)(positions)
        return energies, -gradient

    scope = jax.export.SymbolicScope()
    shapes = [
        jax.ShapeDtypeStruct(
            jax.export.symbolic_shape(f"({','.join(shape)},)", scope=scope), np.dtype(kind)
        )
        for _, shape, kind, _ in _arguments(network.config, dtype)
    ]
    batch = jax.jit(jax.vmap(molecule))
    with _source_files_without_folders():
        return bytes(jax.export.export(batch, platforms=platforms)(*shapes).serialize())


@contextmanager
def _source_files_without_folders() -> Generator[None]:
    """Keep this machine's folders out of the program, which names the source of every operation."""
    option = "jax_hlo_source_file_canonicalization_regex"
    before = getattr(jax.config, option)
    jax.config.update(option, "^.*/")
    try:
        yield
    finally:
        jax.config.update(option, before)


# ---------------------------------------------------------------------------------------------
# The file


def _write(
    path: Path,
    program: bytes,
    card: Card,
    dtype: np.dtype,
    platforms: Sequence[str],
    evaluation: str | None,
) -> None:
    atoms = ["molecules", "atoms"]
    manifest = {
        "format": _FORMAT,
        "version": _VERSION,
        "efa_zoo": efa_zoo.__version__,
        "jax": jax.__version__,
        "dtype": dtype.name,
        "platforms": list(platforms),
        "attention": evaluation,
        "cutoff": {"value": card.model.message_passing.cutoff, "unit": "Å"},
        "inputs": [
            {"name": name, "shape": list(shape), "dtype": kind, "unit": unit}
            for name, shape, kind, unit in _arguments(card.model, dtype)
        ],
        "outputs": [
            {"name": "atomic_energies", "shape": atoms, "dtype": dtype.name, "unit": _ENERGY_UNIT},
            {"name": "forces", "shape": [*atoms, "3"], "dtype": dtype.name, "unit": _FORCE_UNIT},
        ],
        "program": {
            "member": _PROGRAM,
            "sha256": hashlib.sha256(program).hexdigest(),
            "bytes": len(program),
        },
        "card": to_table(card),
    }
    with zipfile.ZipFile(path, "w") as archive:
        text = json.dumps(manifest, ensure_ascii=False, indent=1)
        archive.writestr(_MANIFEST, text)
        archive.writestr(_PROGRAM, program)


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if sorted(names) != [_MANIFEST, _PROGRAM]:
                raise ExportError(
                    f"{path}: holds {', '.join(sorted(names)) or 'nothing'}, expected {_MANIFEST} "
                    f"and {_PROGRAM}"
                )
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ExportError(f"{path}: is compressed, expected members that are stored as is")
            text, program = archive.read(_MANIFEST), archive.read(_PROGRAM)
    except (zipfile.BadZipFile, EOFError) as error:
        raise ExportError(f"{path}: not a whole exported model ({error})") from error
    try:
        manifest = json.loads(text)
    except ValueError as error:
        raise ExportError(f"{path}: {_MANIFEST}: not valid JSON ({error})") from error
    kind = manifest.get("format") if isinstance(manifest, dict) else None
    if kind != _FORMAT:
        raise ExportError(f"{path}: {_MANIFEST}: format: got {kind!r}, expected {_FORMAT!r}")
    if manifest.get("version") != _VERSION:
        raise ExportError(
            f"{path}: {_MANIFEST}: version: got {manifest.get('version')!r}, expected {_VERSION}"
        )
    return manifest, program


# ---------------------------------------------------------------------------------------------
# The comparison


def _compare(exported: ExportedModel, network: EnergyModel, path: Path) -> tuple[float, float]:
    """Largest differences of atomic energies (eV) and force components (eV/Å) to the network.

    Raises:
        ExportError: they are too large.
    """
    batch = stack([_example(exported.card, atoms, exported.dtype) for atoms in (4, 12)])
    expected = jax.jit(jax.vmap(lambda graph: energy_and_forces(network, graph)))(batch)
    errors = []
    for name, given, right in zip(
        ("energies", "forces"), exported.evaluate(batch), expected, strict=True
    ):
        given, right = np.asarray(given, np.float64), np.asarray(right, np.float64)
        error = float(np.abs(given - right).max())
        allowed = _TOLERANCES[exported.dtype] * max(float(np.abs(right).max()), 1.0)
        if not error <= allowed:  # also where one is not finite
            raise ExportError(
                f"{path}: {name} of the exported program differ by {error:.2g} from those of "
                f"the model, expected at most {allowed:.2g} (eV, Å); nothing was written"
            )
        errors.append(error)
    return errors[0], errors[1]


def _example(card: Card, atoms: int, dtype: str) -> Graph:
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
        dtype=np.dtype(dtype),
    )
