"""Public names are what the reference lists, types say something, errors are one family."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("tensorflow_datasets")

import efa_zoo
from efa_zoo.base import errors

ROOT = Path(efa_zoo.__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"

#: Packages whose every exported name is public.
PACKAGES = (
    "efa_zoo",
    "efa_zoo.attention",
    "efa_zoo.base.errors",
    "efa_zoo.interop.reference",
    "efa_zoo.analysis.scan",
    "efa_zoo.simulation",
    "efa_zoo.training",
    "data_pipelines",
)

#: Where Any is meant: tables without a fixed form, keywords that are passed on, a signature of ASE,
#: what packages without types make.
FREE = {
    "data_pipelines.metadata",
    "efa_zoo.analysis.viewer.view",
    "efa_zoo.calculator.EFACalculator.set",
    "efa_zoo.interop.engines.torch_sim_model",
    "efa_zoo.models.hub.cards.Card.cost",
    "efa_zoo.models.hub.cards.Card.metrics",
}


def resolve(path: str) -> Any:
    """The object of a dotted path."""
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        module, _, name = path.rpartition(".")
        return getattr(importlib.import_module(module), name)


def listed() -> list[str]:
    """Dotted paths of everything that the reference lists, without the command line."""
    paths: list[str] = []
    for page in sorted(REFERENCE.glob("*.md")):
        for path in re.findall(r"^::: (\S+)$", page.read_text(encoding="utf-8"), re.MULTILINE):
            if path.startswith("efa_zoo.cli."):
                continue
            found = resolve(path)
            is_module = isinstance(found, ModuleType)
            paths += [f"{path}.{name}" for name in found.__all__] if is_module else [path]
    return paths


LISTED = listed()


# -------------------------------------------------------------------------------------------------
# Names


@pytest.mark.parametrize("package", PACKAGES)
def test_every_exported_name_is_in_the_reference(package: str) -> None:
    module = importlib.import_module(package)
    documented = [resolve(path) for path in LISTED]
    missing = [
        name
        for name in module.__all__
        if not any(getattr(module, name) is found for found in documented)
    ]
    assert missing == []
    assert len(set(module.__all__)) == len(module.__all__)


def test_what_the_reference_lists_is_exported_and_documented() -> None:
    assert len(LISTED) > 100
    for path in LISTED:
        module, _, name = path.rpartition(".")
        assert name in importlib.import_module(module).__all__, path
        value = resolve(path)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert value.__doc__, path


def test_the_reference_lists_nothing_twice() -> None:
    assert sorted(set(LISTED)) == sorted(LISTED)


# -------------------------------------------------------------------------------------------------
# Types: pyright finds what is unknown (.ci/run), this finds what is known to be anything


def annotations(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """Annotations of a public function, or of the public attributes and methods of a class."""
    if inspect.isclass(value):
        for name, annotation in inspect.get_annotations(value).items():
            if not name.startswith("_"):
                yield f"{path}.{name}", str(annotation)
        for name, member in vars(value).items():
            function = member.fget if isinstance(member, property) else member
            function = getattr(function, "__func__", function)
            written = name == "__call__" or (name == "__init__" and not is_dataclass(value))
            if not name.startswith("_") or written:
                yield from annotations(f"{path}.{name}", function)
    elif callable(value):
        for annotation in getattr(value, "__annotations__", {}).values():
            yield path, str(annotation)


def test_public_types_say_something() -> None:
    found = [
        (where, annotation)
        for path in LISTED
        for where, annotation in annotations(path, resolve(path))
    ]
    assert len(found) > 500
    anything = {where for where, annotation in found if re.search(r"\bAny\b", annotation)}
    assert anything == FREE


# -------------------------------------------------------------------------------------------------
# Errors


def modules() -> list[str]:
    return [
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for package in ("efa_zoo", "data_pipelines")
        for file in sorted((ROOT / package).rglob("*.py"))
        if "_data" not in file.parts
    ]


def raised(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Lines and names of what a module raises; `__getattr__` of a module has a rule of its own."""
    inside = {
        node
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef) and function.name == "__getattr__"
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.exc is not None and node not in inside:
            made = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            yield node.lineno, ast.unparse(made)


def test_every_error_of_the_library_is_of_one_family() -> None:
    seen = set()
    for name in modules():
        module = importlib.import_module(name.removesuffix(".__init__"))
        source = ROOT.joinpath(*name.split(".")).with_suffix(".py").read_text(encoding="utf-8")
        for line, expression in raised(ast.parse(source)):
            if expression in ("result", "type(error)"):
                continue  # an error of the family that was made before
            error = getattr(module, expression, getattr(builtins, expression, None))
            if inspect.isfunction(error):
                error = getattr(module, str(error.__annotations__["return"]))
            assert inspect.isclass(error), f"{name}:{line}: {expression}"
            assert issubclass(error, efa_zoo.EFAZooError), f"{name}:{line}: {expression}"
            seen.add(error)
    family = {getattr(errors, name) for name in errors.__all__} - {efa_zoo.EFAZooError}
    assert family <= seen


def test_the_family_is_public_and_small() -> None:
    assert set(errors.__all__) <= set(efa_zoo.__all__)
    for name in errors.__all__:
        error = getattr(errors, name)
        assert issubclass(error, efa_zoo.EFAZooError)
        assert str(error("file.toml: bad")) == "file.toml: bad"
    assert len(errors.__all__) < 10
