"""From counts of recordings to a figure for a corpus: summed within a subject, then a plain mean over subjects.

So each subject counts alike, whether one hour was recorded or a week. A subject for whom a ratio is undefined (NaN) is
left out of that ratio's mean, and the mean says how many it is over.
"""

import math
from typing import NamedTuple

import numpy as np

__all__ = ["METRICS", "SubjectMean", "mean_over_subjects", "pool"]

METRICS = ("sensitivity", "precision", "f1", "f1_before_0_0_7", "false_alarms_per_24h")
"""Of an `EventScore`; those that are averaged."""


class SubjectMean(NamedTuple):
    """Mean and standard deviation over subjects, and how many of them had a value."""

    mean: float
    std: float
    subjects: int


def pool(scores):
    """One score with the summed counts and hours of several by the same rules.

    Parameters
    ----------
    scores : iterable of EventScore or SampleScore
        At least one.
    """
    scores = list(scores)
    if len({score.rules for score in scores}) != 1:
        raise ValueError(f"{len(scores)} scores by the rules {sorted({score.rules for score in scores})}; expected one")
    sums = (sum(getattr(score, name) for score in scores) for name in ("reference", "found", "false_alarms", "hours"))
    return type(scores[0])(scores[0].rules, *sums)


def mean_over_subjects(scores):
    """The unweighted mean of each metric, as szcore-evaluation computes it.

    Parameters
    ----------
    scores : dict of str to EventScore
        By subject; `pool` makes one of several recordings.

    Returns
    -------
    dict of str to SubjectMean
        By name in `METRICS`. The standard deviation is that of the subjects themselves (no n - 1).
    """
    means = {}
    for name in METRICS:
        values = np.array([getattr(score, name) for score in scores.values()], float)
        values = values[~np.isnan(values)]
        mean, std = (float(values.mean()), float(values.std())) if len(values) else (math.nan, math.nan)
        means[name] = SubjectMean(mean, std, len(values))
    return means
