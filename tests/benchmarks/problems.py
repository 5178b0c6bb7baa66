"""What is computed: the same work by this library and by the reference implementation.

A problem makes the weights, in the reference's names, from a fixed seed; the library imports them
through `efa_zoo.interop`, so both sides compute with the same ones and their results can be
compared. Importing this module is quick; JAX is loaded when work is made.
"""

from __future__ import annotations

import dataclasses
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from benchmarks.structures import Molecules, Structures

__all__ = ["AttentionProblem", "MessagePassProblem", "NetworkProblem", "Work", "split"]

Result = dict[str, np.ndarray]


@dataclass(frozen=True)
class Work:
    """A pure function of arrays, ready to be compiled.

    Attributes:
        function: what is timed.
        arguments: pytrees of arrays.
        comparable: names the parts of a result, in this library's layout, for the comparison.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    comparable: Callable[[Any], Result]


# ---------------------------------------------------------------------------------------------
# Weights


def random_leaves(shapes: Mapping[str, tuple[int, ...]]) -> Result:
    """Weights of the reference by path, each of a seed of its own."""
    leaves = {}
    for path, shape in shapes.items():
        values = np.random.default_rng(zlib.crc32(path.encode())).normal(size=shape)
        if path.endswith("bias"):
            values *= 0.1
        elif "c_switch" in path:
            values = np.full(shape, 0.5)
        elif len(shape) == 2:
            values /= 3 * math.sqrt(shape[0])  # 500 atoms must not overflow
        elif len(shape) == 7:
            values *= 0.3
        leaves[path] = values.astype(np.float32)
    return leaves


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """A nested dictionary of leaves whose paths are joined by slashes."""
    tree: dict[str, Any] = {}
    for path, leaf in leaves.items():
        *folders, name = path.split("/")
        inner = tree
        for folder in folders:
            inner = inner.setdefault(folder, {})
        inner[name] = leaf
    return tree


def split(module: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The arrays of a module, and how to put them back."""
    import equinox as eqx

    arrays, static = eqx.partition(module, eqx.is_array)
    return arrays, lambda arrays: eqx.combine(arrays, static)


def _flat_pairs(molecules: Molecules, cutoff: float) -> tuple[np.ndarray, np.ndarray]:
    """Atom and neighbour of every pair, atoms counted over all molecules."""
    from efa_zoo.structures.neighbors import neighbor_matrix

    atoms = molecules.numbers.shape[1]
    centers, others = [], []
    for number, positions in enumerate(molecules.positions):
        neighbors, mask = neighbor_matrix(positions, cutoff)
        rows, columns = np.nonzero(mask)
        centers.append(rows + number * atoms)
        others.append(neighbors[rows, columns] + number * atoms)
    return np.concatenate(centers).astype(np.int32), np.concatenate(others).astype(np.int32)


def _flat(array: np.ndarray) -> np.ndarray:
    """Merge molecules and atoms."""
    return array.reshape(-1, *array.shape[2:])


def _segments(molecules: Molecules) -> dict[str, np.ndarray]:
    count, atoms = molecules.numbers.shape
    segments = np.repeat(np.arange(count, dtype=np.int32), atoms)
    return {"batch_segments": segments, "graph_mask": np.ones(count, bool)}


def _activation(name: str) -> Callable[..., Any]:
    import e3x

    return getattr(e3x.nn, name)


# ---------------------------------------------------------------------------------------------
# Networks


@dataclass(frozen=True, kw_only=True)
class NetworkProblem:
    """Energies and forces of a network, or the gradient of a loss on them for its weights.

    Attributes:
        options: the reference's constructor keywords. `era_max_length` is the diameter of the
            structures, so that the grid resolves all phases.
        structures: the molecules.
        task: what is computed.
    """

    options: Mapping[str, Any]
    structures: Structures
    task: Literal["energy and forces", "training gradient"]

    def quick(self) -> NetworkProblem:
        """The same on few small molecules with few features."""
        small = {"num_features": 8, "era_qk_num_features": 4, "era_v_num_features": 4}
        small["num_iterations"] = 2
        options = {**self.options, **{k: v for k, v in small.items() if k in self.options}}
        if "era_use_in_iterations" in options:
            options["era_use_in_iterations"] = (0, 1)
        return dataclasses.replace(
            self, options=options, structures=_quick_structures(self.structures)
        )

    def _keywords(self, molecules: Molecules) -> dict[str, Any]:
        length = math.ceil(2 * molecules.radius + 1)
        attends = "era_use_in_iterations" in self.options
        return {
            **self.options,
            "output_is_zero_at_init": False,
            **({"era_max_length": float(length)} if attends else {}),
        }

    def _leaves(self, keywords: Mapping[str, Any]) -> Result:
        import equinox as eqx
        import jax

        from efa_zoo.interop.reference._options import ModelOptions
        from efa_zoo.interop.reference._parameters import model_recipe
        from efa_zoo.models.mpnn import EnergyModel

        config = ModelOptions.of(keywords).to_config("auto")
        template = eqx.filter_eval_shape(EnergyModel, config, key=jax.random.key(0))
        return random_leaves(model_recipe(template).shapes)

    def ours(self) -> Work:
        """The work by this library."""
        from efa_zoo.base.config import TrainingConfig
        from efa_zoo.interop.reference import energy_model
        from efa_zoo.models.energy import batch_energy_and_forces
        from efa_zoo.models.weights import named_arrays
        from efa_zoo.structures.graph import Graph, stack
        from efa_zoo.training import Batch
        from efa_zoo.training.loss import batch_loss_and_gradient

        molecules = self.structures.make()
        keywords = self._keywords(molecules)
        model = _with_our_radial_functions(
            energy_model(nested(self._leaves(keywords)), keywords, evaluation="auto")
        )
        cutoff = model.config.message_passing.cutoff
        graph = stack(
            [
                Graph.from_arrays(numbers, positions, cutoff)
                for numbers, positions in zip(molecules.numbers, molecules.positions, strict=True)
            ]
        )
        arrays, whole = split(model)
        if self.task == "energy and forces":

            def evaluate(arrays: Any, graph: Graph) -> Any:
                return batch_energy_and_forces(whole(arrays), graph)

            return Work(
                evaluate,
                (arrays, graph),
                lambda found: {
                    "energy": np.asarray(found.energy),
                    "forces": _flat(np.asarray(found.forces)),
                },
            )
        batch = Batch(graph, *_labels(molecules), np.ones(len(molecules.numbers), bool))
        config = TrainingConfig(loss="squared")

        def gradient(arrays: Any, batch: Batch) -> Any:
            return batch_loss_and_gradient(whole(arrays), batch, config)

        return Work(
            gradient,
            (arrays, batch),
            lambda found: {"loss": np.asarray(found[0]), **_by_name(named_arrays(found[1]))},
        )

    def reference(self) -> Work:
        """The work by the reference implementation."""
        import jax
        import jax.numpy as jnp
        from euclidean_fast_attention.model import EnergyModel

        from efa_zoo.interop.reference import energy_model
        from efa_zoo.models.weights import named_arrays

        molecules = self.structures.make()
        keywords = self._keywords(molecules)
        weights = jax.tree.map(jnp.asarray, nested(self._leaves(keywords)))
        constructor = dict(keywords)
        if "era_activation_fn" in constructor:
            constructor["era_activation_fn"] = _activation(constructor["era_activation_fn"])
        network = EnergyModel(**constructor)
        centers, others = _flat_pairs(molecules, keywords["cutoff"])
        inputs = {
            "atomic_numbers": _flat(molecules.numbers),
            "positions": _flat(molecules.positions),
            "dst_idx": centers,
            "src_idx": others,
            **_segments(molecules),
        }

        def evaluate(weights: Any, inputs: Any) -> Any:
            return network.apply({"params": weights}, **inputs)

        if self.task == "energy and forces":
            return Work(
                evaluate,
                (weights, inputs),
                lambda found: {"energy": np.asarray(found[0]), "forces": np.asarray(found[1])},
            )

        def loss(weights: Any, inputs: Any, energy: Any, forces: Any) -> Any:
            found = evaluate(weights, inputs)
            return jnp.mean((found[0] - energy) ** 2) + jnp.mean((found[1] - forces) ** 2)

        def comparable(found: Any) -> Result:
            gradient = energy_model(found[1], keywords, evaluation="auto")
            return {"loss": np.asarray(found[0]), **_by_name(named_arrays(gradient))}

        energy, forces = _labels(molecules)
        return Work(jax.value_and_grad(loss), (weights, inputs, energy, _flat(forces)), comparable)


def _labels(molecules: Molecules) -> tuple[np.ndarray, np.ndarray]:
    """Some energies and forces to fit."""
    generator = np.random.default_rng(1)
    energy = generator.normal(size=len(molecules.numbers))
    forces = generator.normal(size=molecules.positions.shape)
    return energy.astype(np.float32), forces.astype(np.float32)


def _with_our_radial_functions(model: Any) -> Any:
    """The imported network with this library's Bernstein polynomials, equal to six digits."""
    import equinox as eqx
    import jax

    from efa_zoo.models.mpnn import EnergyModel

    options = model.config.message_passing
    ours = dataclasses.replace(options, radial_basis=options.radial_basis.removeprefix("e3x_"))
    config = dataclasses.replace(model.config, message_passing=ours)
    template = eqx.filter_eval_shape(EnergyModel, config, key=jax.random.key(0))
    return jax.tree.unflatten(jax.tree.structure(template), jax.tree.leaves(model))


def _by_name(arrays: Mapping[str, Any]) -> Result:
    return {name: np.asarray(array) for name, array in arrays.items()}


def _quick_structures(structures: Structures) -> Structures:
    return dataclasses.replace(
        structures, molecules=min(structures.molecules, 2), atoms=min(structures.atoms, 16)
    )


# ---------------------------------------------------------------------------------------------
# Single layers


@dataclass(frozen=True, kw_only=True)
class AttentionProblem:
    """One attention layer: its output, or a scalar of it with all gradients.

    Attributes:
        structures: the molecules.
        degree: largest degree of the input and the output.
        features: number of features of input, query, key and value.
        grid: number of Lebedev points.
        integration: tensor integration.
        evaluation: how the library integrates over directions.
        task: the gradient is that for weights, features and positions.
    """

    structures: Structures
    degree: int
    features: int
    task: Literal["forward", "gradient"]
    grid: int = 50
    integration: bool = False
    evaluation: Literal["auto", "exact", "quadrature"] = "auto"

    def quick(self) -> AttentionProblem:
        """The same on few small molecules with few features."""
        return dataclasses.replace(self, features=4, structures=_quick_structures(self.structures))

    def _keywords(self, molecules: Molecules) -> dict[str, Any]:
        options: dict[str, Any] = {
            "lebedev_num": self.grid,
            "epe_max_frequency": math.pi,
            "epe_max_length": float(math.ceil(2 * molecules.radius + 1)),
        }
        if self.integration:
            options |= {
                "tensor_integration": True,
                "ti_max_degree_sph": self.degree,
                "ti_max_degree": self.degree,
                "ti_include_pseudotensors": False,
            }
        return options

    def _leaves(self) -> Result:
        degrees = [f"{l}{'+' if l % 2 == 0 else '-'}" for l in range(self.degree + 1)]
        shapes: dict[str, tuple[int, ...]] = {}
        for name in ("Dense_0", "Dense_1", "Dense_2"):
            shapes[f"{name}/0+/bias"] = (self.features,)
            shapes |= {f"{name}/{l}/kernel": (self.features, self.features) for l in degrees}
        return random_leaves(shapes)

    def _inputs(self, molecules: Molecules) -> tuple[np.ndarray, np.ndarray]:
        """Features, and what the output is multiplied with to a scalar."""
        shape = (*molecules.numbers.shape, 1, (self.degree + 1) ** 2, self.features)
        generator = np.random.default_rng(2)
        features, cotangent = (generator.standard_normal(shape, dtype=np.float32) for _ in range(2))
        return features, cotangent

    def ours(self) -> Work:
        """The work by this library."""
        import jax
        import jax.numpy as jnp

        from efa_zoo.interop.reference import attention
        from efa_zoo.models.weights import named_arrays

        molecules = self.structures.make()
        keywords = self._keywords(molecules)
        layer = attention(nested(self._leaves()), keywords, evaluation=self.evaluation)
        arrays, whole = split(layer)
        features, cotangent = self._inputs(molecules)
        positions = molecules.positions
        single = len(positions) == 1

        def attend(arrays: Any, features: Any, positions: Any) -> Any:
            module = whole(arrays)
            if single:
                return module(features[0], positions[0])[None]
            return jax.vmap(module)(features, positions)

        if self.task == "forward":
            return Work(
                attend,
                (arrays, features, positions),
                lambda found: {"output": _flat(np.asarray(found))},
            )

        def scalar(arrays: Any, features: Any, positions: Any, cotangent: Any) -> Any:
            return jnp.vdot(attend(arrays, features, positions), cotangent)

        return Work(
            jax.value_and_grad(scalar, argnums=(0, 1, 2)),
            (arrays, features, positions, cotangent),
            lambda found: {
                **_by_name(named_arrays(found[1][0])),
                "features": _flat(np.asarray(found[1][1])),
                "positions": _flat(np.asarray(found[1][2])),
            },
        )

    def reference(self) -> Work:
        """The work by the reference implementation."""
        import jax
        import jax.numpy as jnp
        from euclidean_fast_attention.fast_attention import EuclideanFastAttention

        from efa_zoo.interop.reference import attention
        from efa_zoo.models.weights import named_arrays

        molecules = self.structures.make()
        keywords = self._keywords(molecules)
        layer = EuclideanFastAttention(**keywords)
        weights = jax.tree.map(jnp.asarray, nested(self._leaves()))
        features, cotangent = (_flat(array) for array in self._inputs(molecules))
        segments = _segments(molecules)

        def attend(weights: Any, features: Any, positions: Any, segments: Any) -> Any:
            return layer.apply(
                {"params": weights}, inputs=features, positions=positions, **segments
            )

        arguments = (weights, features, _flat(molecules.positions), segments)
        if self.task == "forward":
            return Work(attend, arguments, lambda found: {"output": np.asarray(found)})

        def scalar(
            weights: Any, features: Any, positions: Any, segments: Any, cotangent: Any
        ) -> Any:
            return jnp.vdot(attend(weights, features, positions, segments), cotangent)

        def comparable(found: Any) -> Result:
            gradient = attention(found[1][0], keywords, evaluation=self.evaluation)
            return {
                **_by_name(named_arrays(gradient)),
                "features": np.asarray(found[1][1]),
                "positions": np.asarray(found[1][2]),
            }

        return Work(
            jax.value_and_grad(scalar, argnums=(0, 1, 2)), (*arguments, cotangent), comparable
        )


@dataclass(frozen=True, kw_only=True)
class MessagePassProblem:
    """Basis functions of the pairs and one message pass, or a scalar of it with all gradients.

    Attributes:
        structures: the molecules.
        degree: largest degree of the features and of the basis.
        features: number of features, of both parities.
        cutoff: in Å.
        task: the gradient is that for weights, features and positions.
    """

    structures: Structures
    degree: int
    features: int
    task: Literal["forward", "gradient"]
    cutoff: float = 4.0
    num_radial: int = 32

    def quick(self) -> MessagePassProblem:
        """The same on few small molecules with few features."""
        return dataclasses.replace(self, features=4, structures=_quick_structures(self.structures))

    def _template(self) -> Any:
        import equinox as eqx
        import jax

        from efa_zoo.nn import MessagePass
        from efa_zoo.nn.coupling import Irreps

        return eqx.filter_eval_shape(
            MessagePass,
            Irreps(self.degree, True),
            self.features,
            basis_degree=self.degree,
            num_radial=self.num_radial,
            key=jax.random.key(0),
        )

    def _recipe(self) -> Any:
        from efa_zoo.interop import _parameters

        # The networks' recipes are public there; the layer's is a part of them.
        return _parameters._message_pass(self._template(), "MessagePass_0")

    def _inputs(self, molecules: Molecules) -> tuple[np.ndarray, np.ndarray]:
        """Features, and what the output is multiplied with to a scalar."""
        shape = (*molecules.numbers.shape, 2, (self.degree + 1) ** 2, self.features)
        generator = np.random.default_rng(2)
        features, cotangent = (generator.standard_normal(shape, dtype=np.float32) for _ in range(2))
        return features, cotangent

    def ours(self) -> Work:
        """The work by this library."""
        import equinox as eqx
        import jax
        import jax.numpy as jnp

        from efa_zoo.base.config import MessagePassingConfig
        from efa_zoo.interop.reference._parameters import flatten, make
        from efa_zoo.models.weights import named_arrays
        from efa_zoo.nn.pairs import pair_basis
        from efa_zoo.structures.graph import Graph, stack

        molecules = self.structures.make()
        recipe = self._recipe()
        layer = make(recipe, flatten(nested(random_leaves(recipe.shapes))))
        arrays, whole = split(layer)
        config = MessagePassingConfig(
            cutoff=self.cutoff, degree=self.degree, num_radial=self.num_radial
        )
        features, cotangent = self._inputs(molecules)
        graph = stack(
            [
                Graph.from_arrays(numbers, positions, self.cutoff)
                for numbers, positions in zip(molecules.numbers, molecules.positions, strict=True)
            ]
        )

        def send(arrays: Any, features: Any, positions: Any, graph: Graph) -> Any:
            module = whole(arrays)
            moved = eqx.tree_at(lambda g: g.positions, graph, positions)
            return jax.vmap(lambda x, g: module(x, pair_basis(g, config)))(features, moved)

        arguments = (arrays, features, molecules.positions, graph)
        if self.task == "forward":
            return Work(send, arguments, lambda found: {"output": _flat(np.asarray(found))})

        def scalar(arrays: Any, features: Any, positions: Any, graph: Graph, cotangent: Any) -> Any:
            return jnp.vdot(send(arrays, features, positions, graph), cotangent)

        return Work(
            jax.value_and_grad(scalar, argnums=(0, 1, 2)),
            (*arguments, cotangent),
            lambda found: {
                **_by_name(named_arrays(found[1][0])),
                "features": _flat(np.asarray(found[1][1])),
                "positions": _flat(np.asarray(found[1][2])),
            },
        )

    def reference(self) -> Work:
        """The work by e3x's layers, which the reference implementation is made of."""
        import functools

        import e3x
        import flax.linen as nn
        import jax
        import jax.numpy as jnp

        from efa_zoo.interop.reference._parameters import flatten, make
        from efa_zoo.models.weights import named_arrays

        molecules = self.structures.make()
        recipe = self._recipe()
        weights = jax.tree.map(jnp.asarray, nested(random_leaves(recipe.shapes)))
        features, cotangent = (_flat(array) for array in self._inputs(molecules))
        centers, others = _flat_pairs(molecules, self.cutoff)
        cutoff_function = functools.partial(e3x.nn.smooth_cutoff, cutoff=self.cutoff)

        class Layer(nn.Module):
            @nn.compact
            def __call__(self, features: Any, basis: Any, centers: Any, others: Any) -> Any:
                return e3x.nn.MessagePass()(
                    features, basis, dst_idx=centers, src_idx=others, num_segments=len(features)
                )

        layer = Layer()

        def send(weights: Any, features: Any, positions: Any, centers: Any, others: Any) -> Any:
            basis = e3x.nn.basis(
                positions[others] - positions[centers],
                num=self.num_radial,
                max_degree=self.degree,
                radial_fn=e3x.nn.reciprocal_bernstein,
                cutoff_fn=cutoff_function,
            )
            return layer.apply({"params": weights}, features, basis, centers, others)

        arguments = (weights, features, _flat(molecules.positions), centers, others)
        if self.task == "forward":
            return Work(send, arguments, lambda found: {"output": np.asarray(found)})

        def scalar(
            weights: Any, features: Any, positions: Any, centers: Any, others: Any, cotangent: Any
        ) -> Any:
            return jnp.vdot(send(weights, features, positions, centers, others), cotangent)

        def comparable(found: Any) -> Result:
            return {
                **_by_name(named_arrays(make(recipe, flatten(found[1][0])))),
                "features": np.asarray(found[1][1]),
                "positions": np.asarray(found[1][2]),
            }

        return Work(
            jax.value_and_grad(scalar, argnums=(0, 1, 2)), (*arguments, cotangent), comparable
        )
