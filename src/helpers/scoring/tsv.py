"""Events on disk: tab-separated, in the columns of SzCORE (BIDS events with a fixed vocabulary).

`read_events` takes what there is; `read_recording_events` also asks for all that a score needs, and says which line of
which file lacks it. Source: SzCORE, "data format"; read and written the same way by epilepsy2bids.
"""

import csv
import math
import os
import re
from pathlib import Path
from typing import NamedTuple

from helpers.scoring.errors import ScoringError
from helpers.scoring.events import Event
from helpers.scoring.scores import event_fault

__all__ = ["COLUMNS", "RecordingEvents", "read_events", "read_recording_events", "write_events"]

COLUMNS = ("onset", "duration", "eventType", "confidence", "channels", "dateTime", "recordingDuration")
"""The SzCORE columns, in order. `write_events` adds a last one, ``method``; readers by name pass over it."""

NO_SEIZURE = ("bckg", "impd")  # background; SeizeIT2 marks its impedance checks in the same column
DECIMALS = 0.02  # s: onset and duration are each rounded to hundredths when they are written


class RecordingEvents(NamedTuple):
    """The seizures of one file and the duration of its recording, s."""

    events: list
    duration: float


def write_events(path, events, recording_duration, method, start=None):
    """Write events; a recording without any gets one row of background, as SzCORE has it.

    Parameters
    ----------
    path : str or Path
        The file is complete or not there: it is written beside its place and renamed.
    events : list of Event
    recording_duration : float
        In s.
    method : str
        What made the events, in words; it goes into the last column.
    start : datetime, optional
        Of the recording. Without it the column says n/a, as in BIDS; szcore-evaluation 0.0.x reads no file without it.
    """
    rows = [(event.onset, event.duration, "sz", event.confidence) for event in events]
    rows = rows or [(0.0, recording_duration, "bckg", None)]
    moment = start.strftime("%Y-%m-%d %H:%M:%S") if start else "n/a"
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerow([*COLUMNS, "method"])
            for onset, duration, kind, confidence in rows:
                sure = "n/a" if confidence is None else f"{confidence:.2f}"
                writer.writerow(
                    [f"{onset:.2f}", f"{duration:.2f}", kind, sure, "n/a", moment, f"{recording_duration:.2f}", method]
                )
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def read_events(path):
    """Read events back; background rows are none.

    Returns
    -------
    list of Event

    Raises
    ------
    ScoringError
        If the file cannot be read as a table, a column is missing, a number is none, a duration is negative, or an
        event type is unknown; it is a ValueError.
    """
    return [row.event for row in _rows(path) if row.seizure]


def read_recording_events(path):
    """Read the seizures of a recording and its duration, and check that they fit together.

    Returns
    -------
    RecordingEvents
        Events by onset.

    Raises
    ------
    ScoringError
        As `read_events`; also if the recording's duration is missing or differs between lines, if an event lies outside
        of it, or if two seizures overlap. All faults of that kind in the file are named.
    """
    rows = _rows(path)
    if not rows:
        raise ScoringError(
            f"{path}: no rows. A recording without seizures has one of type bckg, with its recordingDuration; write it."
        )
    durations = [(_duration(row, path), row.line) for row in rows]
    duration, faults = durations[0][0], []
    for other, line in durations:
        if other != duration:
            faults.append(
                f"{path}, line {line}: recordingDuration is {other:g} s, in line {durations[0][1]} {duration:g} s; "
                "expected one recording a file."
            )
    seizures = sorted((row for row in rows if row.seizure), key=lambda row: row.event.onset)
    for row in seizures:
        if fault := event_fault(row.event.onset, row.event.end, duration):
            faults.append(f"{path}, line {row.line}: {fault}")
    latest = None
    for row in seizures:
        if latest and row.event.onset < latest.event.end - DECIMALS:
            faults.append(
                f"{path}, line {row.line}: a seizure from {row.event.onset:g} s overlaps that of line {latest.line}, "
                f"which ends at {latest.event.end:g} s; expected one row a seizure. Merge them."
            )
        if latest is None or row.event.end > latest.event.end:
            latest = row
    if faults:
        raise ScoringError(*faults)
    return RecordingEvents([row.event for row in seizures], duration)


class _Row(NamedTuple):
    line: int
    event: Event
    seizure: bool
    recording_duration: str | None


def _rows(path):
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, delimiter="\t", strict=True)  # an open quote would swallow lines in silence
            missing = [name for name in COLUMNS[:3] if name not in (table.fieldnames or ())]
            if missing:
                raise ScoringError(
                    f"{path}: column {', '.join(missing)} is missing; expected {', '.join(COLUMNS)}, separated by tabs"
                )
            return [_row(row, table.line_num, path) for row in table]
    except (OSError, UnicodeDecodeError, csv.Error) as fault:
        reason = fault.strerror if isinstance(fault, OSError) else fault
        raise ScoringError(f"{path}: cannot be read as a table ({reason}); expected a SzCORE TSV file") from fault


def _row(row, line, path):
    kind = row["eventType"]
    try:
        if None in row:
            raise ValueError(f"{len(row[None])} cells too many")
        event = Event(float(row["onset"]), float(row["duration"]), _confidence(row.get("confidence")))
        seizure = re.match(r"sz(_|$)", kind) is not None
    except (ValueError, TypeError) as fault:  # a short row holds None
        raise ScoringError(f"{path}, line {line}: {fault}; expected {', '.join(COLUMNS)}") from fault
    if not seizure and kind not in NO_SEIZURE:
        raise ScoringError(
            f"{path}, line {line}: event type {kind!r} is unknown; expected sz, sz_… or {' or '.join(NO_SEIZURE)}. Is "
            "it a seizure? Then call it sz."
        )
    if not (math.isfinite(event.onset) and math.isfinite(event.duration)) or event.duration < 0:
        raise ScoringError(
            f"{path}, line {line}: onset {event.onset:g} s, duration {event.duration:g} s; expected numbers, and a "
            "duration of at least 0. Is the third number an end?"
        )
    return _Row(line, event, seizure, row.get("recordingDuration"))


def _duration(row, path):
    try:
        duration = float(row.recording_duration)
        if not 1 <= duration < math.inf:
            raise ValueError
        return duration
    except (ValueError, TypeError) as fault:
        raise ScoringError(
            f"{path}, line {row.line}: recordingDuration is {row.recording_duration!r}; expected that of the "
            "recording, in s and at least 1. Without it a file that stops early looks like one without seizures."
        ) from fault


def _confidence(text):
    return None if text in (None, "", "n/a") else float(text)
