"""What preprocessing takes out of a synthetic signal and what it leaves in."""

import mne
import numpy as np
import pytest
from scipy.signal import butter, sosfreqz

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


@pytest.mark.parametrize("l_freq", [0.1, 0.25])
def test_a_lower_edge_needs_a_longer_recording(synthetic, l_freq):
    with pytest.raises(RecordingError, match=rf"filtering from {l_freq} Hz needs at least {5 / l_freq:g} s"):
        preprocess(synthetic(5 / l_freq - 1), l_freq)
    assert preprocess(synthetic(5 / l_freq), l_freq).shape == (19, round(5 / l_freq * 256))


# -- the steps, one by one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sfreq", "edges"), [(200.0, (0.5, 120.0)), (256.0, (1.0, 40.0)), (500.0, (0.5, 120.0))])
def test_the_steps_are_those_of_mne(synthetic, sfreq, edges):
    """Written out with MNE's methods, for a length in whole seconds."""
    raw = synthetic(23, sfreq, seed=13, names=[*CANONICAL[::-1], "ECG"], tone=(60.0, 25))
    steps = average_reference(raw).notch_filter(60.0, verbose="error")
    steps.filter(edges[0], edges[1] if edges[1] < sfreq / 2 else None, verbose="error")
    samples = steps.resample(256.0, method="polyphase", verbose="error").get_data()
    low, middle, high = np.percentile(samples, [25, 50, 75], axis=1, keepdims=True)
    expected = np.clip((samples - middle) / ((high - low) / 1.349), -20, 20)
    np.testing.assert_allclose(preprocess(raw, *edges), expected, atol=1e-5)  # float32 at up to 20


@pytest.mark.parametrize(("sfreq", "extra"), [(199.0, 57), (173.61, 0), (255.9, 3), (1000.0, 501), (2048.0, 7)])
def test_time_does_not_drift(synthetic, sfreq, extra):
    """A tone of 10 Hz keeps its phase to the end, whatever the rate and the number of samples."""
    raw = synthetic((37 * round(sfreq) + extra) / sfreq, sfreq, seed=14)
    raw._data *= 0.01
    raw._data[2] += 1e-4 * np.sin(2 * np.pi * 10 * raw.times)
    trace = preprocess(raw)[2].astype(float)
    assert len(trace) == round(raw.n_times / sfreq * 256)
    last = np.arange(len(trace) - 5 * 256, len(trace) - 2 * 256)  # before the filters' end
    phase = np.angle(np.sum(trace[last] * np.exp(-2j * np.pi * 10 * last / 256)))
    assert phase == pytest.approx(-np.pi / 2, abs=0.02)  # of a sine; 0.02 is 0.3 ms, 0.1 samples


# -- options -----------------------------------------------------------------------------------------------------------


def hum_left(samples, hum):
    return np.median(power_at(samples, SFREQ, hum) / power_at(samples, SFREQ, 30))


def test_line_frequency_that_is_given_wins(synthetic):
    raw = synthetic(31, seed=15, tone=(50.0, 60))
    raw._data[::2] += 12e-6 * np.sin(2 * np.pi * 60 * raw.times)
    left = {line: preprocess(raw, line=line) for line in ("detect", 50, 60, None)}
    np.testing.assert_array_equal(left["detect"], left[50])
    assert hum_left(left[50], 50) < 1 < 10 < hum_left(left[60], 50)
    assert hum_left(preprocess(raw, line=50, causal=True), 50) < 1
    assert hum_left(left[60], 60) < 1 < 2 < hum_left(left[50], 60)
    assert hum_left(left[None], 50) > 10
    assert hum_left(left[None], 60) > 2


def test_options_that_make_no_sense(synthetic):
    for options in ({"line": 55}, {"line": "60"}, {"l_freq": 0}, {"l_freq": 50, "h_freq": 40}, {"h_freq": np.nan}):
        with pytest.raises(ValueError, match="expected") as caught:
            preprocess(synthetic(11), **options)
        assert not isinstance(caught.value, RecordingError)


@pytest.mark.parametrize("line", [None, 60])
def test_causal_filters_do_not_know_what_comes(synthetic, line):
    """Something new from 20 s on: nothing changes before, but offset and scale, which are the whole recording's."""
    raw = synthetic(31, seed=16)
    changed = raw.copy()
    changed._data[:, 4000:] += 100e-6 * np.random.default_rng(1).normal(size=(19, raw.n_times - 4000))
    until = round(19.94 * SFREQ)  # the resampler looks ahead by 10 samples of 5 ms

    def left(causal):
        before, after = (preprocess(item, line=line, causal=causal)[:, :until] for item in (raw, changed))
        return max(
            np.abs(after[row] - np.polyval(np.polyfit(before[row], after[row], 1), before[row])).max()
            / after[row].std()
            for row in range(19)
        )

    assert left(causal=True) < 1e-4  # float32
    assert left(causal=False) > 1e-2


def test_causal_filters_have_the_gain_and_the_delay_of_theirs(synthetic):
    """Against the response of a Butterworth band-pass, at tones from the lower edge to the upper one."""
    raw = synthetic(61, sfreq=256.0, seed=17)
    tones = np.array([0.5, 1.0, 3.0, 12.0, 40.0, 100.0])
    waves = np.exp(2j * np.pi * tones[:, None] * raw.times)  # (tones, samples)
    raw._data[5] += 200e-6 * waves.imag.sum(axis=0)
    inside = slice(20 * 256, 60 * 256)  # whole periods of each
    before, after = (
        samples[5, inside] @ waves[:, inside].conj().T
        for samples in (average_reference(raw).get_data(), preprocess(raw, line=None, causal=True))
    )
    response = sosfreqz(butter(3, [0.5, 120.0], "bandpass", fs=256.0, output="sos"), tones, fs=256.0)[1]
    found = after / before
    np.testing.assert_allclose(found / found[2], response / response[2], atol=0.03)  # the noise beside the tones


def test_causal_filters_begin_without_a_step(synthetic):
    """An offset of 5 mV, as electrodes have, is gone from the first sample on."""
    raw = synthetic(31, seed=18)
    raw._data += np.linspace(-5e-3, 5e-3, 19)[:, None]
    assert np.abs(preprocess(raw, causal=True)[:, :256]).max() < 8


# -- channels that cannot be used --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "refused"), [(0.95, True), (0.6, True), (0.4, False)])
def test_saturated_channels(synthetic, share, refused):
    """From one rail to the other in a share of the samples: not flat, but not EEG."""
    raw, random = synthetic(13, seed=19), np.random.default_rng(20)
    rails = random.choice([-400e-6, 400e-6], raw.n_times)
    stuck = random.random(raw.n_times) < share
    for name in ("C4", "Pz"):
        row = CANONICAL.index(name)
        raw._data[row] = np.where(stuck, rails, raw._data[row])
    if refused:
        with pytest.raises(RecordingError, match="channels Pz, C4: is saturated in half of its samples or more"):
            preprocess(raw)
    else:
        assert np.isfinite(preprocess(raw)).all()


def test_a_rate_that_no_amplifier_has(synthetic):
    with pytest.raises(RecordingError, match="the rate is 30000 Hz, expected at least 64 Hz and at most 20000 Hz"):
        preprocess(synthetic(11, sfreq=30_000.0))


def test_a_recording_of_no_eeg_has_no_line_frequency(synthetic):
    raw = synthetic(11).set_channel_types(dict.fromkeys(CANONICAL, "misc"), verbose="error")
    assert line_frequency(raw) is None
    assert line_frequency(mne.io.RawArray(np.ones((2, 3)), mne.create_info(2, 200.0, "eeg"), verbose="error")) is None
