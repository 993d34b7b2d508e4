"""A folder of synthetic recordings of several subjects, rates and lengths, and the store prepared from it."""

import pytest

from helpers.eeg import open_store, prepare

MARKS = {
    "sub-01/night 1.edf": (71.0, 200.0, [(20.5, 9.25, "seizure")]),
    "sub-01/ses-2/day.edf": (60.0, 256.0, [(3.0, 0.0, "eyes open")]),
    "sub-02/µ.edf": (97.0, 250.0, [(0.0, 97.0, "sz"), (2.0, 1.0, "artifact")]),
    "third/a.b.bdf": (61.0, 499.0, [(5.0, 2.5, "seizure"), (58.0, 3.0, "seizure")]),
}
"""For each recording: its length in s, its rate in Hz, its marks."""


@pytest.fixture(scope="session")
def recordings(synthetic, export, tmp_path_factory):
    """The folder. Left as it is by every test."""
    folder = tmp_path_factory.mktemp("recordings")
    for seed, (name, (seconds, sfreq, marks)) in enumerate(MARKS.items()):
        export(synthetic(seconds, sfreq, seed, tone=(60.0, 15), marks=marks), folder / name)
    return folder


@pytest.fixture(scope="session")
def prepared(recordings, tmp_path_factory):
    """The store. Left as it is by every test."""
    path = tmp_path_factory.mktemp("prepared") / "store"
    prepare(recordings, path, workers=1)
    return open_store(path)
