"""Faults of the reference detector's evaluation, each as it was, with the right number beside the wrong one.

For chapter 12: nothing in this workbook computes a score with them, and `helpers.scoring` does not export them. What
they have in common is that no run fails; only the number is wrong. Source: ``brain-go-brr-v2`` v2.1.0,
``eval/metrics.py`` and ``post/postprocess.py``.
"""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from helpers.scoring.calibration import calibration
from helpers.scoring.events import events_from_scores, stretches
from helpers.scoring.ranking import checked
from helpers.scoring.scores import overlap_score, szcore_event_score
from helpers.scoring.stitching import stitch
from helpers.scoring.summary import pool
from helpers.scoring.sweep import OperatingPoint, ScoredRecording, sensitivity_at

__all__ = [
    "Beside",
    "alarms_by_window",
    "bisected_sensitivity",
    "closing",
    "ece_without_zeros",
    "events_on_one_axis",
    "home_made_taes",
    "opening",
    "reference_mask",
    "stitched_as_one",
    "unused_threshold",
]

HYSTERESIS_GAP, MIN_DURATION, MERGE_GAP = 0.08, 3.0, 2.0  # of the reference; the last two in s


class Beside(NamedTuple):
    """The wrong number and the right one, of the same data."""

    wrong: Any
    right: Any


def alarms_by_window(reference, hypothesis, duration, window=60.0, stride=10.0):
    """False alarms per 24 h, counted in each of the overlapping windows, but over hours that are counted once.

    One false alarm lies in six or seven windows of 60 s, 10 s apart, and counts as many times. A detection that begins
    before a seizure is a false alarm, too, in each window that ends before the seizure.

    Parameters
    ----------
    reference, hypothesis : list of (onset, end)
        In s.
    duration : float
        Of the recording, s.
    window, stride : float
        In s.

    Returns
    -------
    Beside
        Of false alarms per 24 h; right is `overlap_score`.
    """
    alarms, starts = 0, np.arange(0, duration - window + stride / 2, stride)
    for start in starts:
        truth, guess = (_cut(events, start, start + window) for events in (reference, hypothesis))
        alarms += overlap_score(truth, guess, window).false_alarms
    hours = ((len(starts) - 1) * stride + window) / 3600
    return Beside(alarms / hours * 24, overlap_score(reference, hypothesis, duration).false_alarms_per_24h)


def home_made_taes(reference, hypothesis, alpha=0.15):
    """A score that was published under the name of TAES and is another.

    Mean over seizures of the covered fraction, minus `alpha` times the fraction of the detected time that lies in
    detections without any overlap. The Time-Aligned Event Scoring of NEDC counts fractions of hits, misses and false
    alarms. This one cannot fall far: a detector that answers "seizure" from start to end scores 1, as its one event
    overlaps a seizure; false alarms in all other places cost 0.15 at most.

    Parameters
    ----------
    reference, hypothesis : list of (onset, end)
        In s.

    Returns
    -------
    float
        Between 0 and 1; 0 without seizures.
    """
    lengths = [end - onset for onset, end in reference]
    covered = [sum(_shared(event, other) for other in hypothesis) for event in reference]
    parts = [min(1.0, part / length) for part, length in zip(covered, lengths, strict=True) if length > 0]
    if not parts:
        return 0.0
    detected = sum(end - onset for onset, end in hypothesis)
    apart = sum(
        end - onset for onset, end in hypothesis if not any(_shared((onset, end), event) for event in reference)
    )
    return float(np.clip(np.mean(parts) - (alpha * apart / detected if detected else 0), 0, 1))


def events_on_one_axis(reference, hypothesis, starts):
    """`home_made_taes` of events whose windows were forgotten: every time counts from the start of its own window.

    So a missed seizure in one window and a false alarm at the same place in another make a hit.

    Parameters
    ----------
    reference, hypothesis : list of list of (onset, end)
        By window, in s from its start.
    starts : sequence of float
        Of the windows in the recording, s.

    Returns
    -------
    Beside
    """
    pooled = [[event for events in windows for event in events] for windows in (reference, hypothesis)]
    placed = [
        [(start + onset, start + end) for start, events in zip(starts, windows, strict=True) for onset, end in events]
        for windows in (reference, hypothesis)
    ]
    return Beside(home_made_taes(*pooled), home_made_taes(*placed))


def unused_threshold(recordings, limits=(10, 5, 2.5, 1), on=0.86, off=0.78):
    """Sensitivity at each limit of false alarms, with a threshold that is searched for and then not used.

    The detection takes its thresholds from the configuration and passes over the one that it is given. So the curve is
    flat: it is the sensitivity at `on` and `off`, whatever the limit.

    Parameters
    ----------
    recordings : list of ScoredRecording
    limits : sequence of float
        False alarms per 24 h.

    Returns
    -------
    dict of float to Beside
        By limit, of `OperatingPoint`: the wrong one with the false alarms that it really has.
    """
    right = sensitivity_at(recordings, limits, HYSTERESIS_GAP, MIN_DURATION, MERGE_GAP)
    fixed = _operate(recordings, on, off)
    return {limit: Beside(fixed, right[limit]) for limit in limits}


def bisected_sensitivity(recordings, limits=(10, 5, 2.5, 1), steps=10):
    """Sensitivity at a threshold that is found by halving [0.08, 1] ten times, beside the best there is.

    Halving asks that false alarms rise as the threshold falls, but they also merge; it sees no threshold between two
    that are a thousandth apart, where the scores of a confident network lie; and where it finds none it answers 0.86.

    Parameters and returns are those of `unused_threshold`.
    """
    right = sensitivity_at(recordings, limits, HYSTERESIS_GAP, MIN_DURATION, MERGE_GAP)
    points = {}
    for limit in limits:
        low, high, best = HYSTERESIS_GAP, 1.0, 0.86
        for _ in range(steps):
            middle = (low + high) / 2
            if _operate(recordings, middle, middle - HYSTERESIS_GAP).false_alarms_per_24h > limit:
                low = middle
            else:
                best = high = middle
        points[limit] = Beside(_operate(recordings, best, best - HYSTERESIS_GAP), right[limit])
    return points


def stitched_as_one(recordings, stride):
    """The windows of several recordings, numbered through and stitched as if they were of one.

    The last windows of a recording are averaged with the first of the next. The line is shorter than the recordings
    together, so the hours are too few as well.

    Parameters
    ----------
    recordings : list of ndarray, (windows, window)
        Scores by window of each recording.
    stride : int
        Samples between the starts of windows.

    Returns
    -------
    Beside
        Of lines: one ``(samples,)``, and a list with the line of each recording.
    """

    def line(windows):
        starts = stride * np.arange(len(windows))
        return stitch(windows, starts, starts[-1] + windows.shape[1])

    return Beside(line(np.concatenate(recordings)), [line(windows) for windows in recordings])


def ece_without_zeros(labels, probabilities, bins=10):
    """Calibration error with bins that are open below: a probability of exactly 0 is in none of them.

    Parameters are those of `calibration`, with a number of bins.

    Returns
    -------
    Beside
        Right is the ``ece`` of `calibration`.
    """
    labels, probabilities = checked(labels, probabilities)
    error, edges = 0.0, np.linspace(0, 1, bins + 1)
    for low, high in pairwise(edges):
        here = (probabilities > low) & (probabilities <= high)
        if here.any():
            error += abs(probabilities[here].mean() - labels[here].mean()) * here.mean()
    return Beside(float(error), calibration(labels, probabilities, bins).ece)


def reference_mask(scores, on=0.86, off=0.78, min_on=128, min_off=256):
    """The reference's hysteresis on single samples: which of them lie in an event, before `opening` and `closing`.

    An event begins with the first of `min_on` samples at or above `on`, and ends where the last of `min_off` samples
    below `off` is reached. At 256 Hz the defaults are half a second and one. So no event is shorter than `min_on`.

    Parameters
    ----------
    scores : ndarray, (n,)

    Returns
    -------
    ndarray of bool, (n,)
    """
    scores, mask = np.asarray(scores, float), np.zeros(len(scores), bool)
    onsets = [first for first, last in stretches(scores >= on) if last - first + 1 >= min_on]
    ends = [first + min_off - 1 for first, last in stretches(~(scores >= off)) if last - first + 1 >= min_off]
    for onset in onsets:
        mask[onset : next((end for end in ends if end > onset), len(scores))] = True
    return mask


def opening(mask, size=11):
    """Remove stretches shorter than `size` samples: erosion, then dilation.

    After `reference_mask` it does nothing, because nothing shorter is there: a step that cannot change anything.

    Parameters
    ----------
    mask : ndarray of bool, (n,)
    size : int
        Odd. At the two ends of the mask half of it is enough, as what is outside is ignored.

    Returns
    -------
    ndarray of bool, (n,)
    """
    return ~_eroded(~_eroded(np.asarray(mask, bool), size), size)


def closing(mask, size=31):
    """Fill gaps shorter than `size` samples: dilation, then erosion.

    At 256 Hz, 31 samples are 0.12 s; merging events up to 2 s apart fills these gaps anyway. Parameters and returns are
    those of `opening`.
    """
    return _eroded(~_eroded(~np.asarray(mask, bool), size), size)


def _operate(recordings, on, off):
    scores = []
    for times, line, seizures, duration in (ScoredRecording(*recording) for recording in recordings):
        events = events_from_scores(times, line, on, off, min_duration=MIN_DURATION, merge_gap=MERGE_GAP)
        scores.append(szcore_event_score(seizures, [(event.onset, event.end) for event in events], duration))
    score = pool(scores)
    return OperatingPoint(on, score.sensitivity, score.false_alarms_per_24h)


def _cut(events, start, end):
    """What of the events lies between two times, counted from the first."""
    return [(max(a, start) - start, min(b, end) - start) for a, b in events if a < end and b > start]


def _shared(one, other):
    """Seconds that two events have in common."""
    return max(0.0, min(one[1], other[1]) - max(one[0], other[0]))


def _eroded(mask, size):
    """True where all neighbors within half of `size` are; those outside of the mask are not asked."""
    gaps = np.concatenate([[0], np.cumsum(~mask)])
    center, half = np.arange(len(mask)), size // 2
    return gaps[np.minimum(center + half + 1, len(mask))] == gaps[np.maximum(center - half, 0)]
