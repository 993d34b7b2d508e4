"""Who marked what as a seizure: the marks of a recording, or a file with annotations beside it.

Four kinds of file: SzCORE or BIDS events (``.tsv``), TUSZ (``.csv_bi``, ``.csv``) and the summaries of CHB-MIT
(``*-summary.txt``). Each reader gives spans in seconds and refuses what it does not know: a label that is passed over
may be a seizure that is missing, and nothing later would tell. Writing events is in `helpers.scoring`.
"""

import csv
import math
import re
from pathlib import Path

import mne

from helpers.eeg.edf_header import read_header
from helpers.eeg.edf_marks import annotation_bytes
from helpers.eeg.errors import RecordingError
from helpers.eeg.marks import is_seizure, seizures
from helpers.eeg.naming import recording_name
from helpers.eeg.recordings import read_recording

__all__ = ["read_annotations", "seizures_of"]

# TUH EEG annotation guidelines (Ochal et al. 2020); TUSZ 2.0.3 uses nine of them and bckg.
_TUSZ_SEIZURES = ("seiz", "fnsz", "gnsz", "spsz", "cpsz", "absz", "tnsz", "cnsz", "tcsz", "atsz", "mysz")
_TUSZ_OTHER = ("bckg", "nesz")  # a non-epileptic seizure is none for a detector of epileptic ones
_SZCORE_OTHER = ("bckg", "impd")  # background, impedance check
_LATE = 1.0  # s, by which an annotation may end after the recording: many are given in whole seconds


def seizures_of(recording):
    """The seizures of a recording, from wherever they are annotated.

    The first of these that exists: SzCORE or BIDS events beside it (``…_events.tsv`` for ``…_eeg.edf``, or its name
    with ``.tsv``), TUSZ's ``.csv_bi`` or ``.csv``, a ``*-summary.txt`` of CHB-MIT in its folder, the marks inside it.

    Parameters
    ----------
    recording : str, Path or mne.io.BaseRaw
        A file, or what `read_recording` returned for it, not cropped.

    Returns
    -------
    list of (onset, end)
        In s, in order, where they touch or overlap joined to one; empty where the annotations say that there are none.

    Raises
    ------
    RecordingError
        If there are no annotations at all (which is not the same as no seizures), they are damaged, hold an unknown
        label or a seizure without an end, or do not fit the recording.
    """
    raw = recording if isinstance(recording, mne.io.BaseRaw) else read_recording(recording)
    duration = raw.n_times / raw.info["sfreq"]
    path = Path(raw.filenames[0]) if raw.filenames and raw.filenames[0] else None
    if path and (source := _beside(path)):
        spans, stated = _read(source, path.name)
        if stated is not None and abs(stated - duration) > _LATE:
            raise RecordingError(
                f"{source}: is about {stated:g} s, the recording {path.name} lasts {duration:g} s. They do not belong "
                "together, or a part is missing."
            )
    else:
        source, spans = path or recording_name(raw), _marked(raw, path)
    late = [span for span in spans if span[0] >= duration or span[1] > duration + _LATE]
    if late:
        raise RecordingError(
            f"{source}: a seizure is annotated from {late[0][0]:g} to {late[0][1]:g} s, the recording lasts "
            f"{duration:g} s. The annotations belong to another file, or a part is missing."
        )
    return [(onset, min(end, duration)) for onset, end in spans]


def read_annotations(path, recording=None):
    """The seizures in one file.

    Parameters
    ----------
    path : str or Path
        ``.tsv`` (SzCORE, or BIDS with the column ``trial_type``), ``.csv_bi`` or ``.csv`` (TUSZ), ``…-summary.txt``
        (CHB-MIT), or a recording with marks in it (``.edf``, ``.bdf``, ``.h5``).
    recording : str, optional
        Name of the recording's file, where a summary speaks of several.

    Returns
    -------
    list of (onset, end)
        In s, in order, where they touch or overlap joined to one.

    Raises
    ------
    RecordingError
        If the file is missing, none of these, damaged, or holds an unknown label.

    Notes
    -----
    Of a ``.csv``, the union over channels. Labels of TUSZ and the SzCORE column ``eventType`` are closed vocabularies;
    descriptions under ``trial_type`` and marks in a recording are free text, of which `SEIZURE_LABELS` count.
    """
    path = Path(path)
    if path.suffix.lower() in (".edf", ".bdf", ".h5"):
        return _marked(read_recording(path), path)
    return _read(path, recording)[0]


def _beside(path):
    """The file with annotations that belongs to a recording, or None."""
    stem = path.name[: -len(path.suffix)]
    names = [f"{stem.removesuffix('_eeg')}_events.tsv", f"{stem}.tsv", f"{stem}.csv_bi", f"{stem}.csv"]
    files = [file for file in (path.with_name(name) for name in names) if file.is_file()]
    summaries = sorted(path.parent.glob("*-summary.txt"))
    listing = [file for file in summaries if path.name.lower() in file.read_text(errors="replace").lower()]
    return next(iter([*files, *listing, *summaries]), None)


def _marked(raw, path=None):
    """Spans among the marks of a recording; whether it has room for marks at all is in the header of its file."""
    marks = raw.annotations
    for onset, duration, text in zip(marks.onset, marks.duration, marks.description, strict=True):
        if is_seizure(text) and duration == 0:
            raise RecordingError(
                f"{recording_name(raw)}: the mark {text!r} at {onset:g} s has no duration, so the seizure has no end. "
                "Give it one, or put an events.tsv beside the recording."
            )
    edf = path and path.suffix.lower() in (".edf", ".bdf")
    if not len(marks) and not (edf and annotation_bytes(read_header(path))):
        raise RecordingError(
            f"{recording_name(raw)}: no annotations, neither marks in it nor a file beside it; that does not mean that "
            "there are no seizures. Put an events.tsv beside it, with one row of bckg if there are none."
        )
    return _joined(seizures(raw))


def _read(path, recording):
    """Spans, and for how long a recording they are, in s (None where the file does not say)."""
    name = path.name.lower()
    readers = {".tsv": _events, ".csv_bi": _tusz, ".csv": _tusz}
    reader = _summary if name.endswith("summary.txt") else readers.get(path.suffix.lower())
    if reader is None:
        raise RecordingError(
            f"{path}: no annotations known by this name. Expected .tsv, .csv_bi, .csv or -summary.txt."
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
        spans, stated = reader(path, text, recording)
    except OSError as fault:
        raise RecordingError(f"{path}: cannot be read ({fault.strerror or fault}). Check the path.") from fault
    except UnicodeDecodeError as fault:
        raise RecordingError(f"{path}: is no text ({fault.reason}, byte {fault.start}). Download it again.") from fault
    except csv.Error as fault:
        raise RecordingError(f"{path}: is no table ({fault}). Download it again.") from fault
    return _joined(spans), stated


def _events(path, text, recording):
    rows = list(_rows(path, text.splitlines(), "\t", ("onset", "duration")))
    kind = next((column for column in ("eventType", "trial_type") if rows and column in rows[0][1]), None)
    if kind is None:
        raise RecordingError(
            f"{path}: no rows, or no column eventType (SzCORE) or trial_type (BIDS). A recording without seizures has "
            "one row of bckg."
        )
    spans, stated = [], None
    for line, row in rows:
        label, span = row[kind].strip(), None
        if kind == "trial_type":
            seizure = is_seizure(label)
        elif label == "sz" or label.startswith("sz_"):
            seizure = True
        elif label in _SZCORE_OTHER:
            seizure = False
        else:
            raise _unknown(path, line, label, ("sz", "sz_…", *_SZCORE_OTHER))
        if seizure:
            onset = _seconds(path, line, row["onset"])
            span = _span(path, line, onset, onset + _seconds(path, line, row["duration"]))
            spans.append(span)
        if (row.get("recordingDuration") or "n/a").strip() != "n/a":
            stated = _seconds(path, line, row["recordingDuration"])
    return spans, stated


def _tusz(path, text, recording):
    lines = text.splitlines()
    said = [found for line in lines if (found := re.match(r"#\s*duration\s*=\s*([\d.]+)", line))]
    spans = []
    for line, row in _rows(path, lines, ",", ("start_time", "stop_time", "label")):
        label = row["label"].strip().lower()
        if label not in _TUSZ_SEIZURES + _TUSZ_OTHER:
            raise _unknown(path, line, label, _TUSZ_SEIZURES + _TUSZ_OTHER)
        begin, end = (_seconds(path, line, row[name]) for name in ("start_time", "stop_time"))
        span = _span(path, line, begin, end)
        if label in _TUSZ_SEIZURES:
            spans.append(span)
    return spans, _seconds(path, 0, said[0][1]) if said else None


def _summary(path, text, recording):
    """A summary has one paragraph a file; seizures are numbered in some cases and not in others, in one wrongly."""
    sections = re.split(r"(?mi)^[ \t]*File Name[ \t]*:[ \t]*", text)[1:]
    by_name = {section.split("\n", 1)[0].strip().lower(): section for section in sections}
    if recording is None and len(by_name) == 1:
        recording = next(iter(by_name))
    if recording is None or Path(recording).name.lower() not in by_name:
        asked = f"says nothing about {Path(recording).name}" if recording else "speaks of several recordings"
        raise RecordingError(
            f"{path}: {asked}; it lists {len(by_name)} files"
            f"{': ' + ', '.join(list(by_name)[:40]) if by_name else ''}. Name one of them, or take its own summary."
        )
    section = by_name[Path(recording).name.lower()]
    counted = re.search(r"(?mi)^[ \t]*Number of Seizures in File[ \t]*:[ \t]*(\d+)[ \t]*$", section)
    number = r"(?mi)^[ \t]*Seizure(?:[ \t]+\d+)?[ \t]+{}[ \t]+Time[ \t]*:[ \t]*(\S+)[ \t]*sec"
    begins, ends = (
        [_seconds(path, 0, found) for found in re.findall(number.format(word), section)] for word in ("Start", "End")
    )
    if counted is None or not int(counted[1]) == len(begins) == len(ends):
        raise RecordingError(
            f"{path}: {Path(recording).name} has {counted[1] if counted else 'no number of'} seizures, "
            f"{len(begins)} starts and {len(ends)} ends; expected as many of each. Download it again."
        )
    # Paired as they come: in chb09 the end of the second seizure is written as that of the first.
    return [_span(path, 0, begin, end) for begin, end in zip(begins, ends, strict=True)], None


def _rows(path, lines, delimiter, columns):
    """(line number, row) of a table with a header; comments and empty lines are passed over."""
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip() and not line.startswith("#")]
    table = csv.DictReader((line for _, line in numbered), delimiter=delimiter, quoting=csv.QUOTE_NONE)
    names = [name.strip() for name in table.fieldnames or ()]
    missing = [column for column in columns if column not in names]
    if missing:
        raise RecordingError(
            f"{path}: the column {', '.join(missing)} is missing; found {', '.join(names)[:200] or 'nothing'}. Is it "
            "another kind of table?"
        )
    table.fieldnames = names
    for (number, line), row in zip(numbered[1:], table, strict=True):
        if line.count(delimiter) + 1 != len(names):
            raise RecordingError(
                f"{path}, line {number}: {line.count(delimiter) + 1} fields, expected the {len(names)} of the header. "
                "Download it again."
            )
        yield number, row


def _seconds(path, line, text):
    try:
        value = float(text.strip().replace("_", "?"))
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        where = f", line {line}" if line else ""
        raise RecordingError(f"{path}{where}: {text.strip()[:40]!r} is no time in seconds. Download it again.")
    return value


def _span(path, line, onset, end):
    if onset < 0 or end <= onset:
        where = f", line {line}" if line else ""
        raise RecordingError(
            f"{path}{where}: from {onset:g} to {end:g} s; expected an onset of at least 0 and an end after it. "
            "Download it again, or correct it."
        )
    return onset, end


def _unknown(path, line, label, known):
    return RecordingError(
        f"{path}, line {line}: the label {label[:40]!r} is unknown. Known: {', '.join(known)}. Correct it, or ask "
        "whoever wrote it: passed over, it might be a seizure."
    )


def _joined(spans):
    """Spans in order, those that touch or overlap as one."""
    joined = []
    for onset, end in sorted(spans):
        if joined and onset <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(end, joined[-1][1])
        else:
            joined.append((onset, end))
    return joined
