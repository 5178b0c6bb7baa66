"""Where exact attention stops to be cheaper than quadrature, against what `auto` takes."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any, Literal

from benchmarks.problems import AttentionProblem
from benchmarks.structures import Structures

__all__ = ["measure_crossover"]

_SIZES = (64, 128, 256, 512, 1024, 2048, 4096)


def measure_crossover(quick: bool, seconds: float) -> list[dict[str, Any]]:
    """Gradients of one layer by both evaluations, over the number of atoms.

    Args:
        quick: only few atoms and features.
        seconds: rough limit on one size.

    Returns:
        A row per layer: sizes, seconds of both evaluations, the number of atoms from where on
        quadrature is cheaper (None if it never is, among these sizes), and the largest number for
        which `auto` takes the exact sum.
    """
    rows = []
    for title, degree, grid, integration in (
        ("scalars, 50 points", 0, 50, False),
        ("degree 1, tensor integration, 110 points", 1, 110, True),
    ):
        times: dict[str, list[float]] = {"exact": [], "quadrature": []}
        sizes = [size for size in _SIZES if not quick or size <= 128]
        for index, atoms in enumerate(sizes):
            for evaluation, found in times.items():
                problem = AttentionProblem(
                    structures=Structures(kind="liquid", molecules=1, atoms=atoms),
                    degree=degree,
                    features=4 if quick else 32,
                    grid=grid,
                    integration=integration,
                    evaluation=evaluation,  # type: ignore[arg-type]
                    task="gradient",
                )
                found.append(_time(problem, seconds))
            if index > 1 and all(
                times["exact"][i] > 1.5 * times["quadrature"][i] for i in (index - 1, index)
            ):
                break
        rows.append(
            {
                "title": title,
                "atoms": sizes[: len(times["exact"])],
                **times,
                "measured": _crossing(sizes, times["exact"], times["quadrature"]),
                "auto": _auto(degree, 4 if quick else 32, grid, integration),
            }
        )
    return rows


def _time(problem: AttentionProblem, limit: float) -> float:
    """Median seconds of a call."""
    import jax

    work = problem.ours()
    function = jax.jit(work.function)
    jax.block_until_ready(function(*work.arguments))
    seconds: list[float] = []
    while len(seconds) < 3 or (sum(seconds) < limit and len(seconds) < 15):
        start = time.perf_counter()
        jax.block_until_ready(function(*work.arguments))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _crossing(sizes: list[int], exact: list[float], quadrature: list[float]) -> int | None:
    """Number of atoms of equal cost, on straight lines between the points in a log–log picture."""
    ratios = [math.log(e / q) for e, q in zip(exact, quadrature, strict=True)]
    for i in range(1, len(ratios)):
        if ratios[i - 1] <= 0 < ratios[i]:
            fraction = -ratios[i - 1] / (ratios[i] - ratios[i - 1])
            return round(sizes[i - 1] * (sizes[i] / sizes[i - 1]) ** fraction)
    return sizes[0] if ratios[0] > 0 else None


def _auto(degree: int, features: int, grid: int, integration: bool) -> int:
    """Largest number of atoms for which `auto` takes the exact sum."""
    import jax

    from efa_zoo.attention import EuclideanFastAttention
    from efa_zoo.base.config import AttentionConfig, IntegrationConfig
    from efa_zoo.nn.coupling import Irreps

    coupled = IntegrationConfig(spherical_degree=degree, degree=degree, pseudotensors=False)
    config = AttentionConfig(
        grid=grid, tolerance=math.inf, integration=coupled if integration else None
    )
    layer = EuclideanFastAttention(Irreps(degree, False), features, config, key=jax.random.key(0))
    low, high = 0, 1 << 20
    while high - low > 1:
        middle = (low + high) // 2
        taken: Literal["exact", "quadrature"] | str = layer.evaluation_for(middle)
        low, high = (middle, high) if taken == "exact" else (low, middle)
    return low
