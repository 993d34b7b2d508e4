"""Whether probabilities mean what they say: among all seconds scored 0.8, are 80 % ictal?

The order of scores is another question, for `helpers.scoring.ranking`: probabilities can be in perfect order and far
from calibrated.
"""

import math
from dataclasses import dataclass

import numpy as np

from helpers.scoring.ranking import checked

__all__ = ["Calibration", "calibration"]


@dataclass(frozen=True)
class Calibration:
    """The reliability curve of probabilities, and two numbers for it.

    Attributes
    ----------
    edges : ndarray, (bins + 1,)
        A bin holds its lower edge; the last one holds its upper edge too.
    counts : ndarray of int, (bins,)
    predicted, observed : ndarray, (bins,)
        Mean probability and fraction of positives in each bin; NaN in an empty one.
    ece : float
        Expected calibration error: mean of ``abs(predicted - observed)`` over all scores. It depends on the bins.
    brier : float
        Mean of ``(probability - label)**2``; no bins. Always answering the fraction f of positives scores f (1 - f).
    """

    edges: np.ndarray
    counts: np.ndarray
    predicted: np.ndarray
    observed: np.ndarray
    ece: float
    brier: float


def calibration(labels, probabilities, bins=10):
    """Compare probabilities with how often they come true.

    Parameters
    ----------
    labels : ndarray of bool, (n,)
    probabilities : ndarray, (n,)
        Between 0 and 1.
    bins : int or sequence of float
        A number of bins of equal width, or their edges from 0 to 1. Where seizures are rare nearly all scores fall into
        the lowest of ten bins; edges such as 0, 0.001, 0.01, 0.1, 1 look into it.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If the shapes differ, nothing is there, or a probability is outside [0, 1] or NaN; if edges do not rise from 0
        to 1.
    """
    labels, probabilities = checked(labels, probabilities)
    if not len(labels):
        raise ValueError("no scores; expected at least one")
    if probabilities.min() < 0 or probabilities.max() > 1:
        raise ValueError(
            f"scores from {probabilities.min():g} to {probabilities.max():g}; expected probabilities between 0 and 1. "
            "Logits become probabilities through a sigmoid."
        )
    edges = np.linspace(0, 1, bins + 1) if np.ndim(bins) == 0 else np.asarray(bins, float)
    if len(edges) < 2 or edges[0] != 0 or edges[-1] != 1 or (np.diff(edges) <= 0).any():
        raise ValueError(f"bins {bins}; expected a number above 0, or edges that rise from 0 to 1")
    here = np.clip(np.searchsorted(edges, probabilities, side="right") - 1, 0, len(edges) - 2)
    counts = np.bincount(here, minlength=len(edges) - 1)
    sums = [np.bincount(here, values, minlength=len(edges) - 1) for values in (probabilities, labels)]
    predicted, observed = (
        np.divide(each, counts, out=np.full(len(counts), math.nan), where=counts > 0) for each in sums
    )
    return Calibration(
        edges=edges,
        counts=counts,
        predicted=predicted,
        observed=observed,
        ece=float(np.abs(sums[0] - sums[1]).sum() / len(labels)),
        brier=float(np.mean((probabilities - labels) ** 2)),
    )
