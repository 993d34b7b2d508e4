"""What is not brain in synthetic EEG: blinks, muscle bursts, electrode pops, drift, mains hum, amplifier noise.

Artifacts that are rhythmic enough to pass for a seizure are in `helpers.eeg.synthetic_mimics`.
"""

import numpy as np

from helpers.eeg.montage import CANONICAL
from helpers.eeg.synthetic_head import falloff
from helpers.eeg.synthetic_rhythms import rise_and_fall

__all__ = ["add_artifacts", "muscle"]

_AMPLIFIER = 0.7  # µV, root mean square


def add_artifacts(signals, random, subject, sfreq, line):
    """Add artifacts to the signals in place.

    Parameters
    ----------
    signals : ndarray, (19, n), float32
        µV.
    random : numpy.random.Generator
    subject : Subject
    sfreq : float
        Hz.
    line : float or None
        Frequency of the mains, Hz; None for no hum.
    """
    _add_blinks(signals, random, subject, sfreq)
    _add_muscle(signals, random, subject, sfreq)
    _add_pops(signals, random, subject, sfreq)
    _add_drift(signals, random, subject, sfreq)
    if line:
        _add_hum(signals, random, subject, sfreq, line)
    for channel in signals:
        channel += _AMPLIFIER * random.standard_normal(len(channel), dtype=np.float32)


def _moments(random, n, sfreq, per_minute):
    """Samples at which something begins that comes so often, at random."""
    count = random.poisson(per_minute * n / sfreq / 60)
    return np.sort(random.integers(0, n, count))


def _add(signals, first, wave):
    """Add a wave (19, samples) from a sample on; what reaches beyond the end is lost."""
    part = signals[:, first : first + wave.shape[1]]
    part += wave[:, : part.shape[1]]


def _add_blinks(signals, random, subject, sfreq):
    """The lid pulls the eye's positive front along: up fast, down slower, seen by frontal electrodes."""
    gain = falloff(("Fp1", "Fp2"), 3.6)[:, None]
    for first in _moments(random, signals.shape[1], sfreq, subject.blinks):
        time = np.arange(round(0.9 * sfreq)) / sfreq
        width = random.uniform(0.8, 1.4)
        lid = (time / (0.09 * width)) ** 2 * np.exp(2 * (1 - time / (0.09 * width)))
        back = np.exp(-(((time - 0.5 * width) / 0.12) ** 2))  # the amplifier's high-pass swings back
        _add(signals, first, gain * np.float32(subject.blink * random.uniform(0.6, 1.3)) * (lid - 0.2 * back))


def _add_muscle(signals, random, subject, sfreq):
    for first in _moments(random, signals.shape[1], sfreq, subject.bursts):
        sites = (("T3", "F7"), ("T4", "F8"), ("Fp1", "Fp2"), ("T5",), ("T6",))[random.integers(5)]
        n = round(random.uniform(0.3, 4) * sfreq)
        size = subject.muscle * random.uniform(0.5, 1.5)
        _add(signals, first, muscle(random, sites, n, sfreq) * np.float32(size) * rise_and_fall(n, n / 6, n / 3))


def muscle(random, sites, n, sfreq, width=3.5):
    """Muscle activity under `sites` (names): grains of high frequencies, other at each electrode; (19, n), float32."""
    noise = random.standard_normal((len(CANONICAL), n + 2), dtype=np.float32)
    noise = noise[:, 2:] - 0.9 * noise[:, 1:-1] - 0.1 * noise[:, :-2]  # little below 20 Hz
    knots = random.standard_exponential(2 + int(n / sfreq * 12)).astype(np.float32)  # motor units fire in groups
    grain = np.interp(np.arange(n), np.linspace(0, n, len(knots)), knots)
    return falloff(sites, width)[:, None] * noise * grain.astype(np.float32)


def _add_pops(signals, random, subject, sfreq):
    """The contact of one electrode jumps, and the amplifier's high-pass pulls it back."""
    for first in _moments(random, signals.shape[1], sfreq, subject.pops):
        time = np.arange(round(3 * sfreq)) / sfreq
        pop = random.choice([-1, 1]) * random.uniform(60, 400) * np.exp(-time / random.uniform(0.05, 0.6))
        channel = signals[random.integers(len(signals)), first : first + len(time)]
        channel += pop[: len(channel)].astype(np.float32)


def _add_drift(signals, random, subject, sfreq):
    """Sweat and slow movement, other at each electrode: below 0.3 Hz."""
    n = signals.shape[1]
    knots = np.arange(-2, n / sfreq / 2 + 3) * 2.0  # s
    for channel in signals:
        walk = np.convolve(random.standard_normal(len(knots) + 2), [0.45, 0.65, 0.6], "valid")
        fine = np.interp(np.arange(0, n / sfreq + 0.25, 0.25), knots, walk)
        fine = np.convolve(np.pad(fine, 4, "edge"), np.hanning(11)[1:-1] / np.hanning(11).sum(), "valid")
        channel += (subject.drift * np.interp(np.arange(n) / sfreq, np.arange(len(fine)) * 0.25, fine)).astype(
            np.float32
        )


def _add_hum(signals, random, subject, sfreq, line):
    """The mains and its third harmonic, other in size and phase at each electrode."""
    n = signals.shape[1]
    time = np.arange(n) / sfreq
    for harmonic, share in ((1, 1.0), (3, 0.3)):
        if harmonic * line < sfreq / 2:
            size = share * subject.line * random.lognormal(0, 0.6, len(signals))
            angle = random.uniform(0, 2 * np.pi) + random.normal(0, 0.7, len(signals))
            wave = np.exp(2j * np.pi * harmonic * line * time).astype(np.complex64)
            for channel, amount in zip(signals, size * np.exp(1j * angle), strict=True):
                channel += (np.complex64(amount) * wave).real
