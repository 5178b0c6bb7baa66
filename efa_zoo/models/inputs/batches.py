"""Which molecules are predicted together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any

from efa_zoo.structures.graph import Shape

__all__ = ["plan_batches"]

#: Numbers of molecules computed at once: few, many, and the most atoms (with padding) in one go.
_FEW, _MANY, _MAX_ATOMS = 8, 64, 2048

#: Compiling takes about as long as computing this many pairs of atoms on a processor core, so that
#: a shape of its own must save more.
_PAIRS_PER_COMPILATION = 500_000


def plan_batches(
    sizes: Mapping[int, tuple[Any, ...]],
    compiled: Collection[Shape] = (),
    evaluation: Callable[[int], object] = lambda atoms: None,
    devices: int = 1,
) -> list[tuple[Shape, list[int]]]:
    """Sort molecules into batches of few shapes.

    Molecules of one size share batches; a size that saves less than its compilation costs is given
    up for the next larger one that is evaluated alike, so that no result depends on what else is
    predicted.

    Args:
        sizes: padded numbers of atoms and neighbours of each molecule by its number, and of a
            periodic one that of wave vectors and the periodic directions: a `Shape` but its first.
        compiled: shapes that cost no compilation.
        evaluation: how attention is evaluated for a padded number of atoms.
        devices: number of devices, each of which takes the same number of molecules of a batch.

    Returns:
        Shapes and numbers of the molecules, smallest first; every molecule is in one batch.
    """
    groups: dict[Shape, list[int]] = defaultdict(list)
    for number, size in sizes.items():
        groups[Shape(0, *size)].append(number)
    free = {shape._replace(molecules=0): shape for shape in sorted(compiled)}
    for size in sorted(groups.keys() - free.keys()):
        larger = [
            other
            for other in {*groups, *free} - {size}
            if all(a >= b for a, b in zip(other[1:4], size[1:4], strict=True))
            and other.pbc == size.pbc
            and evaluation(other.atoms) == evaluation(size.atoms)
        ]
        if larger:
            best = min(larger, key=lambda other: (_pairs(other), other))
            if len(groups[size]) * (_pairs(best) - _pairs(size)) < _PAIRS_PER_COMPILATION:
                groups[best] += groups.pop(size)
    batches = []
    for size, members in sorted(groups.items()):
        share = -(-len(members) // devices)
        each = _molecules_at_once(share, size.atoms)
        if devices > 1:  # an empty row of the first device would be a molecule less for the last
            each = min(each, share)
        shape = free.get(size) or size._replace(molecules=devices * each)
        batches += [
            (shape, members[start : start + shape.molecules])
            for start in range(0, len(members), shape.molecules)
        ]
    return batches


def _pairs(shape: Shape) -> int:
    """Pairs of a molecule, those of atoms and wave vectors among them."""
    return shape.atoms * (shape.neighbors + shape.waves)


def _molecules_at_once(count: int, atoms: int) -> int:
    most = _MANY
    while most > 1 and most * atoms > _MAX_ATOMS:
        most //= 2
    if count == 1:
        return 1
    # Many small batches waste time, and one large batch that is mostly empty does so too.
    return most if count > 4 * _FEW else min(most, _FEW)
