"""Events on disk: what is written is read back, in SzCORE's columns, and a file is whole or not there."""

import contextlib
import re
from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.scoring import COLUMNS, Event, ScoringError, read_events, read_recording_events, write_events

hundredths = st.integers(0, 9_000_000).map(lambda number: number / 100)  # what a file keeps
events = st.lists(
    st.builds(Event, hundredths, hundredths, st.none() | st.integers(0, 100).map(lambda number: number / 100)),
    max_size=9,
)


@settings(deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(written=events, method=st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=20))
def test_round_trip(tmp_path, written, method):
    path = tmp_path / "events.tsv"
    write_events(path, written, 90_000.0, method)
    assert read_events(str(path)) == written


def test_columns_are_those_of_szcore_in_order(tmp_path):
    path = tmp_path / "a.tsv"
    start = datetime(2021, 3, 4, 5, 6, 7)
    write_events(path, [Event(3.14159, 2.0, 0.876), Event(50, 10.5)], 1811.0, "rule (threshold 40)", start)
    assert path.read_text().splitlines() == [
        "onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration\tmethod",
        "3.14\t2.00\tsz\t0.88\tn/a\t2021-03-04 05:06:07\t1811.00\trule (threshold 40)",
        "50.00\t10.50\tsz\tn/a\tn/a\t2021-03-04 05:06:07\t1811.00\trule (threshold 40)",
    ]
    assert "\t".join(COLUMNS) == "onset\tduration\teventType\tconfidence\tchannels\tdateTime\trecordingDuration"


def test_no_events_are_one_row_of_background(tmp_path):
    path = tmp_path / "none.tsv"
    write_events(path, [], 1811.5, "rule")
    assert path.read_text().splitlines()[1:] == ["0.00\t1811.50\tbckg\tn/a\tn/a\tn/a\t1811.50\trule"]
    assert read_events(path) == []


def test_files_of_others_are_read(tmp_path):
    path = tmp_path / "other.tsv"
    path.write_text("eventType\tonset\tduration\nsz_foc_ia\t1.5\t2\nbckg\t4\t5\nsz\t9\t1.25\n")
    assert read_events(path) == [Event(1.5, 2.0), Event(9.0, 1.25)]


COLUMN = "onset\tduration\teventType\n"


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "column onset, duration, eventType is missing"),
        ("onset\teventType\n1\tsz\n", "column duration is missing"),
        ("onset,duration,eventType\n1,2,sz\n", "separated by tabs"),
        (COLUMN + "1\t2\tsz\nearly\t2\tsz\n", "line 3: could not convert"),
        (COLUMN + "1\t2\n", "line 2"),
        (COLUMN + "1\n", "line 2"),
        (COLUMN + "1\t2\tsz\n3\t4\tseizure\n", "line 3: event type 'seizure' is unknown; expected sz"),
        (COLUMN + "1\t2\tszx\n", "line 2: event type 'szx' is unknown"),
        (COLUMN + "1\t2\t\n", "line 2: event type '' is unknown"),
        (COLUMN + "1\t-2\tsz\n", "line 2: onset 1 s, duration -2 s; expected numbers, and a"),
        (COLUMN + "nan\t2\tsz\n", "line 2: onset nan s"),
        (COLUMN + "1\tinf\tsz\n", "line 2: onset 1 s, duration inf s"),
        (COLUMN + "1\t2\tsz\t\t7\n", "line 2: 2 cells too many"),
        (COLUMN + '1\t2\tsz\n3\t"2\tsz\n5\t2\tsz\n', "cannot be read as a table"),  # an open quote
        (COLUMN.encode() + b"1\t2\tsz\xff\n", "cannot be read as a table"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, word):
    path = tmp_path / "bad.tsv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for read in (read_events, read_recording_events):
        with pytest.raises(ScoringError, match=word) as caught:
            read(path)
        assert "bad.tsv" in str(caught.value)
        assert caught.value.faults == (str(caught.value),)


@pytest.mark.parametrize("name", ["gone.tsv", "."])
def test_a_file_that_is_none(tmp_path, name):
    with pytest.raises(ScoringError, match=r"cannot be read as a table \((No such file|Is a directory)"):
        read_events(tmp_path / name)


@settings(deadline=None, database=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=80) | st.text('0123456789.-\tsz_nae"\n\r', max_size=60).map(str.encode))
def test_whatever_the_bytes_there_is_one_kind_of_error(tmp_path, content):
    path = tmp_path / "fuzz.tsv"
    for head in (b"", "\t".join(COLUMNS).encode() + b"\n"):
        path.write_bytes(head + content)
        for read in (read_events, read_recording_events):
            with contextlib.suppress(ScoringError):
                read(path)


# -- with the recording that they belong to ---------------------------------------------------------------------------

HEAD = "\t".join(COLUMNS) + "\n"


def row(onset, duration, kind="sz", recording="3600.00"):
    return f"{onset}\t{duration}\t{kind}\tn/a\tn/a\t2000-01-01 00:00:00\t{recording}\n"


def test_a_recording_s_events_come_in_order_with_its_duration(tmp_path):
    path = tmp_path / "a.tsv"
    path.write_text("\ufeff" + HEAD + row(500, 20) + row(0, 100, "bckg") + row(40, 60, "sz_gen_m") + row(100, 20))
    assert read_recording_events(path) == ([Event(40, 60), Event(100, 20), Event(500, 20)], 3600.0)


def test_what_is_written_fits_the_recording_that_it_is_read_with(tmp_path):
    """Onset and duration are rounded one by one: neighbors may seem to overlap by two hundredths."""
    path = tmp_path / "a.tsv"
    events = [Event(10.006, 5.006), Event(15.013, 2.0), Event(3590.0, 9.996)]
    write_events(path, events, 3599.996, "rule")
    assert len(read_recording_events(path).events) == 3


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([row(10, 50), row(59.9, 5)], "line 3: a seizure from 59.9 s overlaps that of line 2, which ends at 60 s"),
        ([row(90, 5), row(10, 100)], "line 2: a seizure from 90 s overlaps that of line 3, which ends at 110 s"),
        ([row(10, 100), row(20, 5), row(80, 5)], "line 4: a seizure from 80 s overlaps that of line 2"),
        ([row(10, 5), row(3600, 5)], "line 3: an event from 3600 to 3605 s lies outside the recording"),
        ([row(-1, 5)], "line 2: an event from -1 to 4 s lies outside"),
        ([row(3599, 2.5)], "line 2: an event from 3599 to 3601.5 s lies outside"),
        ([row(10, 5), row(20, 5, recording="1800")], "line 3: recordingDuration is 1800 s, in line 2 3600 s"),
        ([row(10, 5, recording="n/a")], "line 2: recordingDuration is 'n/a'; expected that of the recording"),
        ([row(10, 5, recording="0.5")], "line 2: recordingDuration is '0.5'"),
        ([row(10, 5, recording="nan")], "line 2: recordingDuration is 'nan'"),
        ([], "no rows. A recording without seizures has one of type bckg"),
    ],
)
def test_what_does_not_fit_is_named_by_its_line(tmp_path, rows, words):
    path = tmp_path / "bad.tsv"
    path.write_text(HEAD + "".join(rows))
    with pytest.raises(ScoringError) as caught:
        read_recording_events(path)
    assert words in str(caught.value)
    assert "bad.tsv" in str(caught.value)


def test_all_faults_of_a_file_are_named(tmp_path):
    path = tmp_path / "bad.tsv"
    path.write_text(HEAD + row(10, 50) + row(30, 5) + row(4000, 5) + row(70, 5, recording="99"))
    with pytest.raises(ScoringError) as caught:
        read_recording_events(path)
    assert [re.search(r"line (\d)", fault)[1] for fault in caught.value.faults] == ["5", "4", "3"]


def test_a_column_of_the_recording_s_duration_is_needed_for_a_score_only(tmp_path):
    path = tmp_path / "short.tsv"
    path.write_text("onset\tduration\teventType\n1\t2\tsz\n")
    assert read_events(path) == [Event(1, 2)]
    with pytest.raises(ScoringError, match="recordingDuration is None"):
        read_recording_events(path)


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "events.tsv"
    write_events(path, [Event(1, 2, 0.5)], 60.0, "first")
    before = path.read_text()
    with pytest.raises(ValueError):
        write_events(path, [Event(3, 4, 0.5), Event("soon", 1)], 60.0, "second")
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["events.tsv"]
