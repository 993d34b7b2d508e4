"""Synthetic recordings on disk: they read back as drawn, and nothing about them passes for a patient's."""

import csv
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from helpers.cli import app
from helpers.eeg import CANONICAL, RecordingError, read_recording, seizures
from helpers.eeg.synthetic import draw_recording, write_recordings
from helpers.eeg.synthetic_mimics import MIMICS
from helpers.eeg.synthetic_subjects import draw_subject
from helpers.scoring import read_events

OPTIONS = {"subjects": 3, "minutes": 3.3, "seed": 11, "recordings": 2, "sfreq": 200, "line": 50}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("synthetic") / "new" / "set"
    calls = []
    paths = write_recordings(folder, **OPTIONS, progress=lambda *numbers: calls.append(numbers))
    assert calls == [(done, 6) for done in range(1, 7)]
    return folder, paths


def numbered(paths):
    return zip(paths, [(subject, recording) for subject in (1, 2, 3) for recording in (1, 2)], strict=True)


def test_names_are_those_of_bids_and_say_synthetic(written):
    folder, paths = written
    for path, (subject, recording) in numbered(paths):
        stem = f"sub-{subject:02d}_task-synthetic_run-{recording:02d}"
        assert path == folder / f"sub-{subject:02d}" / "eeg" / f"{stem}_eeg.edf"
    found = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    events = [path.with_name(path.name.replace("_eeg.edf", "_events.tsv")) for path in paths]
    assert found == sorted(
        path.relative_to(folder) for path in [*paths, *events, folder / "dataset_description.json"]
    )  # and no half of a file


def test_a_file_reads_back_as_the_recording_that_is_drawn(written):
    for path, (subject, recording) in numbered(written[1]):
        raw = read_recording(path)
        drawn = draw_recording(11, subject, recording, minutes=3.3, sfreq=200, line=50)
        assert raw.ch_names == drawn.ch_names == list(CANONICAL)
        assert raw.info["sfreq"] == 200
        assert raw.info["meas_date"] == drawn.info["meas_date"]
        # one step is 0.1 µV; both hold the same steps
        np.testing.assert_allclose(raw.get_data(), drawn.get_data(), rtol=0, atol=1e-12)
        assert list(raw.annotations.description) == list(drawn.annotations.description)
        np.testing.assert_allclose(raw.annotations.onset, drawn.annotations.onset, atol=1e-6)
        np.testing.assert_allclose(raw.annotations.duration, drawn.annotations.duration, atol=1e-6)


def test_every_header_says_synthetic(written):
    for path, (subject, _) in numbered(written[1]):
        head = path.read_bytes()[: 256 * 21]
        assert head[8:88].split() == [f"synthetic-{subject:02d}".encode(), b"X", b"X", b"synthetic"]
        assert head[88:168].split()[2:] == [b"synthetic", b"synthetic", b"synthetic", b"seed-11"]
        assert head[192:197] == b"EDF+C"
        transducers = head[256 + 16 * 20 : 256 + 96 * 20]
        assert transducers.count(b"synthetic, no electrode") == 19
        raw = draw_recording(11, subject, minutes=3)
        assert "synthetic" in raw.info["description"]
        assert raw.info["subject_info"]["his_id"] == f"synthetic-{subject:02d}"
    description = json.loads((written[0] / "dataset_description.json").read_text())
    assert "Synthetic" in description["Name"]
    assert "no patient" in description["Name"]


def test_the_events_beside_a_file_are_its_seizures_in_the_columns_of_szcore(written):
    empty = 0
    for path, (subject, recording) in numbered(written[1]):
        events = path.with_name(path.name.replace("_eeg.edf", "_events.tsv"))
        expected = seizures(draw_recording(11, subject, recording, minutes=3.3, sfreq=200, line=50))
        found = [(event.onset, event.end) for event in read_events(events)]
        np.testing.assert_allclose(np.reshape(found, (-1, 2)), np.reshape(expected, (-1, 2)), atol=1e-6)
        with events.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        assert {row["recordingDuration"] for row in rows} == {"198.00"}
        assert {row["dateTime"] for row in rows} == {f"2000-01-{recording:02d} 00:00:00"}
        if expected:
            who = draw_subject(11, subject)
            assert {row["eventType"] for row in rows} == {"sz_gen" if who.kind.name == "generalized" else "sz_foc"}
            assert {row["channels"] for row in rows} == {",".join(who.focus)}
        else:
            empty += 1
            assert [(row["eventType"], row["onset"], row["duration"]) for row in rows] == [("bckg", "0.00", "198.00")]
    assert 0 < empty <= 3  # a first recording always holds a seizure


def test_hard_negatives_are_marked_and_are_no_seizures(written):
    for path in written[1]:
        raw = read_recording(path)
        others = [name for name in raw.annotations.description if name != "seizure"]
        assert others
        assert set(others) <= set(MIMICS)
        assert len(seizures(raw)) == len(raw.annotations) - len(others)


def test_written_again_it_is_the_same_and_grows_by_subjects(written, tmp_path):
    again = write_recordings(tmp_path, **{**OPTIONS, "subjects": 1})
    before = [path.read_bytes() for path in again]
    more = write_recordings(tmp_path, **{**OPTIONS, "subjects": 2})
    assert [path.read_bytes() for path in more[:2]] == before
    assert [path.read_bytes() for path in written[1][:4]] == [path.read_bytes() for path in more]


@pytest.mark.parametrize("description", ['{"Name": "A real data set"}', "no JSON", "[]"])
def test_the_folder_of_another_data_set_is_left_alone(tmp_path, description):
    (tmp_path / "dataset_description.json").write_text(description)
    with pytest.raises(RecordingError, match=r"dataset_description\.json: the folder holds another data set"):
        write_recordings(tmp_path, 1, 3)
    assert [path.name for path in tmp_path.rglob("*")] == ["dataset_description.json"]
    assert (tmp_path / "dataset_description.json").read_text() == description


def test_sets_of_two_seeds_do_not_mix(tmp_path):
    write_recordings(tmp_path, 1, 3, seed=1)
    with pytest.raises(RecordingError, match="drawn otherwise"):
        write_recordings(tmp_path, 1, 3, seed=2)


@pytest.mark.parametrize("wrong", [{"subjects": 0}, {"recordings": 0}, {"minutes": 1}, {"sfreq": 20}])
def test_numbers_out_of_range_leave_no_folder(tmp_path, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        write_recordings(tmp_path / "none", **{"subjects": 1, "minutes": 3, **wrong})
    assert not (tmp_path / "none").exists()


def test_command(tmp_path):
    command = ["synthetic", str(tmp_path / "set"), "--subjects", "2", "--minutes", "3.5"]
    first = CliRunner().invoke(app, [*command, "--seed", "4"])
    assert first.exit_code == 0, first.stderr
    assert "wrote 2 recordings of 3.5 minutes" in first.stdout
    assert "synthetic" in first.stdout
    (path, _) = sorted((tmp_path / "set").rglob("*.edf"))
    np.testing.assert_allclose(
        read_recording(path).get_data(), draw_recording(4, 1, minutes=3.5).get_data(), rtol=0, atol=1e-12
    )
    second = CliRunner().invoke(app, [*command, "--seed", "5"])
    assert second.exit_code == 1
    assert second.stdout == ""
    assert second.stderr.startswith("error: ")
    assert "another data set" in second.stderr
    (tmp_path / "file").touch()
    third = CliRunner().invoke(app, ["synthetic", str(tmp_path / "file"), "--minutes", "3"])
    assert third.exit_code == 1
    assert "cannot write there" in third.stderr
