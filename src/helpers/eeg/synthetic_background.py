"""The ongoing activity of synthetic EEG: 1/f noise that neighbors share, a posterior alpha rhythm, drowsiness.

No artifacts and no seizures here.
"""

import numpy as np

from helpers.eeg.synthetic_head import electrode_distances, falloff
from helpers.eeg.synthetic_rhythms import colored_noise, wander

__all__ = ["draw_background"]

_KNEE = 0.7  # Hz; below it the spectrum is flat, and drift takes over


def draw_background(random, subject, n, sfreq):
    """Ongoing activity.

    Parameters
    ----------
    random : numpy.random.Generator
    subject : Subject
    n : int
        Samples.
    sfreq : float
        Hz.

    Returns
    -------
    ndarray, (19, n), float32
        µV.
    """
    noise = np.stack([colored_noise(random, n, sfreq, _falling(subject.slope)) for _ in electrode_distances()])
    mixing = np.linalg.cholesky(np.exp(-electrode_distances() / subject.reach)).astype(np.float32)
    signals = (subject.background * mixing) @ noise  # (19, n), the spectrum of each, and correlated
    del noise
    signals *= np.exp(0.2 * wander(random, n, sfreq, 6.0))
    _add_drowsiness(signals, random, subject, sfreq)
    _add_alpha(signals, random, subject, sfreq)
    return signals


def _falling(slope):
    return lambda frequencies: (frequencies**2 + _KNEE**2) ** (-slope / 4)


def _add_drowsiness(signals, random, subject, sfreq):
    """Slow waves over wide areas that come and go within a minute or so."""
    n = signals.shape[1]
    for sites in (("F3", "F4"), ("C3", "C4", "Cz"), ("T5", "P3", "Pz"), ("Pz", "P4", "T6")):
        slow = colored_noise(random, n, sfreq, lambda f: np.exp(-(((f - 3.5) / 2.0) ** 2)))
        depth = np.clip(0.5 + 0.8 * wander(random, n, sfreq, 20.0), 0, None)
        signals += falloff(sites, 5.0)[:, None] * (subject.drowsiness * subject.background * depth * slow)


def _add_alpha(signals, random, subject, sfreq):
    """Two occipital sources, partly alike; spindles within a second or two, and whole spells with and without."""
    n = signals.shape[1]

    def peak(frequencies):
        return np.exp(-(((frequencies - subject.alpha_hz) / 0.9) ** 2) / 2)

    spells = 1 / (1 + np.exp(-4 * wander(random, n, sfreq, 8.0)))
    common = colored_noise(random, n, sfreq, peak)
    for sites in (("O1",), ("O2",)):
        own = colored_noise(random, n, sfreq, peak)
        alpha = subject.alpha * 1.3 * spells * (0.8 * common + 0.6 * own)
        signals += falloff(sites, 5.0)[:, None] * alpha
