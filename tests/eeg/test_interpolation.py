"""Missing electrodes: estimated only when asked, from all others, and said."""

import mne
import numpy as np
import pytest

from helpers.eeg import CANONICAL, RecordingError, interpolate_missing, preprocess, repairs, seizures

pytestmark = pytest.mark.filterwarnings("error")  # MNE renames its templates, and warns of the old names


@pytest.fixture(scope="module")
def smooth(synthetic):
    """Potentials of six sources half way to the scalp, and a little noise: neighbors tell most of an electrode."""
    raw = synthetic(17, sfreq=250.0, seed=12, marks=[(3.0, 4.0, "seizure")])
    known = mne.channels.get_builtin_montages()
    template = "colin27_1005" if "colin27_1005" in known else "standard_1005"  # one name after, one before MNE 1.13
    positions = mne.channels.make_standard_montage(template).get_positions()["ch_pos"]
    places = np.stack([positions[name] for name in CANONICAL])  # (19, 3), m
    random = np.random.default_rng(3)
    directions = random.normal(size=(6, 3))
    directions[:, 2] = np.abs(directions[:, 2])
    sources = places.mean(axis=0) + 0.045 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    gains = 1 / np.linalg.norm(places[:, None] - sources, axis=-1)  # (19, 6)
    raw._data[:] = 2e-6 * gains @ random.normal(size=(6, raw.n_times)) + 0.01 * raw._data
    return raw


@pytest.mark.parametrize("missing", [["Fz", "Pz"], ["T3"], ["Cz", "O2", "F7", "Fp1"]])
def test_what_the_others_say_is_close_to_what_was_there(smooth, missing):
    names = [f"EEG {name.upper()}-REF" for name in CANONICAL]
    raw = smooth.copy().rename_channels(dict(zip(CANONICAL, names, strict=True)))
    order = np.random.default_rng(5).permutation([name for name in names if name[4:-4].title() not in missing])
    before = raw.pick(list(order)).get_data().copy()
    found = interpolate_missing(raw)
    assert tuple(found.ch_names) == CANONICAL
    assert found.info["bads"] == []
    np.testing.assert_array_equal(raw.get_data(), before)
    assert raw.ch_names == list(order)
    there = [name for name in CANONICAL if name not in missing]
    np.testing.assert_array_equal(found.get_data(picks=there), smooth.get_data(picks=there))
    mean = smooth.get_data(picks=there).mean(axis=0)
    for name in missing:
        truth, estimate = smooth.get_data(picks=name)[0], found.get_data(picks=name)[0]
        assert (estimate - truth).std() < 0.65 * (mean - truth).std()  # measured: 0.27 to 0.61; the mean itself has 1
    listed = ", ".join(name for name in CANONICAL if name in missing)
    assert repairs(found) == (f"{listed} interpolated from {len(there)} electrodes",)
    assert repairs(raw) == ()
    assert seizures(found) == [(3.0, 7.0)]


def test_what_all_channels_share_passes_through(smooth):
    common = 1e-4 * np.sin(np.arange(smooth.n_times))
    raw = smooth.copy().drop_channels(["C3", "P4"])
    shared = raw.copy().apply_function(lambda x: x + common)
    difference = interpolate_missing(shared).get_data() - interpolate_missing(raw).get_data()
    np.testing.assert_allclose(difference, np.tile(common, (19, 1)), atol=1e-8)  # V; splines are regularized by 1e-5


def test_bad_channels_are_replaced_whatever_they_hold(smooth):
    raw = smooth.copy()
    raw._data[4] = np.nan
    raw.info["bads"] = [CANONICAL[4]]
    found = interpolate_missing(raw)
    expected = interpolate_missing(smooth.copy().drop_channels([CANONICAL[4]]))
    np.testing.assert_array_equal(found.get_data(), expected.get_data())
    assert np.isfinite(preprocess(found)).all()


def test_nothing_missing_nothing_done(smooth):
    raw = smooth.copy().reorder_channels(list(CANONICAL[::-1]))
    found = interpolate_missing(raw)
    np.testing.assert_array_equal(found.get_data(), smooth.get_data())
    assert repairs(found) == ()


def test_too_few_electrodes(smooth):
    raw = smooth.copy().drop_channels(list(CANONICAL[3:7]))
    raw.info["bads"] = [CANONICAL[9]]
    with pytest.raises(RecordingError, match=r"5 of the 19 electrodes are missing or bad \(P3, O1, F7, T3, Cz\)"):
        interpolate_missing(raw)


def test_never_unasked(smooth):
    with pytest.raises(RecordingError, match=r"1 of the 19 channels are missing: C3\. .*interpolate_missing"):
        preprocess(smooth.copy().drop_channels(["C3"]))
