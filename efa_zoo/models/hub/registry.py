"""Finding models by name: zoo files, weights, and the models made of them.

A *home* is a folder with `zoo/<name>.toml` and `pretrained/<name>.safetensors`. Homes are searched
in this order: the environment variable `EFA_ZOO_HOME`, the data inside the installed package, the
checkout the package is imported from.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from efa_zoo.base.errors import ConfigError, InputError, UnknownModelError, WeightsError
from efa_zoo.base.interrupts import forbid_fork, require_no_fork
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.hub.digest import require_digest

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from efa_zoo.models.potential import Potential

__all__ = [
    "ModelFiles",
    "card",
    "example",
    "find",
    "is_unfinished",
    "list_cards",
    "list_examples",
    "list_models",
    "load",
    "zoo_files",
]

_PACKAGE = Path(__file__).resolve().parents[2]
_EXAMPLES = Path(__file__).with_name("_examples")


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """The files of a model.

    Attributes:
        zoo_file: the card, `<name>.toml`.
        weights: the weights, `<name>.safetensors`; missing before training.
    """

    zoo_file: Path
    weights: Path

    @property
    def replay(self) -> Path:
        """Structures that fine-tuning replays, `<name>.replay.npz`; few models have them."""
        return self.weights.with_suffix(".replay.npz")


def list_models(pattern: str = "*", *, trained: bool = True) -> list[str]:
    """Names of the models in the zoo.

    Args:
        pattern: only names that match this shell pattern, such as `"*efa*"`.
        trained: only models with weights; False includes recipes that were not trained yet.

    Returns:
        The names in alphabetical order; without those whose zoo file is not valid, which
        `list_cards` names.
    """
    found = list_cards(pattern)
    return [
        name
        for name, card in found.items()
        if isinstance(card, Card) and (card.weights is not None or not trained)
    ]


def list_cards(pattern: str = "*") -> dict[str, Card | ConfigError]:
    """Cards of the models in the zoo, also of those that are not trained yet.

    Args:
        pattern: as for `list_models`.

    Returns:
        Cards by name in alphabetical order; for a zoo file that is not valid, what is wrong.
    """
    cards: dict[str, Card | ConfigError] = {}
    for name, files in sorted(zoo_files().items()):
        if fnmatch.fnmatchcase(name, pattern):
            try:
                cards[name] = Card.from_toml(files.zoo_file)
            except ConfigError as error:
                cards[name] = error
    return cards


def find(name_or_path: str | os.PathLike[str]) -> ModelFiles:
    """Find the files of a model.

    Args:
        name_or_path: the name of a model in the zoo, a folder with one zoo file, or a zoo file
            itself. A name in the zoo comes before a folder of that name in the working directory.

    Returns:
        The model's files. Beside a zoo file that was given by path, or in a folder, the weights
        are `<name>.safetensors`.

    Raises:
        InputError: it is neither a name nor a path.
        UnknownModelError: there is no such model; close names are suggested.
        ConfigError: a folder has no zoo file, or several.
    """
    if not isinstance(name_or_path, str | os.PathLike):
        kind = type(name_or_path).__name__
        raise InputError(f"model: got an object of type {kind}, expected a name or a path")
    zoo = zoo_files()
    text = os.fspath(name_or_path)
    if isinstance(name_or_path, str) and text in zoo:
        return zoo[text]
    try:
        path = Path(text).expanduser()
        is_folder, is_file = bool(text) and path.is_dir(), path.is_file()
    except (OSError, RuntimeError):  # a name that is too long, or the home of nobody
        path, is_folder, is_file = Path(), False, False
    if is_folder:
        inside = sorted(path.glob("*.toml"))
        if len(inside) != 1:
            found = ", ".join(file.name for file in inside) or "none"
            hint = " (an unfinished run, --resume goes on)" if is_unfinished(path) else ""
            raise ConfigError(f"{path}: found {found}, expected one zoo file (*.toml){hint}")
        path = inside[0]
        is_file = True
    if path.suffix == ".toml" and is_file:
        return ModelFiles(zoo_file=path, weights=path.with_suffix(".safetensors"))
    shown = text if len(text) <= 80 else f"{text[:77]}..."
    close = difflib.get_close_matches(shown, zoo, n=3)
    hint = (
        f"did you mean {' or '.join(close)}?"
        if close
        else f"known models: {', '.join(sorted(zoo)) or 'none'}"
    )
    raise UnknownModelError(f"no model {shown!r} in the zoo, and no such folder ({hint})")


def is_unfinished(folder: Path) -> bool:
    """Whether a folder holds a training run without a model yet."""
    return (folder / "checkpoint.json").exists() and not list(folder.glob("*.toml"))


def card(name_or_path: str | os.PathLike[str]) -> Card:
    """The card of a model.

    Args:
        name_or_path: as for `find`.

    Returns:
        The card; `print` shows what one needs to know, its `in_full()` gives everything.

    Raises:
        UnknownModelError: there is no such model.
        ConfigError: the zoo file is not valid.
    """
    return Card.from_toml(find(name_or_path).zoo_file)


def load(model: Potential | str | os.PathLike[str], *, dtype: DTypeLike | None = None) -> Potential:
    """Load a trained model.

    Args:
        model: the name of a model in the zoo, a folder that training wrote, or a zoo file; a
            loaded model is taken as it is.
        dtype: floating-point type of the weights, None keeps the stored one (float32). float64
            needs JAX's 64-bit mode; `efa_zoo.predict(..., dtype="float64")` enters it by itself.

    Returns:
        The model: the network with its weights, and its card.

    Raises:
        UnknownModelError: there is no such model.
        ConfigError: the zoo file is not valid.
        WeightsError: the model is not trained; its weights file is missing, damaged, altered or
            does not fit; or the card was altered in what enters a number, which is named. Weights
            are never made up.
        InputError: the type is not a floating-point type that JAX has enabled.
        EFAZooError: the process was forked after another one had loaded a model.
    """
    # Imported here: listing models and reading cards then needs no JAX.
    import equinox as eqx
    import jax

    from efa_zoo.models.mpnn import EnergyModel
    from efa_zoo.models.potential import Potential, cast
    from efa_zoo.models.uncertainty.calibration import take_calibration
    from efa_zoo.models.weights import fill_weights, read_tensors

    require_no_fork()
    forbid_fork()
    if isinstance(model, Potential):
        return model if dtype is None else cast(model, dtype)
    files = find(model)
    found = Card.from_toml(files.zoo_file)
    if found.weights is None:
        raise WeightsError(
            f"{files.zoo_file}: the model {found.name} has no weights yet, train it first "
            f"(efa-zoo train {files.zoo_file})"
        )
    require_digest(found, files.zoo_file)
    # Weights are stored in float32, whatever the user has set for new arrays.
    with jax.enable_x64(False):
        like = eqx.filter_eval_shape(EnergyModel, found.model, key=jax.random.key(0))
    tensors = read_tensors(files.weights, found.weights.sha256)
    tensors, calibration = take_calibration(tensors, found.model.features, files.weights)
    network = fill_weights(like, tensors, files.weights)
    potential = Potential(network=network, card=found, calibration=calibration)
    return potential if dtype is None else cast(potential, dtype)


def example(name: str) -> Path:
    """The file of an example structure that is shipped with the package.

    Args:
        name: one of `list_examples()`.

    Returns:
        Path of an extended XYZ file; the total charge stands in its header.

    Raises:
        InputError: there is no such example.
    """
    if name not in list_examples():
        known = ", ".join(list_examples())
        raise InputError(f"example: got {name!r}, expected one of {known}")
    return _EXAMPLES / f"{name}.extxyz"


def list_examples() -> list[str]:
    """Names of the example structures that are shipped with the package."""
    return sorted(path.stem for path in _EXAMPLES.glob("*.extxyz"))


def _homes() -> list[Path]:
    homes = [_PACKAGE / "_data"]
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file():
        homes.append(checkout)
    chosen = os.environ.get("EFA_ZOO_HOME")
    if chosen:
        try:
            home = Path(chosen).expanduser()
            with os.scandir(home / "zoo"):  # glob would take a folder it may not read for empty
                pass
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(
                f"EFA_ZOO_HOME: got {chosen!r}, expected a folder that has zoo/ ({reason})"
            ) from error
        homes.insert(0, home)
    return homes


def zoo_files() -> dict[str, ModelFiles]:
    """Find every model by name; the first home that has a name wins."""
    zoo: dict[str, ModelFiles] = {}
    for home in _homes():
        for path in sorted((home / "zoo").glob("*.toml")):
            weights = home / "pretrained" / f"{path.stem}.safetensors"
            zoo.setdefault(path.stem, ModelFiles(zoo_file=path, weights=weights))
    return zoo
