"""Scores to events: hysteresis, a minimum duration, and merging of what lies close together.

An event is a stretch of time in seconds. How events are compared with a reference is in `helpers.scoring.scores`.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["Event", "events_from_scores"]

_ROUNDING = 1e-6  # of a step: 3 * 0.1 is not 0.3


class Event(NamedTuple):
    """One detected stretch: onset and duration in s, and the mean score over it as confidence (None if it is no
    probability)."""

    onset: float
    duration: float
    confidence: float | None = None

    @property
    def end(self):
        """Onset plus duration, s."""
        return self.onset + self.duration


def events_from_scores(times, scores, on, off=None, min_duration=0.0, merge_gap=0.0, probability=True):
    """Events where the scores rise to `on`, until they fall below `off`.

    Parameters
    ----------
    times : ndarray, (n,)
        Center of each score, in s, equally spaced; a score stands for one step around its center.
    scores : ndarray, (n,)
        NaN counts as below both thresholds.
    on, off : float
        An event needs at least one score >= `on`, and lasts while scores are >= `off` (default: `on`).
    min_duration : float
        Shorter events are dropped, after merging; s.
    merge_gap : float
        Events at most this far apart become one; s.
    probability : bool
        Whether scores are probabilities; only these become a confidence.

    Returns
    -------
    list of Event

    Raises
    ------
    ValueError
        If `off` is above `on`, or the shapes differ.
    """
    times, scores = np.asarray(times, float), np.asarray(scores, float)
    off = on if off is None else off
    if off > on:
        raise ValueError(f"off is {off}, above on {on}; hysteresis needs off <= on")
    if times.shape != scores.shape or times.ndim != 1:
        raise ValueError(f"times {times.shape} and scores {scores.shape}; expected two vectors of one length")
    if len(times) == 0:
        return []
    step = times[1] - times[0] if len(times) > 1 else 1.0
    runs = [(first, last) for first, last in stretches(scores >= off) if np.nanmax(scores[first : last + 1]) >= on]
    merged = []
    for first, last in runs:
        if merged and (first - merged[-1][1] - 1 - _ROUNDING) * step <= merge_gap:
            merged[-1][1] = last
        else:
            merged.append([first, last])
    events = []
    for first, last in merged:
        onset, duration = float(times[first] - step / 2), float((last - first + 1) * step)
        if onset < 0:  # a recording begins at 0
            onset, duration = 0.0, onset + duration
        if duration >= min_duration - _ROUNDING * step:
            confidence = float(np.nanmean(scores[first : last + 1])) if probability else None
            events.append(Event(onset, duration, confidence))
    return events


def stretches(mask):
    """First and last index of each run of True, a list of pairs."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return list(zip(edges[::2], edges[1::2] - 1, strict=True))
