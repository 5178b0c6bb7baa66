"""The separation curve of a dimer: models, and GFN2-xTB where tblite is installed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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

__all__ = ["Scan", "draw_scans", "scan"]

#: Pair drawn when none is named.
DEFAULT_PAIR = ("ammonium", "water")

#: Longest separation of the data in Å, and number of points of a curve.
_LONGEST = 15.0
_POINTS = 60

_LABEL = "GFN2-xTB"
_COLORS = ("#c0392b", "#2471a3", "#1e8449", "#7d3c98")


@dataclass(frozen=True, eq=False)
class Scan:
    """Interaction energy of two rigid molecules over the distance of their centres of mass.

    Attributes:
        pair: names of the molecules.
        separations: `[points]` in Å.
        energies: by name of the model `[points]` in eV, relative to the molecules alone.
        labels: `[points]` in eV, of GFN2-xTB; NaN where it does not converge, None without tblite.
    """

    pair: tuple[str, str]
    separations: Float[np.ndarray, " points"]
    energies: Mapping[str, Float[np.ndarray, " points"]]
    labels: Float[np.ndarray, " points"] | None

    def __str__(self) -> str:
        columns = dict(self.energies) | ({} if self.labels is None else {_LABEL: self.labels})
        widths = [max(len(name), 10) + 2 for name in columns]
        names = "".join(name.rjust(width) for name, width in zip(columns, widths, strict=True))
        lines = [
            f"interaction energy of {' + '.join(self.pair)} (meV)",
            f"{'separation (Å)':>14}{names}",
        ]
        for i in range(0, len(self.separations), 4):
            values = "".join(
                f"{1e3 * column[i]:{width}.2f}"
                for column, width in zip(columns.values(), widths, strict=True)
            )
            lines.append(f"{self.separations[i]:14.2f}{values}")
        return "\n".join(lines)


def scan(
    models: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    pair: tuple[str, str] = DEFAULT_PAIR,
    seed: int = 0,
) -> Scan:
    """Pull two rigid molecules apart and compute their interaction energy.

    The molecules are relaxed with the first model and oriented at random.

    Args:
        models: one or several of what `efa_zoo.load` takes; models of dimers.
        pair: names of two molecules of the data set `dimers`.
        seed: of the orientation.

    Returns:
        The curves.

    Raises:
        InputError: a molecule is unknown, or outside what a model knows.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
    """
    # Imported here: the data pipelines are no part of the library's core.
    from data_pipelines.monomers import MONOMERS
    from data_pipelines.placement import (
        contact_distances,
        random_direction,
        random_rotation,
        separation_at_contact,
    )

    for name in pair:
        if name not in MONOMERS:
            raise InputError(f"pair: got {name!r}, expected one of {', '.join(MONOMERS)}")
    names = [models] if isinstance(models, str | os.PathLike) else list(models)
    potentials = [load(name) for name in names]
    numbers = [np.asarray(MONOMERS[name].atomic_numbers, np.int32) for name in pair]
    charges = [MONOMERS[name].charge for name in pair]
    rng = np.random.default_rng(seed)
    first, second = (
        _relaxed(potentials[0], z, np.asarray(MONOMERS[name].guess, np.float64), charge)
        @ random_rotation(rng).T
        for name, z, charge in zip(pair, numbers, charges, strict=True)
    )
    direction = random_direction(rng)
    nearest = separation_at_contact(first, second, direction, 0.85 * contact_distances(*numbers))
    # Half of the points on the first quarter of the way, where the energy varies most.
    separations = nearest + (_LONGEST - nearest) * np.linspace(0, 1, _POINTS) ** 2
    atoms = np.concatenate(numbers)
    molecules: list[_Molecule] = [
        (atoms, np.concatenate([first, second + r * direction]), sum(charges)) for r in separations
    ]
    molecules += zip(numbers, (first, second), charges, strict=True)
    graphs = [_graph(*molecule) for molecule in molecules]
    energies = {
        potential.card.name: _interaction(
            [p.energy for p in predict(potential, graphs, out_of_range="warn")]
        )
        for potential in potentials
    }
    labels = _labels(molecules) if find_spec("tblite") is not None else None
    return Scan(pair, separations, energies, labels)


_Molecule = tuple[np.ndarray, np.ndarray, int]


def _graph(numbers: np.ndarray, positions: np.ndarray, charge: int) -> Graph:
    return Graph.from_arrays(numbers, positions, None, total_charge=charge, dtype=np.float64)


def _interaction(energies: Sequence[float]) -> np.ndarray:
    """Energies of the dimers minus those of the two fragments, which come last."""
    return np.asarray(energies[:-2]) - sum(energies[-2:])


def _relaxed(
    potential: Potential, numbers: np.ndarray, guess: np.ndarray, charge: int
) -> np.ndarray:
    """Geometry of least energy of the model, its centre of mass at the origin."""
    from data_pipelines.monomers import MASSES

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        found = predict(potential, _graph(numbers, flat.reshape(-1, 3), charge), dtype="float64")
        return found.energy, -found.forces.ravel()

    positions = guess
    if len(numbers) > 1:
        # The guesses are good to 0.1 Å; bounds keep the first steps from leaping.
        bounds = [(x - 0.2, x + 0.2) for x in guess.ravel()]
        found = scipy.optimize.minimize(
            objective,
            guess.ravel(),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"gtol": 1e-3},
        )
        positions = found.x.reshape(-1, 3)
    masses = np.asarray([MASSES[int(z)] for z in numbers])
    return positions - masses @ positions / masses.sum()


def _labels(molecules: Sequence[_Molecule]) -> np.ndarray:
    from data_pipelines._workers import Failure
    from data_pipelines.labelling import Molecule, label_groups

    energies = np.full(len(molecules), np.nan)
    groups = [[Molecule(*molecule)] for molecule in molecules]
    for i, found in label_groups(groups, workers=1):
        if not isinstance(found, Failure):
            energies[i] = found[0].energy
    return _interaction(energies.tolist())


def draw_scans(scans: Sequence[Scan], path: str | os.PathLike[str]) -> Path:
    """Draw curves side by side, models as lines and GFN2-xTB as dots.

    Args:
        scans: at least one.
        path: picture to write, `.png`, `.pdf` or `.svg`.

    Returns:
        The path.

    Raises:
        InputError: the picture's name has another ending.
    """
    path = Path(path)
    if path.suffix not in (".png", ".pdf", ".svg"):
        raise InputError(
            f"out: got {os.fspath(path)!r}, expected a name that ends in .png, .pdf or .svg"
        )
    # Imported here: only drawing needs it.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6 * len(scans), 3.8), layout="constrained")
    panels = figure.subplots(1, len(scans), squeeze=False)[0]
    for axes, found in zip(panels, scans, strict=True):
        axes.axhline(0, color="0.85", lw=1, zorder=0)
        if found.labels is not None:
            axes.plot(found.separations, found.labels, "o", color="0.55", ms=4.5, label=_LABEL)
        for color, (name, energies) in zip(_COLORS, found.energies.items(), strict=False):
            axes.plot(found.separations, energies, color=color, lw=1.8, label=name)
        axes.set_title(" + ".join(name.replace("_", " ") for name in found.pair))
        axes.set_xlabel("distance of the centres of mass (Å)")
    panels[0].set_ylabel("interaction energy (eV)")
    panels[0].legend(frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
    return path
