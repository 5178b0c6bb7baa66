"""Models in several threads and processes."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from commands import example

import efa_zoo
from efa_zoo.calculator import EFACalculator

CHECKOUT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.usefixtures("zoo")


def moved(number: int) -> Atoms:
    atoms = example("water_dimer")
    atoms.rattle(0.02, seed=number)
    return atoms


def energy(number: int) -> float:
    """Computed in another process."""
    return efa_zoo.predict("toy", moved(number)).energy


def test_eight_threads_give_the_numbers_of_one() -> None:
    model = efa_zoo.load("toy")
    structures = [moved(number) for number in range(24)]
    alone = [efa_zoo.predict(model, atoms) for atoms in structures]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda atoms: efa_zoo.predict(model, atoms), structures))
        double = list(
            pool.map(lambda a: efa_zoo.predict(model, a, dtype="float64"), structures[:8])
        )
    for one, other in zip(alone, together, strict=True):
        assert one.energy == other.energy
        np.testing.assert_array_equal(one.forces, other.forces)
    for one, other in zip(alone, double, strict=False):
        assert one.energy == pytest.approx(other.energy, abs=1e-4)
        assert one.energy != other.energy  # in each thread the type that it asked for


def test_two_calculators_do_not_mix() -> None:
    first, second = moved(1), moved(2)
    alone = [energy(1), energy(2)]
    first.calc, second.calc = (EFACalculator("toy", dtype="float32") for _ in range(2))
    for _ in range(2):
        found = [first.get_potential_energy(), second.get_potential_energy()]
        np.testing.assert_allclose(found, alone, atol=1e-4)
        first.positions += 0.0
        second.positions[0] += 0.0


def test_a_pool_of_spawned_processes_gives_the_same_numbers() -> None:
    alone = [energy(number) for number in range(2)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        np.testing.assert_allclose(list(pool.map(energy, range(2))), alone, atol=1e-6)


def test_a_fork_after_a_model_was_loaded_is_a_clear_error(zoo: Path) -> None:
    code = """
import os, warnings
import efa_zoo
from efa_zoo.base.errors import EFAZooError
warnings.simplefilter("ignore")  # JAX warns of the fork too
model = efa_zoo.load("toy")
child = os.fork()
if not child:
    try:
        efa_zoo.predict(model, [])
    except EFAZooError as error:
        assert "'spawn'" in str(error)
        os._exit(7)
    os._exit(1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 7
"""
    subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "EFA_ZOO_HOME": str(zoo)},
        check=True,
        timeout=120,
    )


def test_a_fork_before_is_none(zoo: Path) -> None:
    code = """
import os
import efa_zoo
child = os.fork()
if not child:
    os._exit(0 if efa_zoo.load("toy").card.name == "toy" else 1)
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 0
"""
    subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), "EFA_ZOO_HOME": str(zoo)},
        check=True,
        timeout=120,
    )
