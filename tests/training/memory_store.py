"""A small store in memory: noise, and a 3 Hz oscillation where a seizure is marked. Synthetic, and nothing like EEG."""

from functools import cached_property
from pathlib import Path

import numpy as np

from helpers.eeg import SFREQ, WINDOW, StoredRecording


class MemoryStore:
    """What training uses of `helpers.eeg.Store`, by the same names. Other processes draw the signals again."""

    def __init__(self, folder, subjects=7, seed=3, seconds=(131.5, 190.0)):
        self.path, self.seed = Path(folder), seed
        random = np.random.default_rng(seed)
        self.recordings = tuple(
            self._recording(f"sub-{subject:02}/night-{run}", f"sub-{subject:02}", random, seconds)
            for subject in range(subjects)
            for run in range(1 + subject % 2)
        )
        self._index = {recording.id: index for index, recording in enumerate(self.recordings)}

    @staticmethod
    def _recording(id, subject, random, seconds):
        duration = random.uniform(*seconds)
        onset = random.uniform(10, duration - 40)
        seizures = ((float(onset), float(onset + random.uniform(11, 29))),)
        return StoredRecording(id, subject, int(duration * SFREQ), seizures, (), "", f"of {id}", "")

    def __getitem__(self, id):
        return self.recordings[self._index[id]]

    def __getstate__(self):
        return {name: value for name, value in vars(self).items() if name != "_signals"}

    @property
    def fingerprint(self):
        return f"{self.seed:064x}"

    @cached_property
    def _signals(self):
        signals = []
        for number, recording in enumerate(self.recordings):
            random = np.random.default_rng([self.seed, number])
            signal = random.normal(0, 1, (19, recording.n_samples)).astype(np.float32)
            for onset, end in recording.seizures:
                times = np.arange(int(onset * SFREQ), int(end * SFREQ))
                signal[:, times] += 0.5 * np.sin(2 * np.pi * 3 * times / SFREQ)
            signals.append(signal)
        return signals

    def batch(self, windows, n=WINDOW):
        return np.stack([self._signals[self._index[id]][:, start : start + n] for id, start in windows])
