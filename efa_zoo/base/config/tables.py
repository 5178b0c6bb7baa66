"""Configuration dataclasses from TOML tables and back, and the checks of their fields."""

from __future__ import annotations

import dataclasses
import difflib
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from efa_zoo.base.errors import ConfigError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from efa_zoo.base.contracts import JSON

__all__ = [
    "check",
    "check_at_least",
    "check_choice",
    "check_positive",
    "check_size",
    "from_table",
    "to_table",
]


def check(condition: bool, field: str, value: object, expected: str) -> None:
    """Refuse a value of a field."""
    if not condition:
        raise ConfigError(f"{field}: got {shown(value)}, expected {expected}")


def shown(value: object) -> str:
    """What came, for a message: never longer than a line, however large it is."""
    text = reprlib.repr(value) if isinstance(value, Mapping | list | tuple) else repr(value)
    return text if len(text) <= 200 else f"{text[:197]}..."


def check_choice(field: str, value: object, choices: tuple[str, ...]) -> None:
    """Refuse a value that is none of the choices, and name the closest one."""
    if value not in choices:
        close = difflib.get_close_matches(shown(value).strip("'"), choices, n=1)
        hint = f" (did you mean {close[0]!r}?)" if close else ""
        raise ConfigError(
            f"{field}: got {shown(value)}, expected one of {', '.join(choices)}{hint}"
        )


def check_at_least(field: str, value: float, bound: float) -> None:
    """Refuse a number below a bound."""
    check(value >= bound, field, value, f"at least {bound}")


def check_size(field: str, value: int, smallest: int, largest: int) -> None:
    """Refuse a size below or above its bounds, before anything is made of that size."""
    check(value >= smallest, field, value, f"at least {smallest}")
    check(value <= largest, field, value, f"at most {largest:,}")


def check_positive(field: str, value: float) -> None:
    """Refuse a number that is not finite or not above zero."""
    check(math.isfinite(value) and value > 0, field, value, "a positive number")


_T = TypeVar("_T")


def from_table(cls: type[_T], table: Mapping[str, object], where: str = "") -> _T:
    """Build a configuration dataclass from a TOML table, recursively.

    A dataclass with a class attribute `kind` is one of several that a field takes: its table names
    it by that key, and the others of the union are told apart by theirs.

    Args:
        cls: a dataclass of this module, or one made of the same kinds of fields.
        table: keys and values as `tomllib` reads them.
        where: dotted path of the table, for messages.

    Returns:
        The dataclass.

    Raises:
        ConfigError: an unknown or missing key, a wrong type or a value out of range, with the
            dotted path of the key, the value and what was expected.
    """
    path = where or "the top level"
    if not isinstance(table, Mapping):
        raise ConfigError(f"{path}: got {shown(table)}, expected a table")
    kind = getattr(cls, "kind", None)
    if kind is not None:
        check_choice(f"{where}.kind" if where else "kind", table.get("kind"), (kind,))
        table = {key: value for key, value in table.items() if key != "kind"}
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}  # type: ignore[arg-type]
    for key in table:
        if key not in fields:
            close = difflib.get_close_matches(str(key)[:80], fields, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(fields)}"
            raise ConfigError(f"{path}: unknown key {shown(key)} ({hint})")
    values = {}
    for name, field in fields.items():
        dotted = f"{where}.{name}" if where else name
        if name in table:
            values[name] = _convert(hints[name], table[name], dotted)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigError(f"{path}: missing key {name!r}")
    try:
        return cls(**values)
    except ConfigError as error:
        prefix = f"{where}." if where else ""
        raise ConfigError(f"{prefix}{error}") from None


def _convert(hint: Any, value: Any, where: str) -> Any:
    """Check `value` against the type `hint` and convert tables and lists."""
    origin: Any = typing.get_origin(hint)
    arguments = typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        options = [option for option in arguments if option is not types.NoneType]
        if value is None and len(options) < len(arguments):
            return None
        if len(options) == 1:
            return _convert(options[0], value, where)
        if all(hasattr(option, "kind") for option in options):
            chosen = _of_kind(options, value, where)
            return from_table(chosen, typing.cast("Mapping[str, Any]", value), where)
    if origin is Literal:
        check_choice(where, value, arguments)
        return value
    if dataclasses.is_dataclass(hint):
        table = typing.cast("Mapping[str, Any]", value)
        return from_table(typing.cast("type", hint), table, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ConfigError(f"{where}: got {shown(value)}, expected a list")
        return tuple(_convert(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise ConfigError(f"{where}: got {shown(value)}, expected a table")
        return {
            str(key): _convert(arguments[1], item, f"{where}.{key}") for key, item in value.items()
        }
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{where}: got {shown(value)}, expected a number") from None
    if hint in (bool, int, float, str):
        if type(value) is not hint:
            raise ConfigError(f"{where}: got {shown(value)}, expected {_TYPE_NAMES[hint]}")
        return value
    return value


def _of_kind(options: list[type], table: Any, where: str) -> type:
    """The dataclass of a union that a table names."""
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where}: got {shown(table)}, expected a table")
    kinds = {typing.cast("str", getattr(option, "kind")): option for option in options}  # noqa: B009
    if "kind" not in table:
        raise ConfigError(f"{where}: missing key 'kind', expected one of {', '.join(kinds)}")
    check_choice(f"{where}.kind", table["kind"], tuple(kinds))
    return kinds[table["kind"]]


_TYPE_NAMES: dict[type, str] = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
}


def to_table(config: DataclassInstance) -> dict[str, JSON]:
    """The TOML table of a configuration dataclass; fields that are None are left out."""
    kind = getattr(config, "kind", None)
    return ({} if kind is None else {"kind": kind}) | {
        field.name: _plain(getattr(config, field.name))
        for field in dataclasses.fields(config)
        if getattr(config, field.name) is not None
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_table(value)
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items() if item is not None}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
