"""An Equinox model zoo for Euclidean fast attention: energies and forces of molecules.

    import efa_zoo

    model = efa_zoo.load("mpnn_efa_dimers")
    prediction = efa_zoo.predict(model, atoms)  # ASE atoms, or an efa_zoo.Graph
    prediction.energy, prediction.forces  # eV, eV/Å

Units everywhere: Å, eV, eV/Å and e. Names that are slow to import are imported when first used, so
that listing models and reading cards is quick.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from efa_zoo.base.compilation import use_compilation_cache
from efa_zoo.base.config import (
    AttentionConfig,
    Coulomb,
    FrequencyConfig,
    IntegrationConfig,
    MessagePassingConfig,
    ModelConfig,
    TrainingConfig,
    Waves,
    WindowedWaves,
)
from efa_zoo.base.errors import (
    ConfigError,
    DataError,
    EFAZooError,
    ExportError,
    InputError,
    SimulationError,
    TrainingError,
    UnknownModelError,
    WeightsError,
)
from efa_zoo.models.hub.cards import Card
from efa_zoo.models.hub.registry import card, example, list_examples, list_models, load

if TYPE_CHECKING:
    from efa_zoo.models.hub.choosing import suggest
    from efa_zoo.models.inference import PredictionStream, predict
    from efa_zoo.models.inputs.checks import OutOfRangeWarning
    from efa_zoo.models.mpnn import EnergyModel
    from efa_zoo.models.outputs import Outputs
    from efa_zoo.models.potential import Potential
    from efa_zoo.models.prediction import Prediction
    from efa_zoo.structures.graph import Graph

__version__ = "0.2.0"

__all__ = [
    "AttentionConfig",
    "Card",
    "ConfigError",
    "Coulomb",
    "DataError",
    "EFAZooError",
    "EnergyModel",
    "ExportError",
    "FrequencyConfig",
    "Graph",
    "InputError",
    "IntegrationConfig",
    "MessagePassingConfig",
    "ModelConfig",
    "OutOfRangeWarning",
    "Outputs",
    "Potential",
    "Prediction",
    "PredictionStream",
    "SimulationError",
    "TrainingConfig",
    "TrainingError",
    "UnknownModelError",
    "Waves",
    "WeightsError",
    "WindowedWaves",
    "card",
    "example",
    "list_examples",
    "list_models",
    "load",
    "predict",
    "suggest",
    "use_compilation_cache",
]

# Public names whose modules need JAX or SciPy, and the module of each. No module may be called like
# one of these names: importing it would replace the name by the module.
_LAZY = {
    "EnergyModel": "efa_zoo.models.mpnn",
    "Graph": "efa_zoo.structures.graph",
    "OutOfRangeWarning": "efa_zoo.models.inputs.checks",
    "Outputs": "efa_zoo.models.outputs",
    "Potential": "efa_zoo.models.potential",
    "Prediction": "efa_zoo.models.prediction",
    "PredictionStream": "efa_zoo.models.inference",
    "predict": "efa_zoo.models.inference",
    "suggest": "efa_zoo.models.hub.choosing",
}


if not TYPE_CHECKING:  # a type checker would take every name for one that exists

    def __getattr__(name: str) -> object:
        if name not in _LAZY:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_LAZY])
