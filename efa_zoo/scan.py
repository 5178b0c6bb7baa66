"""The separation curve of a dimer: the model, and GFN2-xTB where tblite is installed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import scipy.optimize
from jaxtyping import Float

from efa_zoo._files import replacing
from efa_zoo.errors import InputError
from efa_zoo.graph import Graph
from efa_zoo.potential import Potential
from efa_zoo.prediction import predict
from efa_zoo.registry import load

__all__ = ["Scan", "scan"]

#: Default pair, picture and range: from contact to the longest separation of the data, in Å.
_DEFAULT_PAIR = ("ammonium", "water")
_LONGEST = 15.0
_POINTS = 60


@dataclass(frozen=True, eq=False)
class Scan:
    """Interaction energy of two rigid molecules over the distance of their centres of mass.

    Attributes:
        model: name of the model.
        pair: names of the molecules.
        separations: `[points]` in Å.
        energies: `[points]` in eV, of the model, relative to the molecules alone.
        labels: `[points]` in eV, of GFN2-xTB; NaN where it does not converge, None without tblite.
        picture: the picture that was written, or None.
    """

    model: str
    pair: tuple[str, str]
    separations: Float[np.ndarray, " points"]
    energies: Float[np.ndarray, " points"]
    labels: Float[np.ndarray, " points"] | None
    picture: Path | None

    def __str__(self) -> str:
        head = f"{'separation (Å)':>15}{self.model + ' (meV)':>28}"
        lines = [
            f"{' + '.join(self.pair)}",
            head + ("" if self.labels is None else f"{'GFN2-xTB (meV)':>17}"),
        ]
        for i in range(0, len(self.separations), 4):
            line = f"{self.separations[i]:15.2f}{1e3 * self.energies[i]:28.2f}"
            lines.append(line + ("" if self.labels is None else f"{1e3 * self.labels[i]:17.2f}"))
        if self.picture is not None:
            lines.append(f"picture: {self.picture}")
        return "\n".join(lines)


def scan(
    model: str | os.PathLike[str],
    *,
    pair: tuple[str, str] | None = None,
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> Scan:
    """Pull two rigid molecules apart and draw their interaction energy.

    The molecules are relaxed with the model and oriented at random.

    Args:
        model: what `efa_zoo.load` takes; a model of dimers.
        pair: names of two molecules of the data set `dimers`, default ammonium and water.
        out: picture to write, `.png`, `.pdf` or `.svg`; default `scan_<model>_<pair>.png` in the
            working directory.
        seed: of the orientation.

    Returns:
        The curve.

    Raises:
        InputError: a molecule is unknown, both are outside what the model knows, or the
            picture's name has another ending.
    """
    # Imported here: drawing needs packages that the library itself does not.
    from data_pipelines.monomers import MONOMERS
    from data_pipelines.placement import (
        contact_distances,
        random_direction,
        random_rotation,
        separation_at_contact,
    )

    pair = _DEFAULT_PAIR if pair is None else pair
    for name in pair:
        if name not in MONOMERS:
            raise InputError(f"pair: got {name!r}, expected one of {', '.join(MONOMERS)}")
    potential = load(model)
    path = Path(f"scan_{potential.card.name}_{'_'.join(pair)}.png") if out is None else Path(out)
    if path.suffix not in (".png", ".pdf", ".svg"):
        raise InputError(
            f"out: got {os.fspath(path)!r}, expected a name ending in .png, .pdf or .svg"
        )

    numbers = [np.asarray(MONOMERS[name].atomic_numbers, np.int32) for name in pair]
    charges = [MONOMERS[name].charge for name in pair]
    rng = np.random.default_rng(seed)
    first, second = (
        _relaxed(potential, z, np.asarray(MONOMERS[name].guess, np.float64), charge)
        @ random_rotation(rng).T
        for name, z, charge in zip(pair, numbers, charges, strict=True)
    )
    direction = random_direction(rng)
    nearest = separation_at_contact(first, second, direction, 0.85 * contact_distances(*numbers))
    # Half of the points on the first quarter of the way, where the energy varies most.
    separations = nearest + (_LONGEST - nearest) * np.linspace(0, 1, _POINTS) ** 2
    positions = [np.concatenate([first, second + r * direction]) for r in separations]
    dimer = np.concatenate(numbers)
    dimers = [(dimer, p, sum(charges)) for p in positions]
    fragments = [(z, p, c) for z, p, c in zip(numbers, (first, second), charges, strict=True)]

    predictions = predict(potential, [_graph(*m) for m in dimers + fragments], out_of_range="warn")
    energies = np.asarray([p.energy for p in predictions])
    energies = energies[:-2] - energies[-2:].sum()
    labels = _labels(dimers + fragments) if find_spec("tblite") is not None else None
    picture = _draw(path, potential, pair, separations, energies, labels)
    return Scan(potential.card.name, pair, separations, energies, labels, picture)


_Molecule = tuple[np.ndarray, np.ndarray, int]


def _graph(numbers: np.ndarray, positions: np.ndarray, charge: int) -> Graph:
    return Graph.from_arrays(numbers, positions, None, total_charge=charge, dtype=np.float64)


def _relaxed(
    potential: Potential, numbers: np.ndarray, guess: np.ndarray, charge: int
) -> np.ndarray:
    """Geometry of least energy of the model, centre of the atoms' masses at the origin."""
    from data_pipelines.monomers import MASSES

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        found = predict(potential, _graph(numbers, flat.reshape(-1, 3), charge), dtype="float64")
        return found.energy, -found.forces.ravel()

    positions = guess
    if len(numbers) > 1:
        found = scipy.optimize.minimize(
            objective, guess.ravel(), jac=True, method="BFGS", options={"gtol": 1e-3}
        )
        positions = found.x.reshape(-1, 3)
    masses = np.asarray([MASSES[int(z)] for z in numbers])
    return positions - masses @ positions / masses.sum()


def _labels(molecules: Sequence[_Molecule]) -> np.ndarray:
    """GFN2-xTB's interaction energies; the last two molecules are the fragments."""
    from data_pipelines._workers import Failure
    from data_pipelines.labelling import Molecule, label

    found = [label(Molecule(*molecule)) for molecule in molecules]
    energies = np.asarray([np.nan if isinstance(x, Failure) else x.energy for x in found])
    return energies[:-2] - energies[-2:].sum()


def _draw(
    path: Path,
    potential: Potential,
    pair: tuple[str, str],
    separations: np.ndarray,
    energies: np.ndarray,
    labels: np.ndarray | None,
) -> Path:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    if labels is not None:
        axes.plot(separations, 1e3 * labels, "o", color="0.45", ms=4, label="GFN2-xTB")
    axes.plot(separations, 1e3 * energies, color="#c0392b", lw=2, label=potential.card.name)
    attention = potential.card.model.attention
    if attention is None:
        cutoff = potential.card.model.message_passing.cutoff
        axes.set_title(f"{' + '.join(pair)} (local, cutoff {cutoff:g} Å)")
    else:
        axes.set_title(" + ".join(pair))
    axes.axhline(0, color="0.8", lw=1, zorder=0)
    axes.set_xlabel("distance of the centres of mass (Å)")
    axes.set_ylabel("interaction energy (meV)")
    axes.legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=160)
    return path
