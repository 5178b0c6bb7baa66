"""New zoo files: recipes of a user's own, made from those of the zoo, with every option explained.

The explanations are those of the configuration's docstrings, so a new file never disagrees with
what is read.
"""

from __future__ import annotations

import dataclasses
import inspect
import os
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import tomlkit

from efa_zoo.base import config as options
from efa_zoo.base.config import TrainingConfig, to_table
from efa_zoo.base.docstrings import explained_fields
from efa_zoo.base.errors import ConfigError, DataError
from efa_zoo.base.files import write_atomically
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.hub.records import DataSource
from efa_zoo.models.hub.registry import find

__all__ = ["new_recipe", "prepare_recipe", "write_recipe"]

_WIDTH = 96


def new_recipe(
    base: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    data: str | None = None,
    level_of_theory: str | None = None,
    overwrite: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Write a zoo file of one's own, with the architecture and training recipe of a model.

    With other data than the model's, charges and dipoles are no outputs: see `atomic_charges`.

    Args:
        base: the model, as `efa_zoo.load` takes it; it need not be trained.
        path: the file to write, `<name>.toml`.
        data: name of the data set to train on, such as `structures/my_data`; None takes the
            model's.
        level_of_theory: of the labels; None takes what is stored with the data set if it is built.
        overwrite: replace the file if there is one.
        data_dir: where data sets lie.

    Returns:
        The file. `efa_zoo.training.train` takes it.

    Raises:
        UnknownModelError: there is no such model.
        ConfigError: its zoo file is not valid, `path` cannot be the name of a zoo file, or there
            is such a file already; or a level of theory is given for the model's own data.
        DataError: there is no such kind of data set.
    """
    path, card = prepare_recipe(
        base,
        path,
        data=data,
        level_of_theory=level_of_theory,
        overwrite=overwrite,
        data_dir=data_dir,
    )
    return write_recipe(path, card, base)


def prepare_recipe(
    base: str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    data: str | None,
    level_of_theory: str | None,
    overwrite: bool,
    data_dir: str | os.PathLike[str] | None,
) -> tuple[Path, Card]:
    """Make the card of a new recipe, or refuse it; arguments and errors are `new_recipe`'s.

    Returns:
        The file to write, and the card: architecture and training of the base, without results.
    """
    path, card = Path(path).expanduser(), Card.from_toml(find(base).zoo_file)
    if path.suffix != ".toml":
        raise ConfigError(f"{path}: expected a name that ends in .toml")
    if path.exists() and not overwrite:
        raise ConfigError(f"{path}: is there already, expected another name or --overwrite")
    model, training = card.model, card.training or TrainingConfig()
    if data is None or data == card.data.name:
        if level_of_theory is not None:
            raise ConfigError(
                f"level_of_theory: got {level_of_theory!r}, expected none, because {card.name} "
                "says it for its own data"
            )
        source = card.data
    else:
        source = _source(data, level_of_theory, data_dir)
        # Other data do not say which structures are isolated molecules, and need not have labels of
        # charges and stress; outputs that nothing teaches would be wrong without a word.
        training = dataclasses.replace(
            training, isolated_share=0.0, charge_weight=0.0, dipole_weight=0.0, stress_weight=0.0
        )
        model = dataclasses.replace(model, atomic_charges=False, atomic_dipoles=False)
    recipe = Card(
        name=path.stem,
        description=f"The recipe of {card.name}, trained on {source.name}.",
        model=model,
        data=source,
        training=training,
    )
    return path, recipe


def write_recipe(
    path: Path,
    card: Card,
    base: str | os.PathLike[str],
    reasons: Mapping[str, str] | None = None,
) -> Path:
    """Write the zoo file of a recipe with every option explained.

    Args:
        path: the file.
        card: the recipe, without results.
        base: the model it was made from.
        reasons: why options have their values, by dotted name.

    Returns:
        The file.
    """
    name = Card.from_toml(find(base).zoo_file).name
    write_atomically(path, _text(card, name, path, reasons or {}).encode())
    return path


def _source(
    name: str, level_of_theory: str | None, data_dir: str | os.PathLike[str] | None
) -> DataSource:
    from data_pipelines import BUILDERS, metadata

    if name.partition("/")[0] not in BUILDERS:
        raise DataError(
            f"data set: got {name!r}, expected one of {', '.join(sorted(BUILDERS))}, for a file of "
            "your own structures/NAME (made by `efa-zoo data add FILE --name NAME`)"
        )
    if level_of_theory is None:
        try:
            level_of_theory = str(metadata(name, data_dir=data_dir)["level_of_theory"])
        except (DataError, KeyError):
            level_of_theory = "not given"
    return DataSource(name=name, level_of_theory=level_of_theory)


def _text(card: Card, base: str, path: Path, reasons: Mapping[str, str]) -> str:
    lines = [
        *_comment(
            f"A recipe made from {base}. Train it by `efa-zoo train {path.name}`; results are "
            "written into a copy beside the weights. An option behind # is left out, which is what "
            "None means in these comments; unknown options and values out of range are refused."
        ),
        "",
        f"name = {_value(card.name)}  # as the file is called",
        f"description = {_value(card.description)}",
        '# limits = ""  # where the model is known to fail, in words',
        *_table("model", card.model, reasons),
        *_table("data", card.data, reasons),
        *_table("training", card.training, reasons),
    ]
    return "\n".join(lines) + "\n"


def _table(
    path: str, config: Any, reasons: Mapping[str, str], kinds: Sequence[str] = ()
) -> Iterator[str]:
    """Lines of a table: its kind, where there are several, plain options, then the tables in it."""
    explained = _explanations(type(config))
    hints = typing.get_type_hints(type(config))
    values = to_table(config)
    yield ""
    yield from _comment(_sentence(_summary(type(config))))
    yield f"[{path}]"
    if kinds:
        yield from _comment(f"Which of {', '.join(kinds)}; each has options of its own.")
        yield f"kind = {_value(values['kind'])}"
    inner = []
    for field in dataclasses.fields(config):
        kind = _dataclass_in(hints[field.name])
        if kind is not None:
            inner.append((field.name, kind))
            continue
        yield from _comment(_sentence(explained.get(field.name, "")))
        if why := reasons.get(f"{path}.{field.name}"):
            yield from _comment(f"Here: {why}.")
        if field.name in values:
            yield f"{field.name} = {_value(values[field.name])}"
        else:
            yield f"# {field.name} ="
    for name, kind in inner:
        value = getattr(config, name)
        if value is None:
            yield ""
            yield from _comment(_sentence(explained.get(name, "")))
            yield f"# [{path}.{name}]"
            for option, text in _explanations(kind).items():
                yield from _comment(f"{option}: {text}", "#   ")
        else:
            yield from _table(f"{path}.{name}", value, reasons, _kinds(hints[name]))


def _dataclass_in(hint: Any) -> type | None:
    """The dataclass that a field holds, perhaps instead of None."""
    for kind in (hint, *typing.get_args(hint)):
        if dataclasses.is_dataclass(kind):
            return typing.cast("type", kind)
    return None


def _kinds(hint: Any) -> list[str]:
    """Names of the kinds of tables that a field takes, if there are several."""
    return [kind.kind for kind in typing.get_args(hint) if hasattr(kind, "kind")]


def _value(value: Any) -> str:
    return tomlkit.item(value).as_string()


def _summary(cls: type) -> str:
    return (inspect.getdoc(cls) or cls.__name__).partition("\n")[0]


def _explanations(cls: type) -> dict[str, str]:
    """What the docstring says about each field, with the choices there are."""
    hints = typing.get_type_hints(cls)
    found: dict[str, str] = {}
    for name, text in explained_fields(cls).items():
        for table in ("ACTIVATIONS", "RADIAL_BASES", "CUTOFF_FUNCTIONS"):
            text = text.replace(f"`{table}`", ", ".join(getattr(options, table)))
        choices = [c for c in _choices(hints[name]) if str(c) not in text]
        if choices:
            text = f"{text.rstrip('.')} ({', '.join(map(str, _choices(hints[name])))})."
        found[name] = text
    return found


def _choices(hint: Any) -> tuple[Any, ...]:
    if typing.get_origin(hint) is Literal:
        return typing.get_args(hint)
    return ("true", "false") if hint is bool else ()


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _comment(text: str, prefix: str = "# ") -> list[str]:
    return [
        prefix + line
        for line in textwrap.wrap(text, _WIDTH, break_long_words=False, break_on_hyphens=False)
    ]
