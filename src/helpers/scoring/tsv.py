"""Events on disk: tab-separated, in the columns of SzCORE (BIDS events with a fixed vocabulary).

Source: SzCORE, "data format"; read and written the same way by epilepsy2bids.
"""

import csv
from pathlib import Path

from helpers.scoring.events import Event

__all__ = ["COLUMNS", "read_events", "write_events"]

COLUMNS = ("onset", "duration", "eventType", "confidence", "channels", "dateTime", "recordingDuration")
"""The SzCORE columns, in order. `write_events` adds a last one, ``method``; readers by name pass over it."""


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
        Of the recording.
    """
    rows = [(event.onset, event.duration, "sz", event.confidence) for event in events]
    rows = rows or [(0.0, recording_duration, "bckg", None)]
    moment = start.strftime("%Y-%m-%d %H:%M:%S") if start else "n/a"
    path = Path(path)
    part = path.with_name(path.name + ".part")
    try:
        with part.open("w", newline="") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerow([*COLUMNS, "method"])
            for onset, duration, kind, confidence in rows:
                sure = "n/a" if confidence is None else f"{confidence:.2f}"
                writer.writerow(
                    [f"{onset:.2f}", f"{duration:.2f}", kind, sure, "n/a", moment, f"{recording_duration:.2f}", method]
                )
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
    ValueError
        If a column is missing or a number is none.
    """
    with Path(path).open(newline="") as file:
        rows = csv.DictReader(file, delimiter="\t")
        missing = [name for name in COLUMNS[:3] if name not in (rows.fieldnames or ())]
        if missing:
            raise ValueError(f"{path}: column {', '.join(missing)} is missing; expected {', '.join(COLUMNS)}")
        events = []
        for row in rows:
            try:
                event = Event(float(row["onset"]), float(row["duration"]), _confidence(row.get("confidence")))
                seizure = row["eventType"].startswith("sz")
            except (ValueError, TypeError, AttributeError) as fault:  # a short row holds None
                raise ValueError(f"{path}, line {rows.line_num}: {fault}; expected {', '.join(COLUMNS)}") from fault
            if seizure:
                events.append(event)
        return events


def _confidence(text):
    return None if text in (None, "", "n/a") else float(text)
