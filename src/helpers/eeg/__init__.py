"""EEG recordings: reading, naming channels, preprocessing, cutting windows, and the recordings that the chapters use.

What a recording looks like afterwards is said in each docstring. No models here, and no scores.
"""

from helpers.eeg.annotations import seizures
from helpers.eeg.datasets import DATASETS, cached, fetch, load
from helpers.eeg.errors import DownloadError, RecordingError
from helpers.eeg.montage import CANONICAL, canonical_name, pick_canonical
from helpers.eeg.preprocessing import SFREQ, average_reference, line_frequency, preprocess
from helpers.eeg.recordings import read_recording, recording_name
from helpers.eeg.windows import STRIDE, WINDOW, window_starts, windows

__all__ = [
    "CANONICAL",
    "DATASETS",
    "SFREQ",
    "STRIDE",
    "WINDOW",
    "DownloadError",
    "RecordingError",
    "average_reference",
    "cached",
    "canonical_name",
    "fetch",
    "line_frequency",
    "load",
    "pick_canonical",
    "preprocess",
    "read_recording",
    "recording_name",
    "seizures",
    "window_starts",
    "windows",
]
