"""Building blocks of synthetic signals: noise of a given spectrum, slow modulation, rhythms of a given wave shape.

In arbitrary units; what they become, and where, is said by whoever calls them.
"""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfftfreq

__all__ = ["SHAPES", "colored_noise", "phase_of", "rhythm", "rise_and_fall", "wander"]


def colored_noise(random, n, sfreq, amplitude):
    """One channel of Gaussian noise.

    Parameters
    ----------
    random : numpy.random.Generator
    n : int
        Samples.
    sfreq : float
        Hz.
    amplitude : callable
        The amplitude at frequencies (an array, Hz, above 0), in any unit: the result is scaled.

    Returns
    -------
    ndarray, (n,), float32
        Of root mean square 1 (expected), mean 0.
    """
    size = next_fast_len(n, real=True)
    frequencies = rfftfreq(size, 1 / sfreq)[1:]
    gain = np.zeros(len(frequencies) + 1, np.float32)
    gain[1:] = amplitude(frequencies)
    gain *= size / (2 * np.sqrt(np.square(gain, dtype=np.float64).sum()))
    spectrum = random.standard_normal((len(gain), 2), dtype=np.float32)
    spectrum *= gain[:, None]
    return irfft(spectrum.view(np.complex64)[:, 0], size)[:n]


def wander(random, n, sfreq, seconds):
    """A slow random walk around 0 with standard deviation 1: straight lines between draws that are `seconds` apart."""
    knots = random.standard_normal(int(np.ceil(n / sfreq / seconds)) + 2)
    knots[1:] = 0.5 * knots[:-1] + np.sqrt(0.75) * knots[1:]
    return np.interp(np.arange(n) / sfreq, (np.arange(len(knots)) - random.random()) * seconds, knots).astype(
        np.float32
    )


def phase_of(random, frequency, sfreq, jitter=0.08):
    """Phase of an oscillation whose frequency (an array, Hz, one a sample) wavers by `jitter` (relative); radians."""
    wavering = 1 + jitter * wander(random, len(frequency), sfreq, 0.4)
    return 2 * np.pi * (np.cumsum(frequency * wavering, dtype=np.float64) / sfreq + random.random())


def _round(phase):
    return 1.35 * np.cos(phase) + 0.25 * np.cos(2 * phase + 0.6)


def _sharp(phase):
    """Steep on one side, as rhythmic sharp waves are."""
    return (
        1.15 * np.cos(phase)
        + 0.6 * np.cos(2 * phase + 0.9)
        + 0.3 * np.cos(3 * phase + 1.7)
        + 0.15 * np.cos(4 * phase + 2.4)
    )


def _spike_and_wave(phase):
    return 2.2 * np.exp(25 * (np.cos(phase) - 1)) - 1.25 * np.cos(phase + 2.6) - 0.18


SHAPES = {"round": _round, "sharp": _sharp, "spike and wave": _spike_and_wave}
"""Waves as functions of the phase, each of root mean square about 1."""


def rhythm(random, frequency, delays, sfreq, shape):
    """A rhythm as each electrode sees it.

    Parameters
    ----------
    random : numpy.random.Generator
    frequency : (n,)
        Hz at each sample; it wavers around that, and no wave is as high as the one before.
    delays : (19,)
        How much later each electrode sees a wave, s.
    sfreq : float
        Hz.
    shape : str
        A key of `SHAPES`; either way up.

    Returns
    -------
    ndarray, (19, n), float32
        Of root mean square about 1.
    """
    phase = phase_of(random, frequency, sfreq)
    lags = 2 * np.pi * delays[:, None] * np.exp(np.log(frequency).mean())
    height = random.choice([-1, 1]) * np.exp(0.2 * wander(random, len(phase), sfreq, 0.3))
    return height.astype(np.float32) * SHAPES[shape]((phase - lags).astype(np.float32))


def rise_and_fall(n, rise, fall):
    """An envelope: from 0 to 1 over `rise` samples, 1, then to 0 over `fall` samples; (n,), float32."""
    place = np.arange(n, dtype=np.float32)
    edges = np.minimum(np.minimum((place + 0.5) / rise, (n - place - 0.5) / fall), 1)
    return np.sin(np.pi / 2 * edges) ** 2
