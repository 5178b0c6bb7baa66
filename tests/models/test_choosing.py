"""Models are suggested by what their cards say, and refusals name them."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from commands import example

import efa_zoo
from efa_zoo.models.hub.card_text import mean_errors


def test_the_best_model_comes_first() -> None:
    found = efa_zoo.suggest(example("ammonium_water"))
    assert found[:2] == ["mpnn_efa_dimers", "mpnn_dimers"]
    errors = [mean_errors(efa_zoo.card(name))[1] for name in found]
    assert errors == sorted(errors)


def test_every_structure_must_be_known() -> None:
    water, ammonium = example("water_dimer"), example("ammonium_water")
    chloride = efa_zoo.Graph.from_arrays(
        [17, 6, 1, 1, 1, 35],
        [[0, 0, 0], [3, 0, 0], [3.3, 1, 0], [3.3, -0.5, 0.9], [3.3, -0.5, -0.9], [5, 0, 0]],
        cutoff=4.0,
        total_charge=-1,
    )
    assert efa_zoo.suggest(chloride) == ["mpnn_efa_sn2", "mpnn_sn2"]
    assert efa_zoo.suggest([water, ammonium]) == efa_zoo.suggest(ammonium)
    assert efa_zoo.suggest([water, chloride]) == []
    assert efa_zoo.suggest(water, charge=1) == []  # an odd number of electrons


def test_formulas_come_after_methods() -> None:
    hydrogen = efa_zoo.Graph.from_arrays([1, 1], [[0, 0, 0], [0, 0, 2.0]], cutoff=4.0)
    found = efa_zoo.suggest(hydrogen)
    formulas = ["=" in efa_zoo.card(name).data.level_of_theory for name in found]
    assert formulas == sorted(formulas)
    assert {True, False} == set(formulas)


@pytest.mark.parametrize("structures", [[], "water.xyz", 3, [3]])
def test_no_structure_is_refused(structures: object) -> None:
    with pytest.raises(efa_zoo.InputError, match="expected"):
        efa_zoo.suggest(structures)  # type: ignore[arg-type]


def test_a_users_own_model_is_among_them(zoo: Path) -> None:
    assert {"toy", "toy_neutral"} <= set(efa_zoo.suggest(example("water_dimer")))
    assert "toy_neutral" not in efa_zoo.suggest(example("ammonium_water"))
    assert "toy_recipe" not in efa_zoo.suggest(example("water_dimer"))


def test_a_refusal_names_models_that_know_the_structure() -> None:
    with pytest.raises(efa_zoo.InputError) as refused:
        efa_zoo.predict("mpnn_efa_sn2", example("water_dimer"))
    assert "knows only H, C, F, Cl, Br, I (known to mpnn_efa_dimers, mpnn_dimers" in str(
        refused.value
    )


def test_a_structure_that_no_model_knows_gets_no_names() -> None:
    gold = efa_zoo.Graph.from_arrays([79, 79], [[0, 0, 0], [0, 0, 2.5]], cutoff=4.0)
    with pytest.raises(efa_zoo.InputError) as refused:
        efa_zoo.predict("mpnn_efa_dimers", gold)
    assert str(refused.value).endswith("knows only H, C, N, O, F, Cl")


def test_suggesting_says_nothing_of_charges(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        efa_zoo.suggest(example("water_dimer"))
    assert caplog.messages == []


def test_suggesting_needs_no_jax() -> None:
    code = """
import sys
import ase.io
import efa_zoo
print(*efa_zoo.suggest(ase.io.read(efa_zoo.example("water_dimer"))))
print("jax" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["mpnn_efa_dimers mpnn_dimers", "False"]
