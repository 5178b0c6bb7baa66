"""The table of cases: what is measured, by name."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.cells import CellProblem
from benchmarks.problems import AttentionProblem, MessagePassProblem, NetworkProblem
from benchmarks.structures import Structures

__all__ = ["CASES", "Case", "Problem", "select"]

Problem = NetworkProblem | AttentionProblem | MessagePassProblem | CellProblem


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row of the table.

    Attributes:
        name: how it is chosen on the command line, `<what>/<task>`.
        group: heading of its part of the table.
        title: what it is, for people.
        problem: what is computed.
        compared: whether the reference computes it too.
        agreement: largest deviation of the two results, relative to the largest number of each
            array (the gradient's to the largest of the whole).
    """

    name: str
    group: str
    title: str
    problem: Problem
    compared: bool = False
    agreement: float = 1e-3

    @property
    def molecules(self) -> int:
        """Number of molecules."""
        return self.problem.structures.molecules

    @property
    def atoms(self) -> int:
        """Number of atoms of all molecules."""
        return self.molecules * self.problem.structures.atoms


#: The published networks of the reference for cumulenes and for clusters of 32 atoms.
_WITH_ATTENTION: dict[str, Any] = {
    "cutoff": 4.0,
    "mp_max_degree": 2,
    "num_features": 64,
    "num_iterations": 3,
    "zmax": 18,
    "era_use_in_iterations": (0, 1, 2),
    "era_lebedev_num": 50,
    "era_include_pseudotensors": False,
    "era_max_degree": 1,
    "era_qk_num_features": 32,
    "era_v_num_features": 16,
    "era_max_frequency": 3.141592653589793,
    "era_activation_fn": "gelu",
}
_LOCAL: dict[str, Any] = {
    "cutoff": 4.0,
    "mp_max_degree": 2,
    "num_features": 84,
    "num_iterations": 3,
    "zmax": 18,
}
_CLUSTERS: dict[str, Any] = {
    **_WITH_ATTENTION,
    "cutoff": 5.0,
    "mp_max_degree": 1,
    "num_features": 128,
    "num_iterations": 2,
    "era_use_in_iterations": (0, 1),
    "era_max_degree": 0,
    "era_qk_num_features": 16,
    "era_v_num_features": 32,
}

_CUMULENES = Structures(kind="cumulene", molecules=16, atoms=13)
_BALLS = Structures(kind="cluster", molecules=32, atoms=32)

_LAYER_TASKS: tuple[Literal["forward", "gradient"], ...] = ("forward", "gradient")


def _liquid(atoms: int) -> Structures:
    return Structures(kind="liquid", molecules=1, atoms=atoms)


def _networks() -> list[Case]:
    found = []
    for name, title, options, structures in (
        ("molecules_16x13", "16 × 13 atoms, attention", _WITH_ATTENTION, _CUMULENES),
        ("molecules_16x13_local", "16 × 13 atoms, local", _LOCAL, _CUMULENES),
        ("molecules_32x32", "32 × 32 atoms, attention", _CLUSTERS, _BALLS),
        ("system_500", "500 atoms, attention", _WITH_ATTENTION, _liquid(500)),
    ):
        for task in ("energy and forces", "training gradient"):
            found.append(
                Case(
                    name=f"{name}/{'energy_forces' if task == 'energy and forces' else 'training'}",
                    group="Networks",
                    title=title,
                    problem=NetworkProblem(options=options, structures=structures, task=task),
                    compared=True,
                )
            )
    return found


def _layers() -> list[Case]:
    found = []
    for task in _LAYER_TASKS:
        for name, title, integration in (
            ("attention_32x32", "attention, 32 × 32 atoms, degree 1", False),
            ("attention_32x32_integration", "… and tensor integration", True),
        ):
            problem = AttentionProblem(
                structures=_BALLS, degree=1, features=16, integration=integration, task=task
            )
            found.append(
                Case(
                    name=f"{name}/{task}",
                    group="Layers",
                    title=title,
                    problem=problem,
                    compared=True,
                )
            )
        found.append(
            Case(
                name=f"attention_32768/{task}",
                group="Layers",
                title="attention, 32,768 atoms, scalars",
                problem=AttentionProblem(
                    structures=_liquid(32_768),
                    degree=0,
                    features=32,
                    evaluation="quadrature",
                    task=task,
                ),
                compared=True,
            )
        )
        found.append(
            Case(
                name=f"message_pass_16x13/{task}",
                group="Layers",
                title="message pass, 16 × 13 atoms, degree 2",
                problem=MessagePassProblem(structures=_CUMULENES, degree=2, features=64, task=task),
                compared=True,
            )
        )
    return sorted(found, key=lambda case: (case.problem.structures.molecules == 1, case.name))


def _scaling() -> list[Case]:
    sizes: dict[Literal["exact", "quadrature"], tuple[int, ...]] = {
        "quadrature": (100, 1_000, 10_000, 100_000, 1_000_000),
        "exact": (100, 1_000, 4_000),
    }
    return [
        Case(
            name=f"scaling_{evaluation}_{atoms}/{task}",
            group="Scaling of attention",
            title=f"{evaluation}, {atoms:,} atoms",
            problem=AttentionProblem(
                structures=_liquid(atoms), degree=0, features=32, evaluation=evaluation, task=task
            ),
        )
        for evaluation, counts in sizes.items()
        for task in _LAYER_TASKS
        for atoms in counts
    ]


def _systems() -> list[Case]:
    return [
        Case(
            name=f"network_{atoms}/energy_forces",
            group="Scaling of networks",
            title=f"network, {atoms:,} atoms",
            problem=NetworkProblem(
                options=_WITH_ATTENTION, structures=_liquid(atoms), task="energy and forces"
            ),
            compared=atoms == 100,
        )
        for atoms in (100, 1_000, 10_000)
    ]


def _cells() -> list[Case]:
    sizes: dict[Literal["network", "ewald"], tuple[int, ...]] = {
        "network": (64, 512, 4_096, 16_384),
        "ewald": (64, 512, 4_096),  # jax-pme holds all phases: 14 GB of 16,384 ions
    }
    titles = {"network": "cell, network", "ewald": "cell, Ewald sum of jax-pme"}
    return [
        Case(
            name=f"cell_{method}_{atoms}/energy_forces",
            group="Scaling of cells",
            title=f"{titles[method]}, {atoms:,} ions",
            problem=CellProblem(
                structures=Structures(kind="crystal", molecules=1, atoms=atoms), method=method
            ),
        )
        for method, counts in sizes.items()
        for atoms in counts
    ]


CASES: tuple[Case, ...] = (*_networks(), *_layers(), *_systems(), *_cells(), *_scaling())


def select(pattern: str | None) -> list[Case]:
    """The cases whose name holds the pattern; shell wildcards are allowed."""
    if pattern is None:
        return list(CASES)
    return [case for case in CASES if fnmatch.fnmatchcase(case.name, f"*{pattern}*")]
