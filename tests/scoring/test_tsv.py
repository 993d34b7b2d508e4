"""Events on disk: what is written is read back, in SzCORE's columns, and a file is whole or not there."""

from datetime import datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from helpers.scoring import COLUMNS, Event, read_events, write_events

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


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("", "column onset, duration, eventType is missing"),
        ("onset\teventType\n1\tsz\n", "column duration is missing"),
        ("onset\tduration\teventType\n1\t2\tsz\nearly\t2\tsz\n", "line 3: could not convert"),
        ("onset\tduration\teventType\n1\t2\n", "line 2"),
        ("onset\tduration\teventType\n1\n", "line 2"),
    ],
)
def test_damaged_files_are_named(tmp_path, content, word):
    path = tmp_path / "bad.tsv"
    path.write_text(content)
    with pytest.raises(ValueError, match=word) as caught:
        read_events(path)
    assert "bad.tsv" in str(caught.value)


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "events.tsv"
    write_events(path, [Event(1, 2, 0.5)], 60.0, "first")
    before = path.read_text()
    with pytest.raises(ValueError):
        write_events(path, [Event(3, 4, 0.5), Event("soon", 1)], 60.0, "second")
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["events.tsv"]
