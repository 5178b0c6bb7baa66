"""Where a dimer's second fragment stands: orientation, direction and separation."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, Int32

from efa_zoo.base.contracts import contract

MAX_SEPARATION = 15.0
"""Largest distance of the fragments' centres of mass in Å."""

RADII = {
    1: 1.10, 6: 1.70, 7: 1.55, 8: 1.52, 9: 1.47, 15: 1.80, 16: 1.80, 17: 1.75, 35: 1.83, 53: 1.98,
    3: 0.60, 11: 1.00, 19: 1.40,
}  # fmt: skip
"""Van-der-Waals radii in Å (Mantina et al., doi:10.1021/jp8111556), by atomic number; of Li, Na and
K as cations: roughly what their distance from water's oxygen leaves them."""

_ACCEPTORS = (7, 8, 9, 17)
_HYDROGEN_BOND = 0.5


@contract
def random_rotation(rng: np.random.Generator) -> Float64[np.ndarray, "3 3"]:
    """Draw a rotation matrix uniformly: a normalised normal quaternion."""
    w, x, y, z = _unit(rng.standard_normal(4))
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


@contract
def random_direction(rng: np.random.Generator) -> Float64[np.ndarray, " 3"]:
    """Draw a unit vector uniformly."""
    return _unit(rng.standard_normal(3))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.sqrt(np.sum(vector**2))


@contract
def contact_distances(
    first: Int32[np.ndarray, " m"], second: Int32[np.ndarray, " n"]
) -> Float64[np.ndarray, "m n"]:
    """Distances in Å at which atoms of two fragments touch.

    Sums of van-der-Waals radii, 0.5 Å shorter between hydrogen and N, O, F or Cl, where hydrogen
    bonds bring atoms closer.
    """
    sums = van_der_waals(first, second)
    donor = (first == 1)[:, None] & np.isin(second, _ACCEPTORS)[None, :]
    acceptor = np.isin(first, _ACCEPTORS)[:, None] & (second == 1)[None, :]
    return sums - _HYDROGEN_BOND * (donor | acceptor)


@contract
def van_der_waals(
    first: Int32[np.ndarray, " m"], second: Int32[np.ndarray, " n"]
) -> Float64[np.ndarray, "m n"]:
    """Sums of the van-der-Waals radii of each pair of atoms in Å."""
    one, other = (np.array([RADII[int(z)] for z in numbers]) for numbers in (first, second))
    return one[:, None] + other[None, :]


@contract
def separation_at_contact(
    first: Float64[np.ndarray, "m 3"],
    second: Float64[np.ndarray, "n 3"],
    direction: Float64[np.ndarray, " 3"],
    distances: Float64[np.ndarray, "m n"],
) -> float:
    """Find how far out the second fragment must stand so that no two atoms are closer than given.

    Coming in from infinity along the direction, this is where the first pair of atoms reaches its
    distance.

    Args:
        first: Positions in Å, centre of mass at the origin.
        second: Positions in Å, centre of mass at the origin.
        direction: Unit vector from the first to the second fragment.
        distances: Allowed distance of each pair of atoms in Å.

    Returns:
        The separation of the centres of mass in Å, 0 if the fragments never touch.
    """
    offset = second[None, :, :] - first[:, None, :]
    along = offset @ direction
    discriminant = along**2 - np.sum(offset**2, axis=-1) + distances**2
    touching = discriminant >= 0
    if not touching.any():
        return 0.0
    return max(0.0, float(np.max(np.sqrt(discriminant[touching]) - along[touching])))


@contract
def closest_contact(first: Float64[np.ndarray, "m 3"], second: Float64[np.ndarray, "n 3"]) -> float:
    """Smallest distance in Å between an atom of one fragment and an atom of the other."""
    return float(np.min(np.linalg.norm(first[:, None, :] - second[None, :, :], axis=-1)))


@contract
def draw_separation(
    first: Float64[np.ndarray, "m 3"],
    second: Float64[np.ndarray, "n 3"],
    direction: Float64[np.ndarray, " 3"],
    distances: Float64[np.ndarray, "m n"],
    rng: np.random.Generator,
    *,
    wall: float = 0.8,
) -> float:
    """Draw a separation, more often where the energy varies.

    With probability 0.45 the closest pair of atoms stands at `wall` to `wall` + 0.6 of its contact
    distance, with 0.30 the separation is uniform from 1.2 contact distances to 8 Å, with 0.25
    uniform from there to 15 Å.

    Args:
        first: As in `separation_at_contact`.
        second: As in `separation_at_contact`.
        direction: As in `separation_at_contact`.
        distances: Contact distances as in `contact_distances`.
        rng: Source of randomness; two uniform deviates are taken.
        wall: Closest approach in contact distances.

    Returns:
        The separation of the centres of mass in Å.
    """
    region, place = (float(x) for x in rng.random(2))
    if region < 0.45:
        return separation_at_contact(first, second, direction, (wall + 0.6 * place) * distances)
    outside = separation_at_contact(first, second, direction, 1.2 * distances)
    middle = max(8.0, outside)
    if region < 0.75:
        return outside + place * (middle - outside)
    return middle + place * (MAX_SEPARATION - middle)
