"""Parts of a card: data, weights, calibration, and what a fine-tuned model was made of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from efa_zoo.base.config.tables import shown
from efa_zoo.base.errors import ConfigError

__all__ = [
    "PURPOSES",
    "CalibrationRecord",
    "DataSource",
    "FineTuning",
    "Purpose",
    "ReplaySet",
    "WeightsFile",
]

Purpose: TypeAlias = Literal["use", "experiment", "toy"]

#: What models are for, in the order of lists, in words.
PURPOSES: dict[Purpose, str] = {
    "use": "For use",
    "experiment": "The paper's experiments",
    "toy": "Toys",
}


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """The data a model is trained on.

    Attributes:
        name: name of the data set, as `efa-zoo data build` takes it; structures/NAME for one that
            `efa-zoo data add` made of a file.
        level_of_theory: method of the labels, such as `"GFN2-xTB"`.
        units: units of the labels.
        citation: where method and data come from.
        splits: how training, validation and test structures were chosen.
    """

    name: str
    level_of_theory: str
    units: str = "eV, eV/Å"
    citation: str = ""
    splits: str = ""


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """The file that holds a model's weights.

    Attributes:
        sha256: SHA-256 of the file, 64 hexadecimal digits.
        parameters: number of trainable numbers.
        bytes: size of the file.
        digest: of all that enters a number, the file's SHA-256 included, 64 hexadecimal digits;
            empty before `efa_zoo.models.hub.digest.sealed` fills it in.
        marks: short marks of the single entries, by which an altered one is named.
    """

    sha256: str
    parameters: int
    bytes: int
    digest: str = ""
    marks: str = ""

    def __post_init__(self) -> None:
        for name, digits in (("sha256", self.sha256), ("digest", self.digest or self.sha256)):
            if not re.fullmatch("[0-9a-f]{64}", digits):
                raise ConfigError(f"{name}: got {shown(digits)}, expected 64 hexadecimal digits")
        for name, value in (("parameters", self.parameters), ("bytes", self.bytes)):
            if value < 1:
                raise ConfigError(f"{name}: got {value}, expected at least 1")


@dataclass(frozen=True, kw_only=True)
class CalibrationRecord:
    """What uncertainties and known surroundings were learned from.

    Attributes:
        data: name of the data.
        training: number of structures that the model was trained on.
        validation: number of structures that it was not trained on.
    """

    data: str
    training: int
    validation: int


@dataclass(frozen=True, kw_only=True)
class ReplaySet:
    """The file of few structures of a model's data, for who fine-tunes it without these data.

    Attributes:
        sha256: SHA-256 of the file, 64 hexadecimal digits.
        training: number of structures that the model was trained on.
        validation: number of structures that it was not trained on.
        bytes: size of the file.
    """

    sha256: str
    training: int
    validation: int
    bytes: int

    def __post_init__(self) -> None:
        if not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise ConfigError(f"sha256: got {shown(self.sha256)}, expected 64 hexadecimal digits")
        for name in ("training", "validation", "bytes"):
            value = getattr(self, name)
            if value < 1:
                raise ConfigError(f"{name}: got {value}, expected at least 1")


@dataclass(frozen=True, kw_only=True)
class FineTuning:
    """How a model was made of another one.

    Attributes:
        base: name of the model it started from.
        base_sha256: SHA-256 of that model's weights file.
        base_data: name of the data set that model was trained on.
        replay: share of the training structures that were taken from that data set.
        reference_energies: whether the elements' energies are those of the base model or fitted
            to the new data; labels of `base_data` are then on another scale of energy.
        data_sha256: SHA-256 of the file of the new data; empty for a data set that is built.
        replayed: number of structures of `base_data` that were replayed, all of them or those of
            the base model's replay set.
    """

    base: str
    base_sha256: str
    base_data: str
    replay: float
    reference_energies: Literal["kept", "refitted"]
    data_sha256: str = ""
    replayed: int = 0
