"""Where exported programs run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax

from efa_zoo.base.errors import InputError

#: Platforms of `jax.export`, and what JAX calls the devices of each.
DEVICES: Mapping[str, str] = {"cpu": "cpu", "cuda": "gpu", "rocm": "gpu", "tpu": "tpu"}


def check_platforms(given: Sequence[str]) -> tuple[str, ...]:
    known = ", ".join(DEVICES)
    if isinstance(given, str) or not given:
        raise InputError(f"platforms: got {given!r}, expected some of {known}")
    for platform in given:
        if platform not in DEVICES:
            raise InputError(f"platforms: got {platform!r}, expected some of {known}")
    here = jax.default_backend()
    if here not in {DEVICES[platform] for platform in given}:
        raise InputError(
            f"platforms: got {', '.join(given)}, expected also one that is present here ({here}), "
            "where the file can be compared with the model"
        )
    return tuple(dict.fromkeys(given))
