"""How well scores are in order before any threshold: the areas under the ROC and the precision-recall curve.

Both look at the order of the scores only. Whether a score of 0.8 means 80 % is asked in `helpers.scoring.calibration`.
"""

import math

import numpy as np

__all__ = ["auprc", "auroc"]


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

    Raises
    ------
    ValueError
        If the shapes differ or a score is NaN.
    """
    labels, scores = checked(labels, scores)
    inside, outside = np.sort(scores[labels]), np.sort(scores[~labels])
    if not len(inside) or not len(outside):
        return math.nan
    below = np.searchsorted(outside, inside, side="left").sum()
    ties = np.searchsorted(outside, inside, side="right").sum() - below
    return float((below + ties / 2) / (len(inside) * len(outside)))


def auprc(labels, scores):
    """Area under the precision-recall curve as average precision: the mean precision at which each positive is reached.

    Between thresholds nothing is interpolated, and equal scores are one threshold, so that their order does not matter.
    A coin scores the fraction of positives, not 0.5.

    Parameters, returns and errors are those of `auroc`; NaN where no label is positive.

    Notes
    -----
    sum over thresholds of (R_n - R_{n-1}) P_n, as in scikit-learn's ``average_precision_score``.
    """
    labels, scores = checked(labels, scores)
    if not labels.any():
        return math.nan
    order = np.argsort(-scores, kind="stable")
    labels, scores = labels[order], scores[order]
    last = np.append(np.flatnonzero(scores[1:] != scores[:-1]), len(scores) - 1)  # of each group of equal scores
    found = np.cumsum(labels)[last]
    recall, precision = found / labels.sum(), found / (last + 1)
    return float(np.sum(np.diff(recall, prepend=0) * precision))


def checked(labels, scores):
    """Labels as bool and scores as float, both ``(n,)``; a ValueError where that cannot be."""
    labels, scores = np.asarray(labels, bool), np.asarray(scores, float)
    if labels.shape != scores.shape or labels.ndim != 1:
        raise ValueError(f"labels {labels.shape} and scores {scores.shape}; expected two vectors of one length")
    if np.isnan(scores).any():
        raise ValueError(f"{int(np.isnan(scores).sum())} of {len(scores)} scores are NaN; a NaN has no rank")
    return labels, scores
