"""What preprocessing takes out of a synthetic signal and what it leaves in."""

import numpy as np
import pytest

from helpers.eeg import CANONICAL, SFREQ, RecordingError, average_reference, line_frequency, preprocess


def power_at(samples, sfreq, frequency):
    """Power of each channel within 0.5 Hz of a frequency; the first and last 4 s, where filters ring, left out."""
    inside = samples[:, round(4 * sfreq) : -round(4 * sfreq)]
    spectrum = np.abs(np.fft.rfft(inside * np.hanning(inside.shape[1]))) ** 2
    return spectrum[:, np.abs(np.fft.rfftfreq(inside.shape[1], 1 / sfreq) - frequency) <= 0.5].sum(axis=1)


@pytest.mark.parametrize("hum", [50.0, 60.0])
@pytest.mark.parametrize("sfreq", [200.0, 256.0, 499.0])
def test_line_frequency_is_heard(synthetic, hum, sfreq):
    assert line_frequency(synthetic(19, sfreq, seed=round(hum), tone=(hum, 20))) == hum


def test_line_frequency_where_there_is_none(synthetic):
    assert line_frequency(synthetic(19)) is None
    assert line_frequency(synthetic(19, tone=(56.0, 20))) is None
    assert line_frequency(synthetic(19, sfreq=100.0, tone=(20.0, 20))) is None  # neither fits below 50 Hz


def test_line_frequency_that_the_recording_states_wins(synthetic):
    raw = synthetic(19, tone=(60.0, 20))
    raw.info["line_freq"] = 50
    assert line_frequency(raw) == 50.0


def test_average_reference_removes_what_all_channels_share(synthetic):
    raw = synthetic(13, names=[*CANONICAL[::-1], "ECG"])
    common = 200e-6 * np.random.default_rng(2).normal(size=raw.n_times)
    shared = raw.copy().apply_function(lambda x: x + common, picks=list(CANONICAL))
    clean, referenced = average_reference(raw).get_data(), average_reference(shared).get_data()
    rounding = 1e-9 * np.abs(clean).max()
    np.testing.assert_allclose(referenced, clean, atol=rounding)
    np.testing.assert_allclose(clean.mean(axis=0), 0, atol=rounding)
    data = raw.get_data(picks=list(CANONICAL))
    np.testing.assert_allclose(clean, data - data.mean(axis=0), atol=rounding)


@pytest.mark.parametrize(
    ("sfreq", "seconds"), [(128.0, 10.5), (200.0, 31), (250.0, 13), (256.0, 12.3), (512.0, 11), (499.0, 17)]
)
def test_shape_type_and_rate(synthetic, sfreq, seconds):
    samples = preprocess(synthetic(seconds, sfreq))
    assert samples.shape[0] == 19
    assert abs(samples.shape[1] - round(seconds * sfreq) / sfreq * SFREQ) <= 1
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()
    assert np.abs(samples).max() <= 20
    quarter, middle, threequarter = np.percentile(samples, [25, 50, 75], axis=1)
    np.testing.assert_allclose(middle, 0, atol=1e-5)  # float32
    np.testing.assert_allclose(threequarter - quarter, 1.349, rtol=1e-4)


@pytest.mark.parametrize("width", [0.05, 1.2])
def test_time_keeps_its_place(synthetic, width):
    """A sharp and a slow wave around 7.0 s of a 200 Hz recording stay symmetric around 7.0 s at 256 Hz: zero phase."""
    raw = synthetic(15, seed=4)
    raw._data *= 0.01
    distance = np.abs(raw.times - 7.0)
    wave = 400e-6 * (np.cos(2 * np.pi * distance / width) + 1) * (distance < width / 2)
    raw._data[6] += wave
    trace = preprocess(raw)[6].astype(float)
    center = round(7.0 * SFREQ)
    before, after = trace[center - 600 : center][::-1], trace[center + 1 : center + 601]
    assert np.abs(after - before).max() < 0.15 * np.ptp(trace[center - 600 : center + 601])


@pytest.mark.parametrize("hum", [50.0, 60.0])
def test_hum_goes_and_alpha_stays(synthetic, hum):
    """Each against the power of the noise at 30 Hz, on the same channel before and after."""
    raw = synthetic(31, seed=6)
    gains = np.delete(np.linspace(-3, 3, 19), 9)[:, None]  # their mean is 0: the average reference keeps the tones
    rows = np.delete(np.arange(19), 9)
    raw._data[rows] += 60e-6 * gains * np.sin(2 * np.pi * hum * raw.times)
    raw._data[rows] += 25e-6 * gains * np.sin(2 * np.pi * 10 * raw.times)
    before, after = average_reference(raw).get_data()[rows], preprocess(raw)[rows]

    def ratio(samples, sfreq, frequency):
        return power_at(samples, sfreq, frequency) / power_at(samples, sfreq, 30)

    assert (ratio(before, 200.0, hum) > 10).all()
    assert (ratio(after, SFREQ, hum) < 1).all()  # less than the noise has there
    np.testing.assert_allclose(ratio(after, SFREQ, 10), ratio(before, 200.0, 10), rtol=0.2)  # the noise's own spread


@pytest.mark.parametrize(
    ("frequency", "low", "high"),
    [(0.1, 0.0, 0.2), (0.25, 0.4, 0.6), (0.6, 0.95, 1.05), (2.0, 0.95, 1.05), (40.0, 0.95, 1.05), (110.0, 0.95, 1.05)],
)
def test_pass_band(synthetic, frequency, low, high):
    """Amplitude left of a tone on the first channel; the high-pass at 0.5 Hz has its half at 0.25 Hz."""
    raw = synthetic(61, sfreq=400.0, seed=8)
    raw._data[0] += 500e-6 * np.sin(2 * np.pi * frequency * raw.times)
    before, after = average_reference(raw).get_data()[:1], preprocess(raw)[:1]
    loss = np.sqrt(power_at(after, SFREQ, frequency) / power_at(before, 400.0, frequency))
    passed = np.sqrt(power_at(after, SFREQ, 7) / power_at(before, 400.0, 7))  # of the noise, where nothing is filtered
    assert low <= (loss / passed).item() <= high


def test_polarity_and_amplitudes_keep_their_relations(synthetic):
    """9 Hz tones for 4 s, so that each channel's scale stays that of its noise, which all channels have alike."""
    raw = synthetic(31, seed=9)
    sizes = {0: 220, 5: -170, 11: 60, 16: 0}
    burst = (raw.times > 10) & (raw.times < 14)
    for row, size in sizes.items():
        raw._data[row] += size * 1e-6 * np.sin(2 * np.pi * 9 * raw.times) * burst
    after = preprocess(raw)
    inside = slice(round(10.5 * SFREQ), round(13.5 * SFREQ))
    wave = np.sin(2 * np.pi * 9 * np.arange(after.shape[1]) / SFREQ)[inside]
    amplitudes = {row: 2 / len(wave) * after[row, inside] @ wave for row in sizes}
    expected = {row: size - sum(sizes.values()) / 19 for row, size in sizes.items()}  # against the average
    for row in sizes:
        found = amplitudes[row] / amplitudes[0] * expected[0]
        assert found == pytest.approx(expected[row], abs=12)  # µV: noise, and scales that differ by some percent


def test_clips_what_is_far_out_and_nothing_else(synthetic):
    raw = synthetic(31, seed=10)
    raw._data[3, 3000:3010] += 0.005
    samples = preprocess(raw)
    assert samples.max() == 20
    assert (np.abs(samples) >= 20).mean(axis=1)[3] < 0.02
    quiet = preprocess(synthetic(31, seed=10))
    assert np.abs(quiet).max() < 10


def test_scale_of_the_recording_does_not_matter(synthetic):
    raw = synthetic(13, seed=11)
    larger = raw.copy().apply_function(lambda x: 1000 * x)
    np.testing.assert_allclose(preprocess(larger), preprocess(raw), atol=1e-4)  # float32 at 20


def test_input_is_left_as_it_is(synthetic):
    raw = synthetic(13, names=[*CANONICAL[::-1], "ECG"], tone=(60.0, 30), marks=[(2.0, 3.0, "seizure")])
    data, names = raw.get_data().copy(), list(raw.ch_names)
    preprocess(raw)
    np.testing.assert_array_equal(raw.get_data(), data)
    assert raw.ch_names == names
    assert raw.info["sfreq"] == 200.0
    assert raw.info["custom_ref_applied"] == 0


def test_line_frequency_above_half_the_rate_is_no_fault(synthetic):
    raw = synthetic(13, sfreq=100.0)
    raw.info["line_freq"] = 60
    assert preprocess(raw).shape == (19, 13 * 256)


def test_too_short_to_filter(synthetic):
    with pytest.raises(RecordingError, match=r"lasts 9\.9 s.*at least 10 s"):
        preprocess(synthetic(9.9))
    assert preprocess(synthetic(10)).shape == (19, 2560)
