"""Options that are the fields of a dataclass, in the words of the other options."""

from __future__ import annotations

import dataclasses
import re
import typing
from typing import Annotated, Any

from tyro.conf import arg
from tyro.constructors import (
    ConstructorRegistry,
    StructConstructorSpec,
    StructFieldSpec,
    StructTypeInfo,
)

from efa_zoo.base.docstrings import explained_fields

__all__ = ["REGISTRY"]

#: How the options of commands are made; `tyro.cli` takes it.
REGISTRY = ConstructorRegistry()


@REGISTRY.struct_rule
def _fields(info: StructTypeInfo) -> StructConstructorSpec | None:
    """Make an option of each field; its help is what the docstring says about it."""
    cls = info.type
    if not (isinstance(cls, type) and dataclasses.is_dataclass(cls)):
        return None
    hints, explained = typing.get_type_hints(cls), explained_fields(cls)
    names = [field.name for field in dataclasses.fields(cls)]
    if not explained.keys() >= set(names):
        return None  # one that the parser made for itself
    given = info.default if isinstance(info.default, cls) else cls()
    specs = []
    for name in names:
        default = getattr(given, name)
        shown = arg(
            metavar=_metavar(name, hints[name]),
            # That an option which is left out does nothing needs no words.
            help_behavior_hint="" if default is None or default is False else None,
        )
        specs.append(
            StructFieldSpec(
                name,
                typing.cast("type", Annotated[hints[name], shown]),
                default,
                _help(explained[name], names),
            )
        )
    return StructConstructorSpec(cls, tuple(specs))


def _metavar(name: str, hint: Any) -> str | None:
    """Name what stands for the value; None where its choices or numbers say more."""
    if name.endswith("_key"):
        return "KEY"
    kinds = {kind for kind in (hint, *typing.get_args(hint)) if kind is not type(None)}
    if name.endswith("_unit") and str in kinds:
        return "UNIT"
    return None


def _help(text: str, fields: list[str]) -> str:
    """Turn a docstring's sentence into a phrase, with fields called like options."""
    text = text.removesuffix(".")
    for name in fields:
        option = f"--{name.replace('_', '-')}"
        text = re.sub(rf"`{name}`|\b{name}\b(?=/)|(?<=/){name}\b", option, text)
    return text[:1].lower() + text[1:] if text[1:2].islower() else text
