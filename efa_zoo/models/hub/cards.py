"""Model cards: what a model is, where it was trained, where it is valid, and how well it does.

A card is read from a zoo file, `zoo/<name>.toml`. Before training the file is a recipe: it has no
`[weights]`, and training writes the results into it with `write_results`.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from efa_zoo.base.config import (
    ModelConfig,
    TrainingConfig,
    Waves,
    WindowedWaves,
    from_table,
    to_table,
)
from efa_zoo.base.config.tables import shown
from efa_zoo.base.errors import ConfigError
from efa_zoo.base.files import write_atomically
from efa_zoo.models.hub.card_text import card_lines, summary_lines
from efa_zoo.models.hub.digest import sealed
from efa_zoo.models.hub.records import (
    CalibrationRecord,
    DataSource,
    FineTuning,
    Purpose,
    ReplaySet,
    WeightsFile,
)
from efa_zoo.structures.domain import Domain
from efa_zoo.structures.elements import ATOMIC_NUMBERS, SYMBOLS

if TYPE_CHECKING:
    import numpy as np

__all__ = [
    "Card",
    "write_card",
    "write_results",
]

#: Bytes of the largest zoo file; those of the zoo have up to 20,000.
_LARGEST_FILE = 200_000

#: Dots of the keys in a line; deep keys take a TOML parser quadratic time and memory.
_MOST_DOTS = 50


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known about one model.

    Cards compare by content and are hashable, so one can be a static field of a module.

    Attributes:
        name: name of the model and of its files.
        description: one sentence.
        purpose: "use" for structures like those in its data, "experiment" of the paper, or "toy" to
            look at attention by itself.
        model: architecture.
        data: the data trained on.
        training: the training recipe; None for a model that was not trained here.
        fine_tuning: what a fine-tuned model was made of; None for others.
        domain: the structures the model knows; None before training.
        reference_energies: energy in eV by element symbol, added to the network's atomic
            energies; empty before training.
        weights: the weights file; None before training.
        calibration: what the statistics in the weights file are of; None where it has none, so
            that the model gives no uncertainties and does not know unknown surroundings.
        replay: the file of few structures that fine-tuning replays; None for none.
        metrics: errors by split, numbers or tables of numbers; empty before training.
        cost: what the training took; empty before training.
        limits: where the model is known to fail, in words.
    """

    name: str
    description: str
    model: ModelConfig
    data: DataSource
    purpose: Purpose = "use"
    training: TrainingConfig | None = None
    fine_tuning: FineTuning | None = None
    domain: Domain | None = None
    reference_energies: Mapping[str, float] = field(default_factory=dict)
    weights: WeightsFile | None = None
    calibration: CalibrationRecord | None = None
    replay: ReplaySet | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    limits: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ConfigError(
                f"name: got {shown(self.name)}, expected letters, digits, '.', '_' and '-'"
            )
        for element, energy in self.reference_energies.items():
            if element not in ATOMIC_NUMBERS:
                raise ConfigError(
                    f"reference_energies: got key {shown(element)}, expected symbols of elements"
                )
            if not math.isfinite(energy):
                raise ConfigError(
                    f"reference_energies.{element}: got {energy}, expected a finite number (eV)"
                )
        if self.domain is not None:
            for element in self.domain.elements:
                if ATOMIC_NUMBERS[element] > self.model.highest_atomic_number:
                    raise ConfigError(
                        f"domain.elements: got {element!r}, expected elements up to "
                        f"model.highest_atomic_number = {self.model.highest_atomic_number}"
                    )
            if 0 in self.domain.periodic_directions:
                self.check_reach(self.domain.max_distance)
        if self.weights is not None:
            if self.domain is None:
                raise ConfigError("domain: missing, expected where the model has [weights]")
            missing = set(self.domain.elements) - set(self.reference_energies)
            if missing:
                raise ConfigError(
                    f"reference_energies: no energy for {', '.join(sorted(missing))}, expected "
                    "one for every element of the domain"
                )

    def check_reach(self, max_distance: float) -> None:
        """Refuse distances at which quadrature does not keep its tolerance.

        Args:
            max_distance: longest distance of a structure in Å.

        Raises:
            ConfigError: it is beyond what the kernel is made for.
        """
        attention = self.model.attention
        if attention is None or attention.evaluation == "exact":
            return
        kernel = attention.kernel
        if isinstance(kernel, WindowedWaves):  # which have no quadrature
            return
        length = kernel.frequencies.max_length if isinstance(kernel, Waves) else kernel.max_length
        if max_distance > length:
            raise ConfigError(
                f"domain.max_distance: got {max_distance:g} Å, expected at most the kernel's "
                f"max_length of {length:g} Å, up to which quadrature keeps its tolerance (or "
                'evaluation = "exact")'
            )

    def energies_of_elements(self, atomic_numbers: np.ndarray) -> np.ndarray:
        """Look up what is added to the network's atomic energies, in float64.

        Args:
            atomic_numbers: of elements in the domain.

        Returns:
            Reference energies in eV, of the same shape.
        """
        import numpy as np

        energies = np.zeros(len(SYMBOLS))
        for element, energy in self.reference_energies.items():
            energies[ATOMIC_NUMBERS[element]] = energy
        return energies[atomic_numbers]

    def __hash__(self) -> int:
        # Equal cards hash alike; the mappings among the fields cannot be hashed.
        return hash((self.name, self.model, self.weights))

    @classmethod
    def from_toml(cls, path: Path | str) -> Card:
        """Read a zoo file.

        Args:
            path: the file; its name without the ending must be the card's name.

        Returns:
            The card.

        Raises:
            ConfigError: the file cannot be read, is no TOML, or a key is unknown, missing, of the
                wrong type or out of range.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                content = file.read(_LARGEST_FILE + 1)
        except OSError as error:
            raise ConfigError(f"{path}: cannot read the zoo file ({error.strerror})") from error
        if len(content) > _LARGEST_FILE:
            raise ConfigError(f"{path}: has over {_LARGEST_FILE:,} bytes, expected a zoo file")
        try:
            text = content.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: the zoo file is not UTF-8 text") from error
        return _parse(text, path)

    def __str__(self) -> str:
        return "\n".join(summary_lines(self))

    def in_full(self) -> str:
        """Write everything in the card, architecture, recipe and errors of all parts included."""
        return "\n".join(card_lines(self))

    def _repr_html_(self) -> str:
        from efa_zoo.models.hub.card_html import card_html  # only notebooks need it

        return card_html(self)


def write_card(path: Path | str, card: Card) -> None:
    """Write a card to a new zoo file, atomically, with the digest of what it says.

    Args:
        path: the file, named as the card.
        card: the card.

    Raises:
        ConfigError: the file is not named as the card.
    """
    import tomlkit

    path = Path(path)
    text = tomlkit.dumps(to_table(sealed(card)))
    _parse(text, path)
    write_atomically(path, text.encode())


def write_results(
    path: Path | str,
    *,
    weights: WeightsFile | None = None,
    calibration: CalibrationRecord | None = None,
    replay: ReplaySet | None = None,
    domain: Domain | None = None,
    reference_energies: Mapping[str, float] | None = None,
    metrics: Mapping[str, object] | None = None,
    cost: Mapping[str, object] | None = None,
) -> Card:
    """Write results of a training into a zoo file, atomically; comments and layout stay.

    A table that is given replaces the one in the file; the others stay as they are.

    Args:
        path: the zoo file.
        weights: the weights file; with it the digest of all that enters a number is written.
        calibration: what the statistics in the weights file are of; None with weights that have
            none.
        replay: the file of structures that fine-tuning replays.
        domain: the structures the model knows.
        reference_energies: energy in eV by element symbol.
        metrics: errors by split.
        cost: what the training took.

    Returns:
        The new card.

    Raises:
        ConfigError: the file cannot be read, or would not be a valid card afterwards; it is then
            left as it was.
    """
    # Imported here: only writing needs it.
    import tomlkit

    path = Path(path)
    Card.from_toml(path)
    document = tomlkit.parse(path.read_text(encoding="utf-8"))
    tables: dict[str, Mapping[str, object] | None] = {
        "domain": None if domain is None else to_table(domain),
        "reference_energies": reference_energies,
        "weights": None if weights is None else to_table(weights),
        "calibration": None if calibration is None else to_table(calibration),
        "replay": None if replay is None else to_table(replay),
        "metrics": metrics,
        "cost": cost,
    }
    if weights is not None and calibration is None:
        document.pop("calibration", None)  # which was of the weights before
    for name, table in tables.items():
        if table is None:
            continue
        if name not in document:
            document[name] = tomlkit.table()
        _replace(document[name], table)
    text = tomlkit.dumps(document)
    card = _parse(text, path)
    if weights is not None:
        card = sealed(card)
        assert card.weights is not None
        _replace(document["weights"], to_table(card.weights))
        text = tomlkit.dumps(document)
    write_atomically(path, text.encode())
    return card


def _parse(text: str, path: Path) -> Card:
    for number, line in enumerate(text.splitlines(), start=1):
        if re.sub(r"\d\.\d", "", line).count(".") > _MOST_DOTS:
            raise ConfigError(
                f"{path}: line {number} has over {_MOST_DOTS} dots, expected short keys"
            )
    try:
        card = from_table(Card, tomllib.loads(text))
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    except RecursionError as error:
        raise ConfigError(f"{path}: tables or lists are nested too deeply") from error
    except ValueError as error:  # also of numbers with thousands of digits
        raise ConfigError(f"{path}: not valid TOML: {error}") from error
    if card.name != path.stem:
        raise ConfigError(
            f"{path}: name: got {card.name!r}, expected the file's name {path.stem!r}"
        )
    return card


def _replace(table: MutableMapping[str, Any], values: Mapping[str, object]) -> None:
    """Give a tomlkit table the keys and values of a mapping, reusing what is there."""
    for key in [key for key in table if key not in values]:
        del table[key]
    for key, value in values.items():
        if isinstance(value, Mapping):
            if not isinstance(table.get(key), MutableMapping):
                table[key] = {}
            _replace(table[key], value)
        else:
            table[key] = value
