"""The filters on tensors against MNE's on the same recordings.

Tolerances, as parts of the largest sample: float64 within 1e-11, where both sums are rounded; float32 within 5e-6, some
ten roundings of 6e-8 along the transforms. One sample too late or a mirror image missing costs 1e-2 and more.
"""

from types import SimpleNamespace

import mne
import numpy as np
import pytest
import torch
from scipy.signal import resample_poly

from helpers.eeg import RecordingError
from helpers.eeg.torch_filters import polyphase_bank, resample_polyphase, zero_phase_fir

TOLERANCE = {torch.float64: 1e-11, torch.float32: 5e-6}
RATIOS = [(200, 25), (250, 125), (512, 2), (500, 125), (1000, 125), (499, 499), (128, 1)]  # Hz, and the reduced `down`


def recording(channels, length, seed=3):
    """Noise and drift, other in size and offset on each channel, far from zero at both ends; in µV."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(channels, length)) * np.linspace(3, 70, channels)[:, None]
    drift = random.normal(size=(channels, length)).cumsum(axis=1)
    return noise + drift + random.uniform(-200, 300, (channels, 1))


def raw(samples, sfreq):
    return mne.io.RawArray(samples.copy(), mne.create_info(len(samples), sfreq, "eeg"), verbose="error")


def create_filter(*arguments, **options):
    return mne.filter.create_filter(None, *arguments, verbose="error", **options)


def assert_close(found, expected, dtype):
    assert found.dtype == dtype
    assert found.shape == expected.shape
    error = np.abs(found.numpy() - expected).max() / np.abs(expected).max()
    assert error <= TOLERANCE[dtype], f"{error:.1e}"


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(
    ("sfreq", "channels", "length"), [(200, 3, 9001), (250, 1, 1652), (256, 5, 30011), (512, 2, 6000)]
)
def test_filters_equal_those_of_mne(sfreq, channels, length, dtype):
    """High-pass, band-pass and notch; some recordings hardly longer than the filter, some of many blocks."""
    samples = recording(channels, length)
    edge = 60 / 400 + 0.5
    for taps, expected in [
        (create_filter(sfreq, 0.5, None), raw(samples, sfreq).filter(0.5, None, verbose="error")),
        (create_filter(sfreq, 1.0, 45.0), raw(samples, sfreq).filter(1.0, 45.0, verbose="error")),
        (
            create_filter(sfreq, 60 + edge, 60 - edge, l_trans_bandwidth=0.5, h_trans_bandwidth=0.5),
            raw(samples, sfreq).notch_filter(60, verbose="error"),
        ),
    ]:
        assert_close(zero_phase_fir(torch.tensor(samples, dtype=dtype), taps), expected.get_data(), dtype)


def test_filter_of_a_night():
    """More than 2²² samples a channel, so that the blocks come in several batches."""
    samples = recording(2, 2**22 + 70001)
    expected = mne.filter.filter_data(samples, 256.0, None, 40.0, verbose="error")
    assert_close(zero_phase_fir(torch.tensor(samples), create_filter(256.0, None, 40.0)), expected, torch.float64)


@pytest.mark.parametrize("count", [1, 3, 101, 1321])
def test_filter_as_long_as_the_recording(count):
    """Against the sum itself, over the recording with its point reflections."""
    half = np.random.default_rng(count).normal(size=count // 2 + 1)
    taps = np.concatenate([half, half[-2::-1]])
    samples = recording(2, count)
    extended = np.pad(samples, [(0, 0), (count // 2, count // 2)], mode="reflect", reflect_type="odd")
    expected = np.stack([np.convolve(row, taps, mode="valid") for row in extended])
    assert_close(zero_phase_fir(torch.tensor(samples), taps), expected, torch.float64)


def test_taps_and_samples_of_other_kinds():
    """Taps as a float32 tensor; samples of which every second is taken, and which stay as they are."""
    samples, taps = recording(3, 7002), create_filter(200, 1.0, 40.0)
    every, single = torch.tensor(samples)[:, ::2], torch.tensor(taps, dtype=torch.float32)
    expected = mne.filter.filter_data(samples[:, ::2].copy(), 200.0, 1.0, 40.0, verbose="error")
    assert_close(zero_phase_fir(every, taps), expected, torch.float64)
    difference = zero_phase_fir(every, single).numpy() - expected
    assert np.abs(difference).max() <= 5e-6 * np.abs(samples).max()  # the taps are rounded
    np.testing.assert_array_equal(every.numpy(), samples[:, ::2])


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("sfreq", "multiple"), RATIOS)
@pytest.mark.parametrize(("channels", "least"), [(1, 600), (3, 20001)])
def test_resampling_equals_that_of_mne(sfreq, multiple, channels, least, dtype):
    length = -(-least // multiple) * multiple
    samples = recording(channels, length)
    expected = raw(samples, sfreq).resample(256, method="polyphase", verbose="error").get_data()
    assert_close(resample_polyphase(torch.tensor(samples, dtype=dtype), 256, sfreq), expected, dtype)


@pytest.mark.parametrize(("sfreq", "multiple"), RATIOS)
def test_resampling_to_any_length(sfreq, multiple):
    """As many samples as MNE makes, each as in SciPy at the ratio of the rates, from the shortest recording on."""
    shortest = polyphase_bank(256, sfreq)[0].shape[-1]
    for length in [*range(shortest, shortest + 5), 1201, 2003]:
        samples = recording(2, length)
        found = resample_polyphase(torch.tensor(samples), 256, sfreq)
        assert found.shape == mne.filter.resample(samples, 256, sfreq, method="polyphase", verbose="error").shape
        expected = resample_poly(samples, 256, sfreq, axis=1, padtype="reflect")
        assert 0 <= expected.shape[1] - found.shape[1] <= 1  # SciPy rounds up
        assert_close(found, expected[:, : found.shape[1]], torch.float64)


def test_resampled_wave_keeps_its_time():
    """An 11.3 Hz wave of 30.015 s, no multiple of 25 samples: sample k lies at k / 256 s, to the end."""
    wave = torch.sin(2 * torch.pi * 11.3 * torch.arange(6003, dtype=torch.float64)[None] / 200)
    found = resample_polyphase(wave, 256, 200)
    expected = torch.sin(2 * torch.pi * 11.3 * torch.arange(7684, dtype=torch.float64)[None] / 256)
    inside = slice(60, -60)  # away from the mirrors
    torch.testing.assert_close(found[:, inside], expected[:, inside], atol=2e-3, rtol=0)  # the Kaiser window's ripple


def test_equal_rates_copy():
    samples = torch.tensor(recording(2, 301))
    found = resample_polyphase(samples, 256.0, 256)
    torch.testing.assert_close(found, samples, atol=0, rtol=0)
    assert found.data_ptr() != samples.data_ptr()


def test_bank_in_a_plain_convolution():
    """As the example of `polyphase_bank` has it; the ends differ, where that one puts zeros."""
    bank, left = polyphase_bank(256, 200)
    assert bank.shape == (32, 1, 45)
    assert left == 10
    samples = torch.tensor(recording(3, 1017))
    padded = torch.nn.functional.pad(samples, (left, 45))
    phases = torch.nn.functional.conv1d(padded[:, None], bank.to(samples), stride=25)
    resampled, expected = phases.mT.flatten(1), resample_polyphase(samples, 256, 200)
    inside = slice(20, expected.shape[1] - 20)
    torch.testing.assert_close(resampled[:, inside], expected[:, inside], atol=1e-9, rtol=0)
    torch.testing.assert_close(bank.sum(-1), torch.ones(32, 1, dtype=torch.float64), atol=2e-3, rtol=0)


@pytest.fixture
def settings_while_convolving(monkeypatch):
    """What the convolutions that follow find set: a list of what `read` returns."""

    def listen(read):
        convolve, seen = torch.nn.functional.conv1d, []
        monkeypatch.setattr(torch.nn.functional, "conv1d", lambda *a, **k: seen.append(read()) or convolve(*a, **k))
        return seen

    return listen


@pytest.mark.skipif(not hasattr(torch.backends.cudnn, "conv"), reason="torch before 2.9")
def test_no_bits_are_lost_on_the_way(settings_while_convolving):
    """TF32 is off while it convolves, whatever it is outside, and autocast changes nothing."""
    conv = torch.backends.cudnn.conv
    samples = torch.tensor(recording(1, 700), dtype=torch.float32)
    expected = resample_polyphase(samples, 256, 200)
    seen, before = settings_while_convolving(lambda: conv.fp32_precision), conv.fp32_precision
    try:
        for outside in ("tf32", "ieee"):
            conv.fp32_precision = outside
            with torch.autocast("cpu", dtype=torch.bfloat16):
                found = resample_polyphase(samples, 256, 200)
            torch.testing.assert_close(found, expected, atol=0, rtol=0)
            assert seen.pop() == "ieee"
            assert conv.fp32_precision == outside
    finally:
        conv.fp32_precision = before


@pytest.mark.parametrize("outside", [True, False])
def test_no_bits_are_lost_before_torch_2_9(settings_while_convolving, monkeypatch, outside):
    """The older switch, which newer releases have too."""
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32
    monkeypatch.setattr(torch.backends, "cudnn", SimpleNamespace(flags=cudnn.flags))
    seen = settings_while_convolving(lambda: (cudnn.allow_tf32, cudnn.enabled))
    try:
        cudnn.allow_tf32 = outside
        resample_polyphase(torch.tensor(recording(1, 700), dtype=torch.float32), 256, 200)
        assert seen == [(False, True)]
        assert cudnn.allow_tf32 == outside
    finally:
        cudnn.allow_tf32 = before


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 999)), "a ndarray of float64; expected a tensor of float32 or float64. Use torch.as_tensor"),
        (torch.zeros(2, 999, dtype=torch.int16), "a Tensor of torch.int16; expected a tensor of float32 or float64"),
        (torch.zeros(2, 999, dtype=torch.float16), "torch.float16"),
        (torch.zeros(999), r"shape \(999,\); expected \(channels, samples\).*samples\[None\]"),
        (torch.zeros(1, 2, 999), r"shape \(1, 2, 999\)"),
        (torch.zeros(2, 44), "has 44 samples; expected at least 45, the length of the filter. Use a longer one"),
    ],
)
def test_samples_that_cannot_be_filtered(samples, message):
    with pytest.raises(RecordingError, match=message):
        zero_phase_fir(samples, np.ones(45))
    with pytest.raises(RecordingError, match=message):
        resample_polyphase(samples, 256, 200)


@pytest.mark.parametrize(
    ("taps", "message"),
    [
        (np.ones(44), r"shape \(44,\); expected one row of odd length.*create_filter"),
        (np.ones((1, 45)), r"shape \(1, 45\)"),
        (np.ones(0), r"shape \(0,\)"),
        (torch.arange(45), r"differ from their mirror image by 1\.0e\+00.*symmetric.*create_filter"),
        (np.full(45, np.nan), "by nan"),
    ],
)
def test_taps_that_have_no_zero_phase(taps, message):
    with pytest.raises(ValueError, match=message):
        zero_phase_fir(torch.zeros(2, 99), taps)


@pytest.mark.parametrize(
    ("up", "down", "message"), [(256, 199.5, "down is 199.5; expected a whole"), (0, 5, "up is 0")]
)
def test_rates_that_have_no_ratio(up, down, message):
    with pytest.raises(ValueError, match=message):
        polyphase_bank(up, down)
    with pytest.raises(ValueError, match=message):
        resample_polyphase(torch.zeros(2, 999), up, down)
