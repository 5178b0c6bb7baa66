"""What docstrings say about the fields of configuration dataclasses."""

from __future__ import annotations

import inspect
import re

__all__ = ["explained_fields"]


def explained_fields(cls: type) -> dict[str, str]:
    """The entries under "Attributes" in the docstring of a class.

    Args:
        cls: a class that is documented in Google's style.

    Returns:
        For each field that is listed, its text in one line.
    """
    _, _, listed = (inspect.getdoc(cls) or "").partition("Attributes:\n")
    listed = re.split(r"\n\n\S", listed)[0]
    found = {}
    for entry in re.split(r"\n(?=    \w)", listed.rstrip()):
        name, _, text = entry.strip().partition(": ")
        found[name] = " ".join(text.split())
    return found
