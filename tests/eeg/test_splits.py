"""Splits by subject: everybody in exactly one, seizures in each, and a leak is an error."""

from types import SimpleNamespace

import numpy as np
import pytest

from helpers.eeg import StoreError, check_disjoint, split_subjects

FRACTIONS = {"train": 0.7, "validation": 0.15, "test": 0.15}


def store(subjects, ill=(), recordings=3):
    """What a split asks of a store; the first recording of each of `ill` has a seizure."""
    names = [(subject, number) for number in range(recordings) for subject in subjects]
    return SimpleNamespace(
        path="store",
        recordings=[
            SimpleNamespace(
                id=f"{subject}/{number}",
                subject=subject,
                seizures=((1.0, 2.0),) if subject in ill and not number else (),
                sha256=f"of {subject}, {number}",
            )
            for subject, number in names
        ],
    )


def people(number):
    return [f"sub-{index:03}" for index in range(number)]


@pytest.mark.parametrize("number", [3, 4, 7, 20, 101])
@pytest.mark.parametrize("seed", [0, 5])
def test_everybody_is_in_exactly_one_split_of_about_its_share(number, seed):
    everybody = people(number)
    splits = split_subjects(store(everybody, everybody[::3]), FRACTIONS, seed)
    assert list(splits) == list(FRACTIONS)
    assert sorted(sum(splits.values(), ())) == everybody
    for name, fraction in FRACTIONS.items():
        assert splits[name] == tuple(sorted(splits[name]))
        assert len(splits[name]) >= 1
        assert abs(len(splits[name]) - fraction * number) < 1.5
    check_disjoint(splits)


@pytest.mark.parametrize("ill", [3, 11, 40])
def test_each_split_gets_its_share_of_those_with_seizures(ill):
    with_seizures = people(80)[-ill:]
    splits = split_subjects(store(people(80), with_seizures), FRACTIONS, 1)
    for name, fraction in FRACTIONS.items():
        found = len(set(splits[name]) & set(with_seizures))
        assert found >= 1
        assert abs(found - fraction * ill) < 2


def test_the_seed_decides_and_the_order_of_recordings_does_not():
    everybody = people(30)
    one = split_subjects(store(everybody), FRACTIONS, 7)
    assert split_subjects(store(everybody[::-1], recordings=1), FRACTIONS, 7) == one
    assert len({split_subjects(store(everybody), FRACTIONS, seed)["test"] for seed in range(9)}) > 5


def test_a_subject_is_drawn_by_chance():
    everybody = people(10)
    often = [split_subjects(store(everybody), {"a": 0.5, "b": 0.5}, seed)["a"] for seed in range(200)]
    share = np.array([sum(person in chosen for chosen in often) for person in everybody]) / 200
    assert (np.abs(share - 0.5) < 0.15).all()  # four standard deviations of a fair coin


def test_fewer_subjects_than_splits():
    with pytest.raises(StoreError, match=r"2 subjects \(sub-000, sub-001\) for the 3 splits train, validation, test"):
        split_subjects(store(people(2)), FRACTIONS, 0)


@pytest.mark.parametrize("fractions", [{}, {"a": 1.0, "b": 0.0}, {"a": 0.7, "b": 0.2}, {"a": 70, "b": 30}])
def test_fractions_that_are_none(fractions):
    with pytest.raises(ValueError, match="above 0 that add up to 1"):
        split_subjects(store(people(9)), fractions, 0)


def test_one_subject_under_two_names_is_named():
    found = store(people(9))
    found.recordings[1].sha256 = found.recordings[10].sha256  # of the same subject: no leak
    split_subjects(found, FRACTIONS, 0)
    found.recordings[5].sha256 = found.recordings[21].sha256
    with pytest.raises(StoreError, match="sub-005/0 of sub-005 and sub-003/2 of sub-003 have the same signal"):
        split_subjects(found, FRACTIONS, 0)


def test_a_leaked_subject_is_named_with_its_splits():
    splits = {"train": ("a", "b", "c"), "validation": ("d",), "test": ["e", "b"]}
    with pytest.raises(StoreError, match=r"1 of 5 subjects is in more than one split \(b in train and test\)"):
        check_disjoint(splits)
    with pytest.raises(StoreError, match=r"9 of 9 subjects are .*sub-000 in a and b; .*and 4 more"):
        check_disjoint({"a": people(9), "b": people(9)})
    check_disjoint({"train": ("a", "a", "b"), "test": ("c",)})
