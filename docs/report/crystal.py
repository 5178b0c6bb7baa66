"""What the profiles of rock salt say: lattice constant, bulk modulus, optical frequencies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scipy.interpolate import CubicSpline

from report.experiments import EXPERIMENTS
from report.results import Profile, Results

KEY = "nacl_bulk"


@dataclass(frozen=True, kw_only=True)
class Crystal:
    """Rock salt at rest.

    Attributes:
        name: of the formula or a model.
        lattice_constant: in Å.
        bulk_modulus: in GPa.
        transverse: optical frequency in THz of the longest waves across their wave vector.
        longitudinal: the same along their wave vector.
    """

    name: str
    lattice_constant: float
    bulk_modulus: float
    transverse: float
    longitudinal: float

    @property
    def splitting(self) -> float:
        """Longitudinal minus transverse frequency in THz."""
        return self.longitudinal - self.transverse


def crystals(results: Results) -> Iterator[Crystal]:
    """Read off the profiles.

    Args:
        results: numbers of a report.

    Yields:
        The formula's crystal and those of the trained models; nothing where there are no profiles.
    """
    profiles = results.profiles.get(KEY)
    if not profiles:
        return
    pressure, longitudinal, transverse = profiles
    for name in ("formula", *EXPERIMENTS[KEY].models):
        if name == "formula" or name in pressure.models:
            constant, modulus = _at_rest(pressure.coordinates, _curve(pressure, name))
            yield Crystal(
                name=name,
                lattice_constant=constant,
                bulk_modulus=modulus,
                transverse=_curve(transverse, name)[0],
                longitudinal=_curve(longitudinal, name)[0],
            )


def _curve(profile: Profile, name: str) -> list[float]:
    values = profile.truth if name == "formula" else profile.models[name]
    return [value for value in values if value is not None]


def _at_rest(constants: Sequence[float], pressures: Sequence[float]) -> tuple[float, float]:
    """Lattice constant where the pressure vanishes, and -V dP/dV there."""
    curve = CubicSpline(constants, pressures)
    (constant,) = curve.roots(extrapolate=False)
    return float(constant), float(-constant / 3 * curve(constant, 1))
