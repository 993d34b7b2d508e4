"""When something happens in a synthetic recording: seizures and hard negatives, in seconds, never two at once."""

from typing import NamedTuple

import numpy as np

from helpers.eeg.synthetic_mimics import MIMICS

__all__ = ["Episode", "draw_schedule"]

SEIZURE = "seizure"
_EVERY = 480.0  # s; a seizure so often, on average
_MIMIC_EVERY = 130.0  # s; a hard negative so often
_MARGIN = 10.0  # s at both ends, and the least between two episodes
_APART = 95.0  # s from a seizure to the next episode: SzCORE takes seizures under 90 s apart for one


class Episode(NamedTuple):
    """A stretch of a recording, in s, and what happens in it: ``"seizure"`` or a key of `MIMICS`."""

    name: str
    onset: float
    duration: float


def draw_schedule(random, subject, seconds, first):
    """Seizures and hard negatives of one recording.

    Parameters
    ----------
    random : numpy.random.Generator
    subject : Subject
    seconds : float
        Length of the recording.
    first : bool
        Whether there has to be a seizure; otherwise there may be none.

    Returns
    -------
    list of Episode
        By onset; times are multiples of 1/100 s.
    """
    shortest, longest = subject.kind.seconds
    seizures = max(int(first), random.poisson(seconds / _EVERY))
    mimics = round(seconds / _MIMIC_EVERY)

    def least():  # s that the episodes need, the mimics as long as the longest of the shortest
        return seizures * (shortest + _APART) + mimics * (30.0 + _MARGIN) + _MARGIN

    while seizures > first and least() > seconds:  # which leaves fewer seizures than mimics, or one of each
        seizures -= 1
    while mimics > 1 and least() > seconds:
        mimics -= 1
    names = [SEIZURE] * seizures + list(random.choice(list(MIMICS), mimics))
    random.shuffle(names)
    spans = np.array([(shortest, longest) if name == SEIZURE else MIMICS[name].seconds for name in names])
    gaps = np.array([_MARGIN, *(_APART if name == SEIZURE else _MARGIN for name in names)])
    gaps[-1] = _MARGIN
    longer = random.random(len(names)) * (spans[:, 1] - spans[:, 0])  # than the shortest
    longer *= _share(seconds - gaps.sum() - spans[:, 0].sum(), longer)
    durations = spans[:, 0] + longer
    gaps = _MARGIN + (gaps - _MARGIN) * _share(seconds - _MARGIN * len(gaps) - durations.sum(), gaps - _MARGIN)
    gaps += random.dirichlet(np.ones(len(gaps))) * (seconds - durations.sum() - gaps.sum())
    onsets = np.cumsum(gaps[:-1]) + np.cumsum(durations) - durations
    return [
        Episode(str(name), round(float(onset), 2), round(float(duration), 2))
        for name, onset, duration in zip(names, onsets, durations, strict=True)
    ]


def _share(room, wishes):
    """The part of each wish that can be had where all share the room."""
    return float(np.clip(room / wishes.sum(), 0, 1)) if wishes.any() else 0.0
