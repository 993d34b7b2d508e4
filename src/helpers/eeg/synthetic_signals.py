"""One synthetic recording put together: ongoing activity, seizures, hard negatives, artifacts, in 16-bit samples.

Every part has random numbers of its own, so that each depends on (seed, subject, recording) and not on the others.
"""

from typing import NamedTuple

import numpy as np

from helpers.eeg.synthetic_artifacts import add_artifacts
from helpers.eeg.synthetic_background import draw_background
from helpers.eeg.synthetic_mimics import add_mimic
from helpers.eeg.synthetic_schedule import SEIZURE, draw_schedule
from helpers.eeg.synthetic_seizures import add_seizure
from helpers.eeg.synthetic_subjects import Subject, draw_subject, stream

__all__ = ["STEP", "Drawn", "check_whole", "draw_signals"]

STEP = 0.1
"""µV; one step of a sample, so that 16 bits reach from -3276.8 to 3276.7 µV."""

_MINUTES = (3.0, 1440.0)  # room for a seizure and a hard negative, and a day
_LOWEST = 100  # Hz


class Drawn(NamedTuple):
    """A synthetic recording before it becomes a file or a Raw.

    Attributes
    ----------
    samples : ndarray, (19, n), int16
        In steps of `STEP` µV, channels in the order of `CANONICAL`.
    episodes : list of Episode
    subject : Subject
    """

    samples: np.ndarray
    episodes: list
    subject: Subject


def draw_signals(seed, subject, recording, minutes, sfreq, line):
    """Draw a recording; arguments and errors are those of `helpers.eeg.synthetic.draw_recording`."""
    check_whole(seed=(seed, 0), subject=(subject, 1), recording=(recording, 1), sfreq=(sfreq, _LOWEST))
    if not _MINUTES[0] <= minutes <= _MINUTES[1]:
        raise ValueError(f"minutes is {minutes}; expected {_MINUTES[0]:g} (room for a seizure) to {_MINUTES[1]:g}.")
    sfreq = int(sfreq)
    who, n = draw_subject(seed, subject), round(60 * minutes) * sfreq
    episodes = draw_schedule(stream(seed, subject, recording, 1), who, n / sfreq, recording == 1)
    signals = draw_background(stream(seed, subject, recording, 2), who, n, sfreq)
    for number, episode in enumerate(episodes):
        random = stream(seed, subject, recording, 4 + number)
        first, length = round(episode.onset * sfreq), round(episode.duration * sfreq)
        if episode.name == SEIZURE:
            add_seizure(signals, random, who, sfreq, first, length)
        else:
            add_mimic(signals, random, who, sfreq, episode.name, first, length)
    add_artifacts(signals, stream(seed, subject, recording, 3), who, sfreq, line)
    signals /= STEP
    np.rint(signals, out=signals)
    return Drawn(np.clip(signals, -32768, 32767, out=signals).astype(np.int16), episodes, who)


def check_whole(**numbers):
    """Raise a ValueError for a number that is not whole or too low; each is (number, lowest), by its name."""
    for name, (number, least) in numbers.items():
        if number != round(number) or number < least:
            raise ValueError(f"{name} is {number}; expected a whole number of at least {least}.")
