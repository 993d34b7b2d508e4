"""EEG recordings: reading, naming channels, preprocessing, stores of prepared ones, windows, splits, and what to fetch.

What a recording looks like afterwards is said in each docstring. No models here, and no scores.
"""

from helpers.eeg.annotations import read_annotations, seizures_of
from helpers.eeg.bipolar import electrodes_from_pairs
from helpers.eeg.datasets import DATASETS, cached, fetch, load
from helpers.eeg.errors import DownloadError, RecordingError, StoreError
from helpers.eeg.interpolation import interpolate_missing
from helpers.eeg.labels import labels_of
from helpers.eeg.manifest import KINDS, Manifest, build_manifest
from helpers.eeg.marks import seizures
from helpers.eeg.montage import CANONICAL, canonical_name, pick_canonical
from helpers.eeg.naming import recording_name, subject_of
from helpers.eeg.preparation import PreparationReport, find_recordings, prepare
from helpers.eeg.preprocessing import SFREQ, average_reference, line_frequency, preprocess
from helpers.eeg.recordings import read_recording
from helpers.eeg.repairs import repairs
from helpers.eeg.splits import check_disjoint, split_subjects
from helpers.eeg.store import Store, StoredRecording, open_store
from helpers.eeg.windows import STRIDE, WINDOW, window_starts, windows

__all__ = [
    "CANONICAL",
    "DATASETS",
    "KINDS",
    "SFREQ",
    "STRIDE",
    "WINDOW",
    "DownloadError",
    "Manifest",
    "PreparationReport",
    "RecordingError",
    "Store",
    "StoreError",
    "StoredRecording",
    "average_reference",
    "build_manifest",
    "cached",
    "canonical_name",
    "check_disjoint",
    "electrodes_from_pairs",
    "fetch",
    "find_recordings",
    "interpolate_missing",
    "labels_of",
    "line_frequency",
    "load",
    "open_store",
    "pick_canonical",
    "prepare",
    "preprocess",
    "read_annotations",
    "read_recording",
    "recording_name",
    "repairs",
    "seizures",
    "seizures_of",
    "split_subjects",
    "subject_of",
    "window_starts",
    "windows",
]
