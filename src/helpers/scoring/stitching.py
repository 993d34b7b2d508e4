"""Overlapping windows back to one line of scores for the recording: once, in order, one window in memory at a time.

Windows of one recording only. Two recordings stitched into one line overlap where they never met.
"""

import numpy as np

__all__ = ["mean_by_second", "stitch", "stitch_by_second"]


def stitch(window_scores, starts, n_samples, weighting="mean"):
    """The mean, at each sample, over the windows that cover it.

    Parameters
    ----------
    window_scores : iterable of ndarray, (window,)
        Scores of each window; a generator is read once, one window at a time.
    starts : iterable of int
        First sample of each window, in rising order.
    n_samples : int
        Of the recording.
    weighting : {"mean", "triangle"}
        Whether all windows count alike, or by a triangle from 0.5 at a window's ends to 1 at its center, where it sees
        as much before as after.

    Returns
    -------
    ndarray, (n_samples,)
        NaN where no window lies.

    Raises
    ------
    ValueError
        If starts fall, their number is not that of the windows, or a window reaches beyond the recording.
    """
    line, filled = np.empty(n_samples), 0
    for part in _finished(window_scores, starts, n_samples, weighting):
        line[filled : filled + len(part)] = part
        filled += len(part)
    return line


def stitch_by_second(window_scores, starts, n_samples, sfreq, weighting="mean"):
    """What `mean_by_second` makes of `stitch`, without the line of all samples in between.

    Parameters and errors are those of `stitch`; `sfreq` is in Hz.

    Returns
    -------
    times, means : ndarray, (seconds,)
        Centers in s, and the mean of each whole second; NaN where a sample of it is in no window.
    """
    size = round(sfreq)
    means, rest = [np.empty(0)], np.empty(0)
    for part in _finished(window_scores, starts, n_samples, weighting):
        rest = np.concatenate([rest, part])
        whole = len(rest) // size * size
        means.append(mean_by_second(rest[:whole], sfreq)[1])
        rest = rest[whole:]
    means = np.concatenate(means)
    return np.arange(len(means)) + 0.5, means


def mean_by_second(scores, sfreq):
    """Centers (s) and means of the whole seconds of a line of scores; a last part of a second is left out."""
    size = round(sfreq)
    means = scores[: len(scores) // size * size].reshape(-1, size).mean(axis=1)
    return np.arange(len(means)) + 0.5, means


def _finished(window_scores, starts, n_samples, weighting):
    """Means in order, each part as soon as no later window can touch it."""
    if weighting not in ("mean", "triangle"):
        raise ValueError(f"weighting {weighting!r}; expected 'mean' or 'triangle'")
    at, sums, weights = 0, np.zeros(0), np.zeros(0)  # of the samples from `at` on
    for scores, start in zip(window_scores, starts, strict=True):
        scores = np.asarray(scores, float)
        if start < at:
            raise ValueError(f"a window starts at sample {start}, after one at {at}; expected rising starts. Sort both")
        if start + len(scores) > n_samples:
            raise ValueError(
                f"a window of {len(scores)} samples starts at sample {start}; the recording has {n_samples}. Are "
                "starts and n_samples those of one recording?"
            )
        if start > at:
            done, sums, weights = _split(sums, weights, start - at)
            at = start
            yield done
        weight = 1 - np.abs(np.linspace(-0.5, 0.5, len(scores))) if weighting == "triangle" else np.ones(len(scores))
        if len(scores) > len(sums):
            sums, weights = (np.pad(each, (0, len(scores) - len(each))) for each in (sums, weights))
        sums[: len(scores)] += scores * weight
        weights[: len(scores)] += weight
    yield _split(sums, weights, n_samples - at)[0]


def _split(sums, weights, length):
    """The means of the first `length` samples, and the sums and weights behind them."""
    mean = np.full(length, np.nan)
    here = min(length, len(sums))
    np.divide(sums[:here], weights[:here], out=mean[:here], where=weights[:here] > 0)
    return mean, sums[here:], weights[here:]
