"""Events and scores against a reference: plain overlap, the SzCORE event score, and the area under the ROC curve.

The SzCORE rules are those of timescoring, the library of their authors; this module states its inputs and outputs in
seconds and adds nothing to the rules.
"""

from dataclasses import dataclass

import numpy as np
from timescoring.annotations import Annotation
from timescoring.scoring import EventScoring

__all__ = ["EventScore", "auroc", "overlap_score", "szcore_event_score"]


@dataclass(frozen=True)
class EventScore:
    """Counts of events, and what follows from them."""

    rules: str
    reference: int  # events in the reference, after the rules' merging and splitting
    found: int
    false_alarms: int
    hours: float

    @property
    def sensitivity(self):
        """found / reference; NaN where the reference has none."""
        return self.found / self.reference if self.reference else float("nan")

    @property
    def false_alarms_per_24h(self):
        """False alarms scaled to a day; for a short recording a small count becomes a large rate."""
        return self.false_alarms / self.hours * 24


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
    """

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

    Parameters and returns are those of `overlap_score`. Both lists are rasterized at 1 Hz first, as SzCORE does it.

    Notes
    -----
    Source: timescoring 0.0.7, ``EventScoring``; Dan et al. 2024, SzCORE.
    """
    seconds = round(duration)
    score = EventScoring(_annotation(reference, seconds), _annotation(hypothesis, seconds))
    return EventScore("SzCORE", score.refTrue, score.tp, score.fp, seconds / 3600)


def auroc(labels, scores):
    """Area under the ROC curve: the chance that a score inside an event exceeds one outside; ties count half.

    Parameters
    ----------
    labels : ndarray of bool, (n,)
    scores : ndarray, (n,)

    Returns
    -------
    float
        NaN where all labels are equal.
    """
    labels, scores = np.asarray(labels, bool), np.asarray(scores, float)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape}; expected two vectors of one length")
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN; a NaN has no rank")
    inside, outside = np.sort(scores[labels]), np.sort(scores[~labels])
    if not len(inside) or not len(outside):
        return float("nan")
    below = np.searchsorted(outside, inside, side="left").sum()
    ties = np.searchsorted(outside, inside, side="right").sum() - below
    return float((below + ties / 2) / (len(inside) * len(outside)))


def _annotation(events, seconds):
    mask = np.zeros(seconds, bool)
    for onset, end in events:
        first = min(max(round(onset), 0), seconds - 1)  # an event in the last half second is one, too
        mask[first : max(round(end), first + 1)] = True
    return Annotation(mask, 1)
