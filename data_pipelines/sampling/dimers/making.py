"""Labels of the data set `dimers`, and which of them hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from data_pipelines._workers import Failure, required, run_all
from data_pipelines.labels.labelling import Label, charges_hold, label_groups
from data_pipelines.labels.tally import Tally
from data_pipelines.sampling.dimers.bonded import shared_charge
from data_pipelines.sampling.dimers.close import ClosePlans, plan_of
from data_pipelines.sampling.dimers.plans import SHARES, Plan, Plans
from data_pipelines.sampling.dimers.settings import PAIR_NUMBERS, DimerSettings, Pair
from data_pipelines.sampling.monomers import MONOMERS, RelaxedMonomer, numbers_of
from data_pipelines.sampling.placement import MAX_SEPARATION
from data_pipelines.structure import LabelledStructures, Structure
from efa_zoo.base.errors import DataError

HIGHEST_ENERGY = 7.0
"""Where close dimers are built, nothing is kept this many eV above the relaxed molecules apart."""

HIGHEST_FORCE = 25.0
"""Nor with a larger component of a force, in eV/Å."""

_RELAX_LIMIT, _EXPLORE_LIMIT = 300.0, 300.0


def make_dimers(settings: DimerSettings, *, workers: int) -> LabelledStructures:
    """Draw, label, check and split the data set.

    Args:
        settings: What to build.
        workers: Number of worker processes for the labels.

    Returns:
        The labelled structures. The notes have, for each pair or monomer, the numbers of structures
        kept and dropped, by reason, as `counts`, and the same of points of scans as `curve_counts`.

    Raises:
        DataError: If a monomer could not be optimised.
    """
    relaxed = _relax(settings.monomers, workers)
    plans = list(Plans(settings, relaxed))
    outcomes = _label(plans, relaxed, settings, workers)
    if settings.close:
        close = ClosePlans(settings, settings.close, relaxed)
        placed = list(close)
        outcomes += _label(placed, relaxed, settings, workers)
        explored = _explore(close, relaxed, settings, workers)
        plans += placed + [plan for plan, _ in explored]
        outcomes += [outcome for _, outcome in explored]
    splits: dict[str, list[tuple[str, Structure]]] = {
        name: [] for name in (*SHARES, "transfer", "curves")
    }
    tally, curve_tally = Tally("structures"), Tally("points of scans")
    for plan, outcome in zip(plans, outcomes, strict=True):
        (tally if plan.curve < 0 else curve_tally).count(plan.pair, outcome)
        if not isinstance(outcome, Failure):
            splits[plan.split].append((plan.key, outcome))
    tally.log()
    curve_tally.log()
    return LabelledStructures(splits, {"counts": tally.counts, "curve_counts": curve_tally.counts})


def make_pair(pair: Pair, count: int, *, seed: int, workers: int) -> list[Structure]:
    """Draw and label dimers of one pair, as the data set does, until enough of them hold.

    Args:
        pair: Names from `MONOMERS`, in any order.
        count: Number of dimers wanted, at least 1.
        seed: Of everything random; that of the data set gives its dimers again.
        workers: Number of worker processes for the labels.

    Returns:
        The labelled dimers.

    Raises:
        DataError: If a name is unknown, the pair cannot be labelled, a monomer could not be
            optimised, or hardly any label holds.
    """
    if count < 1:
        raise DataError(f"count: got {count}, expected at least 1")
    DimerSettings(monomers=pair, seed=seed)  # refuses unknown names
    pair = pair if pair in PAIR_NUMBERS else (pair[1], pair[0])
    if pair not in PAIR_NUMBERS:
        raise DataError(f"pair: got {' and '.join(pair)}, for which GFN2-xTB hardly converges")
    relaxed = _relax(sorted(set(pair)), workers)
    kept: list[Structure] = []
    tried = 0
    while len(kept) < count:
        if tried > 4 * count:
            raise DataError(
                f"pair: {len(kept)} of {tried} dimers of {' and '.join(pair)} could be labelled, "
                f"expected {count}"
            )
        total = tried + count - len(kept)
        settings = DimerSettings(
            monomers=pair, per_pair=total, per_monomer=0, curves_per_pair=0, seed=seed
        )
        planned = list(Plans(settings, relaxed).dimers(pair))[tried:]
        outcomes = _label(planned, relaxed, settings, workers)
        kept += [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
        tried = total
    return kept


def _relax(names: Sequence[str], workers: int) -> dict[str, RelaxedMonomer]:
    outcomes = run_all(
        "data_pipelines.sampling.monomers:relax",
        [MONOMERS[name] for name in names],
        workers=workers,
        time_limit=_RELAX_LIMIT,
        title="monomers",
    )
    return dict(zip(names, required("monomers", names, outcomes), strict=True))


def _label(
    plans: Sequence[Plan],
    relaxed: Mapping[str, RelaxedMonomer],
    settings: DimerSettings,
    workers: int,
) -> list[Structure | Failure]:
    labels = label_groups(
        [plan.geometries for plan in plans],
        workers=workers,
        time_limit=settings.time_limit,
        title="labels",
    )
    return [
        finish(plan, found, relaxed, settings) for plan, found in zip(plans, labels, strict=True)
    ]


def _explore(
    close: ClosePlans,
    relaxed: Mapping[str, RelaxedMonomer],
    settings: DimerSettings,
    workers: int,
) -> list[tuple[Plan, Structure | Failure]]:
    homes, tasks = zip(*close.explorations(), strict=True)
    outcomes = run_all(
        "data_pipelines.sampling.dimers.exploring:explore",
        tasks,
        workers=workers,
        time_limit=_EXPLORE_LIMIT,
        title="explorations",
    )
    explored: list[tuple[Plan, Structure | Failure]] = []
    for home, outcome in zip(homes, outcomes, strict=True):
        if isinstance(outcome, Failure):
            explored.append((home, outcome))
            continue
        size = len(home.positions[0])
        for i, (kind, positions, labels) in enumerate(outcome):
            molecules = (positions[:size], positions[size:])
            key = f"{home.key}/{i:03d}"
            plan = plan_of(home.names, molecules, key, home.split, kind, group=home.key)
            explored.append((plan, finish(plan, labels, relaxed, settings)))
    return explored


def finish(
    plan: Plan,
    labels: tuple[Label, ...] | Failure,
    relaxed: Mapping[str, RelaxedMonomer],
    settings: DimerSettings,
) -> Structure | Failure:
    """Turn labels into a structure, unless a charge, the energy or a force is out of bounds."""
    if isinstance(labels, Failure):
        return labels
    whole = plan.geometries[0]
    sizes = [len(positions) for positions in plan.positions]
    fragment = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    charges = np.array([labels[0].charges[fragment == i].sum() for i in range(2)])
    if len(sizes) == 1:
        energies = [labels[0].energy, 0.0]
    elif plan.curve >= 0:
        energies = [relaxed[name].label.energy for name in plan.names]
    else:
        energies = [part.energy for part in labels[1:]]
    if len(sizes) == 2:
        shared = 0.0
        if settings.close:
            numbers = numbers_of(plan.names[0]), numbers_of(plan.names[1])
            shared = shared_charge(numbers, (plan.positions[0], plan.positions[1]))
        if not charges_hold(charges, plan.formal_charges, plan.separation, shared):
            return Failure("charge", f"fragment charges {charges}")
    if settings.close:
        apart = sum(relaxed[name].label.energy for name in plan.names if name)
        if labels[0].energy - apart > HIGHEST_ENERGY:
            return Failure("energy", f"{labels[0].energy - apart:.1f} eV above the minima")
        if plan.separation > MAX_SEPARATION:
            return Failure("far", f"{plan.separation:.0f} Å apart")
        if (force := float(np.abs(labels[0].forces).max())) > HIGHEST_FORCE:
            return Failure("force", f"{force:.0f} eV/Å")
    return Structure(
        atomic_numbers=whole.atomic_numbers,
        positions=whole.positions,
        energy=labels[0].energy,
        forces=labels[0].forces,
        charges=labels[0].charges,
        dipole=labels[0].dipole,
        total_charge=whole.total_charge,
        monomers=plan.names,
        fragment=fragment,
        separation=plan.separation,
        closest_contact=plan.contact,
        fragment_energies=np.array(energies),
        fragment_charges=charges,
        formal_charges=plan.formal_charges,
        curve=plan.curve,
        kind=plan.kind,
        group=plan.group,
    )
