"""Shapes of arrays in the API reference as one reads them.

In code a shape may refer to the fields of its module, `"atoms {self.irreps.components}"`, and has
a blank in front where it is a single word; neither is of interest to readers.
"""

from __future__ import annotations

import ast
import dataclasses
import re
from typing import Any

import griffe

__all__ = ["ReadableShapes"]


class ReadableShapes(griffe.Extension):
    """Rewrites the shapes in the annotations of functions and attributes."""

    def on_function(self, *, func: griffe.Function, **_: Any) -> None:
        """Rewrite parameters and result."""
        for parameter in func.parameters:
            parameter.annotation = _readable(parameter.annotation)
        func.returns = _readable(func.returns)

    def on_attribute(self, *, attr: griffe.Attribute, **_: Any) -> None:
        """Rewrite a field or a property."""
        attr.annotation = _readable(attr.annotation)


def _readable(expression: Any) -> Any:
    return _shape(expression) if isinstance(expression, str) else _walk(expression)


def _walk(node: Any) -> Any:
    if isinstance(node, str):
        return _shape(node)
    if isinstance(node, list):
        return [_walk(item) for item in node]
    if isinstance(node, griffe.Expr):
        for field in dataclasses.fields(node):
            value = getattr(node, field.name)
            if field.name not in ("parent", "name") and isinstance(value, str | list | griffe.Expr):
                setattr(node, field.name, _walk(value))
    return node


def _shape(text: str) -> str:
    """The source of a string without blanks at its ends, braces and `self`."""
    if not re.fullmatch(r"""(["']).*\1""", text):
        return text
    words = ast.literal_eval(text)
    return repr(re.sub(r"\{(?:self\.)?([^}]*)\}", r"\1", words).strip()).replace("'", '"')
