"""Synthetic seizures: a rhythm with a focus that slows down, grows and spreads, and the slow waves after it.

What looks like one for some seconds and is none is in `helpers.eeg.synthetic_mimics`.
"""

import numpy as np

from helpers.eeg.synthetic_head import distances_from, falloff
from helpers.eeg.synthetic_rhythms import colored_noise, rhythm, rise_and_fall, wander

__all__ = ["add_seizure"]

_DELAY = 0.004  # s/cm; how much later a seizure's wave reaches a more distant electrode


def add_seizure(signals, random, subject, sfreq, first, n):
    """Add a seizure of the subject's kind to the signals in place, and slow waves behind it.

    Parameters
    ----------
    signals : ndarray, (19, samples), float32
        µV.
    random : numpy.random.Generator
    subject : Subject
    sfreq : float
        Hz.
    first, n : int
        First sample and number of samples.
    """
    kind = subject.kind
    progress = np.linspace(0, 1, n)
    start, end = (kind.first * random.uniform(0.85, 1.15), kind.last * random.uniform(0.85, 1.15))
    frequency = start * (end / start) ** (progress ** random.uniform(0.7, 1.2))
    distance = distances_from(subject.focus)
    wave = rhythm(random, frequency, _DELAY * distance, sfreq, kind.shape)  # (19, n)
    width = kind.width[0] + (kind.width[1] - kind.width[0]) * progress ** random.uniform(0.8, 1.6)
    spread = np.exp(-((distance[:, None] / width) ** 2) / 2)  # (19, n)
    size = subject.background * random.uniform(2.0, 3.8)
    growth = 0.35 + 0.65 * progress ** random.uniform(0.6, 1.1)
    growth *= np.exp(0.2 * wander(random, n, sfreq, 1.5)) * rise_and_fall(n, sfreq, sfreq)
    signals[:, first : first + n] += (size * growth * spread * wave).astype(np.float32)
    _add_slow_waves(signals, random, subject, sfreq, first + n)


def _add_slow_waves(signals, random, subject, sfreq, first):
    """Irregular slow waves around the focus after the end, fading."""
    part = signals[:, first : first + round(random.uniform(15, 45) * sfreq)]
    n = part.shape[1]
    if n > sfreq:
        slow = colored_noise(random, n, sfreq, lambda f: np.exp(-(((f - 1.8) / 1.0) ** 2)))
        fading = rise_and_fall(n, sfreq, sfreq) * np.exp(-2.5 * np.linspace(0, 1, n))
        size = subject.background * random.uniform(0.8, 1.6)
        part += falloff(subject.focus, 6.0)[:, None] * (size * fading * slow).astype(np.float32)
