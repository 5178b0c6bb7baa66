"""The network: symmetries, padding, locality, and every option of its configuration."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError
from strategies import model_configs
from symmetry import MOTIONS, Motion, assert_close, filled, partitioned, quick_jit

from efa_zoo.base.config import (
    RADIAL_BASES,
    AttentionConfig,
    Coulomb,
    FrequencyConfig,
    IntegrationConfig,
    MessagePassingConfig,
    ModelConfig,
    Waves,
)
from efa_zoo.base.contracts import CONTRACTS
from efa_zoo.base.errors import InputError
from efa_zoo.models.energy import energy_and_forces
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.models.weights import named_arrays
from efa_zoo.nn import pairs as pairs_module
from efa_zoo.structures.graph import Graph, stack

_CUTOFF = 4.0
_LOCAL = MessagePassingConfig(cutoff=_CUTOFF, degree=1, num_radial=3)
_EXACT = AttentionConfig(
    kernel=Waves(frequencies=FrequencyConfig(max_frequency=3.0, max_length=6.0)),
    evaluation="exact",
)
_TINY = ModelConfig(
    features=2,
    iterations=1,
    highest_atomic_number=9,
    message_passing=_LOCAL,
    attention=_EXACT,
    zero_output=False,
)
_RICH = ModelConfig(
    features=2,
    iterations=2,
    highest_atomic_number=9,
    message_passing=_LOCAL,
    attention=dataclasses.replace(
        _EXACT,
        activation="silu",
        kernel=Waves(
            frequencies=FrequencyConfig(max_frequency=3.0, max_length=6.0, trainable=True)
        ),
        integration=IntegrationConfig(trainable=True),
    ),
    residual_mlps=1,
    self_interaction=True,
    dipole_embedding=True,
    zero_output=False,
)

_OF_MULTIPOLES = dataclasses.replace(
    _TINY,
    iterations=2,
    attention=AttentionConfig(
        kernel=Coulomb(), integration=IntegrationConfig(spherical_degree=2, trainable=True)
    ),
    last_attention_degree=1,
    attention_after_messages=True,
    direct_updates=True,
)


@dataclasses.dataclass(frozen=True)
class Molecule:
    """Atoms from which graphs of any padding are made."""

    numbers: np.ndarray
    positions: np.ndarray
    dipoles: np.ndarray | None

    @classmethod
    def random(cls, config: ModelConfig, atoms: int = 4, seed: int = 0) -> Molecule:
        rng = np.random.default_rng(seed)
        while True:
            positions = rng.normal(size=(atoms, 3))
            distances = np.linalg.norm(positions[:, None] - positions, axis=-1) + 9 * np.eye(atoms)
            if distances.min() > 0.8:
                break
        numbers = rng.integers(1, config.highest_atomic_number + 1, atoms)
        dipoles = rng.normal(size=(atoms, 3)) if config.dipole_embedding else None
        return cls(numbers, positions, dipoles)

    def graph(self, cutoff: float, **options: Any) -> Graph:
        return Graph.from_arrays(
            self.numbers,
            self.positions,
            cutoff,
            atomic_dipoles=self.dipoles,
            **({"dtype": np.float64} | options),
        )

    def moved(self, motion: Motion) -> Molecule:
        dipoles = None if self.dipoles is None else motion.vectors(self.dipoles)
        return Molecule(self.numbers, motion.vectors(self.positions), dipoles)

    def shifted(self, by: np.ndarray) -> Molecule:
        return Molecule(self.numbers, self.positions + by, self.dipoles)

    def ordered(self, order: np.ndarray) -> Molecule:
        dipoles = None if self.dipoles is None else self.dipoles[order]
        return Molecule(self.numbers[order], self.positions[order], dipoles)


def _model(config: ModelConfig, **options: Any) -> EnergyModel:
    return filled(EnergyModel, config, **options)


def _evaluate(model: EnergyModel, graphs: Sequence[Graph] | Graph) -> tuple[Any, Any]:
    """Atomic energies and forces of a batch, as NumPy arrays."""
    arrays, whole = partitioned(model)
    batch = graphs if isinstance(graphs, Graph) else stack(graphs)

    @quick_jit
    def evaluate(arrays: Any, batch: Graph) -> Any:
        return jax.vmap(functools.partial(energy_and_forces, whole(arrays)))(batch)

    outputs = evaluate(arrays, batch)
    return np.asarray(outputs.atomic_energies), np.asarray(outputs.forces)


def _check_symmetries(config: ModelConfig, tolerance: float, dtype: type = np.float64) -> None:
    """All symmetries, and forces against central differences, in one compiled batch."""
    model = _model(config, dtype=dtype)
    molecule = Molecule.random(config)
    # Permuted atoms have neighbours of another order, and the padding differs from row to row.
    options = {"num_neighbors": 4, "num_atoms": 5, "dtype": dtype}
    graph = molecule.graph(config.message_passing.cutoff, **options)
    order = np.array([3, 1, 0, 2])
    direction = np.random.default_rng(1).normal(size=(4, 3))
    step = 1e-3

    def with_positions(positions: np.ndarray) -> Graph:
        """The same neighbours whatever the positions: without a cutoff function they matter."""
        padded = np.concatenate([positions, np.zeros((1, 3))]).astype(dtype)
        return eqx.tree_at(lambda g: g.positions, graph, padded)

    graphs = [
        graph,
        *(
            molecule.moved(motion).graph(config.message_passing.cutoff, **options)
            for motion in MOTIONS
        ),
        with_positions(molecule.positions + np.array([2.0, -1.0, 0.5])),
        molecule.ordered(order).graph(config.message_passing.cutoff, **options),
        *(with_positions(molecule.positions + k * step * direction) for k in (-2, -1, 1, 2)),
    ]
    atomic, forces = _evaluate(model, graphs)
    assert np.all(np.isfinite(atomic))
    assert np.all(np.isfinite(forces))
    assert not atomic[:, 4:].any()
    assert not forces[:, 4:].any()
    atomic, forces = atomic[:, :4], forces[:, :4]
    # Networks that hardly interact have forces below the rounding of their energies.
    scale = max(np.abs(atomic[0]).max(), np.abs(forces[0]).max())
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=tolerance * scale)
    for motion, energies, moved in zip(MOTIONS, atomic[1:3], forces[1:3], strict=True):
        close(energies, atomic[0])
        close(moved, motion.vectors(forces[0]))
    close(atomic[3], atomic[0])
    close(forces[3], forces[0])
    close(atomic[4], atomic[0][order])
    close(forces[4], forces[0][order])
    close(np.sum(forces[0], axis=0), 0)
    if dtype is np.float64:
        energy = atomic[5:].sum(axis=1)
        derivative = (energy[0] - 8 * energy[1] + 8 * energy[2] - energy[3]) / (12 * step)
        expected = -np.sum(forces[0] * direction)
        assert abs(derivative - expected) < 1e-7 * scale
    assert config.message_passing != _LOCAL or np.abs(forces[0]).max() > 1e-2 * scale


def _symmetric(config: ModelConfig) -> ModelConfig:
    """With random output, and without the errors of quadrature."""
    attention = config.attention
    if attention is not None:
        attention = dataclasses.replace(attention, evaluation="exact", grid=None, tolerance=1e-5)
    return dataclasses.replace(config, attention=attention, zero_output=False)


@hypothesis.settings(
    max_examples=6,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
)
@hypothesis.given(model_configs(max_degree=2, smooth=True).map(_symmetric))
@hypothesis.example(_RICH)
@hypothesis.example(_OF_MULTIPOLES)
def test_any_network_has_the_symmetries_of_energies_and_forces(config: ModelConfig) -> None:
    with jax.enable_x64(True):
        _check_symmetries(config, 1e-10)


#: Radial functions that are not smooth by themselves, or not to the last digits.
_NOT_SMOOTH = [
    basis
    for basis in RADIAL_BASES
    if basis.startswith("e3x_") or basis in ("rectangular_window", "triangular_window")
]


def test_every_radial_basis_gives_smooth_energies(x64: None) -> None:
    # Distances from near to beyond the cutoff; the derivative is checked along the whole way.
    config = dataclasses.replace(_TINY, attention=None)
    distances = np.linspace(0.7, 4.2, 15)
    step = 1e-3
    rows = [
        [[0, 0, 0], [0, 0, d + k * step], [0, 1.0, 0.3]]
        for d in distances
        for k in (-2, -1, 0, 1, 2)
    ]
    # The neighbours stay the same, so that the cutoff function alone ends the interaction.
    batch = stack(
        [
            eqx.tree_at(
                lambda g: g.positions,
                Graph.from_arrays([8, 1, 6], rows[0], 10.0, dtype=np.float64),
                np.asarray(row, float),
            )
            for row in rows
        ]
    )
    models = []
    smooth = [basis for basis in RADIAL_BASES if basis not in _NOT_SMOOTH]
    for basis in smooth:
        local = dataclasses.replace(_LOCAL, degree=0, radial_basis=basis)
        models.append(_model(dataclasses.replace(config, message_passing=local)))
    arrays, whole = partitioned(models)

    @quick_jit
    def evaluate(arrays: Any, batch: Graph) -> Any:
        return [
            jax.vmap(functools.partial(energy_and_forces, model))(batch) for model in whole(arrays)
        ]

    seen = set()
    for basis, outputs in zip(smooth, evaluate(arrays, batch), strict=True):
        forces = outputs.forces
        energy = np.asarray(outputs.energy).reshape(-1, 5)
        assert np.all(np.isfinite(energy)), basis
        derivative = energy @ np.array([1, -8, 0, 8, -1]) / (12 * step)
        force = np.asarray(forces)[2::5, 1, 2]
        # Where the cutoff function ends it is smooth, but not analytic: no small differences.
        inside = distances < 3.5
        scale = np.abs(force).max()
        np.testing.assert_allclose(
            derivative[inside] / scale, -force[inside] / scale, atol=1e-7, err_msg=basis
        )
        seen.add(energy.tobytes())
    assert len(seen) == len(smooth)


@pytest.mark.parametrize("evaluation", ["exact", "quadrature"])
def test_symmetries_in_float32_and_by_quadrature(evaluation: str) -> None:
    attention = dataclasses.replace(_EXACT, evaluation=evaluation)
    config = dataclasses.replace(_TINY, attention=attention)
    if evaluation == "exact":
        _check_symmetries(config, 1e-5, np.float32)
    else:
        with jax.enable_x64(True):
            _check_symmetries(config, 1e-5)


def _derivatives(model: EnergyModel, batch: Graph, directions: np.ndarray) -> tuple[Any, ...]:
    """Everything that training and optimisation differentiate, to second order.

    Returns energies, forces, gradients of the weights, Hessian-vector products and the gradients
    of the weights of forces along the directions.
    """
    arrays, whole = partitioned(model)

    @quick_jit
    def derive(arrays: Any, batch: Graph, directions: jax.Array) -> Any:
        def total(arrays: Any, positions: jax.Array) -> tuple[jax.Array, jax.Array]:
            moved = eqx.tree_at(lambda g: g.positions, batch, positions)
            energies = jax.vmap(whole(arrays))(moved).energy
            return jnp.sum(energies), energies

        def gradient(positions: jax.Array) -> Any:
            return jax.grad(total, argnums=(0, 1), has_aux=True)(arrays, positions)

        (first, energies), (second, _) = jax.jvp(gradient, (batch.positions,), (directions,))
        return energies, first, second

    batch = jax.tree.map(jnp.asarray, batch)
    energies, first, second = derive(arrays, batch, jnp.asarray(directions))
    return jax.tree.map(np.asarray, (energies, -first[1], first[0], second[1], second[0]))


@pytest.mark.parametrize(
    ("config", "all_pairs"),
    [
        (dataclasses.replace(_RICH, self_interaction=False, dipole_embedding=False), True),
        (
            dataclasses.replace(
                _TINY,
                iterations=2,
                attention=AttentionConfig(
                    kernel=_EXACT.kernel,
                    evaluation="quadrature",
                    grid=14,
                    tolerance=math.inf,
                ),
                combine="sum",
            ),
            False,
        ),
    ],
    ids=["rich", "quadrature_with_neighbor_matrix"],
)
def test_padding_changes_nothing_to_second_order(
    x64: None, monkeypatch: pytest.MonkeyPatch, config: ModelConfig, all_pairs: bool
) -> None:
    monkeypatch.setattr(pairs_module, "_all_pairs_are_cheaper", lambda *_: all_pairs)
    model = _model(config)
    molecules = [Molecule.random(config, atoms=3, seed=seed) for seed in (1, 2)]
    natural = stack([molecule.graph(_CUTOFF) for molecule in molecules])
    empty = jax.tree.map(np.zeros_like, molecules[0].graph(_CUTOFF))
    padded = stack(
        [molecules[1].graph(_CUTOFF), empty, molecules[0].graph(_CUTOFF)],
        num_atoms=5,
        num_neighbors=4,
    )
    directions = np.random.default_rng(3).normal(size=(2, 3, 3))
    wide = np.ones((3, 5, 3))  # of padding atoms too, on which nothing depends
    wide[0, :3], wide[2, :3] = directions[1], directions[0]
    alone = _derivatives(model, natural, directions)
    together = _derivatives(model, padded, wide)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(together))
    energies, forces, gradient, products, mixed = together
    assert_close(energies[[2, 0]], alone[0], 1e-10)
    assert energies[1] == 0
    for ours, expected in ((forces, alone[1]), (products, alone[3])):
        assert_close(ours[[2, 0], :3], expected, 1e-10)
        assert not ours[1].any()
        assert not ours[:, 3:].any()
    for ours, expected in ((gradient, alone[2]), (mixed, alone[4])):
        leaves = zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True)
        largest = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
        for a, b in leaves:
            np.testing.assert_allclose(a / largest, b / largest, rtol=0, atol=1e-10)


def test_fragments_out_of_reach_add_up_and_attention_reaches_them(x64: None) -> None:
    local = dataclasses.replace(_TINY, attention=None, iterations=2)
    far = np.array([0.0, 0.0, 50.0])
    molecule = Molecule.random(local, atoms=3)
    atom = Molecule(np.array([8]), far[None], None)
    nearer = dataclasses.replace(atom, positions=atom.positions - 30)
    pairs = [
        Molecule(
            np.append(molecule.numbers, other.numbers),
            np.concatenate([molecule.positions, other.positions]),
            None,
        )
        for other in (atom, nearer)
    ]
    # The same shapes throughout, so that everything is compiled once; an atom has no neighbours.
    graphs = [one.graph(_CUTOFF, num_atoms=4, num_neighbors=2) for one in (*pairs, molecule, atom)]
    atomic, forces = _evaluate(_model(local), graphs)
    energy = atomic.sum(axis=1)
    assert np.all(np.isfinite(forces))
    assert abs(energy[0] - energy[2] - energy[3]) < 1e-10 * np.abs(energy).max()
    assert_close(forces[0, :3], forces[2, :3], 1e-10)
    assert not forces[0, 3].any()
    assert energy[3] != 0
    emulated = dataclasses.replace(_TINY, emulate_attention=True)
    energy = _evaluate(_model(emulated), graphs)[0].sum(axis=1)
    assert abs(energy[0] - energy[2] - energy[3]) < 1e-10 * np.abs(energy).max()
    energy = _evaluate(_model(_TINY), graphs)[0].sum(axis=1)
    assert abs(energy[0] - energy[1]) > 1e-4 * np.abs(energy).max()


def test_the_highest_element_works_and_the_next_is_nan(x64: None) -> None:
    model = eqx.tree_at(lambda m: m.element_bias, _model(_TINY), jnp.arange(10.0))
    graphs = [
        Graph.from_arrays([number, 1], [[0, 0, 0], [0, 0, 1.0]], _CUTOFF, dtype=np.float64)
        for number in (9, 10, 8)
    ]
    atomic, forces = _evaluate(model, graphs)
    assert np.all(np.isfinite(atomic[[0, 2]]))
    assert np.all(np.isnan(atomic[1]))
    assert np.all(np.isnan(forces[1]))
    without = eqx.tree_at(lambda m: m.element_bias, model, jnp.zeros(10))
    bias = atomic[0] - _evaluate(without, graphs)[0][0]
    np.testing.assert_allclose(bias, [9, 1], atol=1e-12)


def test_a_new_network_predicts_zero_unless_asked_otherwise() -> None:
    graph = Molecule.random(_TINY).graph(_CUTOFF, dtype=np.float32)
    zero = EnergyModel(dataclasses.replace(_TINY, zero_output=True), key=jax.random.key(0))
    random = EnergyModel(_TINY, key=jax.random.key(0))
    assert not quick_jit(zero)(graph).atomic_energies.any()
    assert quick_jit(random)(graph).atomic_energies.all()
    assert random.interactions[0].switch == 0.5
    for block in zero.interactions:
        assert not block.local_mlp.second.weight.any()
        assert block.local_mlp.first.weight.all()
    other = EnergyModel(_TINY, key=jax.random.key(1))
    for a, b in zip(jax.tree.leaves(random), jax.tree.leaves(other), strict=True):
        if a.ndim > 1:
            assert np.any(a != b)


def _shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all parameters."""
    model = eqx.filter_eval_shape(EnergyModel, config, key=jax.random.key(0))
    return {name: leaf.shape for name, leaf in named_arrays(model).items()}


_BASE = ModelConfig(
    features=4,
    iterations=3,
    message_passing=dataclasses.replace(_LOCAL, degree=2),
    attention=_EXACT,
)


@pytest.mark.parametrize(
    ("option", "name", "before", "after"),
    [
        ({"features": 6}, "readout", (4,), (6,)),
        ({"iterations": 4}, "interactions.3.switch", None, ()),
        ({"highest_atomic_number": 9}, "element_bias", (119,), (10,)),
        (
            {"message_passing": _LOCAL},
            "interactions.0.message_pass.filter",
            (3, 3, 4),
            (2, 3, 4),
        ),
        (
            {"message_passing": dataclasses.replace(_LOCAL, num_radial=5)},
            "interactions.0.message_pass.filter",
            (3, 3, 4),
            (2, 5, 4),
        ),
        ({"attention": None}, "interactions.0.attention.query.weight", (1, 1, 4, 4), None),
        (
            {"attention_iterations": (1, 2)},
            "interactions.0.attention.query.weight",
            (1, 1, 4, 4),
            None,
        ),
        # The second block's input has degree 2, the first one's is scalar.
        (
            {"attention_degree": 1},
            "interactions.1.attention.query.weight",
            (1, 3, 4, 4),
            (1, 2, 4, 4),
        ),
        (
            {"attention_pseudotensors": True},
            "interactions.1.attention.query.weight",
            (1, 3, 4, 4),
            (2, 3, 4, 4),
        ),
        (
            {"last_attention_degree": 1},
            "interactions.2.attention.query.weight",
            (1, 1, 4, 4),
            (2, 2, 4, 4),
        ),
        (
            {"last_attention_degree": 1},
            "interactions.2.attention_product.first.weight",
            None,
            (2, 2, 4, 4),
        ),
        (
            {"attention_after_messages": True},
            "interactions.0.attention.query.weight",
            (1, 1, 4, 4),
            (1, 3, 4, 4),
        ),
        ({"emulate_attention": True}, "interactions.0.attention.weight", None, (1, 1, 4, 4)),
        ({"combine": "sum"}, "interactions.0.switch", (), None),
        (
            {"residual_mlps": 1},
            "interactions.2.residual_mlps.0.first.weight",
            None,
            (1, 1, 4, 4),
        ),
        ({"self_interaction": True}, "interactions.2.self_interaction.weights", None, None),
        ({"dipole_embedding": True}, "dipole_embedding", None, (4,)),
    ],
    ids=str,
)
def test_every_option_shapes_the_network(
    option: dict[str, Any],
    name: str,
    before: tuple[int, ...] | None,
    after: tuple[int, ...] | None,
) -> None:
    changed = _shapes(dataclasses.replace(_BASE, **option))
    if "self_interaction" in option:
        assert name in changed
        assert name not in _shapes(_BASE)
        # Every later block then sees pseudotensors, which such products make.
        assert changed["interactions.2.local_mlp.first.weight"] == (1, 1, 4, 4)
        assert (
            changed["interactions.1.message_pass.weights"]
            != (_shapes(_BASE)["interactions.1.message_pass.weights"])
        )
    else:
        assert _shapes(_BASE).get(name) == before
        assert changed.get(name) == after


def test_the_last_block_makes_scalars_and_attends_to_scalars() -> None:
    model = eqx.filter_eval_shape(EnergyModel, _BASE, key=jax.random.key(0))
    first, middle, last = model.interactions
    assert (first.irreps.degree, middle.irreps.degree, last.irreps.degree) == (2, 2, 0)
    assert last.attention.query_key_irreps == (0, False)
    assert middle.irreps.pseudotensors
    assert not last.irreps.pseudotensors


def test_updates_are_weighed_by_a_switch_or_added(x64: None) -> None:
    # With c = 0.5 both updates weigh silu(0.5); a network of one block shows its input and sum.
    config = dataclasses.replace(_TINY, attention=None, combine="sum")
    model = _model(config)
    switched = _model(dataclasses.replace(config, combine="switch"))
    assert switched.interactions[0].switch is not None
    half = eqx.tree_at(lambda m: m.interactions[0].switch, switched, jnp.asarray(0.5))
    same = eqx.tree_at(
        lambda m: (m.embedding, m.interactions[0].local_mlp, m.interactions[0].message_pass),
        half,
        (model.embedding, model.interactions[0].local_mlp, model.interactions[0].message_pass),
    )
    same = eqx.tree_at(lambda m: (m.readout, m.element_bias), same, (model.readout, jnp.zeros(10)))
    model = eqx.tree_at(lambda m: m.element_bias, model, jnp.zeros(10))
    graph = Molecule.random(config).graph(_CUTOFF)
    embedded = model.embedding(jnp.asarray(graph.atomic_numbers))[:, 0, 0] @ model.readout
    added, weighed = (
        np.asarray(quick_jit(m)(graph).atomic_energies) - embedded for m in (model, same)
    )
    assert_close(weighed, added * 0.5 / (1 + np.exp(-0.5)), 1e-12)


@pytest.mark.parametrize("attention", [None, _EXACT], ids=["local", "attention"])
def test_direct_updates_of_one_block_are_sums_over_pairs(
    attention: AttentionConfig | None, x64: None
) -> None:
    # Perceptrons end in zeros, so only what passes beside them is left.
    config = dataclasses.replace(_TINY, attention=attention, zero_output=True)
    molecule = Molecule.random(config, atoms=3)

    def energy(config: ModelConfig, atoms: Sequence[int]) -> float:
        network = EnergyModel(config, key=jax.random.key(1), dtype=jnp.float64)
        network = eqx.tree_at(lambda m: m.readout, network, jnp.arange(1.0, 3.0))
        part = molecule.ordered(np.asarray(atoms))
        return float(quick_jit(network)(part.graph(_CUTOFF)).energy)

    direct = dataclasses.replace(config, direct_updates=True)
    singles = [energy(direct, [i]) for i in range(3)]
    pairs = [energy(direct, ij) - sum(singles[i] for i in ij) for ij in ([0, 1], [0, 2], [1, 2])]
    whole = energy(direct, [0, 1, 2])
    assert whole == pytest.approx(sum(pairs) + sum(singles), abs=1e-12)
    assert min(abs(pair) for pair in pairs) > 1e-6
    embedded = [energy(config, [i]) for i in range(3)]
    assert energy(config, [0, 1, 2]) == pytest.approx(sum(embedded), abs=1e-12)


def test_weights_take_the_wanted_dtype(x64: None) -> None:
    model = _model(_RICH, dtype=jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(model)} == {np.dtype("float32")}


def test_no_dtype_is_promoted_silently() -> None:
    quadrature = dataclasses.replace(_EXACT, evaluation="quadrature")
    for config in (_RICH, dataclasses.replace(_TINY, attention=quadrature)):
        graph = Molecule.random(config).graph(_CUTOFF, dtype=np.float32)
        evaluate = functools.partial(energy_and_forces, _model(config))
        with jax.numpy_dtype_promotion("strict"):
            jax.eval_shape(evaluate, graph)
    # Weights and positions stay float32 where 64-bit types are enabled.
    with jax.enable_x64(True):
        outputs = jax.eval_shape(evaluate, graph)
    assert {leaf.dtype for leaf in jax.tree.leaves(outputs)} == {np.dtype("float32")}


def test_dipoles_are_needed_or_refused() -> None:
    with_dipoles = dataclasses.replace(_TINY, dipole_embedding=True)
    graph = Molecule.random(_TINY).graph(_CUTOFF, dtype=np.float32)
    dipolar = Molecule.random(with_dipoles).graph(_CUTOFF, dtype=np.float32)
    for call in (lambda model, graph: model(graph), lambda m, g: jax.eval_shape(m, g)):
        with pytest.raises(InputError, match="atomic_dipoles: got None, expected a value"):
            call(_model(with_dipoles), graph)
        with pytest.raises(InputError, match="atomic_dipoles: given, expected None"):
            call(_model(_TINY), dipolar)


@pytest.mark.skipif(not CONTRACTS, reason="contracts are off")
@pytest.mark.parametrize("jit", [False, True])
def test_wrong_molecules_are_refused_by_name(jit: bool) -> None:
    model = _model(_TINY)
    graph = Molecule.random(_TINY).graph(_CUTOFF, dtype=np.float32)
    cases = [
        (stack([graph, graph]), "atomic_numbers"),
        (eqx.tree_at(lambda g: g.positions, graph, np.zeros((4, 2), np.float32)), "positions"),
        (eqx.tree_at(lambda g: g.positions, graph, np.zeros((5, 3), np.float32)), "positions"),
        (eqx.tree_at(lambda g: g.positions, graph, np.zeros((4, 3), np.int32)), "positions"),
        (eqx.tree_at(lambda g: g.neighbors, graph, np.zeros((3, 2), np.int32)), "neighbors"),
        (eqx.tree_at(lambda g: g.neighbor_mask, graph, np.zeros((4, 1), bool)), "neighbor_mask"),
        (3, "graph"),
    ]
    for wrong, name in cases:
        with pytest.raises(TypeCheckError, match=name):
            (quick_jit(model) if jit else model)(wrong)
