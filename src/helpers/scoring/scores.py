"""Events against a reference: what is found, what is false, and the ratios that follow from the counts.

The SzCORE rules are those of timescoring, the library of their authors; this module states its inputs and outputs in
seconds and adds nothing to the rules. Scores before they become events are compared in `helpers.scoring.ranking`.
"""

import math
from dataclasses import dataclass

import numpy as np
from timescoring.annotations import Annotation
from timescoring.scoring import EventScoring, SampleScoring

from helpers.scoring.errors import ScoringError

__all__ = [
    "F1_CONVENTIONS",
    "EventScore",
    "SampleScore",
    "f1",
    "overlap_score",
    "szcore_event_score",
    "szcore_sample_score",
]

F1_CONVENTIONS = ("from 0.0.7", "before 0.0.7")
"""Two definitions, by the version of timescoring that brought the present one (16 January 2026); see `f1`."""

PAST_END = 1.0  # s that an event may reach beyond the recording: durations are rounded when they are written


@dataclass(frozen=True)
class EventScore:
    """Counts of events, and what follows from them. Ratios without a denominator are NaN."""

    rules: str
    reference: int  # events in the reference, after the rules' merging and splitting
    found: int
    false_alarms: int
    hours: float

    @property
    def sensitivity(self):
        """found / reference; NaN where the reference has none."""
        return self.found / self.reference if self.reference else math.nan

    @property
    def precision(self):
        """found / (found + false alarms), as timescoring has it; NaN where nothing was detected."""
        detected = self.found + self.false_alarms
        return self.found / detected if detected else math.nan

    @property
    def f1(self):
        """`f1` by the present convention."""
        return f1(self.found, self.false_alarms, self.reference)

    @property
    def f1_before_0_0_7(self):
        """`f1` by the convention of older publications, NaN for a silent detector."""
        return f1(self.found, self.false_alarms, self.reference, "before 0.0.7")

    @property
    def false_alarms_per_24h(self):
        """False alarms scaled to a day; for a short recording a small count becomes a large rate."""
        return self.false_alarms / self.hours * 24


@dataclass(frozen=True)
class SampleScore(EventScore):
    """The same counts in seconds instead of events."""


def f1(found, false_alarms, reference, convention="from 0.0.7"):
    """Harmonic mean of sensitivity and precision.

    Parameters
    ----------
    found, false_alarms, reference : int
        Counts of an `EventScore`.
    convention : {"from 0.0.7", "before 0.0.7"}
        What it is where one of the two ratios has no denominator. The present one: 0 where seizures were all missed in
        silence, and 0 where there were none and something was detected. The older one: NaN in both cases, which a mean
        that skips NaN does not count, so that it pays to be silent. Both: NaN without seizures and without detections.

    Returns
    -------
    float

    Notes
    -----
    Source: timescoring 0.0.7 and 0.0.6, ``_Scoring.computeScores``.
    """
    if convention not in F1_CONVENTIONS:
        raise ValueError(f"convention {convention!r}; expected one of {', '.join(map(repr, F1_CONVENTIONS))}")
    undefined = not reference or not found + false_alarms
    if (undefined and convention == "before 0.0.7") or not reference + false_alarms:
        return math.nan
    return 2 * found / (found + false_alarms + reference)


def overlap_score(reference, hypothesis, duration):
    """Any overlap counts: no tolerance, no merging.

    Parameters
    ----------
    reference, hypothesis : list of (onset, end)
        In s.
    duration : float
        Of the recording, s.

    Returns
    -------
    EventScore

    Raises
    ------
    ScoringError
        If an event ends before it begins, begins outside the recording, or ends more than 1 s after it.
    """
    _check(reference, hypothesis, duration)

    def touches(event, others):
        return any(event[0] < end and onset < event[1] for onset, end in others)

    return EventScore(
        rules="overlap",
        reference=len(reference),
        found=sum(touches(event, hypothesis) for event in reference),
        false_alarms=sum(not touches(event, reference) for event in hypothesis),
        hours=duration / 3600,
    )


def szcore_event_score(reference, hypothesis, duration):
    """The SzCORE event score: events under 90 s apart are one, 30 s before and 60 s after a seizure are tolerated.

    Parameters, returns and errors are those of `overlap_score`. Events longer than 300 s are split. Both lists are
    first laid on a grid of whole seconds as szcore-evaluation does it: onset and end lose their fraction. An event
    within one second keeps that second here; there it is lost.

    Notes
    -----
    Source: timescoring 0.0.7, ``EventScoring``; Dan et al. 2024, SzCORE.
    """
    reference, hypothesis = _annotations(reference, hypothesis, duration)
    score = EventScoring(reference, hypothesis)
    return EventScore("SzCORE", score.refTrue, score.tp, score.fp, len(reference.mask) / 3600)


def szcore_sample_score(reference, hypothesis, duration):
    """The SzCORE sample score: each second for itself, no tolerance, no merging.

    Parameters, errors and the grid are those of `szcore_event_score`.

    Returns
    -------
    SampleScore
        Counts are seconds.

    Notes
    -----
    Source: timescoring 0.0.7, ``SampleScoring`` at 1 Hz; Dan et al. 2024, SzCORE.
    """
    reference, hypothesis = _annotations(reference, hypothesis, duration)
    score = SampleScoring(reference, hypothesis)
    return SampleScore(
        "SzCORE, by second", int(score.refTrue), int(score.tp), int(score.fp), len(reference.mask) / 3600
    )


def _annotations(reference, hypothesis, duration):
    _check(reference, hypothesis, duration)
    if duration < 1:
        raise ScoringError(f"the recording lasts {duration} s; SzCORE counts whole seconds. Score a longer one.")
    return [Annotation(second_mask(events, int(duration)), 1) for events in (reference, hypothesis)]


def second_mask(events, seconds):
    """Which whole seconds lie in an event: the grid of SzCORE, ``(seconds,)`` of bool."""
    mask = np.zeros(seconds, bool)
    for onset, end in events:
        first = min(int(onset), seconds - 1)  # an event in the last part of a second is one, too
        mask[first : max(int(end), first + 1)] = True
    return mask


def _check(reference, hypothesis, duration):
    if not 0 < duration < math.inf:
        raise ScoringError(f"the recording lasts {duration} s; expected its duration in s, above 0.")
    for name, events in (("reference", reference), ("hypothesis", hypothesis)):
        for onset, end in events:
            if fault := event_fault(onset, end, duration):
                raise ScoringError(f"{name}: {fault}")


def event_fault(onset, end, duration):
    """What is wrong with an event in a recording of `duration`, in words; None where nothing is."""
    if not (math.isfinite(onset) and math.isfinite(end)):
        return f"an event from {onset} to {end} s; expected numbers."
    if end < onset:
        return f"an event from {onset:g} to {end:g} s ends before it begins; expected onset <= end, in s."
    if onset < 0 or onset >= duration or end > duration + PAST_END:
        return (
            f"an event from {onset:g} to {end:g} s lies outside the recording, which lasts {duration:g} s; expected "
            "both within it. Is the duration that of this recording, and is the unit seconds?"
        )
    return None
