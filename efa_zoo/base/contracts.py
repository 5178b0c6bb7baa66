"""The one switch for shape contracts: jaxtyping annotations checked by beartype at trace time.

Besides it, names of types that several files need.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypeVar, cast

from beartype import beartype
from jaxtyping import jaxtyped

#: What JSON and TOML hold.
JSON: TypeAlias = "Mapping[str, JSON] | Sequence[JSON] | str | float | bool | None"

_F = TypeVar("_F", bound=Callable[..., object])

#: Contracts are on unless the environment variable EFA_ZOO_CONTRACTS is "0" at import.
CONTRACTS: bool = os.environ.get("EFA_ZOO_CONTRACTS", "1") != "0"


def contract(function: _F) -> _F:
    """Check the jaxtyping annotations of `function` on every call.

    Inside `jax.jit` the check runs while tracing, so compiled code pays nothing.

    Args:
        function: a function or method whose annotations are shapes and types.

    Returns:
        The checked function, or `function` itself when contracts are switched off.
    """
    if not CONTRACTS:
        return function
    return cast("_F", jaxtyped(function, typechecker=beartype))
