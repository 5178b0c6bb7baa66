"""Exported models: reading their files, and calling them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast, overload

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from efa_zoo.base.config import from_table
from efa_zoo.base.errors import ConfigError, ExportError, InputError
from efa_zoo.base.interrupts import forbid_fork, require_no_fork
from efa_zoo.interop.export import _archive
from efa_zoo.interop.export._platforms import DEVICES
from efa_zoo.interop.export._program import in_cells, inputs
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.inputs.checks import OutOfRange, as_out_of_range, check_structure
from efa_zoo.models.inputs.reading import is_structure
from efa_zoo.models.inputs.surroundings import judge_surroundings
from efa_zoo.models.outputs import Outputs
from efa_zoo.models.prediction import Prediction
from efa_zoo.structures.graph import Graph, pack
from efa_zoo.structures.packing import padded_shape

if TYPE_CHECKING:
    from efa_zoo.models.inputs.reading import AnyStructure


@dataclass(frozen=True, kw_only=True, eq=False)
class ExportedModel:
    """A model from a file of `export_model`; the network itself is not needed.

    Attributes:
        card: of the model.
        dtype: floating-point type of the program, "float32" or "float64".
        platforms: where it runs, such as `("cpu", "cuda")`.
        attention: how it evaluates attention, "exact" or "quadrature"; None without attention, and
            in cells.
        wave_reach: for structures in cells: how far wave vectors must reach, in 1/Å; None for
            others.
        outputs: names of what it gives, fields of `Outputs`; uncertainties are among them where the
            model was calibrated.
    """

    card: Card
    dtype: str
    platforms: tuple[str, ...]
    attention: str | None
    wave_reach: float | None
    outputs: tuple[str, ...]
    _call: Callable[..., Any]

    @overload
    def __call__(
        self,
        structures: AnyStructure,
        *,
        charge: int | None = ...,
        multiplicity: int | None = ...,
        out_of_range: OutOfRange = ...,
    ) -> Prediction: ...

    @overload
    def __call__(
        self,
        structures: Iterable[AnyStructure],
        *,
        charge: int | None = ...,
        multiplicity: int | None = ...,
        out_of_range: OutOfRange = ...,
    ) -> list[Prediction]: ...

    def __call__(
        self,
        structures: AnyStructure | Iterable[AnyStructure],
        *,
        charge: int | None = None,
        multiplicity: int | None = None,
        out_of_range: OutOfRange = "error",
    ) -> Prediction | list[Prediction]:
        """Energy and forces of one structure or of several, as `efa_zoo.predict` gives them.

        Structures are computed one by one, padded to a few common sizes; each size is compiled
        once. `evaluate` takes batches.

        Args:
            structures: ASE atoms or a `Graph` (positions in Å), or several of them.
            charge: total charge in units of e; None takes the structure's own.
            multiplicity: 2S + 1; None takes the structure's own.
            out_of_range: whether a structure outside what the model knows raises or only warns.

        Returns:
            One `Prediction` for one structure, else a list.

        Raises:
            InputError: a structure is invalid or outside what the model knows.
        """
        as_out_of_range(out_of_range)
        if is_structure(structures):
            return self._predict(
                cast("AnyStructure", structures), charge, multiplicity, out_of_range, ""
            )
        predictions = []
        for index, structure in enumerate(cast("Iterable[AnyStructure]", structures)):
            where = f"structure {index}: "
            try:
                predictions.append(
                    self._predict(structure, charge, multiplicity, out_of_range, where)
                )
            except InputError as error:
                raise InputError(f"{where}{error}") from error
        return predictions

    def evaluate(self, graphs: Graph) -> Outputs:
        """Compute what the program itself gives for a batch, without checks and reference energies.

        Args:
            graphs: a batch as `efa_zoo.structures.graph.stack` makes it, of any size, neighbours
                within the card's cutoff.

        Returns:
            Atomic energies in eV relative to the card's reference energies, and forces in eV/Å;
            in cells stress in eV/Å³; charges and dipole if the model has them, uncertainties and
            grades if it is calibrated.

        Raises:
            InputError: the graphs do not list all pairs within the cutoff, or all wave vectors
                within reach, or they are periodic and the program is not, or the reverse.
        """
        require_no_fork()
        cutoff = self.card.model.message_passing.cutoff
        if graphs.reach < cutoff:
            raise InputError(
                f"graphs: list neighbours up to {graphs.reach:g} Å, expected at least {cutoff:g} Å"
            )
        cells = self.wave_reach is not None
        if cells != all(graphs.pbc) or (self.wave_reach or 0) > graphs.wave_reach:
            expected = "cells" if cells else "no cells"
            raise InputError(
                f"graphs: got pbc {list(graphs.pbc)} and wave vectors up to "
                f"{graphs.wave_reach:.6g} 1/Å, expected {expected} and "
                f"{self.wave_reach or 0:.6g} 1/Å"
            )
        floats = np.dtype(self.dtype)
        with jax.enable_x64(self.dtype == "float64"):
            arguments = [
                jnp.asarray(getattr(graphs, name), kind)
                for name, _, kind, _ in inputs(self.card.model, floats, cells=cells)
            ]
            return Outputs(**dict(zip(self.outputs, self._call(*arguments), strict=True)))

    def _predict(
        self,
        structure: AnyStructure,
        charge: int | None,
        multiplicity: int | None,
        out_of_range: OutOfRange,
        where: str,
    ) -> Prediction:
        molecule = check_structure(
            structure, self.card, charge, out_of_range, multiplicity=multiplicity, where=where
        )
        cutoff = self.card.model.message_passing.cutoff
        reach = self.wave_reach or 0.0
        shape = padded_shape(molecule, cutoff, reach)
        batch = pack([molecule], shape, reach=cutoff, wave_reach=reach, dtype=np.dtype(self.dtype))
        outputs = self.evaluate(batch)
        one = jax.tree.map(lambda leaf: leaf[0], jax.device_get(outputs))
        found = Prediction.of(one, molecule, self.card)
        judge_surroundings(
            found.extrapolation, molecule.numbers, self.card, out_of_range, where=where
        )
        return found


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
    require_no_fork()
    forbid_fork()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExportError(f"{path}: cannot read the exported model ({error.strerror})") from error
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise ExportError(
            f"{path}: the file has SHA-256 {hashlib.sha256(content).hexdigest()}, expected {sha256}"
        )
    manifest, program = _archive.read(path, content)
    try:
        card = from_table(Card, manifest["card"])
        dtype, platforms = manifest["dtype"], tuple(manifest["platforms"])
        attention, expected = manifest["attention"], manifest["program"]["sha256"]
        wave_reach = float(manifest["wave_reach"]["value"]) if in_cells(card) else None
        outputs = tuple(str(output["name"]) for output in manifest["outputs"])
        _archive.require_digest(path, manifest, card)
    except (ConfigError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ExportError(f"{path}: {_archive.MANIFEST}: not as expected ({error!r})") from error
    found = hashlib.sha256(program).hexdigest()
    if found != expected:
        raise ExportError(
            f"{path}: {_archive.PROGRAM} has SHA-256 {found}, expected {expected}; it was altered"
        )
    here = jax.default_backend()
    if here not in {DEVICES.get(platform) for platform in platforms}:
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
        wave_reach=wave_reach,
        outputs=outputs,
        _call=jax.jit(exported.call),
    )
