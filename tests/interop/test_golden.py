"""The reference implementation's numbers on random weights, and of its pretrained networks.

`pytest tests/interop --golden DIR` reads the archives from another folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from archives import Case, assert_agrees, case_names, read_case, read_structures
from jaxtyping import Array
from symmetry import quick_jit

from efa_zoo.interop.reference import (
    attend_flat,
    attention,
    energy_model,
    evaluate_flat,
    load_checkpoint,
    rope_attention_flat,
    tensor_integration,
)

_CHECKOUT = Path(__file__).parents[2]
_CHECKPOINTS = _CHECKOUT.parent / "shared" / "reference" / "checkpoints"
_PRECISION = 1e-9

pytestmark = pytest.mark.usefixtures("x64", "many_networks")


def _folder(config: pytest.Config) -> Path:
    given = config.getoption("--golden")
    if given is not None:
        if not Path(given).is_dir():
            raise pytest.UsageError(f"--golden: got {given}, expected a folder")
        return Path(given)
    own = _CHECKOUT / "tests" / "golden"
    return own if own.is_dir() else _CHECKOUT.parent / "shared" / "golden"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    archive = metafunc.function.__name__.removeprefix("test_")
    path = _folder(metafunc.config) / f"{archive}.npz"
    names = case_names(path)
    metafunc.parametrize(("path", "name"), [(path, name) for name in names], ids=names)


@pytest.fixture
def case(path: Path, name: str) -> Case:
    return read_case(path, name)


def test_rope(case: Case) -> None:
    call = quick_jit(lambda arrays: rope_attention_flat(**case.inputs | arrays, **case.meta))
    traced = {name: case.inputs[name] for name in ("q", "k", "v", "pos")}
    assert_agrees(call(traced), case.outputs["y"], _PRECISION)


def test_tensor_integration(case: Case) -> None:
    layer = tensor_integration(case.params, case.meta)
    arrays = (case.inputs[name] for name in ("inputs1", "inputs2", "integration_weights"))
    found = quick_jit(lambda *arrays: layer(*arrays))(*arrays)
    assert_agrees(found, case.outputs["y"], _PRECISION)


def test_attention(case: Case) -> None:
    layer = attention(case.params, case.meta)
    batch: dict[str, Any] = {name: case.inputs[name] for name in ("batch_segments", "graph_mask")}

    @quick_jit
    def call(inputs: Array, positions: Array, cotangent: Array) -> tuple[Array, Array, Array]:
        y, pull_back = jax.vjp(
            lambda inputs, positions: attend_flat(
                layer, inputs=inputs, positions=positions, **batch
            ),
            inputs,
            positions,
        )
        return (y, *pull_back(cotangent))

    cotangent = case.inputs.get("cotangent", np.zeros_like(case.outputs["y"]))
    arrays = (case.inputs["inputs"], case.inputs["positions"], cotangent)
    found = call(*(jnp.asarray(array) for array in arrays))
    for name, value in zip(("y", "grad_inputs", "grad_positions"), found, strict=True):
        if name in case.outputs:
            assert_agrees(value, case.outputs[name], _PRECISION, name)


def test_model(case: Case) -> None:
    model = energy_model(case.params, case.meta)
    rest = {name: value for name, value in case.inputs.items() if name != "positions"}
    call = quick_jit(lambda positions: evaluate_flat(model, positions=positions, **rest))
    energy, forces = call(case.inputs["positions"])
    assert_agrees(energy, case.outputs["energy"], _PRECISION, "energy")
    assert_agrees(forces, case.outputs["forces"], _PRECISION, "forces")


@pytest.mark.skipif(not _CHECKPOINTS.is_dir(), reason="needs ../shared/reference")
def test_checkpoints(case: Case, path: Path, name: str) -> None:
    model = load_checkpoint(_CHECKPOINTS / name, case.meta)
    structures = read_structures(path, name)
    sizes = [len(structure.inputs["atomic_numbers"]) for structure in structures]
    starts = np.cumsum([0, *sizes[:-1]])

    def joined(key: str) -> np.ndarray:
        return np.concatenate([structure.inputs[key] for structure in structures])

    def pairs(key: str) -> np.ndarray:
        return np.concatenate(
            [start + case.inputs[key] for start, case in zip(starts, structures, strict=True)]
        )

    batch = {
        "atomic_numbers": joined("atomic_numbers"),
        "dst_idx": pairs("dst_idx"),
        "src_idx": pairs("src_idx"),
        "batch_segments": np.repeat(np.arange(len(sizes)), sizes),
        "graph_mask": np.ones(len(sizes), bool),
    }
    call = quick_jit(lambda positions: evaluate_flat(model, positions=positions, **batch))
    energy, forces = call(joined("positions"))
    expected = [structure.outputs for structure in structures]
    np.testing.assert_allclose(
        energy, np.concatenate([outputs["energy"] for outputs in expected]), atol=1e-6, rtol=0
    )
    np.testing.assert_allclose(
        forces, np.concatenate([outputs["forces"] for outputs in expected]), atol=1e-6, rtol=0
    )
