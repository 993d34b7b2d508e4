"""From a recording to what the network reads: 19 channels, average reference, filtered, 256 Hz, normalised.

Zero-phase filters over the whole recording, before it is cut into windows, so that no window carries a filter's edge.
"""

import numpy as np

from helpers.eeg.errors import RecordingError
from helpers.eeg.montage import pick_canonical
from helpers.eeg.recordings import recording_name

__all__ = ["SFREQ", "average_reference", "line_frequency", "preprocess"]

SFREQ = 256.0
"""Rate of the detector's input, in Hz."""

_MIN_SFREQ = 64.0  # Hz; below it, a recording's rate is a damaged header or no EEG
_CLIP = 20.0  # robust standard deviations; a blink has about 5, an electrode pop hundreds


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
        If the rate is below 64 Hz, or a channel is missing, holds NaN or infinity, is flat in half of its samples or
        more, or carries nothing but what all channels have in common.
    """
    if raw.info["sfreq"] < _MIN_SFREQ:
        raise RecordingError(
            f"{recording_name(raw)}: the rate is {raw.info['sfreq']:g} Hz, expected at least {_MIN_SFREQ:g} Hz. "
            "Export the recording again at its full rate."
        )
    picked = pick_canonical(raw).load_data(verbose="error")
    samples = picked.get_data()
    _refuse(picked, ~np.isfinite(samples).all(axis=1), "holds NaN or infinite samples")
    low, high = np.percentile(samples, [25, 75], axis=1, method="nearest")
    _refuse(picked, low == high, "is flat in half of its samples or more")
    picked.set_channel_types(dict.fromkeys(picked.ch_names, "eeg"), verbose="error")
    picked.set_eeg_reference("average", projection=False, verbose="error")
    left = np.ptp(picked.get_data(), axis=1)  # a rounding error where all channels were alike
    _refuse(picked, left < 1e-9 * np.ptp(samples, axis=1), "has nothing left after the average reference")
    return picked


def _refuse(raw, bad, fault):
    if bad.any():
        names = np.array(raw.ch_names)[bad]
        raise RecordingError(
            f"{recording_name(raw)}: channel{'s' if len(names) > 1 else ''} {', '.join(names)}: {fault}. "
            "Interpolate first (raw.interpolate_bads) or leave the file out."
        )


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
    nyquist = raw.info["sfreq"] / 2
    ratios = {}
    for line in (50.0, 60.0):
        if line + 4 < nyquist:
            spectrum = raw.compute_psd("welch", fmin=line - 4, fmax=line + 4, n_fft=_two_seconds(raw), verbose="error")
            power = np.median(spectrum.get_data(), axis=0)
            at_line = np.abs(spectrum.freqs - line) <= 0.5
            ratios[line] = power[at_line].max() / np.median(power[~at_line])
    line = max(ratios, key=ratios.get, default=None)
    return line if line and ratios[line] >= 1.5 else None


def preprocess(raw, l_freq=0.5, h_freq=120.0):
    """A recording as the detector reads it.

    Average reference, notch at the line frequency, band-pass (both FIR, zero phase), resampling to 256 Hz, then each
    channel minus its median over a robust standard deviation, clipped at ±20.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Any recording with the 19 channels, at least 10 s long; it is left as it is.
    l_freq, h_freq : float
        Edges of the pass band, Hz. `h_freq` is dropped where it reaches half the recording's rate.

    Returns
    -------
    ndarray, (19, samples), float32
        Dimensionless, at 256 Hz, channels in the order of `CANONICAL`.

    Raises
    ------
    RecordingError
        If channels are missing or unusable, or the recording is too short to filter.
    """
    duration = raw.n_times / raw.info["sfreq"]
    if duration < 10:
        raise RecordingError(
            f"{recording_name(raw)}: the recording lasts {duration:.1f} s; filtering from {l_freq} Hz needs "
            "at least 10 s. Use a longer one."
        )
    raw = average_reference(raw)
    line = line_frequency(raw)
    if line and line + 4 < raw.info["sfreq"] / 2:
        raw.notch_filter(line, verbose="error")
    raw.filter(l_freq, h_freq if h_freq < raw.info["sfreq"] / 2 else None, verbose="error")
    raw.resample(SFREQ, method="polyphase", verbose="error")
    samples = raw.get_data()
    low, middle, high = np.percentile(samples, [25, 50, 75], axis=1)
    scale = (high - low) / 1.349  # the standard deviation, were it normal
    return np.clip((samples - middle[:, None]) / scale[:, None], -_CLIP, _CLIP).astype(np.float32)


def _two_seconds(raw):
    return min(round(2 * raw.info["sfreq"]), raw.n_times)
