"""Which windows there are, of which kind, and how they are drawn; when a saved manifest is made anew."""

import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.eeg import (
    KINDS,
    STRIDE,
    WINDOW,
    Manifest,
    StoredRecording,
    StoreError,
    build_manifest,
    labels_of,
    window_starts,
)


def recording(id, n_samples, seizures=(), subject=None):
    return StoredRecording(id, subject or f"sub-{id}", n_samples, tuple(seizures), (), "", "", "")


def store(folder, *recordings, fingerprint="one"):
    return SimpleNamespace(path=Path(folder), recordings=recordings, fingerprint=fingerprint)


@pytest.fixture
def hours(tmp_path):
    """The manifest of 13 recordings of two to six hours; every second subject has seizures."""
    random = np.random.default_rng(4)
    recordings = []
    for number in range(13):
        length = int(random.integers(2 * 3600 * 256, 6 * 3600 * 256))
        onsets = random.uniform(0, length / 256 - 300, 4 * (number % 2))
        recordings.append(recording(f"{number}", length, [(onset, onset + random.uniform(5, 200)) for onset in onsets]))
    return build_manifest(store(tmp_path, *recordings))


def kind_by_definition(seizures, start):
    share = labels_of(seizures, start).mean(dtype=float)
    return "none" if share == 0 else "full" if share >= 0.99 else "partial"


@settings(max_examples=40, deadline=None, database=None)
@given(
    n_samples=st.integers(WINDOW, 5 * WINDOW),
    seizures=st.lists(st.tuples(st.floats(0, 290), st.floats(0, 130)), max_size=3),
)
def test_windows_and_kinds_against_their_definition(tmp_path_factory, n_samples, seizures):
    seizures = [(onset, onset + duration) for onset, duration in seizures]
    manifest = build_manifest(store(tmp_path_factory.mktemp("m"), recording("a", n_samples, seizures)))
    starts = window_starts(n_samples)
    assert list(manifest) == [("a", start) for start in starts]
    assert list(manifest.kind) == [kind_by_definition(seizures, start) for start in starts]


@pytest.mark.parametrize(
    ("ictal", "kind"), [(0, "none"), (1, "partial"), (15_206, "partial"), (15_207, "full"), (WINDOW, "full")]
)
def test_a_window_is_full_from_99_percent_on(tmp_path, ictal, kind):
    manifest = build_manifest(store(tmp_path, recording("a", WINDOW, [(0, ictal / 256)])))
    assert list(manifest.kind) == [kind]  # 0.99 of 15,360 is 15,206.4


def test_a_manifest_is_a_sequence_of_what_batch_takes(prepared):
    manifest = build_manifest(prepared)
    assert len(manifest) == len(manifest.start) == len(manifest.recording) == len(manifest.kind) == 3 + 1 + 5 + 2
    assert manifest[0] == ("sub-01/night 1.edf", 0)
    assert manifest[-1] == ("third/a.b.bdf", 61 * 256 - WINDOW)
    assert manifest[3:6] == [manifest[3], manifest[4], manifest[5]] == list(manifest)[3:6]
    assert isinstance(manifest[1][1], int)
    assert prepared.batch(manifest).shape == (len(manifest), 19, WINDOW)
    assert manifest.counts == {"none": 1, "partial": 5, "full": 5}
    assert repr(manifest) == "<Manifest of 4 recordings: 1 none, 5 partial, 5 full>"
    with pytest.raises(IndexError):
        manifest[len(manifest)]


def test_seizures_of_a_recording_count_for_its_windows_only(prepared):
    manifest = build_manifest(prepared)
    kinds = {one.id: list(manifest.kind[manifest.recording == index]) for index, one in enumerate(prepared.recordings)}
    assert kinds == {
        "sub-01/night 1.edf": ["partial"] * 3,
        "sub-01/ses-2/day.edf": ["none"],
        "sub-02/µ.edf": ["full"] * 5,
        "third/a.b.bdf": ["partial"] * 2,
    }


# -- subjects ---------------------------------------------------------------------------------------------------------


def test_the_windows_of_some_subjects(hours):
    chosen = hours.of(["sub-3", "sub-8"])
    assert list(chosen) == [window for window in hours if window[0] in ("3", "8")]
    assert len(hours.of([])) == 0
    assert sum(len(hours.of([subject])) for subject in {one.subject for one in hours.recordings}) == len(hours)


def test_an_unknown_subject(hours):
    with pytest.raises(StoreError, match=r"no recording of sub-99, sub-x in the store; .* among sub-0, "):
        hours.of(["sub-x", "sub-3", "sub-99"])


# -- balance ----------------------------------------------------------------------------------------------------------


def test_balanced_takes_all_partial_and_draws_the_others(hours):
    partial = hours.counts["partial"]
    assert partial > 100
    assert hours.counts["none"] > 2.5 * partial
    assert hours.counts["full"] > 0.3 * partial
    drawn = hours.balanced(seed=3)
    assert drawn.counts == {"none": int(2.5 * partial), "partial": partial, "full": 3 * partial // 10}
    place = {window: index for index, window in enumerate(hours)}
    order = [place[window] for window in drawn]
    assert order == sorted(set(order))  # each once
    assert [hours.kind[index] for index in order] == list(drawn.kind)
    assert set(np.flatnonzero(hours.kind == "partial")) <= set(order)


def test_the_seed_decides_what_is_drawn(hours):
    first, again, other = (list(hours.balanced(seed)) for seed in (3, 3, 4))
    assert first == again != other
    shared = len(set(first) & set(other)) / len(first)
    assert shared < 0.6  # by chance: the partial ones and few others


def test_every_window_has_the_same_chance(hours):
    none = np.flatnonzero(hours.kind == "none")
    counted = dict.fromkeys((hours[index] for index in none), 0)
    for seed in range(100):
        for window in hours.balanced(seed):
            if window in counted:
                counted[window] += 1
    rate = 2.5 * hours.counts["partial"] / len(none)
    found = np.array(list(counted.values())) / 100
    assert found.mean() == pytest.approx(rate, rel=0.01)
    assert found.std() == pytest.approx(np.sqrt(rate * (1 - rate) / 100), rel=0.15)  # binomial, over > 1000 windows
    half = len(found) // 2
    assert found[:half].mean() == pytest.approx(found[half:].mean(), abs=0.03)


def test_where_there_are_fewer_than_asked_for_all_are_taken(prepared):
    manifest = build_manifest(prepared)
    assert manifest.balanced(0).counts == {"none": 1, "partial": 5, "full": 1}
    assert manifest.quotas == {"none": 12, "partial": 5, "full": 1}
    assert manifest.of(["third"]).balanced(0).counts == {"none": 0, "partial": 2, "full": 0}


@pytest.mark.parametrize(
    ("seizures", "said"),
    [
        ([], "no partial windows among 7 of 1 recordings, which have 0 seizures. Likely: the marks are not beside"),
        ([(0, 120)], r"which have 1 seizures \(7 full windows\): each seizure fills its recording"),
    ],
)
def test_no_partial_windows_and_why(tmp_path, seizures, said):
    manifest = build_manifest(store(tmp_path, recording("a", 2 * WINDOW, seizures)))
    with pytest.raises(StoreError, match=said):
        manifest.balanced(0)
    with pytest.raises(StoreError, match=r"among 0 of 0 recordings.*Check that the split has subjects"):
        manifest.of([]).balanced(0)


# -- saved ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def built(monkeypatch):
    """How often a manifest was made, rather than read."""
    from helpers.eeg import manifest

    made, build = [], manifest._build
    monkeypatch.setattr(manifest, "_build", lambda store: made.append(1) or build(store))
    return made


def same(one, other):
    assert isinstance(one, Manifest)
    for name in ("recording", "start", "kind"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    return True


def test_a_manifest_is_made_once_and_read_after_that(tmp_path, built, monkeypatch):
    monkeypatch.delenv("BGB_FORCE_MANIFEST_REBUILD", raising=False)
    one = store(tmp_path, recording("a", 99_999, [(20, 40.5)]), recording("b", WINDOW))
    first = build_manifest(one)
    assert same(build_manifest(one), first)
    assert built == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.npz"]


def test_a_manifest_of_another_store_is_made_anew(tmp_path, built):
    build_manifest(store(tmp_path, recording("a", 99_999, [(20, 40.5)])))
    changed = store(tmp_path, recording("a", 99_999, [(20, 140.5)]), fingerprint="two")
    assert build_manifest(changed).counts["full"] > 0
    assert built == [1, 1]


def test_a_manifest_by_other_rules_is_made_anew(tmp_path, built, monkeypatch):
    one = store(tmp_path, recording("a", 99_999, [(20, 40.5)]))
    build_manifest(one)
    monkeypatch.setattr("helpers.eeg.manifest._RULES", "0: others")
    build_manifest(one)
    assert built == [1, 1]


@pytest.mark.parametrize("forced", ["1", "0"])
def test_a_manifest_is_made_anew_when_asked_for(tmp_path, built, monkeypatch, forced):
    one = store(tmp_path, recording("a", 99_999))
    build_manifest(one)
    monkeypatch.setenv("BGB_FORCE_MANIFEST_REBUILD", forced)
    build_manifest(one)
    assert len(built) == 1 + int(forced)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-77]),
        lambda path: path.write_bytes(b"no zip" * 99),
        lambda path: path.write_bytes(path.read_bytes().replace(b"start.npy", b"stare.npy")),
        lambda path: path.unlink(),
        lambda path: np.savez(path, fingerprint="one", start=np.array([{}], dtype=object)),  # would run code
    ],
)
def test_a_damaged_manifest_is_made_anew(tmp_path, built, damage):
    one = store(tmp_path, recording("a", 99_999, [(20, 40.5)]), recording("b", WINDOW))
    first = build_manifest(one)
    damage(tmp_path / "manifest.npz")
    assert same(build_manifest(one), first)
    assert same(build_manifest(one), first)
    assert built == [1, 1]


def test_a_manifest_of_a_store_that_cannot_be_written_to(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    one = store(tmp_path, recording("a", 99_999, [(20, 40.5)]))
    monkeypatch.setattr(os, "fsync", refuse)  # the tests may run as root, whom no mode stops
    assert len(build_manifest(one)) == len(window_starts(99_999))
    assert list(tmp_path.iterdir()) == []


def test_kinds_and_strides_are_those_of_the_book():
    assert KINDS == ("none", "partial", "full")
    assert (WINDOW, STRIDE) == (15_360, 2_560)
