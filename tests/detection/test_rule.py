"""The one-feature rule, on the real recording and on synthetic ones."""

import numpy as np
import pytest
from scipy import signal

from helpers.detection import detect_by_rule
from helpers.eeg import CANONICAL, RecordingError, average_reference, seizures
from helpers.scoring import read_events


@pytest.fixture(scope="module")
def detected(absence):
    return detect_by_rule(absence)


def test_the_real_recording(absence, detected):
    """One patient and a threshold chosen on this recording: it shows that the numbers are reproduced, no more."""
    marked = seizures(absence)
    score = detected.score(marked)
    assert len(detected.scores) == 1810
    assert (score.overlap.reference, score.overlap.found, score.overlap.false_alarms) == (3, 3, 4)
    assert score.szcore.false_alarms == 2
    assert score.szcore.sensitivity == 1
    assert round(score.auroc, 4) == 0.9986
    assert [round(event.onset) for event in detected.events if event.onset < 1000] == pytest.approx(
        [641, 663, 671, 801], abs=1
    )


def test_times_of_the_real_recording(absence, detected):
    np.testing.assert_allclose(np.diff(detected.times), 1.0, rtol=1e-12)
    assert detected.times[0] == 1.0
    assert detected.times[-1] == 1810.0
    assert detected.duration == 1811.0
    assert detected.start == absence.info["meas_date"]
    assert all(event.confidence is None for event in detected.events)


def test_scores_are_power_between_2_5_and_4_5_hz_over_its_median(synthetic):
    """Against scipy's spectrogram, which scales otherwise; the scale falls out."""
    raw = synthetic(37, sfreq=250.0, seed=5, burst=(11, 19))
    samples = average_reference(raw).get_data()
    frequencies, times, power = signal.spectrogram(
        samples, 250.0, "hann", nperseg=500, noverlap=250, detrend="constant"
    )
    band = (frequencies >= 2.5) & (frequencies <= 4.5)
    power = np.median(power[:, band].mean(axis=1), axis=0)
    detection = detect_by_rule(raw)
    np.testing.assert_allclose(detection.times, times, rtol=1e-12)
    np.testing.assert_allclose(detection.scores, power / np.median(power), rtol=1e-6)  # float64, another order of sums


@pytest.mark.parametrize("sfreq", [100.0, 200.0, 256.0, 499.5])
def test_finds_a_synthetic_burst_and_nothing_else(synthetic, sfreq):
    raw = synthetic(61, sfreq, seed=2, burst=(23, 31), names=[*CANONICAL[::-1], "ECG"])
    detection = detect_by_rule(raw)
    (event,) = detection.events
    assert (event.onset, event.end) == pytest.approx((23, 31), abs=1.5)  # a window of 2 s
    assert detection.score([(23, 31)]).overlap.found == 1
    assert "rule" in detection.method
    assert "UNTRAINED" not in detection.method


def test_nothing_to_find_in_synthetic_noise(synthetic):
    detection = detect_by_rule(synthetic(43, seed=3))
    assert detection.events == []
    assert np.median(detection.scores) == pytest.approx(1)


def test_a_seizure_that_all_electrodes_share_alike_is_gone_with_the_average_reference(synthetic):
    raw = synthetic(31, seed=4)
    raw._data += 1e-3 * np.sin(2 * np.pi * 3 * raw.times) * ((raw.times > 9) & (raw.times < 15))
    assert detect_by_rule(raw).events == []


def test_recording_too_short(synthetic):
    with pytest.raises(RecordingError, match=r"lasts 9\.5 s.*at least 10 s"):
        detect_by_rule(synthetic(9.5))
    assert len(detect_by_rule(synthetic(10)).scores) == 9


def test_the_recording_is_left_as_it_is(synthetic):
    raw = synthetic(13, names=[*CANONICAL[::-1], "ECG"])
    before, names = raw.get_data().copy(), list(raw.ch_names)
    detect_by_rule(raw)
    np.testing.assert_array_equal(raw.get_data(), before)
    assert raw.ch_names == names


def test_a_second_is_ictal_where_its_center_is(synthetic):
    detection = detect_by_rule(synthetic(31, seed=2, burst=(12, 17)))
    score = detection.score([(11.4, 17.6)])
    inside = (detection.times >= 12) & (detection.times <= 17)
    pairs = detection.scores[inside][:, None] - detection.scores[~inside]
    assert score.auroc == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean())
    assert np.isnan(detection.score([]).auroc)


def test_files_hold_the_scores_the_events_and_the_method(synthetic, tmp_path):
    detection = detect_by_rule(synthetic(31, seed=2, burst=(12, 17)))
    scores, events = detection.write(tmp_path, "night")
    assert sorted(tmp_path.iterdir()) == sorted([scores, events])
    head, *rows = scores.read_text().splitlines()
    assert head == "time\tscore\tunit\tmethod"
    assert len(rows) == len(detection.scores) == 30
    for row, time, score in zip(rows, detection.times, detection.scores, strict=True):
        columns = row.split("\t")
        assert float(columns[0]) == time
        assert float(columns[1]) == pytest.approx(score, rel=1e-5)  # 6 digits
        assert columns[2:] == ["x median", detection.method]
    assert read_events(events) == detection.events
    assert all(row.endswith("\t" + detection.method) for row in events.read_text().splitlines()[1:])
