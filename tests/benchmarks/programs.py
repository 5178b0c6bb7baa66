"""What programs consist of before a compiler sees them, which needs no device.

A program is lowered for a GPU, which works everywhere, and its operations are counted, those of
functions as often as they are called, those of loops once. They say how much a compiler has to read
and to fuse, and the distinct shapes of matrix products how many it has to tune.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cases import CASES
from benchmarks.problems import NetworkProblem, Work

__all__ = ["count_program", "count_programs"]

#: Kinds of operations; what is in none of them computes number by number.
_KINDS: dict[str, tuple[str, ...]] = {
    "products": ("dot_general", "convolution"),
    "moves": (
        "pad", "slice", "concatenate", "dynamic_slice", "dynamic_update_slice", "transpose",
        "reverse",
    ),
    "gathers": ("gather", "scatter"),
    "reductions": ("reduce", "sort"),
    "free": (
        "constant", "broadcast_in_dim", "reshape", "iota", "tuple", "get_tuple_element",
        "optimization_barrier", "convert",
    ),
}  # fmt: skip

#: What is counted, and the counts (operations; those that are not free; products of matrices; their
#: shapes) before operations were merged and each platform was given a form of its own.
_PROGRAMS: dict[str, tuple[str, tuple[int, int, int, int]]] = {
    "molecules_16x13/training": ("16 × 13 atoms, attention", (8282, 4199, 361, 137)),
    "molecules_16x13_local/training": ("16 × 13 atoms, local", (5357, 2552, 169, 67)),
    "system_500/training": ("500 atoms, attention", (10976, 5350, 412, 140)),
    "dimers": ("training step of `mpnn_efa_dimers`, 16 × 10 atoms", (11406, 6377, 664, 141)),
}


def count_programs(*, quick: bool, seconds: float) -> list[dict[str, Any]]:
    """Count the programs of training.

    Args:
        quick: small versions of the first two.
        seconds: not used; nothing is repeated.

    Returns:
        One record for each, see `count_program`, with `before`, the counts of an earlier state.
    """
    del seconds
    found = []
    for name, (title, before) in _PROGRAMS.items():
        if quick and name not in ("molecules_16x13/training", "molecules_16x13_local/training"):
            continue
        work = _dimers() if name == "dimers" else _network(name, quick)
        record = count_program(work.function, work.arguments)
        keys = ("operations", "costing", "products", "shapes")
        earlier = {} if quick else {"before": dict(zip(keys, before, strict=True))}
        found.append({"name": name, "title": title, **record, **earlier})
    return found


def count_program(function: Callable[..., Any], arguments: tuple[Any, ...]) -> dict[str, Any]:
    """Count the operations of a function lowered for CUDA.

    Args:
        function: to be lowered.
        arguments: pytrees of arrays.

    Returns:
        `operations`, those that are not free (`costing`), those of every kind, `shapes` of matrix
        products, and seconds of CPU time to trace and to lower.
    """
    import jax

    times = [time.process_time()]
    traced = jax.jit(function).trace(*arguments)
    times.append(time.process_time())
    module: Any = traced.lower(lowering_platforms=("cuda",)).compiler_ir()
    times.append(time.process_time())
    counts, shapes = _count(module)
    kinds = {kind: sum(counts[name] for name in names) for kind, names in _KINDS.items()}
    total = sum(counts.values())
    return {
        "operations": total,
        "costing": total - kinds["free"],
        **kinds,
        "elementwise": total - sum(kinds.values()),
        "shapes": len(shapes),
        "trace_s": times[1] - times[0],
        "lower_s": times[2] - times[1],
    }


def _count(module: Any) -> tuple[Counter[str], set[str]]:
    """Operations of a program by name, and the kinds of its matrix products."""
    functions = {
        operation.attributes["sym_name"].value: operation
        for operation in module.body.operations
        if operation.operation.name == "func.func"
    }
    known: dict[str, tuple[Counter[str], set[str]]] = {}

    def of_function(name: str) -> tuple[Counter[str], set[str]]:
        if name not in known:
            known[name] = of_region(functions[name].operation.regions[0])
        return known[name]

    def of_region(region: Any) -> tuple[Counter[str], set[str]]:
        counts: Counter[str] = Counter()
        shapes: set[str] = set()

        def add(found: tuple[Counter[str], set[str]]) -> None:
            counts.update(found[0])
            shapes.update(found[1])

        for operation in (operation for block in region.blocks for operation in block.operations):
            name = operation.operation.name.rpartition(".")[2]
            if name == "call":
                add(of_function(operation.attributes["callee"].value))
                continue
            if name == "return":
                continue
            counts[name] += 1
            if name == "dot_general":
                types = [str(operand.type) for operand in operation.operands]
                shapes.add(f"{operation.attributes['dot_dimension_numbers']} {types}")
            if name in ("while", "case", "if"):
                for inner in operation.regions:
                    add(of_region(inner))
        return counts, shapes

    return of_function("main")


def _network(name: str, quick: bool) -> Work:
    (case,) = (case for case in CASES if case.name == name)
    assert isinstance(case.problem, NetworkProblem)
    return (case.problem.quick() if quick else case.problem).ours()


def _dimers() -> Work:
    """A step of the training of the largest model, on structures of random atoms."""
    import equinox as eqx

    import efa_zoo
    from efa_zoo.base.config import TrainingConfig
    from efa_zoo.structures.graph import Graph, stack
    from efa_zoo.training import Batch
    from efa_zoo.training.step import initial_state, training_step

    molecules, atoms = 16, 10
    rng = np.random.default_rng(0)
    network = efa_zoo.load("mpnn_efa_dimers").network
    graphs = [
        Graph.from_arrays(
            rng.choice([1, 6, 7, 8], atoms),
            rng.normal(scale=1.8, size=(atoms, 3)).astype(np.float32),
            network.config.message_passing.cutoff,
        )
        for _ in range(molecules)
    ]
    graph = stack(graphs)
    batch = Batch(
        graph,
        rng.normal(size=molecules).astype(np.float32),
        rng.normal(size=graph.positions.shape).astype(np.float32),
        np.ones(molecules, bool),
    )
    config = TrainingConfig(steps=1000, warmup_steps=10, optimizer="muon", loss="huber")
    arrays, rest = eqx.partition(initial_state(network, config), eqx.is_array)
    step: Any = training_step

    def take(arrays: Any, batch: Batch) -> Any:
        return eqx.filter(step.__wrapped__(batch, eqx.combine(arrays, rest), config), eqx.is_array)

    return Work(take, (arrays, batch), lambda found: {"loss": np.asarray(found[1])})
