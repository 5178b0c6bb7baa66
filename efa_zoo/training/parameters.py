"""Which parameters a recipe trains, and which of them slowly."""

from __future__ import annotations

import difflib
import fnmatch
from typing import TypeVar

import equinox as eqx
import jax

from efa_zoo.base.config import TrainingConfig
from efa_zoo.base.errors import ConfigError
from efa_zoo.models.weights import named_arrays, tensor_name

__all__ = ["READOUT", "body_mask", "frozen_mask", "trained_parameters"]

_Tree = TypeVar("_Tree")

#: Parameters that turn features into energies; all others are the body.
READOUT: tuple[str, ...] = ("readout", "element_bias")


def frozen_mask(weights: _Tree, config: TrainingConfig) -> _Tree:
    """Which parameters keep their values.

    Args:
        weights: pytree of the trainable arrays, or of their gradients.
        config: the recipe.

    Returns:
        The same pytree with True and False.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: _is_frozen(tensor_name(path), config), weights
    )


def body_mask(weights: _Tree) -> _Tree:
    """Which parameters are not the readout.

    Args:
        weights: pytree of the trainable arrays, or of their gradients.

    Returns:
        The same pytree with True and False.
    """
    return jax.tree_util.tree_map_with_path(
        lambda path, _: tensor_name(path) not in READOUT, weights
    )


def trained_parameters(model: object, config: TrainingConfig) -> set[str]:
    """Names of the parameters that a recipe trains; refuses one of which a part has no effect.

    Args:
        model: the network.
        config: the recipe.

    Returns:
        Names as in a weights file.

    Raises:
        ConfigError: a pattern matches no parameter, nothing is left to train, or the body has a
            rate of its own but is frozen.
    """
    names = list(named_arrays(eqx.filter(model, eqx.is_inexact_array)))
    for pattern in config.frozen:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            close = difflib.get_close_matches(pattern, names, n=1, cutoff=0.4)
            hint = f"did you mean {close[0]!r}?" if close else f"such as {names[0]!r}"
            raise ConfigError(
                f"frozen: got {pattern!r}, which matches no parameter, expected a pattern of their "
                f"names ({hint})"
            )
    trained = {name for name in names if not _is_frozen(name, config)}
    if not trained:
        raise ConfigError(
            f"frozen: got {', '.join(config.frozen)}, which matches every parameter, expected "
            "patterns that leave some to train"
        )
    if config.body_rate != 1 and trained <= set(READOUT):
        raise ConfigError(
            f"body_rate: got {config.body_rate}, expected 1, because all parameters but the "
            "readout are frozen"
        )
    return trained


def _is_frozen(name: str, config: TrainingConfig) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in config.frozen)
