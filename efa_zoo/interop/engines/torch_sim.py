"""A model for TorchSim, which simulates many systems at once."""

from __future__ import annotations

from importlib import import_module
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from efa_zoo.models.hub.registry import load
from efa_zoo.models.inference import predict
from efa_zoo.models.inputs.checks import OutOfRange, as_float_dtype, as_out_of_range
from efa_zoo.models.potential import Potential
from efa_zoo.structures.graph import Graph

__all__ = ["torch_sim_model"]


def torch_sim_model(
    model: Potential | str | PathLike[str],
    *,
    charge: int = 0,
    dtype: DTypeLike = "float64",
    device: str = "cpu",
    out_of_range: OutOfRange = "error",
) -> Any:
    """Make a model of TorchSim of one of the zoo.

    All systems of a state are predicted in a batch by JAX, wherever JAX computes; PyTorch holds
    positions and results only, and nothing is differentiated through them.

    Args:
        model: a loaded model, or what `efa_zoo.load` takes.
        charge: total charge of every system in units of e.
        dtype: floating-point type to compute in, and that of the results.
        device: where PyTorch has its tensors.
        out_of_range: as for `efa_zoo.predict`, for every system and at every call.

    Returns:
        A `torch_sim.models.interface.ModelInterface`. It gives energies in eV, reference energies
        included, forces in eV/Å, and of a model that knows cells stress in eV/Å³.

    Raises:
        InputError: an argument is not as above.
        UnknownModelError, ConfigError, WeightsError: as for `efa_zoo.load`.
        ModuleNotFoundError: TorchSim is not installed (extra `torch-sim`).
    """
    kind, potential, strict = as_float_dtype(dtype), load(model), as_out_of_range(out_of_range)
    torch = import_module("torch")
    torch_sim = import_module("torch_sim")
    interface = import_module("torch_sim.models.interface").ModelInterface
    domain = potential.card.domain
    in_cells = domain is not None and 3 in domain.periodic_directions
    cutoff = potential.card.model.message_passing.cutoff

    class Model(interface):
        """The model as TorchSim calls it."""

        def __init__(self) -> None:
            super().__init__()
            self._device = torch.device(device)
            self._dtype = getattr(torch, kind.name)
            self._compute_forces, self._compute_stress = True, in_cells
            self._memory_scales_with = "n_atoms"

        def forward(self, state: Any, **_: Any) -> dict[str, Any]:
            """Predict all systems of a state."""
            if isinstance(state, dict):
                masses = torch.ones_like(state["atomic_numbers"])
                state = torch_sim.SimState(**{"masses": masses, **state})
            found = predict(potential, list(_graphs(state)), dtype=kind, out_of_range=strict)

            def tensor(values: Any) -> Any:
                return torch.as_tensor(np.asarray(values), dtype=self.dtype, device=self.device)

            results = {
                "energy": tensor([p.energy for p in found]),
                "forces": tensor(np.concatenate([p.forces for p in found])),
            }
            if in_cells:
                results["stress"] = tensor([np.asarray(p.stress)[_FULL] for p in found])
            return results

    def _graphs(state: Any) -> Any:
        numbers, positions, systems = (
            getattr(state, name).detach().cpu().numpy()
            for name in ("atomic_numbers", "positions", "system_idx")
        )
        cells = state.row_vector_cell.detach().cpu().numpy()
        pbc = np.broadcast_to(np.asarray(state.pbc), 3)
        for system, cell in enumerate(cells):
            inside = systems == system
            yield Graph.from_arrays(
                numbers[inside],
                positions[inside],
                cutoff if pbc.any() else None,
                total_charge=charge,
                cell=cell if pbc.any() else None,
                pbc=pbc if pbc.any() else None,
                dtype=np.float64,
            )

    return Model()


#: Places in Voigt's order of the components of a stress.
_FULL = np.asarray([[0, 5, 4], [5, 1, 3], [4, 3, 2]])
