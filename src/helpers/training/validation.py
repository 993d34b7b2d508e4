"""What a validation says of the detector: sensitivity at rates of false alarms, and how well its scores are in order.

Scores of windows come in; they are put together to one line for each recording before anything is counted. The rules
are those of `helpers.scoring`.
"""

import numpy as np

from helpers.eeg import labels_of
from helpers.scoring import ScoredRecording, auroc, sensitivity_at, stitch
from helpers.training.data import RATE

__all__ = ["FALSE_ALARMS", "merit", "validate"]

FALSE_ALARMS = (10, 5, 2.5, 1)
"""Rates per 24 h at which the sensitivity is given; the first one decides what is better."""


def validate(recordings, windows, seconds):
    """Score the validation recordings.

    Parameters
    ----------
    recordings : sequence of StoredRecording
    windows : sequence of (id, start)
        Start is a whole second, in samples; the windows of a recording follow one another.
    seconds : ndarray, (windows, 60)
        Probability for each second of each window.

    Returns
    -------
    dict of str to float
        ``auroc`` over all seconds (a second is ictal where its center lies in a seizure), and ``sensitivity_at_10``,
        ``_5``, ``_2.5`` and ``_1``: by SzCORE's events, at the best threshold with at most so many false alarms a day,
        chosen on these very recordings. So they compare epochs; they are no estimate for other recordings.
    """
    ids = np.array([id for id, _ in windows])
    starts = np.array([start // RATE for _, start in windows])
    scored, labels = [], []
    for recording in recordings:
        inside = ids == recording.id
        length = recording.n_samples // RATE  # the rest of a second has no score
        scores = stitch(seconds[inside], starts[inside], length)
        times, seizures = np.arange(length) + 0.5, list(recording.seizures)
        scored.append(ScoredRecording(times, scores, seizures, recording.duration))
        labels.append(labels_of(recording.seizures, n=length * RATE)[RATE // 2 :: RATE] > 0)
    points = sensitivity_at(scored, FALSE_ALARMS)
    figures = {"auroc": auroc(np.concatenate(labels), np.concatenate([one.scores for one in scored]))}
    return figures | {f"sensitivity_at_{limit:g}": points[limit].sensitivity for limit in FALSE_ALARMS}


def merit(figures):
    """What makes one validation better than another: sensitivity at 10 false alarms a day, then a lower loss.

    A sensitivity takes few values, one more than there are seizures, so that epochs often share one.

    Returns
    -------
    tuple of float
        The better one is greater.
    """
    return figures[f"sensitivity_at_{FALSE_ALARMS[0]:g}"], -figures["loss"]
