"""Models of other kinds than pairs of molecules: what they need, they ask for."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest
from ase import Atoms

import efa_zoo
from efa_zoo.base.errors import InputError
from efa_zoo.calculator import EFACalculator
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.inputs.checks import check_structure
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.potential import Potential


def placeholders(dipoles: object = None) -> Atoms:
    """A charge and a dipole, by the elements that stand for them."""
    atoms = Atoms("HHe", positions=[[0, 0, 0], [3, 0, 0]])
    if dipoles is not None:
        atoms.set_array("atomic_dipoles", np.asarray(dipoles))
    return atoms


def halides(**info: object) -> Atoms:
    places = [[0, 0, 0], [1.05, 0, 0.1], [-0.5, 0.9, 0.1], [-0.5, -0.9, 0.1], [0, 0, 2], [0, 0, -3]]
    return Atoms("CH3ClBr", positions=places, info=info)


REFUSED = {
    "no dipoles": (
        "mpnn_efa_charge_dipole",
        placeholders(),
        "atomic_dipoles: none given, but mpnn_efa_charge_dipole needs a vector of each atom (e·Å); "
        "set atoms.arrays['atomic_dipoles'] (in a file: a column atomic_dipoles:R:3 of the extxyz)",
    ),
    "dipoles that are no vectors": (
        "mpnn_efa_charge_dipole",
        placeholders(np.zeros(2)),
        "atomic_dipoles: got shape (2,) of float64, expected numbers of shape (2, 3)",
    ),
    "dipoles that are no numbers": (
        "mpnn_efa_charge_dipole",
        placeholders([["a"] * 3] * 2),
        "atomic_dipoles: got shape (2, 3) of <U1, expected numbers of shape (2, 3)",
    ),
    "a dipole that is not finite": (
        "mpnn_efa_charge_dipole",
        placeholders([[0, 0, 0], [0, 0, np.nan]]),
        "atomic_dipoles: that of atom 1 (He) is [0.0, 0.0, nan], expected finite numbers (e·Å)",
    ),
    "a molecule where elements are placeholders": (
        "mpnn_efa_two_atoms",
        Atoms("OH2", positions=[[0, 0, 0], [1, 0, 0], [0, 1, 0]]),
        "elements: got O, but mpnn_efa_two_atoms knows only H, He (known to mpnn_efa_dimers, "
        "mpnn_dimers; see efa-zoo list)",
    ),
    "no charge for a model of anions": (
        "mpnn_efa_sn2",
        halides(),
        "charge: got 0, but mpnn_efa_sn2 knows only -1; none was given, which means 0 (for one of "
        "-1: atoms.info['charge'], in a file charge=-1 in the extxyz header, in Python charge=, on "
        "the command line --charge)",
    ),
    "a neutral reaction for a model of anions": (
        "mpnn_efa_sn2",
        halides(charge=0),
        "charge: got 0, but mpnn_efa_sn2 knows only -1",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_in_one_line(case: str) -> None:
    name, atoms, message = REFUSED[case]
    with pytest.raises(InputError) as raised:
        check_structure(atoms, efa_zoo.card(name), None, "error")
    assert str(raised.value) == message


def test_what_fits_is_taken() -> None:
    dipoles = [[0, 0, 0], [0, 0, 1]]  # integers
    card = efa_zoo.card("mpnn_efa_charge_dipole")
    molecule = check_structure(placeholders(dipoles), card, None, "error")
    assert molecule.dipoles is not None
    assert molecule.dipoles.dtype == np.float64
    assert molecule.dipoles.tolist() == dipoles
    molecule = check_structure(halides(charge=-1), efa_zoo.card("mpnn_efa_sn2"), None, "error")
    assert (molecule.charge, molecule.dipoles) == (-1, None)


def test_the_calculator_follows_the_dipoles() -> None:
    """Energies do not change when all turns, but when the dipole alone does."""
    card = efa_zoo.card("mpnn_efa_charge_dipole")
    small = dataclasses.replace(
        card.model,
        features=4,
        iterations=1,
        zero_output=False,
        attention=None,
        attention_degree=None,
        attention_pseudotensors=None,
    )
    small = dataclasses.replace(
        small, message_passing=dataclasses.replace(small.message_passing, num_radial=4)
    )
    card = Card(
        name="small", description="", model=small, data=card.data, domain=card.domain,
        reference_energies={"H": 0.0, "He": 0.0},
    )  # fmt: skip
    network = EnergyModel(small, key=jax.random.key(1))
    atoms = placeholders([[0, 0, 0], [0.8, 0, 0.6]])
    atoms.calc = EFACalculator(Potential(network, card))
    first = atoms.get_potential_energy()
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    atoms.positions = atoms.positions @ quarter.T
    atoms.arrays["atomic_dipoles"] = atoms.arrays["atomic_dipoles"] @ quarter.T
    assert atoms.get_potential_energy() == pytest.approx(first, abs=1e-12)
    atoms.arrays["atomic_dipoles"] = np.array([[0, 0, 0], [0, 0, 1.0]])
    assert abs(atoms.get_potential_energy() - first) > 1e-4
