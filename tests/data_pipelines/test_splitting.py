"""Dealing to splits: shares are kept, groups and copies stay together."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_pipelines import Structure
from data_pipelines.splitting import SPLITS, SplitOptions, deal
from efa_zoo.base.errors import DataError

Make = Callable[..., Structure]


@pytest.fixture(scope="module")
def hundred(make_structure: Make) -> list[Structure]:
    return [make_structure([1, 1], seed=i) for i in range(100)]


def grouped(structures: list[Structure], groups: list[str]) -> list[Structure]:
    return [dataclasses.replace(s, group=g) for s, g in zip(structures, groups, strict=False)]


def test_random_splits_have_their_shares_and_a_seed(hundred: list[Structure]) -> None:
    splits = deal(hundred, SplitOptions())
    assert {name: len(members) for name, members in splits.items()} == {
        "train": 80,
        "validation": 10,
        "test": 10,
    }
    assert sorted(i for members in splits.values() for i in members) == list(range(100))
    assert all(members == sorted(members) for members in splits.values())
    assert deal(hundred, SplitOptions()) == splits
    assert deal(hundred, SplitOptions(split_seed=1)) != splits


@given(st.integers(3, 60), st.sampled_from([(0.8, 0.1, 0.1), (0.5, 0.25, 0.25), (0.9, 0.1, 0.0)]))
def test_no_split_is_empty_and_shares_are_near(
    count: int, shares: tuple[float, float, float]
) -> None:
    import numpy as np

    structure = Structure(
        atomic_numbers=np.array([1], np.int32),
        positions=np.zeros((1, 3)),
        energy=1.0,
        forces=np.zeros((1, 3)),
        total_charge=0,
    )
    splits = deal([structure] * count, SplitOptions(shares=shares))
    assert set(splits) == {name for name, share in zip(SPLITS, shares, strict=True) if share}
    for name, share in zip(SPLITS, shares, strict=True):
        assert abs(len(splits.get(name, [])) - share * count) <= 2
    assert sum(map(len, splits.values())) == count


def test_groups_stay_together(hundred: list[Structure]) -> None:
    groups = [f"molecule {i // 5}" for i in range(100)]
    structures = grouped(hundred, groups)
    splits = deal(structures, SplitOptions())
    homes = {name: {groups[i] for i in members} for name, members in splits.items()}
    assert not homes["train"] & (homes["validation"] | homes["test"])
    assert not homes["validation"] & homes["test"]
    assert [len(splits[name]) for name in SPLITS] == [80, 10, 10]
    apart = deal(structures, SplitOptions(split="random"))
    assert {groups[i] for i in apart["train"]} & {groups[i] for i in apart["test"]}


def test_copies_stay_together(hundred: list[Structure]) -> None:
    pairs = [(0, i) for i in range(50, 60)]
    for seed in range(5):
        splits = deal(hundred, SplitOptions(split_seed=seed), duplicates=pairs)
        assert len({name for name, members in splits.items() for i in members
                    if i == 0 or 50 <= i < 60}) == 1  # fmt: skip


def test_the_file_may_say(hundred: list[Structure]) -> None:
    given = ["train", "validation", "transfer", "train"]
    splits = deal(hundred[:4], SplitOptions(split_key="part"), given=given)
    assert splits == {"train": [0, 3], "validation": [1], "transfer": [2]}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["train", "valid"], r"structure 1: split: got 'valid', expected one of train, validation"),
        (["train", "test"], r"split: got test, train in the file, .* structures in validation"),
        (["", ""], r"structure 0: split: got ''"),
    ],
)
def test_bad_splits_of_a_file_are_refused(
    given: list[str], message: str, hundred: list[Structure]
) -> None:
    with pytest.raises(DataError, match=message):
        deal(hundred[:2], SplitOptions(split_key="part"), given=given)


def test_too_few_groups_are_refused(hundred: list[Structure]) -> None:
    structures = grouped(hundred, ["a"] * 60 + ["b"] * 40)
    with pytest.raises(DataError, match=r"got 2 groups, expected at least 3; split at random"):
        deal(structures, SplitOptions())
    with pytest.raises(DataError, match=r"got 2 different structures, expected at least 3"):
        deal(hundred[:2], SplitOptions())
    with pytest.raises(DataError, match=r"got 'group', but the structures have no groups"):
        deal(hundred, SplitOptions(split="group"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"split": "given"}, "split: got 'given', expected 'random' or 'group'"),
        ({"split": "group", "split_key": "part"}, "together with split_key = 'part'"),
        ({"shares": (0.8, 0.1, 0.2)}, "add up to 1"),
        ({"shares": (1.0, 0.0, 0.0)}, "add up to 1, of which only that of test may be 0"),
        ({"shares": (1.2, -0.1, -0.1)}, "add up to 1"),
        ({"split_seed": -1}, "split_seed: got -1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        SplitOptions(**options)


def test_counts_follow_numpys_legacy_permutation(hundred: list[Structure]) -> None:
    import numpy as np

    splits = deal(hundred, SplitOptions(counts=(50, 20, 10), split_seed=7))
    np.random.seed(7)  # noqa: NPY002
    order = np.random.permutation(100)  # noqa: NPY002
    assert splits["train"] == sorted(order[:50])
    assert splits["validation"] == sorted(order[50:70])
    assert splits["test"] == sorted(order[70:80])
    assert "test" not in deal(hundred, SplitOptions(counts=(50, 20, 0)))
    with pytest.raises(DataError, match=r"got \(90, 20, 10\), expected at most 100 structures"):
        deal(hundred, SplitOptions(counts=(90, 20, 10)))
    with pytest.raises(DataError, match=r"counts: got \(0, 20, 10\), expected positive numbers"):
        SplitOptions(counts=(0, 20, 10))
    with pytest.raises(DataError, match=r"counts: got .* together with split_key, expected one"):
        SplitOptions(counts=(5, 2, 1), split_key="split")
