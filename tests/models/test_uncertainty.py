"""Uncertainties and known surroundings: the statistics, and what predictions do with them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from scipy.stats import spearmanr
from toys import calibrated, make_model

import efa_zoo
from efa_zoo.base.errors import DataError, InputError, WeightsError
from efa_zoo.calculator import EFACalculator
from efa_zoo.models.hub.cards import write_results
from efa_zoo.models.hub.records import CalibrationRecord, WeightsFile
from efa_zoo.models.inference import PredictionStream
from efa_zoo.models.inputs.checks import OutOfRangeWarning
from efa_zoo.models.outputs import Outputs
from efa_zoo.models.potential import Potential, cast
from efa_zoo.models.uncertainty.calibration import (
    Calibration,
    calibration_tensors,
    take_calibration,
)
from efa_zoo.models.uncertainty.fitting import Features, fit_calibration
from efa_zoo.models.weights import read_tensors, save_weights

WIDTH, ATOMS = 5, 4


def random_features(count: int, seed: int) -> Features:
    """Structures of two atoms of hydrogen and two of oxygen, with correlated features."""
    random = np.random.default_rng(seed)
    numbers = np.tile([1, 1, 8, 8], count)
    mixing = np.random.default_rng(99).normal(size=(2, WIDTH, WIDTH))
    values = np.einsum(
        "af,afg->ag", random.normal(size=(ATOMS * count, WIDTH)), mixing[(numbers == 8).astype(int)]
    )
    return Features(
        numbers=numbers,
        structure=np.arange(count).repeat(ATOMS),
        values=values + 3.0 * (numbers == 8)[:, None],
    )


def random_errors(features: Features, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Normal errors, ten times larger where the first feature is large."""
    random = np.random.default_rng(seed)
    atoms = 0.1 * np.where(features.values[:, 0] > features.values[:, 0].mean(), 10.0, 1.0)
    structures = np.sqrt(features.summed(atoms**2))
    return random.normal(size=features.count) * structures, random.normal(
        size=(len(atoms), 3)
    ) * atoms[:, None]


@pytest.fixture(scope="module")
def fitted() -> Calibration:
    validation = random_features(2000, 1)
    return fit_calibration(random_features(3000, 0), validation, *random_errors(validation, 2))


def apply(calibration: Calibration, features: Features) -> Outputs:
    """What a calibration says of structures of equal size."""
    values = jnp.asarray(features.values.reshape(features.count, ATOMS, -1), jnp.float32)
    numbers = jnp.asarray(features.numbers.reshape(features.count, ATOMS))
    outputs = Outputs(atomic_energies=jnp.zeros(numbers.shape), features=values)
    return eqx.filter_jit(jax.vmap(lambda o, n: calibration(o, n)))(outputs, numbers)


def test_grades_are_mahalanobis_distances_in_units_of_the_limit(fitted: Calibration) -> None:
    training, fresh = random_features(3000, 0), random_features(50, 7)
    grades = np.asarray(apply(fitted, fresh).extrapolation).ravel()
    for element in (1, 8):
        rows = training.values[training.numbers == element]
        centered = fresh.values[fresh.numbers == element] - rows.mean(axis=0)
        distances = np.sqrt(
            np.einsum("ai,ij,aj->a", centered, np.linalg.inv(np.cov(rows.T)), centered)
        )
        ratio = grades[fresh.numbers == element] / distances
        # Few atoms' covariance is mixed with that of all: here a hundredth of a percent of it.
        assert np.ptp(ratio) < 0.02 * ratio.mean()


def test_the_limit_is_kept_by_structures_like_those_of_validation(fitted: Calibration) -> None:
    grades = np.asarray(apply(fitted, random_features(4000, 8)).extrapolation)
    # At most 0.5 % are expected; of 4,000 structures, 0.7 % are seen once in twenty times.
    assert 0 < np.mean(grades.max(axis=1) > 1) <= 0.007
    far = random_features(50, 9)
    far = dataclasses.replace(far, values=far.values + 20.0)
    assert (np.asarray(apply(fitted, far).extrapolation) > 1).all()


def test_intervals_hold_the_errors_and_follow_them(fitted: Calibration) -> None:
    fresh = random_features(4000, 10)
    energies, forces = random_errors(fresh, 11)
    outputs = apply(fitted, fresh)
    for errors, sigmas in (
        (energies, np.asarray(outputs.energy_uncertainty)),
        (forces.ravel(), np.asarray(outputs.force_uncertainty).ravel().repeat(3)),
    ):
        assert np.mean(np.abs(errors) <= sigmas) == pytest.approx(0.6827, abs=0.03)
        assert spearmanr(np.abs(errors), sigmas).statistic > 0.25
    # Where errors are ten times larger, uncertainties are several times.
    first = fresh.values[:, 0] > fresh.values[:, 0].mean()
    sigmas = np.asarray(outputs.force_uncertainty).ravel()
    assert np.median(sigmas[first]) > 3 * np.median(sigmas[~first])


def test_rigidity_is_that_of_the_last_layer(fitted: Calibration) -> None:
    training, fresh = random_features(3000, 0), random_features(50, 12)
    elements = np.asarray([1, 8])
    sums = [
        found.summed(np.concatenate([found.values, found.numbers[:, None] == elements], axis=1))
        for found in (training, fresh)
    ]
    gram = sums[0].T @ sums[0]
    # The numbers of atoms are the same everywhere, so that the Gram matrix has no inverse.
    gram += 1e-8 * np.linalg.eigvalsh(gram)[-1] * np.eye(len(gram))
    expected = np.sqrt(np.einsum("si,ij,sj->s", sums[1], np.linalg.inv(gram), sums[1]))
    found = np.linalg.norm(sums[1] @ np.asarray(fitted.energy_factor), axis=1)
    np.testing.assert_allclose(found, expected, rtol=1e-3)


def test_padding_is_inert_and_new_elements_are_infinitely_far(fitted: Calibration) -> None:
    fresh = random_features(1, 13)
    values = jnp.asarray(fresh.values, jnp.float32)
    padded = jnp.concatenate([values, jnp.zeros((3, WIDTH))])

    def call(numbers: list[int], features: jax.Array) -> Outputs:
        outputs = Outputs(atomic_energies=jnp.zeros(len(numbers)), features=features)
        return fitted(outputs, np.asarray(numbers))

    alone, more = call([1, 1, 8, 8], values), call([1, 1, 8, 8, 0, 0, 0], padded)
    assert alone.features is None
    np.testing.assert_allclose(more.energy_uncertainty, alone.energy_uncertainty, rtol=1e-6)
    for name in ("force_uncertainty", "extrapolation"):
        found = np.asarray(getattr(more, name))
        np.testing.assert_allclose(found[:4], getattr(alone, name), rtol=1e-6)
        assert (found[4:] == 0).all()
    new = call([1, 1, 6, 8], values)
    assert np.isinf(np.asarray(new.extrapolation)).tolist() == [False, False, True, False]
    assert np.isinf(float(jnp.asarray(new.energy_uncertainty)))


def test_too_few_structures_calibrate_nothing() -> None:
    few = random_features(20, 0)
    with pytest.raises(DataError, match="training: got 20 structures, expected at least 50"):
        fit_calibration(few, few, *random_errors(few, 1))


# ---------------------------------------------------------------------------------------------
# In predictions


def water(stretch: float = 0.0) -> Atoms:
    atoms = Atoms("OH2", [[0, 0, 0.12], [0.76, 0, -0.48], [-0.76 - stretch, 0, -0.48]])
    atoms.info["charge"] = 0
    return atoms


@pytest.fixture(scope="module")
def model(toy_home: Path) -> Potential:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFA_ZOO_HOME", str(toy_home))
        return calibrated(efa_zoo.load("toy"), water())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_known_molecules_come_with_uncertainties(model: Potential, dtype: str) -> None:
    found = efa_zoo.predict(model, water(), dtype=dtype)
    assert found.energy_uncertainty is not None and 0.03 < found.energy_uncertainty < 0.3
    assert found.force_uncertainty is not None and found.force_uncertainty.shape == (3,)
    assert found.extrapolation is not None and found.extrapolation.max() < 1
    plain = efa_zoo.predict(dataclasses.replace(model, calibration=None), water(), dtype=dtype)
    assert (plain.energy_uncertainty, plain.extrapolation) == (None, None)
    assert plain.energy == pytest.approx(found.energy, abs=1e-5)
    np.testing.assert_allclose(plain.forces, found.forces, atol=1e-5)


def test_gradients_do_not_pass_through(model: Potential) -> None:
    def total(values: jax.Array) -> jax.Array:
        assert model.calibration is not None
        outputs = Outputs(atomic_energies=jnp.zeros(3), features=values)
        found = model.calibration(outputs, np.asarray([8, 1, 1]))
        return jnp.sum(jnp.asarray(found.extrapolation)) + jnp.sum(
            jnp.asarray(found.energy_uncertainty)
        )

    assert not jax.grad(total)(jnp.ones((3, model.card.model.features))).any()


def test_unknown_surroundings_are_refused_and_the_atom_named(model: Potential) -> None:
    strange = water(stretch=1.0)
    match = r"surroundings: those of atom \d \([OH]\).* unlike all that toy has learned from"
    with pytest.raises(InputError, match=match):
        efa_zoo.predict(model, strange)
    with pytest.raises(InputError, match=f"structure 1: {match}"):
        efa_zoo.predict(model, [water(), strange])
    with pytest.warns(OutOfRangeWarning, match=match) as caught:
        found = efa_zoo.predict(model, strange, out_of_range="warn")
    assert caught[0].filename == __file__
    assert found.extrapolation is not None and found.extrapolation.max() > 1
    with pytest.warns(OutOfRangeWarning, match=f"structure 1: {match}") as caught:
        efa_zoo.predict(model, [water(), strange], out_of_range="warn")
    assert caught[0].filename == __file__
    known, refused = PredictionStream(model, [water(), strange], on_error="return")
    assert not isinstance(known, InputError)
    assert isinstance(refused, InputError)


def test_the_calculator_gives_and_refuses_the_same(model: Potential) -> None:
    atoms = water()
    atoms.calc = EFACalculator(model, dtype="float32")
    expected = efa_zoo.predict(model, atoms)
    atoms.get_potential_energy()
    for name in ("energy_uncertainty", "force_uncertainty", "extrapolation"):
        found = atoms.calc.get_property(name, atoms)
        np.testing.assert_allclose(found, getattr(expected, name), rtol=1e-3)
    atoms.positions[2, 0] -= 1.0
    with pytest.raises(InputError, match="surroundings: those of atom"):
        atoms.get_forces()
    assert not atoms.calc.results
    atoms.calc.set(out_of_range="warn")
    with pytest.warns(OutOfRangeWarning, match="surroundings"):
        atoms.get_forces()


def test_a_weights_file_keeps_the_calibration(model: Potential, tmp_path: Path) -> None:
    card = make_model(tmp_path, "kept")
    path = tmp_path / "pretrained" / "kept.safetensors"
    assert model.calibration is not None and card.weights is not None
    sha256 = save_weights(
        path, model.network, {"name": "kept"}, more=calibration_tensors(model.calibration)
    )
    assert "efa-zoo calibrate" in str(card)
    card = write_results(
        tmp_path / "zoo" / "kept.toml",
        weights=WeightsFile(
            sha256=sha256, parameters=card.weights.parameters, bytes=path.stat().st_size
        ),
        calibration=CalibrationRecord(data="water", training=80, validation=80),
    )
    assert "water" in str(card) and "efa-zoo calibrate" not in str(card)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFA_ZOO_HOME", str(tmp_path))
        loaded = efa_zoo.load("kept")
    assert eqx.tree_equal(loaded.calibration, model.calibration)
    assert eqx.tree_equal(loaded.network, model.network)

    tensors = read_tensors(path)
    width = model.card.model.features
    for name, wrong in (
        ("calibration.means", tensors["calibration.means"][:1]),
        ("calibration.elements", tensors["calibration.elements"].astype(np.int64)),
        ("calibration.more", np.zeros(1, np.float32)),
    ):
        with pytest.raises(WeightsError, match=f"{name}: got .* expected"):
            take_calibration({**tensors, name: wrong}, width, path)
    del tensors["calibration.whitening"]
    with pytest.raises(WeightsError, match=r"calibration.whitening: got nothing, expected float32"):
        take_calibration(tensors, width, path)


def test_the_precision_does_not_matter(model: Potential) -> None:
    single = efa_zoo.predict(model, water())
    with jax.enable_x64(True):
        assert cast(model, np.float64).predictor.calibration is not None
    double = efa_zoo.predict(model, water(), dtype="float64")
    for name in ("energy_uncertainty", "force_uncertainty", "extrapolation"):
        np.testing.assert_allclose(getattr(single, name), getattr(double, name), rtol=1e-2)
