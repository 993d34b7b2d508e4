"""The one-feature rule: power around 3 Hz, where absence seizures have their spike-and-wave.

It is the baseline beside every score on the ``absence`` recording. Its threshold was chosen on that recording, so its
score there is no evidence for anything but this: the recording is easy.
"""

import numpy as np
from scipy.signal.windows import hann

from helpers.detection.result import Detection
from helpers.eeg import RecordingError, average_reference, recording_name
from helpers.scoring import events_from_scores

__all__ = ["THRESHOLD", "detect_by_rule"]

BAND = (2.5, 4.5)
"""Hz."""

THRESHOLD = 40.0
"""Times the recording's own median; chosen on the ``absence`` recording."""


def detect_by_rule(raw):
    """Detect by power between 2.5 and 4.5 Hz.

    Windows of 2 s (Hann), one a second; power in the band, median over the 19 average-referenced channels, divided by
    its median over the recording; an event where that is at least `THRESHOLD`.

    Parameters
    ----------
    raw : mne.io.BaseRaw

    Returns
    -------
    Detection
        The first score is at 1 s, the last at least 1 s before the end.

    Raises
    ------
    RecordingError
        If channels are missing or unusable, or the recording is shorter than 10 s.
    """
    sfreq = raw.info["sfreq"]
    duration = raw.n_times / sfreq
    if duration < 10:
        raise RecordingError(
            f"{recording_name(raw)}: the recording lasts {duration:.1f} s; the rule compares with a median and needs "
            "at least 10 s. Use a longer one."
        )
    samples = average_reference(raw).get_data()  # (19, samples)
    second = round(sfreq)
    starts = np.arange(0, samples.shape[1] - 2 * second + 1, second)
    segments = np.stack([samples[:, start : start + 2 * second] for start in starts], axis=1)  # (19, windows, 2 s)
    segments -= segments.mean(axis=-1, keepdims=True)
    frequencies = np.fft.rfftfreq(2 * second, 1 / sfreq)
    spectra = np.fft.rfft(segments * hann(2 * second, sym=False))
    power = np.abs(spectra[..., (frequencies >= BAND[0]) & (frequencies <= BAND[1])]) ** 2  # (19, windows, bins)
    power = np.median(power.mean(axis=-1), axis=0)  # (windows,)
    times, scores = starts / sfreq + 1.0, power / np.median(power)
    return Detection(
        method=f"rule (power at {BAND[0]}-{BAND[1]} Hz, threshold {THRESHOLD:g} x median)",
        times=times,
        scores=scores,
        unit="x median",
        on=THRESHOLD,
        off=THRESHOLD,
        events=events_from_scores(times, scores, on=THRESHOLD, probability=False),
        duration=duration,
        start=raw.info["meas_date"],
    )
