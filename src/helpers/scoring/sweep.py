"""Sensitivity against false alarms, at every threshold there is: exact, in one pass over the scores.

A lower threshold never takes a second away from an event, so each second has one highest threshold at which it lies in
an event. Finding these levels takes no search over thresholds, and everything else is counted from them. Events are
those of `helpers.scoring.events`, their rules those of `helpers.scoring.szcore_event_score`; other rules are not here.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from timescoring.annotations import Annotation
from timescoring.scoring import EventScoring

from helpers.scoring.scores import second_mask, szcore_event_score

__all__ = ["OperatingPoint", "ScoredRecording", "ThresholdCurve", "sensitivity_at", "threshold_curve"]

RULES = EventScoring.Parameters()
ROUNDING = 1e-6  # of a step: 3 * 0.1 is not 0.3


class ScoredRecording(NamedTuple):
    """What a detector gave for one recording, and what is marked in it.

    Parameters
    ----------
    times : ndarray, (n,)
        Center of each score, s, equally spaced.
    scores : ndarray, (n,)
        Any numbers; NaN and -inf are below every threshold.
    seizures : list of (onset, end)
        In s.
    duration : float
        Of the recording, s.
    """

    times: np.ndarray
    scores: np.ndarray
    seizures: list
    duration: float


class OperatingPoint(NamedTuple):
    """A threshold and what it gives; at a threshold of infinity there are no events."""

    threshold: float
    sensitivity: float
    false_alarms_per_24h: float


@dataclass(frozen=True)
class ThresholdCurve:
    """Counts by SzCORE at every threshold that makes a difference, over all recordings together.

    Attributes
    ----------
    thresholds : ndarray, (points,)
        Falling from infinity; each stands for the interval of thresholds around it with the same counts.
    found, false_alarms : ndarray of int, (points,)
    reference : int
        Seizures, after SzCORE's merging and splitting.
    hours : float
    """

    thresholds: np.ndarray
    found: np.ndarray
    false_alarms: np.ndarray
    reference: int
    hours: float

    @property
    def sensitivity(self):
        """found / reference, ``(points,)``; NaN where there are no seizures."""
        return self.found / self.reference if self.reference else np.full(len(self.found), math.nan)

    @property
    def false_alarms_per_24h(self):
        """False alarms scaled to a day, ``(points,)``; it does not always rise, as events also merge."""
        return self.false_alarms / self.hours * 24

    def at(self, false_alarms_per_24h):
        """The most sensitive point with at most so many false alarms, and the one with the fewest of these.

        In h hours one false alarm is 24 / h a day: below that, the limit asks for none at all.

        Returns
        -------
        OperatingPoint
        """
        rate = self.false_alarms_per_24h
        allowed = np.flatnonzero(rate <= false_alarms_per_24h)  # never empty: without events there is no false alarm
        best = allowed[np.lexsort((allowed, self.false_alarms[allowed], -self.found[allowed]))[0]]
        return OperatingPoint(float(self.thresholds[best]), float(self.sensitivity[best]), float(rate[best]))


def sensitivity_at(recordings, false_alarms_per_24h=(10, 5, 2.5, 1), hysteresis=0.08, min_duration=3.0, merge_gap=2.0):
    """The best sensitivity at each limit of false alarms: `ThresholdCurve.at` of the curve over all recordings.

    Parameters are those of `threshold_curve`.

    Returns
    -------
    dict of float to OperatingPoint
        By limit.
    """
    curve = threshold_curve(recordings, hysteresis, min_duration, merge_gap)
    return {limit: curve.at(limit) for limit in false_alarms_per_24h}


def threshold_curve(recordings, hysteresis=0.08, min_duration=3.0, merge_gap=2.0):
    """Count found seizures and false alarms at every threshold.

    Parameters
    ----------
    recordings : iterable of ScoredRecording
        Or of tuples like it. Counts and hours are summed over them; a generator is read once.
    hysteresis : float
        How far an event's lower threshold lies below its upper one, which is the one that is swept.
    min_duration, merge_gap : float
        Of events, s; see `events_from_scores`. With scores closer than 1 s the shortest duration is at least 1 s:
        SzCORE counts whole seconds, and an event within one second may change to another as it grows.

    Returns
    -------
    ThresholdCurve

    Raises
    ------
    ValueError
        If there is no recording, shapes differ, times are not equally spaced or not within the recording, a score is
        +inf, or an option does not fit.
    """
    changes, reference, hours = [], 0, 0.0
    for recording in recordings:
        recording = ScoredRecording(*recording)
        levels = _levels(recording, hysteresis, min_duration, merge_gap)
        seizures = _seizures(recording)
        zone = np.zeros(len(levels), bool)
        for first, end in seizures:
            zone[first:end] = True
        levels = _close(levels, RULES.minDurationBetweenEvents)
        firsts, ends, begins, stops = _runs(levels)
        alarms = _false_alarms(firsts, ends, zone)
        caught = [levels[first:end].max() for first, end in seizures]
        changes += [(begins, 0, alarms), (stops, 0, -alarms), (np.array(caught), 1, 0)]
        reference += len(seizures)
        hours += len(levels) / 3600
    if not changes:
        raise ValueError("no recording; expected at least one")
    return ThresholdCurve(*_counts(changes), reference, hours)


def _counts(changes):
    """Thresholds, found and false alarms from what changes at each level."""
    levels = np.concatenate([level for level, _, _ in changes])
    found = np.concatenate([np.broadcast_to(step, level.shape) for level, step, _ in changes])
    alarms = np.concatenate([np.broadcast_to(step, level.shape) for level, _, step in changes])
    ever = levels > -math.inf
    order = np.flatnonzero(ever)[np.argsort(-levels[ever])]
    levels = levels[order]
    last = np.flatnonzero(np.diff(levels, append=-math.inf))  # of each level
    levels = np.concatenate([[math.inf], levels[last]])
    found, alarms = (np.concatenate([[0], np.cumsum(each[order])[last]]).astype(int) for each in (found, alarms))
    new = np.append(True, (np.diff(found) != 0) | (np.diff(alarms) != 0))
    levels, found, alarms = levels[new], found[new], alarms[new]
    # Counts hold from a level down to the next one. The middle of that is safe from rounding; a level itself is not:
    # (0.3 + 0.08) - 0.08 is not 0.3.
    lowest = 0.0 if levels[-1] > 0 else levels[-1] - 1
    middles = (levels + np.append(levels[1:], lowest)) / 2
    return np.where(np.isinf(levels), levels, middles), found, alarms


def _levels(recording, hysteresis, min_duration, merge_gap):
    """For each whole second the highest upper threshold at which an event covers it; -inf where none ever does."""
    times, scores = np.asarray(recording.times, float), np.asarray(recording.scores, float)
    if times.shape != scores.shape or times.ndim != 1 or not len(times):
        raise ValueError(f"times {times.shape} and scores {scores.shape}; expected two vectors of one length, above 0")
    step = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else 1.0
    if step <= 0 or np.abs(np.diff(times) - step).max(initial=0) > 1e-3 * step:
        raise ValueError("times are not equally spaced; expected the center of each score, one step apart")
    if max(step, min_duration) < 1:
        raise ValueError(f"min_duration is {min_duration} s, scores are {step:g} s apart; expected at least 1 s of one")
    if hysteresis < 0 or merge_gap < 0:
        raise ValueError(f"hysteresis is {hysteresis}, merge_gap {merge_gap}; expected neither below 0")
    if np.isposinf(scores).any():
        raise ValueError("a score is +inf, above every threshold; expected a number")
    edges = times[0] - step / 2 + step * np.arange(len(times) + 1)
    if edges[0] < -ROUNDING * step or edges[-1] > recording.duration + ROUNDING * step:
        raise ValueError(
            f"scores cover {edges[0]:g} to {edges[-1]:g} s; the recording lasts {recording.duration:g} s. Are times "
            "the centers of the scores, in s?"
        )
    levels = _hysteresis(np.where(np.isnan(scores), -math.inf, scores), hysteresis)
    levels = _close(levels, math.floor(merge_gap / step + ROUNDING) + 1)
    levels = _open(levels, math.ceil(min_duration / step - ROUNDING))
    edges = np.floor(edges + ROUNDING * step).astype(int)  # a second is covered where it ends, as fractions are dropped
    seconds = np.full(max(int(recording.duration), edges[-1], 1), -math.inf)
    seconds[edges[0] : edges[-1]] = np.repeat(levels, np.diff(edges))
    return seconds[: max(int(recording.duration), 1)]


def _hysteresis(scores, gap):
    """The highest upper threshold at which each score is in a run: reached by a peak, over nothing lower by the gap.

    That is the reconstruction of the scores under themselves raised by the gap, one pass each way.
    """
    if not gap:
        return scores
    roof = (scores + gap).tolist()
    levels = scores.tolist()
    for order in (range(len(levels)), range(len(levels) - 1, -1, -1)):
        carried = -math.inf
        for index in order:
            carried = min(max(carried, levels[index]), roof[index])
            levels[index] = carried
    return np.array(levels)


def _close(levels, size):
    """Fill what lies between two higher stretches less than `size` apart, up to the lower of them."""
    edge = np.full(size - 1, -math.inf)
    return -_highest(-_highest(np.concatenate([edge, levels, edge]), size), size)


def _open(levels, size):
    """Lower what is no part of a stretch of at least `size`."""
    if size > len(levels):
        return np.full(len(levels), -math.inf)
    size = max(size, 1)
    edge = np.full(size - 1, -math.inf)
    return _highest(np.concatenate([edge, -_highest(-levels, size), edge]), size)


def _highest(values, size):
    """The maximum of each `size` neighbors, ``(n - size + 1,)``; the width doubles with each pass."""
    width = 1
    while width < size:
        more = min(width, size - width)
        values, width = np.maximum(values[:-more], values[more:]), width + more
    return values


def _runs(levels):
    """Each event that there is at some threshold: first second, end, and the levels where it begins and stops to be.

    It stops where a neighbor joins it. One pass with a stack of the runs that are still open to the right.
    """
    starts = np.concatenate([[0], np.flatnonzero(levels[1:] != levels[:-1]) + 1])
    runs, stack = [], []
    heights = [*levels[starts].tolist(), -math.inf]
    for second, height in zip([*starts.tolist(), len(levels)], heights, strict=True):
        first = second
        while stack and stack[-1][1] > height:
            first, top = stack.pop()
            runs.append((first, second, top, max(height, stack[-1][1]) if stack else height))
        if not stack or stack[-1][1] < height:
            stack.append((first, height))
    firsts, ends, begins, stops = np.array(runs, float).reshape(-1, 4).T
    return firsts.astype(int), ends.astype(int), begins, stops


def _false_alarms(firsts, ends, zone):
    """How many of its pieces of at most 300 s each run has that touch no seizure's zone."""
    size = RULES.maxEventDuration
    length = -(-len(zone) // size) * size + size
    touched = np.concatenate([[0], np.cumsum(zone), np.full(length + size, zone.sum())])
    whole = touched[size : size + length] == touched[:length]  # the piece that begins here is a false alarm
    chain = np.cumsum(whole.reshape(-1, size)[::-1], axis=0)[::-1].ravel()  # it and all that follow it
    last = firsts + (ends - firsts - 1) // size * size  # where the last piece begins, which may be shorter
    return chain[firsts] - chain[last] + (touched[ends] == touched[last])


def _seizures(recording):
    """Seconds (first, end) in which a detection finds each seizure, by SzCORE's merging, splitting and tolerance."""
    szcore_event_score(recording.seizures, [], recording.duration)  # its errors for what is no seizure
    seconds = int(recording.duration)
    marked = Annotation(second_mask(recording.seizures, seconds), 1)
    events = EventScoring(marked, marked).ref.events
    before, after = RULES.toleranceStart, RULES.toleranceEnd
    return [(max(0, round(onset - before)), min(seconds, round(end + after))) for onset, end in events]
