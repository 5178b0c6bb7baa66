"""Predictions of periodic structures: batches, checks against what a model knows, exports."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from toys import potential, salt, salt_potential

from efa_zoo.base.config import AttentionConfig, Coulomb, MessagePassingConfig, ModelConfig
from efa_zoo.base.errors import ConfigError, InputError
from efa_zoo.interop.export import export_model, load_exported
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.inference import predict
from efa_zoo.models.inputs.checks import OutOfRangeWarning
from efa_zoo.models.potential import Potential
from efa_zoo.structures.domain import Domain
from efa_zoo.structures.graph import Graph


@pytest.fixture(scope="module")
def model() -> Potential:
    return salt_potential()


def test_results_do_not_depend_on_what_else_is_predicted(model: Potential) -> None:
    structures = [salt(), salt(2, (2, 1, 1)), salt(3)]
    together = predict(model, structures, dtype="float64")
    for structure, found in zip(structures, together, strict=True):
        alone = predict(model, structure, dtype="float64")
        assert found.energy == pytest.approx(alone.energy, abs=1e-11)
        np.testing.assert_allclose(found.stress, alone.stress, atol=1e-12)  # type: ignore[arg-type]
    graph = Graph.from_ase(structures[0], 4.0, dtype=np.float64)
    again = predict(model, graph, dtype="float64")
    assert again.energy == pytest.approx(together[0].energy, abs=1e-10)
    single = predict(model, structures[0])
    assert single.energy == pytest.approx(together[0].energy, abs=1e-4)
    np.testing.assert_allclose(single.stress, together[0].stress, atol=1e-6)  # type: ignore[arg-type]


def with_domain(model: Potential, directions: tuple[int, ...]) -> Potential:
    assert model.card.domain is not None
    domain = dataclasses.replace(model.card.domain, periodic_directions=directions)
    return dataclasses.replace(model, card=dataclasses.replace(model.card, domain=domain))


def test_structures_of_another_periodicity_are_refused(model: Potential) -> None:
    slab = salt()
    slab.pbc = (True, True, False)
    with pytest.raises(InputError, match="salt has attention, whose sums over images are known"):
        predict(model, slab, out_of_range="warn")
    molecule = salt()
    molecule.pbc = False
    with pytest.raises(InputError, match="but salt knows only 3 periodic directions"):
        predict(model, molecule)
    with pytest.raises(InputError, match="expected a molecule without periodicity for salt"):
        predict(with_domain(model, (0,)), salt())
    wavy = potential(ModelConfig(features=4, iterations=1, attention=AttentionConfig()))
    water = Atoms("OH2", [[0, 0, 0], [1, 0, 0], [0, 1, 0]], cell=np.eye(3) * 9, pbc=True)
    with pytest.raises(InputError, match=r"cannot attend in a cell \(kernel: got waves"):
        predict(wavy, water, out_of_range="warn")
    trained = salt_potential(
        attention=dataclasses.replace(
            model.card.model.attention,  # type: ignore[type-var]
            kernel=Coulomb(widths=(1.5, 1.5), trainable=True),
        )
    )
    with pytest.raises(InputError, match="with trainable parameters"):
        predict(trained, salt())


def test_a_local_model_only_warns_about_cells_it_was_not_trained_on() -> None:
    local = salt_potential(attention=None, message_passing=MessagePassingConfig(cutoff=4.0))
    local = with_domain(local, (0,))
    slab = salt()
    slab.pbc = (True, True, False)
    with pytest.warns(OutOfRangeWarning, match="pbc: got"):
        found = predict(local, slab, out_of_range="warn")
    assert found.stress is None  # of two directions there is no volume
    with pytest.warns(OutOfRangeWarning, match="pbc: got"):
        assert predict(local, salt(), out_of_range="warn").stress is not None


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (np.zeros((3, 3)), "cell: vector 0 is"),
        (np.diag([5.7, 5.7, -5.7]), "is left-handed"),
        (np.diag([5.7, 5.7, 0.6]), "Å thick along vector 2"),
        (np.ones((3, 3)), "is singular"),
    ],
)
def test_cells_that_are_none_are_refused(model: Potential, cell: np.ndarray, message: str) -> None:
    atoms = salt()
    atoms.set_cell(cell)
    with pytest.raises(InputError, match=message):
        predict(model, atoms)


def test_images_too_close_are_out_of_range(model: Potential) -> None:
    atoms = Atoms("NaCl", [[0, 0, 0.1], [0, 0, 5.5]], cell=np.eye(3) * 6, pbc=True)
    with pytest.raises(InputError, match=r"atoms 0 and 1 are 0\.6 Å apart"):
        predict(model, atoms)


def test_domains_say_how_many_directions() -> None:
    with pytest.raises(ConfigError, match=r"periodic_directions: got \[4\]"):
        Domain(elements=("Na",), total_charges=(0,), max_distance=5.0, periodic_directions=(4,))
    assert "periodic directions" in str(salt_potential().card)


def test_an_exported_model_repeats_it(model: Potential, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="attention: got 'exact', expected None"):
        export_model(model, tmp_path / "salt.zip", attention="exact")
    report = export_model(model, tmp_path / "salt.zip", dtype="float64", platforms=["cpu"])
    assert report.energy_error < 1e-9
    exported = load_exported(report.path)
    expected = predict(model, salt(), dtype="float64")
    found = exported(salt())
    assert found.energy == pytest.approx(expected.energy, abs=1e-9)
    np.testing.assert_allclose(found.stress, expected.stress, atol=1e-10)  # type: ignore[arg-type]
    open_ = Graph.from_arrays([11], [[0, 0, 0]], None)
    with pytest.raises(InputError, match="expected cells and"):
        exported.evaluate(open_)
    mixed = with_domain(model, (0, 3))
    with pytest.raises(InputError, match=r"periodic_directions of salt: got \[0, 3\]"):
        export_model(mixed, tmp_path / "other.zip")


def test_cards_keep_their_directions(model: Potential, tmp_path: Path) -> None:
    from efa_zoo.models.hub.cards import write_card

    write_card(tmp_path / "salt.toml", model.card)
    assert Card.from_toml(tmp_path / "salt.toml").domain == model.card.domain
