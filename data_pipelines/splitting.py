"""Dealing structures to splits: at random, by group, or as the file says."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from data_pipelines.structure import Structure
from efa_zoo.base.errors import DataError

SPLITS = ("train", "validation", "test")
"""Splits that structures are dealt to; a file may assign them to `transfer` too."""

GIVEN_SPLITS = (*SPLITS, "transfer")


@dataclass(frozen=True, kw_only=True)
class SplitOptions:
    """How structures are dealt to train, validation and test.

    Attributes:
        split: Whether every structure is dealt by itself or groups are kept together; without it by
            group where the structures have groups, else at random.
        split_key: Key of the split that the file assigns each structure to (train, validation,
            test or transfer), instead of dealing.
        shares: Of train, validation and test; they add up to 1.
        counts: Numbers of train, validation and test structures, instead of shares: the structures
            are taken one by one in the order of NumPy's legacy generator,
            `numpy.random.seed(split_seed); numpy.random.permutation(...)`, as published splits
            often are, and those that remain are left out.
        split_seed: Of the dealing.

    Raises:
        DataError: If the shares are no shares, or options contradict each other.
    """

    split: Literal["random", "group"] | None = None
    split_key: str | None = None
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    counts: tuple[int, int, int] | None = None
    split_seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in ("random", "group", None):
            raise DataError(f"split: got {self.split!r}, expected 'random' or 'group'")
        if self.split is not None and self.split_key is not None:
            raise DataError(
                f"split: got {self.split!r} together with split_key = {self.split_key!r}, expected "
                "one of the two"
            )
        train, validation, test = self.shares
        if not (train > 0 and validation > 0 and test >= 0 and math.isclose(sum(self.shares), 1)):
            raise DataError(
                f"shares: got {self.shares}, expected shares of train, validation and test that "
                "add up to 1, of which only that of test may be 0"
            )
        if self.counts is not None:
            if self.split is not None or self.split_key is not None:
                given = "split" if self.split is not None else "split_key"
                raise DataError(f"counts: got {self.counts} together with {given}, expected one")
            if min(self.counts[:2]) < 1 or self.counts[2] < 0:
                raise DataError(
                    f"counts: got {self.counts}, expected positive numbers of train, validation "
                    "and test structures, of which only that of test may be 0"
                )
        if self.split_seed < 0:
            raise DataError(f"split_seed: got {self.split_seed}, expected at least 0")


def deal(
    structures: Sequence[Structure],
    options: SplitOptions,
    *,
    given: Sequence[str] | None = None,
    duplicates: Iterable[tuple[int, int]] = (),
) -> dict[str, list[int]]:
    """Deal structures to splits.

    Args:
        structures: At least one.
        options: How.
        given: Split of each structure, if the file assigns them.
        duplicates: Pairs of structures that must not come apart, unless the file says so.

    Returns:
        Numbers of the structures in each split, ascending; splits without any are left out.

    Raises:
        DataError: If a split comes out empty, or the file names one that there is not.
    """
    if options.counts is not None:
        return _counted(len(structures), options.counts, options.split_seed)
    names = _given(given) if given is not None else _dealt(structures, options, duplicates)
    members: dict[str, list[int]] = defaultdict(list)
    for i, name in enumerate(names):
        members[name].append(i)
    return {name: members[name] for name in GIVEN_SPLITS if name in members}


def _counted(count: int, counts: tuple[int, int, int], seed: int) -> dict[str, list[int]]:
    if sum(counts) > count:
        raise DataError(f"counts: got {counts}, expected at most {count} structures in all")
    order = np.random.RandomState(seed).permutation(count)
    parts = np.split(order, np.cumsum(counts))[: len(SPLITS)]
    return {
        name: sorted(part.tolist()) for name, part in zip(SPLITS, parts, strict=True) if len(part)
    }


def _given(names: Sequence[str]) -> Sequence[str]:
    for i, name in enumerate(names):
        if name not in GIVEN_SPLITS:
            raise DataError(
                f"structure {i}: split: got {name!r}, expected one of {', '.join(GIVEN_SPLITS)}"
            )
    for name in ("train", "validation"):
        if name not in names:
            found = ", ".join(sorted(set(names)))
            raise DataError(f"split: got {found} in the file, expected some structures in {name}")
    return names


def _dealt(
    structures: Sequence[Structure], options: SplitOptions, duplicates: Iterable[tuple[int, int]]
) -> list[str]:
    groups = [s.group for s in structures]
    by_group = any(groups) if options.split is None else options.split == "group"
    if by_group and not any(groups):
        raise DataError("split: got 'group', but the structures have no groups; give group_key")
    # Structures without a group are groups of one.
    units: list[tuple[str, int]] = [
        (group, -1) if by_group and group else ("", i) for i, group in enumerate(groups)
    ]
    if not by_group:
        for earlier, later in duplicates:
            units[later] = units[earlier]
    sizes = Counter(units)
    shares = {name: share for name, share in zip(SPLITS, options.shares, strict=True) if share > 0}
    if len(sizes) < len(shares):
        what = "groups" if by_group else "different structures"
        hint = "; split at random instead" if by_group and len(structures) > len(shares) else ""
        raise DataError(f"split: got {len(sizes)} {what}, expected at least {len(shares)}{hint}")
    home = _fill(sizes, shares, len(structures), options.split_seed)
    return [home[unit] for unit in units]


def _fill(
    sizes: Mapping[tuple[str, int], int], shares: Mapping[str, float], count: int, seed: int
) -> dict[tuple[str, int], str]:
    """Give every unit, in random order, to the split that lacks the largest part of its share."""
    units = list(sizes)
    order = np.random.default_rng(seed).permutation(len(units)).tolist()
    wanted = {name: share * count for name, share in shares.items()}
    filled = dict.fromkeys(shares, 0)
    home: dict[tuple[str, int], str] = {}
    for position, k in enumerate(order):
        empty = [name for name in shares if not filled[name]]
        # The last units go where there is nothing yet.
        choice = empty if len(order) - position <= len(empty) else list(shares)
        name = max(choice, key=lambda split: 1 - filled[split] / wanted[split])
        home[units[k]] = name
        filled[name] += sizes[units[k]]
    return home
