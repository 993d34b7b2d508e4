"""`workbook score`: the table, the JSON, and one line on standard error for each fault."""

import json
import re

import pytest
from typer.testing import CliRunner

from helpers.cli import app
from helpers.scoring import Event, score_files, write_events


def workbook(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def pairs(tmp_path):
    for subject, truth, found in (
        ("01", [(100, 130), (800, 840)], [(120, 150), (2000, 2700)]),
        ("02", [(100, 130)], []),
    ):
        for kind, spans in (("truth", truth), ("found", found)):
            path = tmp_path / kind / f"sub-{subject}_task-x_events.tsv"
            path.parent.mkdir(exist_ok=True)
            write_events(path, [Event(onset, end - onset) for onset, end in spans], 3600.0, kind)
    return tmp_path / "truth", tmp_path / "found"


def rows(text):
    return [line.split() for line in text.splitlines()]


def test_the_table_has_a_row_a_subject_and_their_mean(pairs, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = workbook("score", *pairs)
    assert result.exit_code == 0
    found = rows(result.stdout)
    assert ["sub-01", "1.00", "1", "2", "3", "72.0", "0.500", "0.250", "0.333"] in found
    assert ["sub-02", "1.00", "0", "1", "0", "0.0", "0.000", "-", "0.000"] in found
    assert ["mean", "36.0", "0.250", "0.250", "0.167"] in found
    assert ["sub-01", "1.00", "10", "70", "720", "17280.0", "0.143", "0.014", "0.025"] in found  # seconds
    words = " ".join(result.stdout.split())
    assert "F1 of seizures is 0.333 (subjects that have one: 1 of 2)" in words
    assert "2/2" in result.stderr  # progress


def test_two_files_have_no_mean_and_no_progress(pairs):
    files = [next(folder.glob("sub-02*")) for folder in pairs]
    result = workbook("score", *files)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert not [row for row in rows(result.stdout) if row[:1] == ["mean"]]
    assert "F1 of seizures is - (subjects that have one: 0 of 1)" in " ".join(result.stdout.split())


def test_json_is_what_the_function_gives(pairs):
    result = workbook("score", *pairs, "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json.loads(json.dumps(score_files(*pairs).as_dict()))
    assert "NaN" not in result.stdout


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_every_fault_is_a_line_and_there_is_no_score(pairs, options):
    truth, found = pairs
    (found / "sub-01_task-x_events.tsv").unlink()
    short = found / "sub-02_task-x_events.tsv"
    short.write_text(short.read_text().replace("3600.00", "1800.00"))
    result = workbook("score", truth, found, *options)
    assert result.exit_code == 1
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    assert re.search(r"sub-01_task-x_events\.tsv: nothing for sub-01_task-x in .*found\. Add it", errors[0])
    assert re.search(r"sub-02_task-x_events\.tsv: recordingDuration is 1800 s, in .* 3600 s; expected", errors[1])
    assert "Traceback" not in result.stderr
