"""The marks inside an EDF+ or BDF+ file, all of them: those outside the recording, too, which MNE omits in silence.

For checks before MNE reads the file; the marks that a recording carries are MNE's. Source: EDF+ specification, section
2.2 (a mark is ``+onset``, perhaps ``\\x15duration``, then texts between ``\\x14``; a zero byte ends it).
"""

import re

import numpy as np

from helpers.eeg.errors import RecordingError

__all__ = ["annotation_bytes", "check_gaps", "scan_marks"]

_LABELS = ("EDF Annotations", "BDF Annotations")
_MARK = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14((?:[^\x14]*\x14)*)")  # what MNE understands


def scan_marks(path, header):
    """Every mark of a file.

    Parameters
    ----------
    path : Path
    header : EdfHeader

    Returns
    -------
    stamps : list of (record, onset)
        When each record begins, as it says itself in its first mark, s.
    marks : list of (onset, duration, text)
        In s and bytes, as they stand in the file.

    Raises
    ------
    RecordingError
        If the bytes of a mark are none.
    """
    stamps, marks = [], []
    for row, (begin, end) in enumerate(annotation_bytes(header)):
        content = _records(path, header)[:, begin:end]
        for number, chunks in enumerate(record.tobytes().split(b"\0") for record in content):
            for place, chunk in enumerate(chunks):
                if not chunk.strip():
                    continue
                found = _MARK.fullmatch(chunk)
                if not found or place == len(chunks) - 1:  # nothing ends it
                    raise RecordingError(
                        f"{path}: the marks are damaged: record {number + 1} holds {chunk[:24]!r}, expected an onset "
                        "and a text as EDF+ has them. Copy or download it again."
                    )
                onset, texts = float(found[1]), found[3].split(b"\x14")
                if place == 0 and row == 0:
                    stamps.append((number, onset))
                marks += [(onset, float(found[2] or 0), text) for text in texts if text]
    return stamps, marks


def annotation_bytes(header):
    """Where the annotation signals lie in a record: a list of (first byte, byte after the last)."""
    ends = header.width * np.cumsum(header.samples)
    places = [(int(end) - header.width * n, int(end)) for n, end in zip(header.samples, ends, strict=True)]
    return [place for place, label in zip(places, header.labels, strict=True) if label in _LABELS]


def check_gaps(path, header, stamps):
    """Refuse a discontinuous file whose records do not follow each other: MNE joins them, and marks go astray."""
    for number, onset in stamps if header.gaps else ():
        late = onset - stamps[0][1] % 1 - number * header.seconds  # the header's start time has whole seconds
        if abs(late) > 1e-3:
            raise RecordingError(
                f"{path}: the recording has a gap of {late:g} s after {number * header.seconds:g} s (EDF+D, "
                "discontinuous); read as one piece, all later marks would be off. Export it again as EDF+C, or each "
                "piece by itself."
            )


def _records(path, header):
    shape = (header.records, header.record_bytes)
    return np.memmap(path, dtype="uint8", mode="r", offset=header.size, shape=shape)
