"""From a recording to what the network reads: 19 channels, average reference, filtered, 256 Hz, normalised.

Filters run over the whole recording, before it is cut into windows, so that no window carries a filter's edge. Channels
are taken one after the other: all of it takes about twice the room that the 19 channels have in float64.
"""

from fractions import Fraction
from functools import partial

import mne
import numpy as np
from scipy.signal import butter, firwin, iirnotch, resample_poly, sosfilt, sosfilt_zi, tf2sos, welch

from helpers.eeg.errors import RecordingError
from helpers.eeg.montage import CANONICAL, canonical_labels, pick_canonical
from helpers.eeg.naming import recording_name
from helpers.eeg.recordings import reading

__all__ = ["SFREQ", "average_reference", "line_frequency", "preprocess"]

SFREQ = 256.0
"""Rate of the detector's input, in Hz."""

_MIN_SFREQ, _MAX_SFREQ = 64.0, 20_000.0  # Hz; beyond, a recording's rate is a damaged header or no EEG
_MOST = 1e9  # V; a damaged scale, whatever the unit
_CLIP = 20.0  # robust standard deviations; a blink has about 5, an electrode pop hundreds
_ORDER, _QUALITY = 3, 30  # of the causal filters, as in the project behind the field notes


def preprocess(raw, l_freq=0.5, h_freq=120.0, *, line="detect", causal=False):
    """A recording as the detector reads it.

    Average reference, notch at the line frequency, band-pass, resampling to 256 Hz, then each channel minus its median
    over a robust standard deviation, clipped at ±20.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Any recording with the 19 channels, at least 10 s long (and 5 / `l_freq`); it is left as it is.
    l_freq, h_freq : float
        Edges of the pass band, Hz. `h_freq` is dropped where it reaches half the recording's rate.
    line : "detect", 50, 60 or None
        Line frequency, Hz; `line_frequency` finds it, None leaves the notch out.
    causal : bool
        Filters that see the past only (Butterworth of third order, a notch of quality 30) in the place of FIR filters
        of zero phase. Resampling still looks ahead by ten samples at the lower of the two rates (50 ms at 200 Hz), and
        median, scale and line frequency are those of the whole recording.

    Returns
    -------
    ndarray, (19, samples), float32
        Dimensionless, at 256 Hz, channels in the order of `CANONICAL`; ``round(256 · duration)`` samples.

    Raises
    ------
    RecordingError
        If channels are missing or unusable (`average_reference` lists how), or the recording is too short to filter.
    ValueError
        If `line` is something else, or the edges are no band.
    """
    check_options(l_freq, h_freq, line)
    sfreq = raw.info["sfreq"]
    duration, needed = raw.n_times / sfreq, max(10, 5 / l_freq)
    if duration < needed:
        raise RecordingError(
            f"{recording_name(raw)}: the recording lasts {duration:.1f} s; filtering from {l_freq} Hz needs "
            f"at least {needed:g} s. Use a longer one."
        )
    samples = _referenced(raw)  # (19, samples)
    if line == "detect":
        line = raw.info["line_freq"] or _hum(samples, sfreq)
    edges = l_freq, h_freq if h_freq < sfreq / 2 else None
    line = line if line and line + 4 < sfreq / 2 else None
    filtered = _causal(samples, sfreq, edges, line) if causal else _zero_phase(samples, sfreq, edges, line)
    ratio = Fraction(SFREQ / sfreq).limit_denominator(10_000)  # off by less than a sample in a day
    resample = _resampler(ratio.numerator, ratio.denominator)
    result = np.empty((len(filtered), round(raw.n_times * ratio)), np.float32)
    for row, scaled in zip(filtered, result, strict=True):
        scaled[:] = _scaled(resample(row)[: len(scaled)])
    return result


def check_options(l_freq, h_freq, line):
    """Raise a ValueError if `preprocess` takes no such options, whatever the recording; for this package."""
    if line not in ("detect", 50, 60, None):
        raise ValueError(f'line is {line!r}; expected 50 or 60 (Hz), None (no notch) or "detect".')
    if not 0 < l_freq < h_freq:
        raise ValueError(f"the pass band is {l_freq} to {h_freq} Hz; expected two edges above 0, the lower one first.")


def average_reference(raw):
    """The 19 canonical channels against their common average, loaded into memory.

    Parameters
    ----------
    raw : mne.io.BaseRaw

    Returns
    -------
    mne.io.BaseRaw
        A copy, in the order of `CANONICAL`.

    Raises
    ------
    RecordingError
        If the rate is below 64 Hz or above 20 kHz, the samples cannot be read, or a channel is missing, holds NaN or
        infinity, is flat or at one of its two extremes (saturated) in half of its samples or more, or carries nothing
        but what all channels have in common.
    """
    _referenced(raw)
    picked = pick_canonical(raw).load_data(verbose="error")
    picked.set_channel_types(dict.fromkeys(picked.ch_names, "eeg"), verbose="error")
    return picked.set_eeg_reference("average", projection=False, verbose="error")


def line_frequency(raw):
    """Frequency of the mains hum in a recording.

    Returns
    -------
    float or None
        What the recording states (``raw.info["line_freq"]``); else 50.0 or 60.0 Hz, where the median channel's power
        there is at least 1.5 times that of its neighbours; else None.
    """
    if raw.info["line_freq"]:
        return float(raw.info["line_freq"])
    channels = mne.pick_types(raw.info, eeg=True)
    if not len(channels):
        return None
    with reading(raw):
        return _hum(raw.get_data(picks=channels), raw.info["sfreq"])


def _referenced(raw):
    """The 19 channels against their average, (19, samples); raises as `average_reference` says."""
    if not _MIN_SFREQ <= raw.info["sfreq"] <= _MAX_SFREQ:
        raise RecordingError(
            f"{recording_name(raw)}: the rate is {raw.info['sfreq']:g} Hz, expected at least {_MIN_SFREQ:g} Hz and at "
            f"most {_MAX_SFREQ:g} Hz. Export the recording again at its full rate."
        )
    labels = list(canonical_labels(raw).values())
    with reading(raw):
        samples = raw.get_data(picks=labels)  # (19, samples)
    low, high = samples.min(axis=1), samples.max(axis=1)  # NaN where there is one
    _refuse(raw, ~(np.isfinite(low) & np.isfinite(high)), "holds NaN or infinite samples")
    _refuse(raw, np.maximum(-low, high) > _MOST, f"holds samples beyond {_MOST:g} V")
    quartiles = np.array([np.percentile(row, [25, 75], method="nearest") for row in samples])
    _refuse(raw, quartiles[:, 0] == quartiles[:, 1], "is flat in half of its samples or more")
    outermost = [((row == a) | (row == b)).mean() for row, a, b in zip(samples, low, high, strict=True)]
    _refuse(raw, np.array(outermost) >= 0.5, "is saturated in half of its samples or more")
    samples -= samples.mean(axis=0)
    left = samples.max(axis=1) - samples.min(axis=1)  # a rounding error where all channels were alike
    _refuse(raw, ~(left >= 1e-9 * (high - low)), "has nothing left after the average reference")
    return samples


def _refuse(raw, bad, fault):
    if bad.any():
        names = np.array(CANONICAL)[bad]
        raise RecordingError(
            f"{recording_name(raw)}: channel{'s' if len(names) > 1 else ''} {', '.join(names)}: {fault}. "
            'Add to raw.info["bads"] and use helpers.eeg.interpolate_missing(raw), or leave the file out.'
        )


def _hum(samples, sfreq):
    """50.0, 60.0 or None, as `line_frequency` says, of (channels, samples)."""
    segment, ratios = min(round(2 * sfreq), samples.shape[1]), {}
    spectra = [welch(row, sfreq, window="hamming", nperseg=segment, noverlap=0) for row in samples]
    frequencies, power = spectra[0][0], np.median([density for _, density in spectra], axis=0)  # (bins,)
    for line in (50.0, 60.0):
        distance = np.abs(frequencies - line)
        at_line, around = distance <= 0.5, (distance > 0.5) & (distance <= 4)
        if line + 4 < sfreq / 2 and at_line.any() and around.any():
            ratios[line] = power[at_line].max() / np.median(power[around])
    line = max(ratios, key=ratios.get, default=None)
    return line if line and ratios[line] >= 1.5 else None


def _zero_phase(samples, sfreq, edges, line):
    """MNE's FIR filters, in place."""
    if line:
        samples = mne.filter.notch_filter(samples, sfreq, line, copy=False, verbose="error")
    return mne.filter.filter_data(samples, sfreq, *edges, copy=False, verbose="error")


def _causal(samples, sfreq, edges, line):
    """Recursive filters, in place, from the state that a constant first sample would have left."""
    low, high = edges
    sections = butter(_ORDER, edges if high else low, "bandpass" if high else "highpass", fs=sfreq, output="sos")
    if line:
        sections = np.concatenate([tf2sos(*iirnotch(line, _QUALITY, fs=sfreq)), sections])
    for row in samples:
        row[:] = sosfilt(sections, row, zi=sosfilt_zi(sections) * row[0])[0]
    return samples


def _resampler(up, down):
    """`resample_poly` of one channel, with its own low-pass designed once for all."""
    if up == down:
        return lambda row: row
    lowpass = firwin(20 * max(up, down) + 1, 1 / max(up, down), window=("kaiser", 5.0))
    return partial(resample_poly, up=up, down=down, window=lowpass, padtype="reflect")


def _scaled(row):
    low, middle, high = np.percentile(row, [25, 50, 75])
    scale = (high - low) / 1.349  # the standard deviation, were it normal
    return np.clip((row - middle) / scale, -_CLIP, _CLIP)
