"""Recordings for the tests: synthetic ones, made here, and the real one by name."""

import mne
import numpy as np
import pytest

from helpers.eeg import CANONICAL, DownloadError, load


@pytest.fixture(scope="session")
def absence():
    """The real recording. Left as it is by every test; skipped where it cannot be fetched."""
    try:
        return load("absence")
    except DownloadError as fault:
        pytest.skip(str(fault))


@pytest.fixture(scope="session")
def synthetic():
    """Make a synthetic recording: noise of 30 µV, other for each channel, with a tone and a burst where asked for.

    `tone` is (Hz, µV) on every second channel; `burst` is (onset, end) in s of a 3 Hz oscillation, other in size
    on each channel.
    """

    def make(seconds=31, sfreq=200.0, seed=1, names=CANONICAL, tone=None, burst=None, marks=()):
        random = np.random.default_rng(seed)
        times = np.arange(round(seconds * sfreq)) / sfreq
        signals = random.normal(0, 30e-6, (len(names), len(times)))
        if tone:
            signals[::2] += tone[1] * 1e-6 * np.sin(2 * np.pi * tone[0] * times)
        if burst:
            inside = (times >= burst[0]) & (times < burst[1])
            sizes = np.linspace(-400e-6, 700e-6, len(names))[:, None]
            signals += sizes * np.sin(2 * np.pi * 3 * times) * inside
        raw = mne.io.RawArray(signals, mne.create_info(list(names), sfreq, "eeg"), verbose="error")
        onsets, durations, texts = zip(*marks, strict=True) if marks else ([], [], [])
        return raw.set_annotations(mne.Annotations(onsets, durations, texts))

    return make


@pytest.fixture(scope="session")
def export():
    """Write a recording as EDF+ or BDF+, as the ending says; returns the path."""

    def write(raw, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        mne.export.export_raw(path, raw, overwrite=True, verbose="error")
        return path

    return write
