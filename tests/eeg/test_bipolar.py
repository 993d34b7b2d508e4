"""Bipolar recordings: what pairs say about electrodes is had exactly; what they don't say is not made up unasked."""

from itertools import pairwise

import mne
import numpy as np
import pytest

from helpers.eeg import (
    CANONICAL,
    RecordingError,
    electrodes_from_pairs,
    interpolate_missing,
    preprocess,
    repairs,
    seizures,
)

# The 23 channels of most of CHB-MIT: one pair twice, one turned around, and a bridge over the temples.
CHAINS = [
    "FP1-F7-T7-P7-O1",
    "FP1-F3-C3-P3-O1",
    "FP2-F4-C4-P4-O2",
    "FP2-F8-T8-P8-O2",
    "FZ-CZ-PZ",
    "P7-T7-FT9-FT10-T8-P8",
]
OLD = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}


def pairs_of(chains):
    split = [chain.split("-") for chain in chains]
    return [f"{a}-{b}" for names in split for a, b in pairwise(names)]


@pytest.fixture
def bipolar(synthetic):
    """Differences of 21 electrodes, and the 19 of them that are canonical."""

    def make(chains=CHAINS, seed=2, **changes):
        names = [*CANONICAL, "FT9", "FT10"]
        truth = synthetic(13, sfreq=256.0, seed=seed, names=names, marks=[(2.0, 3.5, "seizure")])
        rows = {name.upper(): row for row, name in enumerate(names)}
        pairs = pairs_of(chains)
        ends = [[rows[OLD.get(end, end).upper()] for end in pair.split("-")] for pair in pairs]
        data = np.stack([truth.get_data()[plus] - truth.get_data()[minus] for plus, minus in ends])
        labels = [
            f"{pair}-{pairs[:at].count(pair)}" if pairs.count(pair) > 1 else pair for at, pair in enumerate(pairs)
        ]
        raw = mne.io.RawArray(data, mne.create_info(labels, 256.0, "eeg"), verbose="error")
        return raw.set_annotations(truth.annotations), truth.pick(list(CANONICAL))

    return make


LATERAL = [name for name in CANONICAL if name not in ("Fz", "Cz", "Pz")]


def test_electrodes_of_both_hemispheres_are_had_exactly(bipolar):
    raw, truth = bipolar()
    assert len(raw.ch_names) == 23
    order = np.random.default_rng(4).permutation(raw.ch_names)
    found = electrodes_from_pairs(raw.reorder_channels(list(order)))
    expected = truth.get_data(picks=LATERAL)
    assert found.ch_names == LATERAL
    rounding = 1e-9 * np.abs(expected).max()
    np.testing.assert_allclose(found.get_data(), expected - expected.mean(axis=0), atol=rounding)
    assert repairs(found) == ("16 electrodes from 23 bipolar channels",)
    assert seizures(found) == [(2.0, 5.5)]


def test_pairs_in_any_spelling_and_beside_other_channels(bipolar):
    raw, truth = bipolar()
    random = np.random.default_rng(8)
    spelled = {label: random.choice(["{}", "EEG {}", " {} ", "eeg-{}"]).format(label.lower()) for label in raw.ch_names}
    raw.rename_channels(spelled)
    extra = mne.create_info(["ECG", "-", "LUE-RAE", "VNS"], 256.0, "eeg")
    raw.add_channels([mne.io.RawArray(np.ones((4, raw.n_times)), extra, verbose="error")], force_update_info=True)
    expected = truth.get_data(picks=LATERAL)
    np.testing.assert_allclose(electrodes_from_pairs(raw).get_data(), expected - expected.mean(axis=0), atol=1e-12)


def test_the_midline_keeps_its_own_differences_and_gets_an_estimated_level(bipolar):
    raw, truth = bipolar()
    found = interpolate_missing(raw)
    assert tuple(found.ch_names) == CANONICAL
    for names in (LATERAL, ["Fz", "Cz", "Pz"]):
        known, kept = truth.get_data(picks=names), found.get_data(picks=names)
        np.testing.assert_allclose(kept - kept[0], known - known[0], atol=1e-12)
    splines = interpolate_missing(electrodes_from_pairs(raw)).get_data(picks=["Fz", "Cz", "Pz"])
    level = found.get_data(picks=["Fz", "Cz", "Pz"]).mean(axis=0)
    np.testing.assert_allclose(level, splines.mean(axis=0), atol=1e-12)
    assert repairs(found) == (
        "16 electrodes from 23 bipolar channels",
        "Fz, Cz, Pz interpolated from 16 electrodes",
    )
    assert preprocess(found).shape == (19, 13 * 256)


def test_a_chain_over_all_electrodes_gives_all(bipolar):
    raw, truth = bipolar(["FP1-F7-T7-P7-O1-PZ-CZ-FZ-F3-C3-P3-P4-C4-F4-FP2-F8-T8-P8-O2"])
    found, expected = interpolate_missing(raw), truth.get_data()
    np.testing.assert_allclose(found.get_data(), expected - expected.mean(axis=0), atol=1e-11)
    assert repairs(found) == ("19 electrodes from 18 bipolar channels",)


def test_hemispheres_that_nothing_connects(bipolar):
    raw, _ = bipolar(CHAINS[:5])  # the 18 channels of the double banana
    for function in (electrodes_from_pairs, interpolate_missing):
        with pytest.raises(RecordingError, match="connect at most 8 of the 19 electrodes"):
            function(raw)


@pytest.mark.parametrize("label", ["F7-T7", "P3-O1"])
def test_pairs_that_contradict_each_other(bipolar, label):
    """A channel upside down: no potentials have these differences."""
    raw, _ = bipolar()
    raw.apply_function(lambda x: -x, picks=[label])
    with pytest.raises(RecordingError, match="its pairs contradict each other by"):
        electrodes_from_pairs(raw)
    raw._data[0, 7] = np.nan
    with pytest.raises(RecordingError, match="or hold NaN"):
        electrodes_from_pairs(raw)


def test_an_artifact_beyond_the_range_is_no_contradiction(bipolar):
    """For 2 of 13 s all pairs are at the amplifier's limits; the rest is what it was."""
    raw, truth = bipolar()
    raw._data[:, 1000:1512] = 800e-6 * np.sign(raw._data[:, 1000:1512])
    found, expected = electrodes_from_pairs(raw).get_data(), truth.get_data(picks=LATERAL)
    expected -= expected.mean(axis=0)
    np.testing.assert_allclose(
        np.delete(found, slice(1000, 1512), 1), np.delete(expected, slice(1000, 1512), 1), atol=1e-12
    )


def test_rounding_in_a_file_is_no_contradiction(bipolar, export, tmp_path):
    from helpers.eeg import read_recording

    raw, truth = bipolar()
    found = electrodes_from_pairs(read_recording(export(raw, tmp_path / "chb.edf")))
    expected = truth.get_data(picks=LATERAL)
    step = np.ptp(raw.get_data()) / 2**16
    np.testing.assert_allclose(
        found.get_data(), expected - expected.mean(axis=0), atol=9 * step
    )  # eight pairs in a row


def test_what_is_not_bipolar(synthetic):
    with pytest.raises(RecordingError, match="no bipolar channels; it has Fp1, F3"):
        electrodes_from_pairs(synthetic(11))
    with pytest.raises(RecordingError, match="19 of the 19 electrodes are missing"):
        interpolate_missing(synthetic(11, names=["ECG", "LOC-ROC"]))


def test_preprocessing_refuses_and_says_what_there_is(bipolar):
    with pytest.raises(RecordingError, match=r"It is bipolar \(FP1-F7 is a difference.*interpolate_missing\(raw\)"):
        preprocess(bipolar()[0])


def test_a_recording_that_is_bipolar_in_part(synthetic):
    raw = mne.set_bipolar_reference(synthetic(11), ["Fp1", "F7"], ["F7", "T3"], verbose="error")
    with pytest.raises(RecordingError, match=r"3 of the 19 .*: Fp1, F7, T3\..* It is bipolar in part \(Fp1-F7 is"):
        preprocess(raw)
