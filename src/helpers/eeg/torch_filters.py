"""Filtering and resampling of whole recordings on the device that holds them: MNE's results, for a day on one GPU.

The filters are designed elsewhere (`mne.filter.create_filter`); this applies them. Not for windows, which would each
carry a filter's two edges, and not imported by `helpers.eeg`, which needs no torch.
"""

import math
from contextlib import contextmanager

import torch
from scipy.signal import firwin

from helpers.eeg.errors import RecordingError

__all__ = ["polyphase_bank", "resample_polyphase", "zero_phase_fir"]

_BATCH = 2**22  # samples that are transformed at once: enough to fill a GPU, small beside a channel of a day


def zero_phase_fir(samples, taps):
    """Filter each channel with a symmetric FIR filter and take its delay out again, as MNE does.

    Equal to ``raw.filter(…)``, and to ``raw.notch_filter(…)`` with that notch's taps, within 1e-11 of the largest
    sample in float64 and 5e-6 in float32. Needs room for the result and for a few copies of one channel.

    Parameters
    ----------
    samples : Tensor, (channels, samples), float32 or float64
        Any unit, on any device; left as it is. A sample that is NaN makes a whole block of samples around it NaN.
    taps : (taps,), array or Tensor
        Odd in number and symmetric around the middle one, as ``mne.filter.create_filter(None, sfreq, …)`` makes them.

    Returns
    -------
    Tensor, (channels, samples)
        In the unit and type of `samples`, on its device.

    Raises
    ------
    RecordingError
        If `samples` is no such tensor, or shorter than the filter.
    ValueError
        If the taps are not one odd-length, symmetric row.

    Notes
    -----
    A recording goes on beyond its ends as its image turned by 180° around the first and around the last sample
    (``pad="reflect_limited"`` in MNE). The convolution is overlap-save (Oppenheim & Schafer, "Discrete-Time Signal
    Processing", section 8.7.3): of each block's circular convolution, only the samples that no wrapped one reached
    are kept.

    Examples
    --------
    The high-pass of ``raw.filter(0.5, None)``, then ``raw.notch_filter(60)``, at 200 Hz::

        high_pass = mne.filter.create_filter(None, 200, 0.5, None)
        edge = 60 / 400 + 0.5  # Hz: half of the notch's width, and its transition band
        notch = mne.filter.create_filter(
            None, 200, 60 + edge, 60 - edge, l_trans_bandwidth=0.5, h_trans_bandwidth=0.5
        )
        filtered = zero_phase_fir(zero_phase_fir(samples, high_pass), notch)
    """
    taps = _symmetric(taps)
    _check_samples(samples, len(taps))
    length, reach = samples.shape[1], len(taps) // 2
    size = _block_size(len(taps), length)
    step = size - 2 * reach  # samples of a block that are kept
    blocks, batch = math.ceil(length / step), math.ceil(_BATCH / size)
    response = torch.fft.rfft(taps, size).to(samples.device, samples.dtype.to_complex())  # (size // 2 + 1,)
    filtered = samples.new_empty(samples.shape)
    for channel, result in zip(samples, filtered, strict=True):
        before = 2 * channel[0] - channel[1 : reach + 1].flip(0)
        after = 2 * channel[-1] - channel[length - 1 - reach : -1].flip(0)
        filling = channel.new_zeros(blocks * step - length)
        extended = torch.cat([before, channel, after, filling])
        overlapping = extended.unfold(0, size, step)  # (blocks, size), a view
        kept = result.split(batch * step)
        for block, target in zip(overlapping.split(batch), kept, strict=True):
            convolved = torch.fft.irfft(torch.fft.rfft(block) * response, size)  # (batch, size)
            target.copy_(convolved[:, 2 * reach :].flatten()[: len(target)])
    return filtered


def _symmetric(taps):
    """The taps as float64 in main memory: the response is computed there, once, whatever the device can do."""
    taps = torch.as_tensor(taps).to("cpu", torch.float64)
    if taps.ndim != 1 or len(taps) % 2 == 0:
        raise ValueError(
            f"the taps have shape {tuple(taps.shape)}; expected one row of odd length. "
            'Design them with mne.filter.create_filter(None, sfreq, ..., phase="zero").'
        )
    lopsided = (taps - taps.flip(0)).abs().max() / taps.abs().max()
    if not lopsided <= 1e-6:  # so that NaN is refused too; float32 rounding keeps symmetry
        raise ValueError(
            f"the taps differ from their mirror image by {lopsided:.1e} of the largest one; expected a symmetric "
            'filter, whose delay can be removed. Design it with mne.filter.create_filter(..., phase="zero").'
        )
    return taps


def _block_size(taps, length):
    """The power of two with the fewest operations: blocks × size × (its logarithm + 1)."""
    sizes = [2 ** (bits + (2 * taps).bit_length()) for bits in range(6)]
    return min(sizes, key=lambda size: math.ceil(length / (size - taps + 1)) * size * (math.log2(size) + 1))


def resample_polyphase(samples, up, down):
    """Resample each channel by `up` / `down` in one strided convolution, without making the samples in between.

    Equal to ``raw.resample(up, method="polyphase")`` of a recording at `down` Hz whose length is a multiple of the
    reduced `down` (25 for 200 to 256 Hz), within 1e-11 of the largest sample in float64 and 5e-6 in float32. Needs room
    for the result and for a few copies of one channel.

    Parameters
    ----------
    samples : Tensor, (channels, samples), float32 or float64
        Any unit, on any device; left as it is. Sample n lies at n / `down` s.
    up, down : int
        The rates after and before, or any two whole numbers in their relation.

    Returns
    -------
    Tensor, (channels, round(samples · up / down))
        In the unit and type of `samples`, on its device. Sample k lies at k / `up` s.

    Raises
    ------
    RecordingError
        If `samples` is no such tensor, or shorter than the filters.
    ValueError
        If `up` or `down` is no whole number above 0.

    Notes
    -----
    Crochiere & Rabiner, "Multirate Digital Signal Processing", chapter 3. A recording goes on beyond its ends as its
    mirror image (``padtype="reflect"`` of `scipy.signal.resample_poly`, which MNE calls). For a length that is no
    multiple of `down`, MNE takes the ratio of the two lengths, not that of the rates: the same number of samples,
    stretched over time by at most half a sample at the recording's end.
    """
    up, down = _ratio(up, down)
    bank, left = polyphase_bank(up, down)
    _check_samples(samples, bank.shape[-1])
    bank = bank.to(samples)
    wanted = round(up / down * samples.shape[1])
    blocks = math.ceil(wanted / up)
    right = (blocks - 1) * down + bank.shape[-1] - left - samples.shape[1]
    resampled = samples.new_empty(len(samples), wanted)
    with _all_bits(samples.device.type):
        for channel, result in zip(samples, resampled, strict=True):
            extended = torch.nn.functional.pad(channel[None, None], (left, right), mode="reflect")
            phases = torch.nn.functional.conv1d(extended, bank, stride=down)[0]  # (up, blocks)
            result.copy_(phases.T.flatten()[:wanted])
    return resampled


@contextmanager
def _all_bits(device_type):
    """Convolutions in the type of their input.

    On a GPU, cuDNN may round the factors of a float32 convolution to TF32, 10 bits after the point, unless it is told
    not to: an error of 5e-4 instead of 3e-7, for some shapes and not for others. Autocast leaves fewer bits still.
    """
    cudnn = torch.backends.cudnn
    with torch.autocast(device_type, enabled=False):
        if hasattr(cudnn, "conv"):  # torch 2.9; from there on, `flags` raises where a reader has used this new setting
            before, cudnn.conv.fp32_precision = cudnn.conv.fp32_precision, "ieee"
            try:
                yield
            finally:
                cudnn.conv.fp32_precision = before
        else:
            with cudnn.flags(enabled=True, allow_tf32=False):  # `enabled`, because its default turns cuDNN off
                yield


def polyphase_bank(up, down):
    """The filters of `resample_polyphase`: one for each of the `up` samples that `down` samples turn into.

    Parameters
    ----------
    up, down : int
        The rates after and before, or any two whole numbers in their relation; they are reduced first (256, 200: 32,
        25).

    Returns
    -------
    bank : Tensor, (up, 1, taps), float64, on the CPU
        The weight of a `conv1d` whose stride is the reduced `down`.
    left : int
        Samples to put before the first one.

    Raises
    ------
    ValueError
        If `up` or `down` is no whole number above 0.

    Notes
    -----
    The low-pass is that of `scipy.signal.resample_poly`: a sinc up to its tenth zero on each side, under a Kaiser
    window (β = 5), with half the amplitude left at the lower of the two Nyquist frequencies.

    Examples
    --------
    Output sample ``up * m + p`` is row p of the convolution at m::

        bank, left = polyphase_bank(256, 200)                           # (32, 1, 45), 10
        padded = torch.nn.functional.pad(samples, (left, 45))           # with zeros; resample_polyphase mirrors
        phases = torch.nn.functional.conv1d(padded[:, None], bank.to(samples), stride=25)   # (channels, 32, blocks)
        resampled = phases.mT.flatten(1)                                # (channels, 32 * blocks)
    """
    up, down = _ratio(up, down)
    if up == down:
        return torch.ones(1, 1, 1, dtype=torch.float64), 0
    half = 10 * max(up, down)
    lowpass = torch.from_numpy(up * firwin(2 * half + 1, 1 / max(up, down), window=("kaiser", 5.0)))
    left, last = half // up, (half + (up - 1) * down) // up
    phase, sample = torch.arange(up)[:, None], torch.arange(-left, last + 1)
    place = half + phase * down - sample * up  # (up, taps): where in the low-pass a phase meets a sample
    bank = torch.where((place >= 0) & (place <= 2 * half), lowpass[place.clamp(0, 2 * half)], 0.0)
    return bank[:, None], left


def _ratio(up, down):
    for name, rate in {"up": up, "down": down}.items():
        if rate != round(rate) or rate < 1:
            raise ValueError(f"{name} is {rate}; expected a whole number above 0. Multiply both rates until they are.")
    up, down = round(up), round(down)
    divisor = math.gcd(up, down)
    return up // divisor, down // divisor


def _check_samples(samples, taps):
    if not isinstance(samples, torch.Tensor) or samples.dtype not in (torch.float32, torch.float64):
        raise RecordingError(
            f"the samples are a {type(samples).__name__} of {getattr(samples, 'dtype', 'no one type')}; expected a "
            "tensor of float32 or float64. Use torch.as_tensor(samples, dtype=torch.float32)."
        )
    if samples.ndim != 2:
        raise RecordingError(
            f"the samples have shape {tuple(samples.shape)}; expected (channels, samples). "
            "For one channel, use samples[None]."
        )
    if samples.shape[1] < taps:
        raise RecordingError(
            f"the recording has {samples.shape[1]} samples; expected at least {taps}, the length of the filter. "
            "Use a longer one."
        )
