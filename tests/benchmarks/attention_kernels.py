"""What the kernels of attention cost in the exact form, per pair of atoms."""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np

__all__ = ["measure_attention_kernels"]

#: Heads of every kernel: waves of as many frequencies, Coulomb's law of as many widths.
_HEADS = 12


def measure_attention_kernels(quick: bool, seconds: float) -> list[dict[str, Any]]:
    """Output and gradients of one layer by each kernel, kernels in turns.

    Args:
        quick: only few atoms.
        seconds: rough limit on one row.

    Returns:
        A row per degree and size: a title, and nanoseconds per pair of atoms of `forward` and
        `gradient` by the kernels' names.
    """
    rows = []
    for degree in (0, 1):
        for molecules, atoms in ((2, 5),) if quick else ((64, 13), (1, 200)):
            times = {}
            for task in ("forward", "gradient"):
                calls = {
                    name: _call(kernel, degree, molecules, atoms, task)
                    for name, kernel in _kernels().items()
                }
                found = _in_turns(calls, seconds / 4)
                pairs = molecules * atoms**2
                times[task] = {name: 1e9 * value / pairs for name, value in found.items()}
            rows.append({"title": f"{molecules} × {atoms} atoms, degree {degree}", **times})
    return rows


def _kernels() -> dict[str, Any]:
    from efa_zoo import Coulomb, FrequencyConfig, Waves, WindowedWaves

    frequencies = FrequencyConfig.for_distance(20.0, _HEADS)
    return {
        "waves": Waves(frequencies=frequencies),
        "windowed waves": WindowedWaves(frequencies=frequencies, width=5.0),
        "Coulomb": Coulomb(widths=(0.8, 3.0), max_length=20.0),
    }


def _call(kernel: Any, degree: int, molecules: int, atoms: int, task: str) -> Any:
    import jax
    import jax.numpy as jnp

    from efa_zoo.attention import EuclideanFastAttention
    from efa_zoo.base.config import AttentionConfig, IntegrationConfig
    from efa_zoo.nn import Irreps

    irreps = Irreps(degree, False)
    config = AttentionConfig(
        query_key_features=2 * _HEADS,
        value_features=2 * _HEADS,
        kernel=kernel,
        evaluation="exact",
        integration=IntegrationConfig(spherical_degree=degree) if degree else None,
    )
    layer = EuclideanFastAttention(irreps, 32, config, key=jax.random.key(0))
    rng = np.random.default_rng(0)
    features = rng.normal(size=(molecules, atoms, 1, irreps.components, 32)).astype(np.float32)
    side = (atoms / 0.1) ** (1 / 3)
    positions = rng.uniform(0, side, (molecules, atoms, 3)).astype(np.float32)

    def attend(x: Any, r: Any) -> Any:
        return jax.vmap(layer)(x, r)

    def total(x: Any, r: Any) -> Any:
        return jnp.sum(attend(x, r) ** 2)

    compiled = jax.jit(attend if task == "forward" else jax.grad(total, (0, 1)))
    arguments = jax.device_put((features, positions))
    jax.block_until_ready(compiled(*arguments))
    return lambda: jax.block_until_ready(compiled(*arguments))


def _in_turns(calls: dict[str, Any], limit: float) -> dict[str, float]:
    """Median seconds of each call."""
    found: dict[str, list[float]] = {name: [] for name in calls}
    began = time.perf_counter()
    while len(found["waves"]) < 5 or (
        time.perf_counter() - began < limit and len(found["waves"]) < 50
    ):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            found[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in found.items()}
