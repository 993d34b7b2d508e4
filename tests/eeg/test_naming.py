"""Whose recording a path names: people are kept apart where the path says so, and never where it doesn't."""

from pathlib import Path

import pytest

from helpers.eeg import subject_of

PATHS = {
    "sub-01/ses-02/eeg/sub-01_ses-02_task-szMonitoring_run-00_eeg.edf": "sub-01",
    "bids/sub-07/eeg/night.edf": "sub-07",
    "sub-03_eeg.edf": "sub-03",
    "sub-99/copies/sub-08/eeg/night.edf": "sub-08",
    "train/aaaaaaaq/s006_2014/01_tcp_ar/aaaaaaaq_s006_t001.edf": "aaaaaaaq",
    "00000258_s002_t000.edf": "00000258",
    "chbmit/1.0.0/chb01/chb01_03.edf": "chb01",
    "chb17a_03.edf": "chb17",
    "CHB02_16+.edf": "chb02",
    "chb21/chb21_19.edf": "chb01",  # the same girl, 1.5 years later
    "archive/Smith/monday.edf": "Smith",
    "archive/Smith/chb01_notes/tuesday.edf": "chb01_notes",
    "sub-space/aaaaaaaq_s006_t001.edf": "aaaaaaaq",
}


@pytest.mark.parametrize(("path", "subject"), PATHS.items())
def test_subject_of_a_path(path, subject):
    assert subject_of(path) == subject
    assert subject_of(Path("/data") / path) == subject


def test_a_name_without_a_folder_takes_the_one_it_is_in(tmp_path, monkeypatch):
    (tmp_path / "Jones").mkdir()
    monkeypatch.chdir(tmp_path / "Jones")
    assert subject_of("monday.edf") == "Jones"
