"""What structures that a network learned from cover: elements, charges, distances and bonds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from efa_zoo.structures.bonding import environments, unknown_environments
from efa_zoo.structures.distances import closest
from efa_zoo.structures.domain import Domain, Environment, environment_text
from efa_zoo.structures.elements import symbol

if TYPE_CHECKING:
    from data_pipelines.structure import Structure

__all__ = ["covered_domain", "known_environments"]

#: Training structures, and their share, below which bonds are an accident, such as of a close
#: contact.
_ACCIDENTS, _ACCIDENT = 2, 1e-4

#: Validation structures without which nobody can say whether those of training show all bonds, and
#: the share of structures that may have others.
_FEWEST, _OTHERS = 50, 0.002


def covered_domain(structures: Sequence[Structure], *, spin: bool = False) -> Domain:
    """Tell what structures cover; distances are rounded outwards to 0.1 Å.

    Args:
        structures: at least one.
        spin: whether the network embeds the spin.

    Returns:
        Their elements, charges, distances between atoms (the longest one is that of structures
        without a cell, and if there are none the longest lattice vector), periodic directions, and
        multiplicities with `spin`.
    """
    shortest, longest, vector = np.inf, 0.0, 0.0
    for structure in structures:
        if structure.cell is not None:
            found, *_ = closest(structure.positions, structure.cell, structure.pbc)
            shortest = min(shortest, found)
            vector = max(vector, float(np.linalg.norm(structure.cell, axis=1).max()))
        elif len(structure.positions) > 1:
            vectors = structure.positions[:, None] - structure.positions[None]
            distances = np.linalg.norm(vectors, axis=-1)[np.triu_indices(len(vectors), 1)]
            shortest = min(shortest, float(distances.min()))
            longest = max(longest, float(distances.max()))
    electrons = [int(s.atomic_numbers.sum()) - s.total_charge for s in structures]
    elements = sorted({int(z) for s in structures for z in s.atomic_numbers})
    return Domain(
        elements=tuple(symbol(z) for z in elements),
        total_charges=tuple(sorted({s.total_charge for s in structures})),
        max_distance=float(np.ceil((longest or vector) * 10) / 10),
        min_distance=float(np.floor(shortest * 10) / 10),
        closed_shell=all(count % 2 == 0 for count in electrons),
        multiplicities=tuple(sorted({s.spin_multiplicity for s in structures})) if spin else (),
        periodic_directions=tuple(sorted({sum(s.pbc) for s in structures})),
    )


def known_environments(
    training: Sequence[Structure], validation: Sequence[Structure]
) -> tuple[str, ...]:
    """Tell what the atoms of structures are bonded to, where that is a list with an end.

    Args:
        training: structures that were trained on.
        validation: structures that were not.

    Returns:
        What `Domain.environments` holds: what at least two training structures and at least one in
        10,000 have. Empty if more than two in a thousand structures have an atom with other bonds,
        or if there are fewer than 50 validation structures.
    """
    counts = Counter[Environment]()
    for s in training:
        counts.update(set(environments(s.atomic_numbers, s.positions, s.cell, s.pbc)))
    fewest = max(_ACCIDENTS, _ACCIDENT * len(training))
    known = {found for found, count in counts.items() if count >= fewest}
    # What only one training structure shows counts as what another one would not have known.
    others = sum(
        bool(unknown_environments(known, s.atomic_numbers, s.positions, s.cell, s.pbc))
        for s in (*training, *validation)
    )
    if len(validation) < _FEWEST or others > _OTHERS * (len(training) + len(validation)):
        return ()
    return tuple(map(environment_text, sorted(known)))
