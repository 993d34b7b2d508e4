"""Windows over a continuous recording: where they start, and a view of each. Nothing is copied."""

import numpy as np

from helpers.eeg.errors import RecordingError

__all__ = ["STRIDE", "WINDOW", "window_starts", "windows"]

WINDOW = 15_360
"""Samples in one window: 60 s at 256 Hz."""

STRIDE = 2_560
"""Samples from one window's start to the next: 10 s at 256 Hz."""


def window_starts(n_samples, window=WINDOW, stride=STRIDE):
    """First sample of each window; the last window ends with the recording, so that every sample is in one.

    Parameters
    ----------
    n_samples : int
        Length of the recording.
    window, stride : int
        In samples.

    Returns
    -------
    ndarray of int
        Increasing; all strides equal but the last, which may be shorter.

    Raises
    ------
    RecordingError
        If the recording is shorter than one window.
    """
    if n_samples < window:
        raise RecordingError(
            f"the recording has {n_samples} samples, one window has {window} "
            f"({window / 256:.0f} s at 256 Hz). Use a longer recording."
        )
    starts = np.arange(0, n_samples - window + 1, stride)
    return starts if starts[-1] == n_samples - window else np.append(starts, n_samples - window)


def windows(samples, window=WINDOW, stride=STRIDE):
    """Views of each window; (channels, n_samples) to a list of (channels, window)."""
    return [samples[:, start : start + window] for start in window_starts(samples.shape[1], window, stride)]
