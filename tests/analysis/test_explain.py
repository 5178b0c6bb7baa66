"""Attention made visible: the weights are those that the layers sum with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import e3x
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from commands import dimers, example, fail, succeed
from toys import potential

import efa_zoo
from efa_zoo.analysis.draw_explanation import draw_explanation
from efa_zoo.analysis.explain import Explanation, explain
from efa_zoo.attention.module import EuclideanFastAttention
from efa_zoo.base.config import (
    AttentionConfig,
    IntegrationConfig,
    MessagePassingConfig,
    ModelConfig,
)
from efa_zoo.base.errors import InputError
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.potential import Potential, cast
from efa_zoo.nn.coupling import repeat_degrees

MODEL = ModelConfig(
    features=4,
    iterations=2,
    zero_output=False,
    highest_atomic_number=9,
    message_passing=MessagePassingConfig(cutoff=4.0, degree=1, num_radial=3),
    attention=AttentionConfig(integration=IntegrationConfig(spherical_degree=2)),
)


@pytest.fixture(scope="module")
def tensors() -> tuple[Potential, Explanation]:
    """A model with directions in its attention, and what it does in a dimer."""
    model = potential(dataclasses.replace(MODEL, dipole_embedding=True))
    return model, explain(model, polar_dimer())


def polar_dimer() -> Atoms:
    """An example whose atoms have dipoles, so that features have directions from the start."""
    atoms = example("ammonium_water")
    atoms.arrays["atomic_dipoles"] = np.random.default_rng(0).normal(size=(len(atoms), 3))
    return atoms


@pytest.fixture(scope="module")
def scalars(toy_home: Path) -> Explanation:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EFA_ZOO_HOME", str(toy_home))
        return explain("toy", example("ammonium_water"))


def test_weights_times_values_are_what_the_layer_gives(
    tensors: tuple[Potential, Explanation], x64: None
) -> None:
    model, explanation = tensors
    assert [block.block for block in explanation.blocks] == [0, 1]
    assert explanation.degree == 2
    r = explanation.positions[None] - explanation.positions[:, None]
    unit = r / (explanation.distances + np.eye(len(r)))[..., None]
    harmonics = e3x.so3.spherical_harmonics(jnp.asarray(unit), 2)
    network = cast(model.network, np.float64)
    for block, theirs in zip(
        explanation.blocks, _layer_outputs(network, polar_dimer()), strict=True
    ):
        layer = network.interactions[block.block].attention
        assert isinstance(layer, EuclideanFastAttention)
        np.testing.assert_allclose(block.kernel.parameters, layer.current_frequencies())
        weights = repeat_degrees(jnp.asarray(block.weights.sum(axis=1)), 2, 0)
        ours = jnp.einsum("aij,ija,jv->iav", weights, harmonics, block.values)
        product = ours.reshape(*ours.shape[:2], *_value_shape(layer))
        assert layer.integration is not None
        ours = layer.integration.couple(product)
        assert np.abs(theirs).max() > 1e-3
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def _value_shape(layer: EuclideanFastAttention) -> tuple[int, int, int]:
    irreps = layer.value_irreps
    return irreps.parities, irreps.components, layer.value_features


def _layer_outputs(network: EnergyModel, atoms: Atoms) -> list[jax.Array]:
    """What the attention layers give while the whole network runs."""
    outputs: list[jax.Array] = []
    call = EuclideanFastAttention.__call__

    def record(layer: EuclideanFastAttention, *arguments: Any, **options: Any) -> Any:
        outputs.append(call(layer, *arguments, **options))
        return outputs[-1]

    @eqx.filter_jit
    def run(network: EnergyModel, graph: efa_zoo.Graph) -> list[jax.Array]:
        network(graph)
        return list(outputs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EuclideanFastAttention, "__call__", record)
        return run(network, efa_zoo.Graph.from_ase(atoms, 4.0, dtype=np.float64))


def test_weights_follow_their_formula(scalars: Explanation) -> None:
    (block,) = scalars.blocks
    atoms, heads = len(scalars.symbols), len(block.kernel.parameters)
    assert block.weights.shape == (1, heads, atoms, atoms)
    phase = block.kernel.parameters[:, None, None] * scalars.distances
    products = block.weights[0] / np.sinc(phase / np.pi)
    # (q·k) of one frequency is a matrix of rank two at most: each has two components.
    for product in products:
        assert np.linalg.matrix_rank(product, tol=1e-9) <= 2
    np.testing.assert_allclose(block.strengths[0], np.sqrt((products**2).mean(axis=(1, 2))))
    np.testing.assert_allclose(block.total(), block.weights[0].sum(axis=0))


def test_the_way_the_model_evaluates_attention_does_not_matter() -> None:
    attention = dataclasses.replace(AttentionConfig(), evaluation="quadrature")
    small = dataclasses.replace(MODEL, iterations=1, attention=AttentionConfig())
    coarse = dataclasses.replace(small, attention=attention)
    first, second = (explain(potential(m), example("water_dimer")) for m in (small, coarse))
    np.testing.assert_allclose(first.blocks[0].weights, second.blocks[0].weights, atol=1e-12)


def test_an_explanation_says_which_atoms_attend_most(scalars: Explanation) -> None:
    assert scalars.symbols == ("N", "H", "H", "H", "H", "O", "H", "H")
    assert scalars.cutoff == 4.0
    lines = str(scalars).splitlines()
    assert len(lines) == 7
    weights = scalars.blocks[0].total() * (1 - np.eye(8))
    i, j = np.unravel_index(np.abs(weights).argmax(), weights.shape)
    assert lines[2].split()[1:3] == [f"{scalars.symbols[i]}{i}", f"{scalars.symbols[j]}{j}"]
    assert f"{weights[i, j]:+.4f}" in lines[2]


def test_what_cannot_be_explained_is_refused() -> None:
    local = potential(dataclasses.replace(MODEL, attention=None))
    with pytest.raises(InputError, match="model: got small, expected a model with attention"):
        explain(local, example("water_dimer"))
    with pytest.raises(InputError, match="charge"):
        explain(potential(MODEL), example("water_dimer"), charge=4)


# -------------------------------------------------------------------------------------------
# The picture


@pytest.mark.parametrize("ending", [".png", ".pdf", ".svg"])
def test_a_picture_is_written(scalars: Explanation, tmp_path: Path, ending: str) -> None:
    pytest.importorskip("matplotlib")
    path = draw_explanation(scalars, tmp_path / f"attention{ending}")
    assert path.stat().st_size > 10_000
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_every_degree_can_be_drawn(tensors: tuple[Potential, Explanation], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pictures = [
        draw_explanation(tensors[1], tmp_path / f"{degree}.png", degree=degree).read_bytes()
        for degree in (0, 1, 2)
    ]
    assert len(set(pictures)) == 3
    with pytest.raises(InputError, match="degree: got 3, expected 0 to 2"):
        draw_explanation(tensors[1], tmp_path / "3.png", degree=3)


@pytest.mark.parametrize("atoms", [1, 40])
def test_few_and_many_atoms_can_be_drawn(scalars: Explanation, tmp_path: Path, atoms: int) -> None:
    pytest.importorskip("matplotlib")
    random = np.random.default_rng(0)
    positions = random.normal(size=(atoms, 3))
    (block,) = scalars.blocks
    drawn = dataclasses.replace(
        scalars,
        symbols=("C",) * atoms,
        positions=positions,
        distances=np.linalg.norm(positions[None] - positions[:, None], axis=-1),
        blocks=(
            dataclasses.replace(
                block, weights=random.normal(size=(1, len(block.kernel.parameters), atoms, atoms))
            ),
        ),
    )
    assert draw_explanation(drawn, tmp_path / "attention.png").exists()


# -------------------------------------------------------------------------------------------
# The command


def test_the_command_explains(
    capsys: pytest.CaptureFixture[str],
    scalars: Explanation,
    zoo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    called = []

    def stand_in(*arguments: Any, **options: Any) -> Explanation:
        called.append((*arguments, options))
        return scalars

    monkeypatch.setattr("efa_zoo.analysis.explain.explain", stand_in)
    file = dimers()
    out = succeed(capsys, "explain", "toy", file, "--index", "1", "--charge", "0")
    assert out == f"{scalars}\npicture: explain_toy.png\n"
    content = json.loads(succeed(capsys, "explain", "toy", file, "--out", "a.svg", "--json"))
    assert content["picture"] == "a.svg"
    assert np.shape(content["blocks"][0]["weights"]) == scalars.blocks[0].weights.shape
    (name, atoms, options), _ = called
    assert (name, atoms.get_chemical_formula()) == ("toy", "H4O2")
    assert options == {"charge": 0, "out_of_range": "error"}
    assert {"explain_toy.png", "a.svg"} <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("toyy example:water_dimer", "did you mean toy"),
        ("toy missing.xyz", "missing.xyz: No such file"),
        ("toy example:water_dimer --index 1", "index: got 1, expected 0 to 0"),
        ("toy example:water_dimer --out a.gif", "expected a name that ends in .png, .pdf or .svg"),
        ("toy example:water_dimer --charge 1", "example:water_dimer:0: charge: +1 leaves 19 elec"),
        ("toy", "missing from efa-zoo explain: FILE"),
    ],
)
def test_bad_arguments_are_refused(
    capsys: pytest.CaptureFixture[str],
    zoo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in fail(capsys, "explain", *arguments.split())
