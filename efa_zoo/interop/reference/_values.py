"""Values of the reference's options, read in the forms that it takes; all raise ConfigError."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import e3x
import jax
import jax.numpy as jnp
import numpy as np

from efa_zoo.attention.grids import lebedev_rules
from efa_zoo.base.config import ACTIVATIONS, from_table
from efa_zoo.base.errors import ConfigError

__all__ = ["activation_name", "float_dtype", "lebedev_rule", "read", "required"]

_T = TypeVar("_T")


def read(cls: type[_T], config: Mapping[str, Any]) -> _T:
    """Read keywords into a class of options."""
    if not isinstance(config, Mapping):
        raise ConfigError(f"config: got {config!r}, expected a mapping of keywords")
    return from_table(cls, {name: _plain(value) for name, value in config.items()}, "config")


def _plain(value: Any) -> Any:
    """Put Python numbers and lists in place of NumPy's, JAX's and other sequences."""
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return value.tolist()
    if isinstance(value, range | set | frozenset):
        return sorted(value)
    return value


def required(name: str, value: _T | None) -> _T:
    """Return the value of an option that cannot be left out."""
    if value is None:
        raise ConfigError(f"{name}: missing, expected a number")
    return value


def lebedev_rule(wanted: int) -> int:
    """Return the rule that e3x takes: the largest one of at most this many points."""
    rules = lebedev_rules()
    return max((rule for rule in rules if rule <= wanted), default=rules[0])


def activation_name(option: str, activation: object) -> str:
    """Name an activation of e3x, given by name or as the function itself; None is none."""
    if activation is None:
        return "identity"
    if isinstance(activation, str) and activation in ACTIVATIONS:
        return activation
    for name in ACTIVATIONS:
        if name != "identity" and getattr(e3x.nn, name) is activation:
            return name
    raise ConfigError(f"{option}: got {activation!r}, expected one of {', '.join(ACTIVATIONS)}")


def float_dtype(option: str, dtype: Any) -> np.dtype | None:
    """Return the floating-point type of a name, if there is one."""
    if dtype is None:
        return None
    try:
        found = jnp.dtype(dtype)
    except TypeError:
        found = None
    if found is None or not jnp.issubdtype(found, jnp.floating):
        raise ConfigError(f"{option}: got {dtype!r}, expected the name of a floating-point type")
    return found
