"""What the data set `organic` is drawn from: molecules, conformers, assemblies, surfaces."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("tblite")
pytest.importorskip("rdkit")

from rdkit import Chem
from rdkit.Chem import rdChemReactions, rdForceFieldHelpers
from rdkit.Chem.MolStandardize import rdMolStandardize

from data_pipelines._workers import Failure
from data_pipelines.labels.labelling import Geometry, Label, Unlabelled, label
from data_pipelines.labels.units import ENERGY_UNITS
from data_pipelines.sampling.monomers import BOLTZMANN
from data_pipelines.sampling.organic import conformers
from data_pipelines.sampling.organic.assemblies import (
    Assembly,
    center_of_mass,
    charges_keep,
    distances_between,
    pack,
    scatter,
)
from data_pipelines.sampling.organic.molecules import (
    COMMON_FAMILIES,
    HELD_OUT_FAMILIES,
    TRANSFER,
    Species,
    all_species,
    parse,
    smiles_by_family,
    split_species,
)
from data_pipelines.sampling.organic.surface import Surface
from data_pipelines.sampling.placement import MAX_SEPARATION, contact_distances
from efa_zoo.base.errors import DataError

ELEMENTS = {1, 3, 6, 7, 8, 9, 11, 15, 16, 17, 19, 35, 53}


@pytest.fixture(scope="module")
def species() -> tuple[Species, ...]:
    return all_species()


def conformer(smiles: str, seed: int = 0) -> np.ndarray:
    molecule = conformers.embed(smiles, np.random.default_rng(seed))
    assert not isinstance(molecule, Failure)
    return conformers.positions_of(molecule)


def test_every_smiles_is_valid_canonical_and_there_once(species: tuple[Species, ...]) -> None:
    written = [smiles for members in smiles_by_family().values() for smiles in members]
    assert [one.smiles for one in species] == written
    assert len(set(written)) == len(written) >= 1000
    assert [one.number for one in species] == list(range(len(written)))


def test_every_molecule_has_a_closed_shell_and_an_allowed_charge(
    species: tuple[Species, ...],
) -> None:
    for one in species:
        electrons = sum(one.atomic_numbers) - one.charge
        assert electrons % 2 == 0
        assert abs(one.charge) <= 2
        assert set(one.atomic_numbers) <= ELEMENTS
    assert {z for one in species for z in one.atomic_numbers} == ELEMENTS
    assert {one.charge for one in species} == {-2, -1, 0, 1, 2}
    assert max(len(one.atomic_numbers) for one in species) >= 80


def test_all_amino_acids_are_there_neutral_capped_and_zwitterionic() -> None:
    families = smiles_by_family()
    expected = {
        Chem.MolToSmiles(Chem.MolFromSequence(letter), isomericSmiles=False)
        for letter in "ACDEFGHIKLMNPQRSTVWY"
    }
    assert expected <= set(families["amino_acids"])
    uncharger = rdMolStandardize.Uncharger()
    zwitterions = families["amino_acids_zwitterionic"]
    assert all(smiles.count("+") and smiles.count("-]") for smiles in zwitterions)
    assert expected <= {
        Chem.MolToSmiles(uncharger.uncharge(Chem.MolFromSmiles(s))) for s in zwitterions
    }
    uncap = rdChemReactions.ReactionFromSmarts(
        "[CH3]C(=O)[N:1][C:2]C(=O)[NH][CH3]>>[N:1][C:2]C(=O)O"
    )
    without: set[str] = set()
    for smiles in families["amino_acids_capped"]:
        ((bare,), *_) = uncap.RunReactants((Chem.MolFromSmiles(smiles),))
        Chem.SanitizeMol(bare)
        without.add(Chem.MolToSmiles(uncharger.uncharge(bare)))
    assert expected <= without


@pytest.mark.parametrize(
    ("smiles", "message"),
    [("C1CC", "cannot read"), ("[CH3]", "unpaired"), ("[CH2]", "unpaired"), ("O.O", "parts")],
)
def test_bad_smiles(smiles: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse(smiles)


def test_unknown_families() -> None:
    with pytest.raises(DataError, match="families: unknown"):
        all_species(["water", "metals"])


def test_splits_share_no_molecule_and_hold_families_out(species: tuple[Species, ...]) -> None:
    splits = split_species(species, HELD_OUT_FAMILIES, seed=0)
    homes = Counter(one.number for members in splits.values() for one in members)
    common = [one.number for one in species if one.family in COMMON_FAMILIES]
    assert set(homes.values()) == {1}
    assert set(homes) == {one.number for one in species} - set(common)
    assert {one.family for one in splits[TRANSFER]} == set(HELD_OUT_FAMILIES)
    for split in ("train", "validation", "test"):
        families = Counter(one.family for one in splits[split])
        assert not set(families) & {*HELD_OUT_FAMILIES, *COMMON_FAMILIES}
        assert set(families) == {one.family for one in splits["train"]}
    assert 0.09 < len(splits["test"]) / (len(homes) - len(splits[TRANSFER])) < 0.12
    other = split_species(species, HELD_OUT_FAMILIES, seed=1)
    assert other["test"] != splits["test"]


def test_conformers_are_drawn_anew_with_the_generator() -> None:
    one, again, other = (conformer("CCCO", seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert not np.allclose(one, other, atol=0.1)


def test_the_force_field_is_the_derivative_of_its_energy() -> None:
    smiles = ["O", "[NH4+]", "O"]
    rng = np.random.default_rng(0)
    whole = pack([parse(s) for s in smiles], [conformer(s) for s in smiles], rng)
    forces = conformers.force_field(smiles)
    assert forces is not None
    forces(whole.positions + 1.0)  # what was asked before must not matter
    positions = whole.positions * 1.03
    combined = Chem.Mol()
    for one in smiles:
        combined = Chem.CombineMols(combined, Chem.AddHs(Chem.MolFromSmiles(one)))
    combined.AddConformer(Chem.Conformer(len(positions)))
    Chem.SanitizeMol(combined)

    def energy(moved: np.ndarray) -> float:
        combined.GetConformer().SetPositions(moved)
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(combined)
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(
            combined, properties, ignoreInterfragInteractions=False
        )
        return field.CalcEnergy() * ENERGY_UNITS["kcal/mol"]

    expected = np.zeros_like(positions)
    for i in np.ndindex(positions.shape):
        shift = np.zeros_like(positions)
        shift[i] = 1e-4
        expected[i] = (energy(positions - shift) - energy(positions + shift)) / 2e-4
    np.testing.assert_allclose(forces(positions), expected, atol=1e-5)
    assert np.abs(expected).max() > 0.5


def test_no_force_field_without_parameters() -> None:
    assert conformers.force_field(["O", "[I-]"]) is None


def test_turning_and_stretching_change_what_they_say() -> None:
    rng = np.random.default_rng(3)
    molecule = conformers.embed("CCO", rng)
    assert not isinstance(molecule, Failure)
    before = conformers.positions_of(molecule)
    bonds = [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()]

    def lengths(positions: np.ndarray) -> np.ndarray:
        return np.array([np.linalg.norm(positions[i] - positions[j]) for i, j in bonds])

    def distances(positions: np.ndarray) -> np.ndarray:
        return np.linalg.norm(positions[:, None] - positions[None], axis=-1)

    turned = conformers.turn(molecule, before, rng)
    assert turned is not None
    np.testing.assert_allclose(lengths(turned), lengths(before), atol=1e-6)
    assert np.abs(distances(turned) - distances(before)).max() > 0.1
    kinds: Counter[str] = Counter()
    for _ in range(20):
        ratio = lengths(conformers.stretch(molecule, before, rng)) / lengths(before)
        changed = np.abs(ratio - 1) > 1e-6
        assert np.all((ratio > 0.84) & (ratio < 1.36))
        kinds["scaled" if changed.all() else "bond"] += 1
        if not changed.all():
            assert changed.sum() == 1
        else:
            np.testing.assert_allclose(ratio, ratio[0], atol=1e-9)
    assert set(kinds) == {"scaled", "bond"}


def test_a_molecule_without_rotors_cannot_be_turned() -> None:
    rng = np.random.default_rng(0)
    for smiles in ("c1ccccc1", "O", "CC#C"):
        molecule = conformers.embed(smiles, rng)
        assert not isinstance(molecule, Failure)
        assert conformers.turn(molecule, conformers.positions_of(molecule), rng) is None


def test_scattered_molecules_keep_their_shape_and_their_distance() -> None:
    species = [parse(smiles) for smiles in ("CO", "C#N", "[Na+]")]
    geometries = [conformer(one.smiles) for one in species]
    gaps: list[float] = []
    for seed in range(40):
        whole = scatter(species, geometries, np.random.default_rng(seed))
        assert whole.charge == 1
        for before, after in zip(geometries, whole.geometries, strict=True):
            np.testing.assert_allclose(
                np.linalg.norm(after - after[0], axis=1),
                np.linalg.norm(before - before[0], axis=1),
                atol=1e-9,
            )
        others = Assembly(whole.species[:2], whole.geometries[:2])
        center = center_of_mass(others.atomic_numbers, others.positions)
        assert np.linalg.norm(whole.geometries[2][0] - center) <= MAX_SEPARATION + 1e-9
        distances = np.linalg.norm(whole.positions[:, None] - whole.positions[None], axis=-1)
        contacts = contact_distances(whole.atomic_numbers, whole.atomic_numbers)
        apart = whole.membership[:, None] != whole.membership[None]
        gaps.append(float((distances / contacts)[apart].min()))
    assert min(gaps) >= 0.65 - 1e-9
    assert min(gaps) < 0.8
    assert max(gaps) > 1.5


def test_packed_molecules_touch_the_ones_before() -> None:
    water = parse("O")
    whole = pack([water] * 8, [conformer("O")] * 8, np.random.default_rng(0))
    distances = np.linalg.norm(whole.positions[:, None] - whole.positions[None], axis=-1)
    ratio = distances / contact_distances(whole.atomic_numbers, whole.atomic_numbers)
    for i in range(1, 8):
        before = ratio[whole.membership == i][:, whole.membership < i]
        assert 0.85 - 1e-9 <= before.min() <= 1.0 + 1e-9


def test_contacts_between_molecules_are_the_smallest_distances() -> None:
    rng = np.random.default_rng(0)
    membership = np.array([0, 0, 1, 2, 2, 2], np.int32)
    positions = rng.normal(size=(6, 3))
    found = distances_between(positions, membership)
    for i, j in itertools.product(range(3), repeat=2):
        pairs = itertools.product(positions[membership == i], positions[membership == j])
        assert found[i, j] == pytest.approx(min(np.linalg.norm(a - b) for a, b in pairs), abs=0)


@pytest.mark.parametrize(
    ("gap", "leak", "holds"),
    [
        (2.4, 0.3, True),
        (2.6, 0.14, True),
        (2.6, 0.16, False),
        (3.1, 0.04, True),
        (3.1, 0.06, False),
        (4.1, 0.009, True),
        (4.1, 0.011, False),
    ],
)
def test_charges_may_be_shared_near_contact_only(gap: float, leak: float, holds: bool) -> None:
    positions = np.array([[0.0, 0, 0], [gap, 0, 0], [0, 50.0, 0]])
    charges = np.array([-1 + leak, -leak, 0.0])
    formal = np.array([-1, 0, 0], np.int32)
    assert charges_keep(charges, formal, positions, np.arange(3, dtype=np.int32)) is holds


def test_molecules_that_touch_share_charge_along_a_chain() -> None:
    positions = np.array([[0.0, 0, 0], [2.0, 0, 0], [4.0, 0, 0]])
    charges = np.array([0.4, 0.3, 0.3])
    formal = np.array([1, 0, 0], np.int32)
    membership = np.arange(3, dtype=np.int32)
    assert charges_keep(charges, formal, positions, membership)
    assert not charges_keep(charges, formal, positions * [[1], [1], [2]], membership)


@pytest.fixture(scope="module")
def surface() -> Surface:
    one = parse("CO")
    return Surface(Geometry(one.numbers, conformer("CO"), 0))


def test_a_surface_agrees_with_labels(surface: Surface) -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        positions = surface.geometry.positions + 0.05 * rng.normal(size=(6, 3))
        energy, forces = surface(positions)
        found = label(Geometry(surface.geometry.atomic_numbers, positions, 0))
        assert isinstance(found, Label)
        assert energy == pytest.approx(found.energy, abs=1e-5)
        np.testing.assert_allclose(forces, found.forces, atol=1e-3)


def test_descending_ends_where_forces_vanish(surface: Surface) -> None:
    path = surface.descend(80)
    assert path.failure is None
    energies = [surface(positions)[0] for positions in path.positions]
    assert energies[-1] == pytest.approx(min(energies), abs=1e-5)
    assert np.abs(surface(path.positions[-1])[1]).max() < 0.03
    assert len(surface.descend(3).positions) == 3


def test_wandering_warms_up(surface: Surface) -> None:
    start = surface.descend(80).positions[-1]
    cold, hot = (
        surface.wander(
            start, np.random.default_rng(0), temperature=temperature, record=range(20, 60, 2)
        )
        for temperature in (100.0, 1000.0)
    )
    assert cold.failure is hot.failure is None
    assert len(hot.positions) == 20
    rest = surface(start)[0]
    mean = [np.mean([surface(p)[0] - rest for p in path.positions]) for path in (cold, hot)]
    # Equipartition gives 12 vibrations half of k_B T each.
    assert 0.2 < mean[1] / (6 * BOLTZMANN * 1000) < 2.0
    assert mean[0] < 0.3 * mean[1]


def test_a_surface_says_where_it_fails(surface: Surface) -> None:
    nowhere = np.zeros((6, 3))
    with pytest.raises(Unlabelled):
        surface(nowhere)
    path = surface.wander(nowhere, np.random.default_rng(0), temperature=300.0, record=[1, 2])
    assert path.positions == ()
    assert path.failure is not None
    assert path.failure.reason == "unconverged"
