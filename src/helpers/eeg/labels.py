"""Seizures as labels of samples: which samples of a recording or of a window lie in a seizure.

Seizures come in as (onset, end) in seconds, whatever file they were read from. No windows are chosen here.
"""

import math

import numpy as np

from helpers.eeg.preprocessing import SFREQ
from helpers.eeg.windows import WINDOW

__all__ = ["ictal_share", "labels_of"]


def labels_of(seizures, start=0, n=WINDOW):
    """Labels of the samples of one window.

    Parameters
    ----------
    seizures : iterable of (onset, end)
        In s from the recording's first sample, in any order; they may overlap, and reach beyond the window.
    start : int
        First sample of the window in the recording.
    n : int
        Samples in the window, at 256 Hz.

    Returns
    -------
    ndarray, (n,), float32
        1 where ``onset <= t < end`` for one of the seizures, else 0; sample k of the recording is at t = k / 256 s.
    """
    labels = np.zeros(n, np.float32)
    for first, last in _spans(seizures):
        labels[max(first - start, 0) : max(last - start, 0)] = 1
    return labels


def ictal_share(seizures, starts, n=WINDOW):
    """Share of each window that lies in a seizure: the mean of its `labels_of`, for many windows at once.

    Parameters
    ----------
    seizures : iterable of (onset, end)
        As in `labels_of`.
    starts : (windows,) ndarray of int
        First sample of each window.
    n : int
        Samples in a window.

    Returns
    -------
    ndarray, (windows,), float64
        From 0 to 1.
    """
    starts = np.asarray(starts, dtype=np.int64)
    ictal = np.zeros(len(starts), np.int64)
    reached = -1  # end of the spans counted so far: what two seizures share counts once
    for first, last in _spans(seizures):
        first = max(first, reached)
        ictal += np.clip(np.minimum(last, starts + n) - np.maximum(first, starts), 0, None)
        reached = max(reached, last)
    return ictal / n


def _spans(seizures):
    """The seizures as (first sample, sample after the last), in order; exact, as 256 is a power of two."""
    return sorted((math.ceil(onset * SFREQ), math.ceil(end * SFREQ)) for onset, end in seizures)
