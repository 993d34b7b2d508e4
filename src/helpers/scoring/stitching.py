"""Overlapping windows back to one line of scores for the recording."""

import numpy as np

__all__ = ["mean_by_second", "stitch"]


def stitch(window_scores, starts, n_samples):
    """The mean, at each sample, over the windows that cover it.

    Parameters
    ----------
    window_scores : iterable of ndarray, (window,)
        Scores of each window.
    starts : sequence of int
        First sample of each window.
    n_samples : int
        Of the recording.

    Returns
    -------
    ndarray, (n_samples,)
        NaN where no window lies.
    """
    total, count = np.zeros(n_samples), np.zeros(n_samples)
    for scores, start in zip(window_scores, starts, strict=True):
        total[start : start + len(scores)] += scores
        count[start : start + len(scores)] += 1
    return np.divide(total, count, out=np.full(n_samples, np.nan), where=count > 0)


def mean_by_second(scores, sfreq):
    """Centers (s) and means of the whole seconds of a line of scores; a last part of a second is left out."""
    size = round(sfreq)
    means = scores[: len(scores) // size * size].reshape(-1, size).mean(axis=1)
    return np.arange(len(means)) + 0.5, means
