"""The machine and the versions, and the rates that work is measured against."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["describe"]

_PACKAGES = ("efa-zoo", "jax", "jaxlib", "equinox", "e3x", "flax", "numpy")


def describe(quick: bool) -> dict[str, Any]:
    """What was measured on, without its name.

    Args:
        quick: take small matrices and arrays.

    Returns:
        The machine with its rates of matrix products (float32, JAX) and of memory (a scaled sum
        of two arrays), and the versions of the libraries.
    """
    import jax

    device = jax.devices()[0]
    return {
        "machine": {
            "device": "CPU" if device.platform == "cpu" else device.device_kind,
            "platform": device.platform,
            "cpu": _cpu(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            "system": platform.system(),
            "gemm_gflops": _matrix_rate(512 if quick else 2048),
            "stream_gbs": _memory_rate(2**20 if quick else 2**26),
        },
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
    }


def _cpu() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _seconds(call: Callable[[], Any]) -> float:
    """The quickest of some calls, because a rate is what the machine can do."""
    import jax

    seconds = []
    for _ in range(9):
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def _matrix_rate(size: int) -> float:
    """10⁹ operations a second in a product of square float32 matrices."""
    import jax
    import jax.numpy as jnp

    a = jnp.ones((size, size), jnp.float32)
    product = jax.jit(lambda a, b: a @ b)
    return 2e-9 * size**3 / _seconds(lambda: product(a, a))


def _memory_rate(size: int) -> float:
    """10⁹ bytes a second in a + 2 b of large float32 arrays (two read, one written)."""
    import jax
    import jax.numpy as jnp

    a, b = jnp.ones(size, jnp.float32), jnp.ones(size, jnp.float32)
    triad = jax.jit(lambda a, b: a + 2 * b)
    return 12e-9 * size / _seconds(lambda: triad(a, b))
