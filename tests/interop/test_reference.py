"""What the import of the reference's parameters takes and refuses."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import e3x
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from archives import Case, read_case
from symmetry import quick_jit

import efa_zoo
from efa_zoo.attention import EuclideanFastAttention, TensorIntegration
from efa_zoo.base.errors import ConfigError, InputError, WeightsError
from efa_zoo.interop.reference import (
    DeferredAttention,
    attend_flat,
    attention,
    energy_model,
    evaluate_flat,
    import_checkpoint,
    load_checkpoint,
    rope_attention_flat,
    tensor_integration,
)
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.nn.coupling import Irreps

_GOLDEN = Path(__file__).parents[1] / "golden"
_WAVES = {"epe_max_frequency": 3.0, "epe_max_length": 9.0}


def _dense(names: tuple[str, ...], width: int, out: int) -> dict[str, Any]:
    layers: dict[str, Any] = {name: {"kernel": np.full((width, out), 0.1)} for name in names}
    layers["0+"]["bias"] = np.zeros(out)
    return layers


def _projections(*names: str, width: int = 4) -> dict[str, Any]:
    return {f"Dense_{i}": _dense(names, width, 4) for i in range(3)}


def _without(tree: dict[str, Any], path: str) -> dict[str, Any]:
    changed = copy.deepcopy(tree)
    *folders, leaf = path.split("/")
    inner = changed
    for folder in folders:
        inner = inner[folder]
    del inner[leaf]
    return changed


def _with(tree: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(tree)
    *folders, leaf = path.split("/")
    inner = changed
    for folder in folders:
        inner = inner.setdefault(folder, {})
    inner[leaf] = value
    return changed


@pytest.fixture(scope="module")
def model_case() -> Case:
    """A local network of two iterations."""
    return read_case(_GOLDEN / "model.npz", "000")


@pytest.fixture(scope="module")
def tiny(model_case: Case) -> EnergyModel:
    return energy_model(model_case.params, model_case.meta)


# ---------------------------------------------------------------------------------------------
# Attention


@pytest.mark.parametrize(
    ("names", "irreps"),
    [
        (("0+",), Irreps(0, False)),
        (("0+", "0-"), Irreps(0, True)),
        (("0+", "1-", "2+"), Irreps(2, False)),
        (("0+", "1+", "0-", "1-"), Irreps(1, True)),
    ],
)
def test_irreps_of_the_input_are_read_off_the_projections(
    names: tuple[str, ...], irreps: Irreps
) -> None:
    options = {**_WAVES, "num_features_qk": 4, "num_features_v": 4}
    layer = attention(_projections(*names, width=6), options)
    assert isinstance(layer, EuclideanFastAttention)
    assert layer.input_irreps == irreps
    assert layer.features == 6
    assert layer.config.grid == 6
    assert layer.config.evaluation == "quadrature"


def test_without_projections_the_layer_is_made_when_called() -> None:
    layer = attention(None, {**_WAVES, "parametrized": False})
    assert isinstance(layer, DeferredAttention)
    inputs, positions = np.ones((3, 2, 4, 2), np.float32), np.ones((3, 3), np.float32)
    batch: dict[str, Any] = {
        "batch_segments": np.array([1, 0, 1]),
        "graph_mask": np.array([True, False]),
    }
    made = layer.for_inputs(Irreps(1, True), 2)
    expected, found = (
        quick_jit(lambda x, layer=layer: attend_flat(layer, x, positions, **batch))(inputs)
        for layer in (made, layer)
    )
    np.testing.assert_array_equal(found, expected)


def test_parameters_keep_their_dtype() -> None:
    params = _projections("0+")
    with jax.enable_x64(True):
        layer = attention(params, _WAVES)
        assert isinstance(layer, EuclideanFastAttention)
        assert {leaf.dtype for leaf in jax.tree.leaves(layer)} == {np.dtype("float64")}
    half = jax.tree.map(lambda leaf: leaf.astype(np.float16), params)
    layer = attention({"params": half}, _WAVES)
    assert {leaf.dtype for leaf in jax.tree.leaves(layer)} == {np.dtype("float16")}


@pytest.mark.parametrize(("wanted", "taken"), [(3, 6), (26, 26), (60, 50), (10_000, 5810)])
def test_the_grid_is_the_largest_of_at_most_that_many_points(wanted: int, taken: int) -> None:
    layer = attention(None, {**_WAVES, "parametrized": False, "lebedev_num": wanted})
    assert layer.config.grid == taken


def test_exact_evaluation_needs_no_grid() -> None:
    config = {**_WAVES, "parametrized": False, "lebedev_num": None}
    layer = attention(None, config, evaluation="exact")
    assert layer.config.grid is None
    assert layer.config.evaluation == "exact"


@pytest.mark.parametrize("activation", [None, "identity", "silu", e3x.nn.silu, e3x.nn.gelu])
def test_activations_by_name_and_as_functions(activation: Any) -> None:
    layer = attention(None, {**_WAVES, "parametrized": False, "activation_fn": activation})
    name = activation if isinstance(activation, str) else getattr(activation, "__name__", None)
    assert layer.config.activation == (name or "identity")


def test_a_frequency_function_of_the_references_signature() -> None:
    calls = []

    def frequencies(
        rng: Any, num: Any, features: int, max_frequency: float, max_length: float, dtype: Any
    ) -> jax.Array:
        calls.append((rng, num, features, max_frequency, max_length))
        return jnp.full(features // 2, 7, dtype)

    config = {**_WAVES, "epe_frequencies_init_fn": frequencies, "epe_num_frequencies": 5}
    layer = attention(_projections("0+"), config)
    assert isinstance(layer, EuclideanFastAttention)
    np.testing.assert_array_equal(layer.current_frequencies(), [7, 7])
    assert set(calls) == {(None, 5, 4, 3.0, 9.0)}


def test_arrays_and_ranges_stand_for_lists(model_case: Case) -> None:
    options = {
        "epe_max_frequency": np.float64(3),
        "epe_max_length": np.int64(9),
        "parametrized": np.bool_(False),
        "tensor_integration": True,
        "ti_max_degree_sph": 1,
        "ti_degree_scaling_constants": np.array([1.0, 2.0]),
    }
    integration = attention({}, options).config.integration
    assert integration is not None
    assert integration.degree_constants == (1.0, 2.0)
    local = energy_model(model_case.params, {**model_case.meta, "era_use_in_iterations": range(0)})
    assert local.config.attention is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_degre_qk": 1}, "config: unknown key 'max_degre_qk' (did you mean 'max_degree_qk'?)"),
        ({"lebedev_num": "50"}, "config.lebedev_num: got '50', expected an integer"),
        ({"lebedev_num": None}, "lebedev_num: missing"),
        ({"epe_max_length": None}, "epe_max_length: missing"),
        ({"epe_max_length": -1}, "epe_max_length: got -1.0, expected a positive number"),
        ({"activation_fn": "gulu"}, "config.activation_fn: got 'gulu', expected one of"),
        ({"activation_fn": abs}, "config.activation_fn: got <built-in function abs>"),
        ({"epe_frequencies_init_fn": "linear"}, "config.epe_frequencies_init_fn: got 'linear'"),
        ({"param_dtype": "int32"}, "config.param_dtype: got 'int32', expected the name of a"),
        ({"ti_max_degree": 1}, "config.ti_max_degree: got 1, expected none, because"),
        ({"ti_include_pseudotensors": False}, "config.ti_include_pseudotensors: got False"),
        ({"ti_parametrize_coupling_paths": True}, "config.ti_parametrize_coupling_paths: got"),
        ({"num_features_qk": 3}, "num_features_qk: got 3, expected an even number"),
        ({"parametrized": False, "num_features_v": 3}, "num_features_v: got 3, expected none"),
        ({"max_degree_qk": 2}, "max_degree_qk: got 2, expected at most 1"),
        ({"max_degree_v": -1}, "max_degree_v: got -1"),
        (
            {"tensor_integration": True, "ti_max_degree_sph": 1, "ti_max_degree": 3},
            "ti_max_degree: got 3, expected 0 to 2",
        ),
        (
            {"tensor_integration": True, "ti_degree_scaling_constants": [1.0]},
            "ti_degree_scaling_constants: got 1 numbers, expected",
        ),
    ],
)
def test_attention_refuses_options_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        attention(_projections("0+", "1-"), {**_WAVES, **options})


_TRAINED_PATHS = {
    **_WAVES,
    "parametrized": False,
    "tensor_integration": True,
    "ti_parametrize_coupling_paths": True,
}


@pytest.mark.parametrize(
    ("params", "options", "message"),
    [
        ({}, {}, "params: Dense_0/0+/kernel is missing"),
        (_without(_projections("0+"), "Dense_1"), {}, "Dense_1/0+/kernel is missing, expected"),
        (_without(_projections("0+"), "Dense_2/0+/bias"), {}, "Dense_2/0+/bias is missing"),
        (
            _with(_projections("0+"), "Dense_1/1-/kernel", np.zeros((4, 4))),
            {},
            "Dense_1/1-/kernel has shape (4, 4), expected no such parameter",
        ),
        (
            _projections("0+"),
            {"num_features_v": 6},
            "Dense_2/0+/kernel has shape (4, 4), expected (4, 6)",
        ),
        (
            _with(_projections("0+"), "Dense_0/0+/kernel", np.zeros(4)),
            {},
            "Dense_0/0+/kernel has shape (4,), expected (in_features, out_features)",
        ),
        (
            _with(_projections("0+"), "Dense_1/0+/kernel", np.zeros((4, 4), int)),
            {},
            "Dense_1/0+/kernel has dtype int64, expected a floating-point type",
        ),
        (_projections("0+"), {"epe_frequencies_trainable": True}, "frequencies is missing"),
        (
            _with(_projections("0+"), "frequencies", np.zeros(3)),
            {"epe_frequencies_trainable": True},
            "frequencies has shape (3,), expected (2,)",
        ),
        ({"Dense_0": 1}, {}, "Dense_0 is int, expected an array"),
        ([], {}, "params: got list, expected a nested dictionary"),
        (_projections("0+"), {"parametrized": False}, "Dense_0/0+/kernel has shape (4, 4)"),
        ({}, _TRAINED_PATHS, "TensorIntegration_0/kernel is missing, expected an array"),
    ],
)
def test_attention_names_parameters_that_do_not_fit(
    params: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(WeightsError, match=re.escape(message)):
        attention(params, {**_WAVES, **options})


def test_deferred_attention_checks_shapes_when_the_inputs_are_known() -> None:
    kernel = np.zeros((1, 2, 1, 2, 1, 2, 3))
    layer = attention({"TensorIntegration_0": {"kernel": kernel}}, _TRAINED_PATHS)
    assert isinstance(layer, DeferredAttention)
    message = "TensorIntegration_0/kernel has shape (1, 2, 1, 2, 1, 2, 3), expected "
    with pytest.raises(WeightsError, match=re.escape(message)):
        layer.for_inputs(Irreps(1, False), 4)


# ---------------------------------------------------------------------------------------------
# Tensor integration


def test_a_trainable_tensor_integration_is_read_off_its_kernel() -> None:
    kernel = np.ones((1, 3, 2, 2, 2, 3, 5))
    layer = tensor_integration({"kernel": kernel}, {"parametrize_coupling_paths": True})
    assert isinstance(layer, TensorIntegration)
    assert layer.coupling.first == Irreps(2, False)
    assert layer.coupling.second == Irreps(1, True)
    assert layer.irreps == Irreps(2, True)


def test_dtype_rounds_the_kernel_or_promotes_the_result() -> None:
    kernel = np.full((1, 1, 1, 1, 1, 1, 1), 1 / 3)
    one, grid = np.ones((1, 1, 1, 1)), np.ones(1)
    options = {"parametrize_coupling_paths": True}
    with jax.enable_x64(True):
        rounded = tensor_integration({"kernel": kernel}, {**options, "dtype": "float32"})
        assert rounded(one, one, grid).item() == np.float32(1 / 3)
        wide = tensor_integration({"kernel": kernel}, {**options, "dtype": "float64"})
        assert wide(one.astype(np.float32), one.astype(np.float32), grid).item() == 1 / 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_degrees": 1}, "config: unknown key 'max_degrees'"),
        ({"cartesian_order": False}, "config.cartesian_order: got False, expected true"),
        ({"kernel_init": max}, "config.kernel_init: got <built-in function max>, expected none"),
        ({"precision": "good"}, "config.precision: got 'good', expected none or one of"),
        ({"dtype": "int8"}, "config.dtype: got 'int8'"),
        ({"max_degree": 4}, "max_degree: got 4, expected 0 to 2"),
    ],
)
def test_tensor_integration_refuses_options_by_name(options: dict[str, Any], message: str) -> None:
    params = {"kernel": np.ones((1, 2, 1, 2, 2, 2, 1))}
    with pytest.raises(ConfigError, match=re.escape(message)):
        tensor_integration(params, {"parametrize_coupling_paths": True, **options})


@pytest.mark.parametrize(
    ("params", "options", "message"),
    [
        ({}, {"parametrize_coupling_paths": True}, "kernel is missing"),
        ({"kernel": np.ones(3)}, {}, "kernel has shape (3,), expected no such parameter"),
        (
            {"kernel": np.ones((2, 3))},
            {"parametrize_coupling_paths": True},
            "kernel has shape (2, 3), expected (1 or 2, degree1 + 1, 1 or 2, ",
        ),
        (
            {"kernel": np.ones((1, 2, 1, 2, 2, 2, 1))},
            {"parametrize_coupling_paths": True, "include_pseudotensors": False},
            "kernel has shape (1, 2, 1, 2, 2, 2, 1), expected (1, 2, 1, 2, 1, 2, 1)",
        ),
    ],
)
def test_tensor_integration_names_parameters_that_do_not_fit(
    params: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(WeightsError, match=re.escape(message)):
        tensor_integration(params, options)


# ---------------------------------------------------------------------------------------------
# Networks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step": 1}, "config: unknown key 'step'"),
        ({"zmax": 120}, "config.zmax: got 120, expected 2 to 119"),
        ({"cutoff": 0}, "cutoff: got 0.0, expected a positive number"),
        ({"cutoff_fn": "smooth"}, "cutoff_fn: got 'smooth', expected one of"),
        ({"radial_basis_fn": "bernstein"}, "radial_basis_fn: got 'bernstein', expected one of"),
        ({"num_iterations": 0}, "num_iterations: got 0, expected at least 1"),
        ({"mp_num_basis_fn": 0}, "mp_num_basis_fn: got 0, expected at least 1"),
        ({"num_post_residual_mlps": -1}, "num_post_residual_mlps: got -1, expected at least 0"),
        ({"era_activation_fn": "tanh"}, "config.era_activation_fn: got 'tanh', expected one of"),
        (
            {"era_use_in_iterations": [0], "era_max_frequency": 3, "era_max_length": 9},
            "era_lebedev_num: missing",
        ),
        (
            {"era_use_in_iterations": [0], "era_lebedev_num": 50, "era_max_length": 9},
            "era_max_frequency: missing",
        ),
        (
            {"era_use_in_iterations": [0], "era_ti_max_degree": 1},
            "era_ti_max_degree: got 1, expected none, because",
        ),
    ],
)
def test_energy_model_refuses_options_by_name(
    model_case: Case, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        energy_model(model_case.params, {**model_case.meta, **options})


def test_energy_model_names_what_attention_in_it_cannot_do(model_case: Case) -> None:
    waves = {"era_lebedev_num": 50, "era_max_frequency": 3.0, "era_max_length": 9.0}
    options = {**model_case.meta, **waves, "era_use_in_iterations": [0, 1]}
    with pytest.raises(ConfigError, match="era_qk_num_features: got 3, expected an even number"):
        energy_model({}, {**options, "era_qk_num_features": 3})
    integration = {"era_tensor_integration": True, "era_ti_max_degree": 9}
    with pytest.raises(ConfigError, match="era_ti_max_degree: got 9, expected 0 to"):
        energy_model({}, {**options, **integration})


def test_energy_model_names_every_parameter_that_does_not_fit(model_case: Case) -> None:
    params = _without(model_case.params, "MessagePass_1/filter/1-/kernel")
    params = _with(params, "c_switch_layer_2", np.zeros(1))
    params = _with(params, "element_bias", np.zeros(20))
    with pytest.raises(WeightsError) as raised:
        energy_model(params, model_case.meta)
    message = str(raised.value)
    assert "MessagePass_1/filter/1-/kernel is missing, expected shape (6, 8)" in message
    assert "c_switch_layer_2 has shape (1,), expected no such parameter" in message
    assert "element_bias has shape (20,), expected (21,)" in message
    assert "\n" not in message


def test_many_differences_are_counted(model_case: Case) -> None:
    with pytest.raises(WeightsError, match=r"; and \d+ more$"):
        energy_model({}, model_case.meta)


def test_the_highest_element_is_the_last_row_of_the_embedding(
    model_case: Case, tiny: EnergyModel
) -> None:
    assert model_case.meta["zmax"] == 20
    assert tiny.config.highest_atomic_number == 19
    assert tiny.embedding.weight.shape == (20, 8)
    np.testing.assert_allclose(tiny.element_bias, model_case.params["element_bias"][:-1])
    arguments = _one_molecule()
    energy, forces = _evaluate(tiny, {**arguments, "atomic_numbers": np.array([19, 1, 8])})
    assert np.isfinite(energy).all()
    assert np.isfinite(forces).all()
    with pytest.raises(InputError, match="atomic_numbers: got 20 of atom 0, expected 1 to 19"):
        evaluate_flat(tiny, **{**arguments, "atomic_numbers": np.array([20, 1, 8])})


def test_options_without_effect_there_have_none_here(model_case: Case, tiny: EnergyModel) -> None:
    idle = {"iterated_tensor_products": True, "era_num_frequencies": 3, "era_max_degree": 1}
    model = energy_model(model_case.params, {**model_case.meta, **idle})
    assert model.config == tiny.config


def test_emulated_attention_needs_no_settings() -> None:
    # An odd number of features, which attention itself could not take.
    options = {
        "num_features": 3,
        "era_use_in_iterations": (1, 7),
        "emulate_era_block": True,
        "zmax": 4,
    }
    with pytest.raises(WeightsError, match="params: Embed_0/embedding is missing"):
        energy_model({}, options)


# ---------------------------------------------------------------------------------------------
# Calls


def _one_molecule() -> dict[str, Any]:
    pairs = np.array([(i, j) for i in range(3) for j in range(3) if i != j])
    return {
        "atomic_numbers": np.array([8, 1, 1]),
        "positions": np.array([[0.0, 0, 0], [1, 0, 0], [0, 1.1, 0]], np.float32),
        "dst_idx": pairs[:, 0],
        "src_idx": pairs[:, 1],
    }


def _evaluate(model: EnergyModel, arguments: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
    fixed = {name: value for name, value in arguments.items() if name != "positions"}
    call = quick_jit(lambda positions: evaluate_flat(model, positions=positions, **fixed))
    return call(arguments["positions"])


def test_padding_of_a_flat_batch_gives_zeros(tiny: EnergyModel) -> None:
    """Padding atoms and molecules, and pairs past the last atom or between padding atoms."""
    alone = _one_molecule()
    energy, forces = _evaluate(tiny, alone)
    padded = {
        "atomic_numbers": np.array([0, 8, 1, 1, 0]),
        "positions": np.pad(alone["positions"], ((1, 1), (0, 0)), constant_values=1),
        "dst_idx": np.concatenate([alone["dst_idx"] + 1, [4, 5]]),
        "src_idx": np.concatenate([alone["src_idx"] + 1, [4, 0]]),
        "batch_segments": np.array([2, 1, 1, 1, 2]),
        "graph_mask": np.array([True, True, False]),
        "atomic_dipoles": np.ones((5, 3), np.float32),
    }
    padded_energy, padded_forces = _evaluate(tiny, padded)
    np.testing.assert_allclose(padded_energy, np.pad(energy, 1), rtol=1e-5)
    expected = np.pad(forces, ((1, 1), (0, 0)))
    np.testing.assert_allclose(padded_forces, expected, atol=1e-5 * np.abs(expected).max())
    assert np.all(padded_forces[0] == 0)
    assert np.all(padded_forces[-1] == 0)


def test_the_wider_dtype_decides(model_case: Case) -> None:
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: leaf.astype(np.float32), model_case.params)
        model = energy_model(params, model_case.meta)
        arguments = _one_molecule()
        arguments["positions"] = arguments["positions"].astype(np.float64)
        shapes = jax.eval_shape(
            lambda positions: evaluate_flat(model, **{**arguments, "positions": positions}),
            arguments["positions"],
        )
        assert {leaf.dtype for leaf in shapes} == {np.dtype("float64")}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"atomic_numbers": np.array([8, 0, 1])}, "atomic_numbers: got 0 of atom 1, expected 1"),
        ({"dst_idx": np.array([0, 1]), "src_idx": np.array([1, 1])}, "got the pair 1, 1"),
        ({"dst_idx": np.array([0, 0]), "src_idx": np.array([1, 1])}, "every pair once"),
        ({"dst_idx": np.array([0]), "src_idx": np.array([3])}, "src_idx: got 3, expected 0 to 2"),
        ({"dst_idx": np.array([-1]), "src_idx": np.array([1])}, "dst_idx: got -1, expected 0 to"),
        ({"batch_segments": np.array([0, 0, 1])}, "graph_mask: got None, expected one entry per"),
        (
            {"batch_segments": np.array([0, 0, 1]), "graph_mask": np.array([True, True])},
            "expected atoms of the same molecule",
        ),
        (
            {"batch_segments": np.array([0, 0, 2]), "graph_mask": np.array([True, True])},
            "batch_segments: got 2, expected 0 to 1",
        ),
    ],
)
def test_evaluate_flat_refuses(tiny: EnergyModel, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        evaluate_flat(tiny, **{**_one_molecule(), **changes})


def test_evaluate_flat_needs_known_pairs(tiny: EnergyModel) -> None:
    arguments = _one_molecule()
    with pytest.raises(InputError, match="dst_idx: is traced"):
        jax.eval_shape(
            lambda index: evaluate_flat(tiny, **{**arguments, "dst_idx": index}),
            arguments["dst_idx"],
        )


def _rope_inputs() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    shapes = {"q": (5, 1, 4, 4), "k": (5, 1, 4, 4), "v": (5, 2, 1, 3), "pos": (5, 3)}
    shapes |= {"theta": (2,), "grid_u": (6, 3), "grid_w": (6,)}
    arrays = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    segments, mask = np.array([1, 0, 1, 0, 1]), np.array([True, False])
    return {**arrays, "batch_segments": segments, "graph_mask": mask}


def test_rope_attention_under_jit() -> None:
    arrays = _rope_inputs()
    options = {"max_degree_qk": 0, "do_integration": False}
    fixed = {name: value for name, value in arrays.items() if name != "q"}
    expected = quick_jit(lambda q: rope_attention_flat(q=q, **fixed, **options))(arrays["q"])
    assert expected.shape == (5, 6, 2, 1, 3)
    found = quick_jit(lambda arrays: rope_attention_flat(**arrays, **options, max_atoms=4))(arrays)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_degree_qk": 2}, "max_degree_qk: got 2, expected 0 to 1"),
        ({"max_degree_v": 1}, "max_degree_v: got 1, expected 0 to 0"),
        ({"theta": np.ones(3, np.float32)}, "theta: got 3 frequencies, expected one per pair"),
        ({"max_atoms": 2}, "max_atoms: got 2, expected at least 3"),
    ],
)
def test_rope_attention_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        rope_attention_flat(**{**_rope_inputs(), **changes})


# ---------------------------------------------------------------------------------------------
# Checkpoints


def _write_checkpoint(folder: Path, params: dict[str, Any]) -> None:
    import orbax.checkpoint as ocp

    narrow = jax.tree.map(lambda leaf: leaf.astype(np.float32), params)
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(folder / "params", {"params": narrow})


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory, model_case: Case) -> Path:
    """A folder of the checkpoints 7 and 12, which have the same parameters."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for step in (7, 12):
        _write_checkpoint(folder / f"ckpt_{step}", model_case.params)
    return folder


def test_checkpoints_are_chosen_by_folder_or_step(
    checkpoints: Path, model_case: Case, tiny: EnergyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    meta = model_case.meta
    monkeypatch.chdir(checkpoints)
    models = (
        load_checkpoint("ckpt_12", meta),
        load_checkpoint(checkpoints, {**meta, "step": 12}),
        load_checkpoint(checkpoints / "ckpt_7", meta),
        load_checkpoint(str(checkpoints / "ckpt_7"), {**meta, "step": 7}),
        load_checkpoint(checkpoints / "ckpt_7" / "params", meta),
    )
    for model in models:
        for found, expected in zip(jax.tree.leaves(model), jax.tree.leaves(tiny), strict=True):
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("folder", "options", "error", "message"),
    [
        ("", {}, ConfigError, "step: missing, expected one to choose among ckpt_7, ckpt_12"),
        ("", {"step": 8}, WeightsError, "found checkpoints ckpt_7, ckpt_12, expected ckpt_8"),
        ("", {"step": "7"}, ConfigError, "step: got '7', expected an integer"),
        ("ckpt_7", {"step": 12}, ConfigError, "step: got 12, expected 7, as"),
        ("ckpt_9", {}, WeightsError, "ckpt_9: no such folder"),
        ("ckpt_7/params/d", {}, WeightsError, "found no checkpoint, expected ckpt_<step>/params"),
        ("ckpt_7", {"num_features": 16}, WeightsError, "expected (20, 1, 1, 16)"),
        ("ckpt_7", {"num_feature": 16}, ConfigError, "unknown key 'num_feature'"),
    ],
)
def test_load_checkpoint_refuses(
    checkpoints: Path,
    model_case: Case,
    folder: str,
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        load_checkpoint(checkpoints / folder, {**model_case.meta, **options})


def test_a_damaged_checkpoint_is_an_error(tmp_path: Path, model_case: Case) -> None:
    folder = tmp_path / "ckpt_1" / "params"
    folder.mkdir(parents=True)
    (folder / "_METADATA").write_text("{}")
    with pytest.raises(WeightsError, match="cannot read the checkpoint"):
        load_checkpoint(tmp_path, model_case.meta)


def test_an_imported_model_can_be_loaded(
    checkpoints: Path, model_case: Case, tiny: EnergyModel, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**model_case.meta, "step": 7}))
    out = import_checkpoint(checkpoints, config, tmp_path / "my model")
    assert sorted(file.name for file in out.iterdir()) == [
        "my_model.safetensors",
        "my_model.toml",
    ]
    card = efa_zoo.card(out)
    assert card.name == "my_model"
    assert card.domain is not None
    assert card.domain.elements[0] == "H"
    assert len(card.domain.elements) == 19
    potential = efa_zoo.load(out)
    assert potential.network.config == tiny.config
    for found, expected in zip(
        jax.tree.leaves(potential.network), jax.tree.leaves(tiny), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    # Once more into the same folder replaces the files.
    assert import_checkpoint(checkpoints / "ckpt_7", config, out) == out


def test_a_config_file_can_describe_the_model(
    checkpoints: Path, model_case: Case, tmp_path: Path
) -> None:
    keywords = "".join(f"{key} = {json.dumps(value)}\n" for key, value in model_case.meta.items())
    config = tmp_path / "config.toml"
    config.write_text(
        f"""\
name = "ions"
description = "Ions in the gas phase."
limits = "Only near the training data."

[reference]
{keywords}
step = 7
era_use_in_iterations = "none"

[data]
name = "ions"
level_of_theory = "PBE0"

[domain]
elements = ["H", "O"]
total_charges = [-1, 1]
max_distance = 12.0

[reference_energies]
O = -2.5
"""
    )
    card = efa_zoo.card(import_checkpoint(checkpoints, config, tmp_path / "out"))
    assert card.name == "ions"
    assert card.data.level_of_theory == "PBE0"
    assert card.domain is not None
    assert card.domain.total_charges == (-1, 1)
    assert card.domain.max_distance == 12
    assert card.reference_energies == {"H": 0.0, "O": -2.5}
    assert card.limits == "Only near the training data."


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("config.json", "{", "config.json: not valid JSON"),
        ("config.toml", "a = ", "config.toml: not valid TOML"),
        ("config.txt", "{}", "expected a file named .json or .toml"),
        ("config.json", "[]", "config.json: got [], expected keywords"),
        ("config.json", '{"reference": {}, "weights": {}}', "unknown key 'weights'"),
        ("config.json", '{"reference": 3}', "reference: got 3, expected a table"),
        ("config.json", '{"reference": {}, "domain": 3}', "domain: got 3, expected a table"),
        ("config.json", '{"featurs": 3}', "config: unknown key 'featurs'"),
    ],
)
def test_import_refuses_a_config_file(
    checkpoints: Path, tmp_path: Path, name: str, text: str, message: str
) -> None:
    config = tmp_path / name
    config.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(message)):
        import_checkpoint(checkpoints / "ckpt_7", config, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_import_refuses_wrong_cards_and_foreign_folders(
    checkpoints: Path, model_case: Case, tmp_path: Path
) -> None:
    config, out = tmp_path / "config.json", tmp_path / "out"
    entries = {"reference": {**model_case.meta, "step": 7}}
    config.write_text(json.dumps({**entries, "domain": {"elements": ["Xx"]}}))
    with pytest.raises(ConfigError, match=re.escape("domain.elements: got 'Xx'")):
        import_checkpoint(checkpoints, config, out)
    with pytest.raises(ConfigError, match=re.escape("missing.json: cannot read the config file")):
        import_checkpoint(checkpoints, tmp_path / "missing.json", out)
    assert not out.exists()
    out.mkdir()
    (out / "other.toml").touch()
    config.write_text(json.dumps(entries))
    with pytest.raises(
        ConfigError, match=re.escape("found other.toml, expected no other zoo file")
    ):
        import_checkpoint(checkpoints, config, out)
    assert [file.name for file in out.iterdir()] == ["other.toml"]
