"""Who is in training and who in the test: splits by subject, because windows of one subject are alike.

A detector that has seen a subject is tested on memory. So a split names subjects, never recordings or windows, and a
subject in two splits is an error.
"""

import math

import numpy as np

from helpers.eeg.errors import StoreError

__all__ = ["check_disjoint", "split_subjects"]


def split_subjects(store, fractions, seed):
    """Split the subjects of a store at random.

    Subjects with seizures are dealt out first and the others after them, so that each split gets its share of both;
    and every split gets one subject before any gets its second.

    Parameters
    ----------
    store : Store
    fractions : dict of str to float
        The share of the subjects that each split gets, say ``{"train": 0.7, "validation": 0.15, "test": 0.15}``. They
        add up to 1.
    seed : int
        The same seed, subjects and fractions give the same splits.

    Returns
    -------
    dict of str to tuple of str
        Subjects of each split, sorted. Every subject is in exactly one.

    Raises
    ------
    StoreError
        If there are fewer subjects than splits, or two subjects have the same signal: then they are one, under two
        names, whom two splits could share.
    ValueError
        If a fraction is not above 0, or they do not add up to 1.
    """
    if not fractions or min(fractions.values()) <= 0 or not math.isclose(sum(fractions.values()), 1, abs_tol=1e-6):
        raise ValueError(f"the fractions are {fractions}; expected numbers above 0 that add up to 1")
    with_seizures = {recording.subject for recording in store.recordings if recording.seizures}
    subjects = sorted({recording.subject for recording in store.recordings})
    if len(subjects) < len(fractions):
        raise StoreError(
            f"{store.path}: {len(subjects)} subject{'s' * (len(subjects) != 1)} ({', '.join(subjects)}) for the "
            f"{len(fractions)} splits {', '.join(fractions)}; expected at least one for each. Prepare more recordings, "
            "or check that each subject has a folder of its own."
        )
    _check_signals(store)
    shuffled = np.random.default_rng(seed).permutation(subjects)
    dealt = sorted(shuffled.tolist(), key=lambda subject: subject not in with_seizures)  # stable: the order stays
    splits = {name: [] for name in fractions}
    for number, subject in enumerate(dealt, start=1):
        splits[max(fractions, key=lambda name: _claim(len(splits[name]), fractions[name], number))].append(subject)
    return {name: tuple(sorted(members)) for name, members in splits.items()}


def _check_signals(store):
    first = {}
    for recording in store.recordings:
        other = first.setdefault(recording.sha256, recording)
        if other.subject != recording.subject:
            raise StoreError(
                f"{store.path}: {other.id} of {other.subject} and {recording.id} of {recording.subject} have the same "
                "signal; expected other signals of other subjects. Delete one of the files, or put both into one "
                "subject's folder, and prepare a new store."
            )


def _claim(members, fraction, number):
    """How much a split wants the next subject; an empty one before all others."""
    return (members == 0, fraction * number - members)


def check_disjoint(splits):
    """Raise an error if a subject is in two splits.

    Parameters
    ----------
    splits : dict of str to iterable of str
        Subjects of each split.

    Raises
    ------
    StoreError
        It names the subjects and where they are.
    """
    places = {}
    for name, subjects in splits.items():
        for subject in set(subjects):
            places.setdefault(subject, []).append(name)
    leaked = {subject: names for subject, names in sorted(places.items()) if len(names) > 1}
    if leaked:
        listed = "; ".join(f"{subject} in {' and '.join(names)}" for subject, names in list(leaked.items())[:5])
        more = f"; and {len(leaked) - 5} more" * (len(leaked) > 5)
        raise StoreError(
            f"{len(leaked)} of {len(places)} subjects {'is' if len(leaked) == 1 else 'are'} in more than one split "
            f"({listed}{more}). A score on subjects seen in training says nothing about others: keep each in one split."
        )
