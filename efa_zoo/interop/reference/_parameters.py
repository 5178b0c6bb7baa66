"""The reference implementation's parameters as our layers.

Every layer has a recipe: the reference's leaves that it is made of, and how. Recipes of parts are
joined to recipes of the whole, so that missing, unexpected and misshapen leaves are all found by
one comparison before anything is built.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from efa_zoo.attention.integration import TensorIntegration
from efa_zoo.attention.module import EuclideanFastAttention
from efa_zoo.base.errors import WeightsError
from efa_zoo.models.interaction import Interaction
from efa_zoo.models.mpnn import EnergyModel
from efa_zoo.nn.coupling import Coupling, Irreps
from efa_zoo.nn.dense import MLP, Dense
from efa_zoo.nn.message_passing import MessagePass
from efa_zoo.nn.tensor_dense import TensorDense

__all__ = [
    "Leaves",
    "attention_recipe",
    "check",
    "dense_input",
    "flatten",
    "integration_recipe",
    "make",
    "model_recipe",
]

_T = TypeVar("_T")

#: Arrays by their path in the reference's nested dictionary, joined by slashes.
Leaves = Mapping[str, Array]

# How many differing leaves one message names.
_SHOWN = 8


@dataclass(frozen=True)
class Recipe(Generic[_T]):
    """How something is made of the reference's parameters.

    Attributes:
        shapes: path and shape of every leaf that is needed.
        build: makes it of leaves of these shapes.
    """

    shapes: Mapping[str, tuple[int, ...]]
    build: Callable[[Leaves], _T]


def flatten(params: Mapping[str, Any] | None) -> Leaves:
    """Arrays of a nested dictionary by path; None and the outer "params" level are allowed.

    Raises:
        WeightsError: `params` is no nested dictionary of arrays.
    """
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        raise WeightsError(f"params: got {type(params).__name__}, expected a nested dictionary")
    if set(params) == {"params"} and isinstance(params["params"], Mapping):
        params = params["params"]
    return dict(_leaves(params, ""))


def _leaves(tree: Mapping[str, Any], where: str) -> Iterator[tuple[str, Array]]:
    for name, value in tree.items():
        path = f"{where}{name}"
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}/")
        elif hasattr(value, "shape") and hasattr(value, "dtype"):
            yield path, value
        else:
            raise WeightsError(f"params: {path} is {type(value).__name__}, expected an array")


def make(recipe: Recipe[_T], leaves: Leaves) -> _T:
    """Follow a recipe; the leaves keep their dtype. Raises what `check` raises."""
    check(leaves, recipe.shapes)
    return recipe.build({path: jnp.asarray(leaf) for path, leaf in leaves.items()})


def check(leaves: Leaves, shapes: Mapping[str, tuple[int, ...] | None]) -> None:
    """Compare leaves with what is expected; the shape None stands for any.

    Raises:
        WeightsError: a leaf is missing, not expected, of another shape or no floating-point
            array; all differing leaves are named, up to eight.
    """
    differences = [
        *(
            f"{path} is missing, expected {'an array' if shape is None else f'shape {shape}'}"
            for path, shape in shapes.items()
            if path not in leaves
        ),
        *(
            f"{path} has shape {tuple(leaf.shape)}, expected no such parameter"
            for path, leaf in leaves.items()
            if path not in shapes
        ),
        *(
            f"{path} has shape {tuple(leaves[path].shape)}, expected {shape}"
            for path, shape in shapes.items()
            if path in leaves and shape is not None and tuple(leaves[path].shape) != shape
        ),
        *(
            f"{path} has dtype {leaf.dtype}, expected a floating-point type"
            for path, leaf in leaves.items()
            if not jnp.issubdtype(leaf.dtype, jnp.floating)
        ),
    ]
    if differences:
        more = len(differences) - _SHOWN
        rest = f"; and {more} more" if more > 0 else ""
        raise WeightsError(f"params: {'; '.join(differences[:_SHOWN])}{rest}")


def _leaf(
    path: str, shape: tuple[int, ...], convert: Callable[[Array], Array] = lambda leaf: leaf
) -> Recipe[Array]:
    return Recipe({path: shape}, lambda leaves: convert(leaves[path]))


def _join(recipes: Sequence[Recipe[Any]]) -> Recipe[tuple[Any, ...]]:
    shapes = {path: shape for recipe in recipes for path, shape in recipe.shapes.items()}
    return Recipe(shapes, lambda leaves: tuple(recipe.build(leaves) for recipe in recipes))


def _module(module: _T, **parts: Recipe[Any]) -> Recipe[_T]:
    """`module` with some of its fields made by recipes."""
    if not parts:
        return Recipe({}, lambda _: module)
    joined = _join(tuple(parts.values()))

    def build(leaves: Leaves) -> _T:
        return eqx.tree_at(
            lambda tree: [getattr(tree, name) for name in parts],
            module,
            list(joined.build(leaves)),
            is_leaf=lambda leaf: leaf is None,
        )

    return Recipe(joined.shapes, build)


# ---------------------------------------------------------------------------------------------
# Layers. `path` is where the reference keeps the layer; our layers come without values, as
# `equinox.filter_eval_shape` makes them.


def _dense(layer: Dense, path: str) -> Recipe[Dense]:
    parities, degrees, width, out = layer.weight.shape
    kernels = [
        _leaf(f"{path}/{degree}{sign}/kernel", (width, out))
        for signs in _signs(layer.irreps)
        for degree, sign in enumerate(signs)
    ]
    joined = _join(kernels)
    weight = Recipe(
        joined.shapes,
        lambda leaves: jnp.stack(joined.build(leaves)).reshape(parities, degrees, width, out),
    )
    if layer.bias is None:
        return _module(layer, weight=weight)
    return _module(layer, weight=weight, bias=_leaf(f"{path}/0+/bias", (out,)))


def _signs(irreps: Irreps) -> tuple[str, ...]:
    """The signs that e3x gives degrees 0, 1, … in each parity channel."""
    degrees = range(irreps.degree + 1)
    if irreps.pseudotensors:
        return ("+" * len(degrees), "-" * len(degrees))
    return ("".join("+-"[degree % 2] for degree in degrees),)


def dense_input(leaves: Leaves, path: str) -> tuple[Irreps, int]:
    """Irreps and number of features of the input of a dense layer, read off its kernels.

    Raises:
        WeightsError: there is no such layer, or its kernel is no matrix.
    """
    names = {
        rest.removesuffix("/kernel")
        for full in leaves
        if (rest := full.removeprefix(f"{path}/")) != full and rest.endswith("/kernel")
    }
    degrees = [int(name[:-1]) for name in names if name[:-1].isdecimal() and name[-1] in "+-"]
    first = leaves.get(f"{path}/0+/kernel")
    if first is None:
        raise WeightsError(f"params: {path}/0+/kernel is missing")
    if len(first.shape) != 2:
        raise WeightsError(
            f"params: {path}/0+/kernel has shape {tuple(first.shape)}, expected (in_features, "
            "out_features)"
        )
    return Irreps(max(degrees), "0-" in names), first.shape[0]


def _mlp(layer: MLP, paths: Iterator[str]) -> Recipe[MLP]:
    return _module(
        layer, first=_dense(layer.first, next(paths)), second=_dense(layer.second, next(paths))
    )


def _coupling(coupling: Coupling, features: int, path: str) -> Recipe[Array]:
    """Weights `[paths, features]` of the kernel at `path`, less those of forbidden couplings."""
    sizes = (size for irreps in coupling for size in (irreps.parities, irreps.degree + 1))
    allowed = tuple(np.asarray(coupling.paths).T)
    return _leaf(path, (*sizes, features), lambda kernel: kernel[allowed])


def _message_pass(layer: MessagePass, path: str) -> Recipe[MessagePass]:
    degrees, num_radial, features = layer.filter.shape
    (signs,) = _signs(Irreps(degrees - 1, False))
    filters = _join(
        [
            _leaf(f"{path}/filter/{degree}{sign}/kernel", (num_radial, features))
            for degree, sign in enumerate(signs)
        ]
    )
    return _module(
        layer,
        filter=Recipe(filters.shapes, lambda leaves: jnp.stack(filters.build(leaves))),
        weights=_coupling(layer.coupling, features, f"{path}/tensor/kernel"),
    )


def _tensor_dense(layer: TensorDense, path: str) -> Recipe[TensorDense]:
    features = layer.weights.shape[-1]
    return _module(
        layer,
        dense=_dense(layer.dense, f"{path}/dense"),
        weights=_coupling(layer.coupling, features, f"{path}/tensor/kernel"),
    )


def integration_recipe(layer: TensorIntegration, path: str = "") -> Recipe[TensorIntegration]:
    """Recipe of a tensor integration; `path` is empty or ends with a slash."""
    if layer.weights is None:
        return _module(layer)
    features = layer.weights.shape[-1]
    return _module(layer, weights=_coupling(layer.coupling, features, f"{path}kernel"))


def attention_recipe(
    layer: EuclideanFastAttention, path: str = ""
) -> Recipe[EuclideanFastAttention]:
    """Recipe of an attention layer; `path` is empty or ends with a slash."""
    parts: dict[str, Recipe[Any]] = {}
    if layer.query is not None and layer.key is not None and layer.value is not None:
        parts["query"] = _dense(layer.query, f"{path}Dense_0")
        parts["key"] = _dense(layer.key, f"{path}Dense_1")
        parts["value"] = _dense(layer.value, f"{path}Dense_2")
    if layer.frequencies is not None:
        parts["frequencies"] = _leaf(f"{path}frequencies", layer.frequencies.shape)
    if layer.integration is not None:
        name = f"{path}TensorIntegration_0/"
        parts["integration"] = integration_recipe(layer.integration, name)
    return _module(layer, **parts)


def _interaction(
    block: Interaction, number: int, dense: Iterator[str], tensor_dense: Iterator[str]
) -> Recipe[Interaction]:
    parts: dict[str, Recipe[Any]] = {
        "message_pass": _message_pass(block.message_pass, f"MessagePass_{number}"),
        "local_mlp": _mlp(block.local_mlp, dense),
    }
    if isinstance(block.attention, Dense):
        parts["attention"] = _dense(block.attention, next(dense))
    elif block.attention is not None:
        parts["attention"] = attention_recipe(block.attention, f"EuclideanRopeAttention_{number}/")
    if block.attention_output is not None and block.global_mlp is not None:
        parts["attention_output"] = _dense(block.attention_output, next(dense))
        parts["global_mlp"] = _mlp(block.global_mlp, dense)
    if block.switch is not None:
        parts["switch"] = _leaf(f"c_switch_layer_{number}", (1,), lambda leaf: leaf[0])
    if block.self_interaction is not None:
        parts["self_interaction"] = _tensor_dense(block.self_interaction, next(tensor_dense))
    if block.residual_mlps:
        parts["residual_mlps"] = _join([_mlp(mlp, dense) for mlp in block.residual_mlps])
    return _module(block, **parts)


def model_recipe(model: EnergyModel) -> Recipe[EnergyModel]:
    """Recipe of a network. The reference numbers its layers in the order they are called in."""
    dense = (f"Dense_{number}" for number in itertools.count())
    tensor_dense = (f"TensorDense_{number}" for number in itertools.count())
    elements, features = model.embedding.weight.shape
    weight = _leaf("Embed_0/embedding", (elements, 1, 1, features), lambda leaf: leaf[:, 0, 0, :])
    parts: dict[str, Recipe[Any]] = {"embedding": _module(model.embedding, weight=weight)}
    if model.dipole_embedding is not None:
        parts["dipole_embedding"] = _leaf(
            f"{next(dense)}/kernel", (1, features), lambda leaf: leaf[0]
        )
    parts["interactions"] = _join(
        [
            _interaction(block, number, dense, tensor_dense)
            for number, block in enumerate(model.interactions)
        ]
    )
    parts["readout"] = _leaf(f"{next(dense)}/kernel", (features, 1), lambda leaf: leaf[:, 0])
    # Its last entry belongs to the first element that the embedding lacks.
    parts["element_bias"] = _leaf("element_bias", (elements + 1,), lambda leaf: leaf[:-1])
    return _module(model, **parts)
