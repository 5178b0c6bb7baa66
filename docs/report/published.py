"""Numbers of the paper, and of its checkpoints on its own test splits, to put beside ours.

J. T. Frank, S. Chmiela, K.-R. Müller, O. T. Unke, Nat. Mach. Intell. 8, 388 (2026),
arXiv:2412.08541. Cumulene errors are those stored beside the published checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Published:
    """Errors of a published model.

    Attributes:
        what: attention or local, and the iterations T where they are known.
        energy_mae: in eV.
        force_mae: in eV/Å, None where it is not known.
        force_rmse: in eV/Å, None where it is not known.
        ours: name of our model of the same kind, if any.
        same_data: whether our model can be evaluated on the same labels.
    """

    what: str
    energy_mae: float
    force_mae: float | None = None
    force_rmse: float | None = None
    ours: str | None = None
    same_data: bool = True


#: Published errors by key of the experiment.
PUBLISHED: Mapping[str, tuple[Published, ...]] = {
    "cumulene": (
        Published(
            what="attention, T = 3",
            energy_mae=0.0389,
            force_mae=0.0672,
            ours="mpnn_efa_cumulene",
            same_data=False,
        ),
        Published(
            what="local, T = 3",
            energy_mae=0.183,
            force_mae=0.0944,
            ours="mpnn_cumulene",
            same_data=False,
        ),
    ),
    "cluster32": (
        Published(
            what="attention, T = 2", energy_mae=0.108, force_rmse=0.0253, ours="mpnn_efa_cluster32"
        ),
        Published(what="local, T = 2", energy_mae=0.653, force_rmse=0.169, ours="mpnn_cluster32"),
        Published(what="local, T = 3", energy_mae=0.216, force_rmse=0.101),
        Published(what="local, T = 4", energy_mae=0.119, force_rmse=0.068),
    ),
    "cluster16": (
        Published(
            what="attention", energy_mae=0.0213, force_rmse=0.00204, ours="mpnn_efa_cluster16"
        ),
        Published(what="local, T = 4", energy_mae=0.0086, force_rmse=0.00119),
    ),
    "two_atoms": (
        Published(what="attention", energy_mae=5.5e-4, force_mae=5.1e-4, ours="mpnn_efa_two_atoms"),
        Published(what="local", energy_mae=4.2e-2, force_mae=7.7e-3, ours="mpnn_two_atoms"),
    ),
}
