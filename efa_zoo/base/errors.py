"""Errors raised by efa_zoo: one small hierarchy, every message one line."""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "DataError",
    "EFAZooError",
    "ExportError",
    "InputError",
    "SimulationError",
    "TrainingError",
    "UnknownModelError",
    "WeightsError",
]


class EFAZooError(Exception):
    """Base class of every error that efa_zoo raises on purpose."""


class InputError(EFAZooError, ValueError):
    """A structure or an argument is invalid, or outside what a model knows."""


class ConfigError(EFAZooError, ValueError):
    """A zoo file or a configuration has an unknown key, a wrong type or a value out of range."""


class WeightsError(EFAZooError, ValueError):
    """A weights file is missing, damaged, altered or belongs to another architecture."""


class DataError(EFAZooError, ValueError):
    """A data set cannot be built, found or read."""


class ExportError(EFAZooError, RuntimeError):
    """A model cannot be exported, or the file of an exported one is damaged or of no known kind."""


class TrainingError(EFAZooError, RuntimeError):
    """Training cannot go on, for example because the loss is not finite."""


class SimulationError(EFAZooError, RuntimeError):
    """A simulation or a relaxation cannot go on, or has not arrived."""


class UnknownModelError(EFAZooError, KeyError):
    """No model of that name is in the zoo."""

    def __str__(self) -> str:
        # KeyError quotes its argument, which would hide the sentence.
        return str(self.args[0]) if self.args else ""
