"""Files to `mne.io.Raw`: EDF, EDF+, BDF and the cached HDF5 recording, with one clear error for a file that is none.

MNE reads; this module asks first whether the file is whole and what of its header needs repair, because MNE shortens a
truncated file, joins the pieces of one with gaps, and takes a start time that it cannot read for midnight, all without
an error. Annotations in files of their own are in `helpers.eeg.annotations`.
"""

import io
from contextlib import contextmanager
from pathlib import Path

import mne
import numpy as np

from helpers.eeg.edf_header import read_header
from helpers.eeg.edf_marks import annotation_bytes, check_gaps, scan_marks
from helpers.eeg.eeghdf import read_eeghdf
from helpers.eeg.errors import RecordingError
from helpers.eeg.marks import is_seizure
from helpers.eeg.montage import canonical_name, pair_of
from helpers.eeg.naming import recording_name
from helpers.eeg.repairs import note_repair

__all__ = ["read_recording", "reading"]

_READERS = {".edf": mne.io.read_raw_edf, ".bdf": mne.io.read_raw_bdf}
_LATE = 1.0  # s, by which a mark may end after the recording: many are given in whole seconds


def read_recording(path, repair=True):
    """Read one recording.

    Parameters
    ----------
    path : str or Path
        ``.edf`` (EDF or EDF+), ``.bdf``, or ``.h5`` in the layout of eeghdf. It is only ever read.
    repair : bool
        Whether a header that can be repaired is; each repair is then named in `repairs`. Without, it is an error.

    Returns
    -------
    mne.io.BaseRaw
        With its marks. Samples stay on disk until they are asked for; where the bytes themselves had to be repaired,
        they are in memory. Channels faster than the electrodes are left out, because MNE would bring every other one
        to their rate; `repairs` names them.

    Raises
    ------
    RecordingError
        If the file does not exist, cannot be opened, is empty, truncated, damaged, has gaps, electrodes of different
        rates, or a seizure marked outside its span, or is not what its name says.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    try:
        if not path.is_file():
            found = "a folder" if path.is_dir() else "no such file"
            raise RecordingError(f"{path}: {found}. Expected an EDF, EDF+ or BDF recording; check the path.")
        if path.stat().st_size == 0:
            raise RecordingError(f"{path}: the file has 0 bytes. Copy or download it again.")
        if suffix in _READERS:
            return _read_edf(path, repair)
        if suffix == ".h5":
            return read_eeghdf(path)
    except RecordingError:
        raise
    except PermissionError as fault:
        raise RecordingError(f"{path}: may not be read ({fault.strerror}). Ask its owner, or copy it.") from fault
    except Exception as fault:  # MNE raises AssertionError, ZeroDivisionError and a bare Exception for damaged files
        reason = " ".join(str(fault).split()) or type(fault).__name__
        raise RecordingError(
            f"{path}: cannot be read as {suffix[1:].upper()} ({reason}). It is damaged: copy or download it again."
        ) from fault
    ending = f"the ending {suffix!r} is unknown" if suffix else "the name has no ending"
    raise RecordingError(f"{path}: {ending}. Expected .edf, .bdf or .h5; rename the file if it is one of these.")


@contextmanager
def reading(raw):
    """Around whatever reads samples of a recording: a fault becomes a `RecordingError` that names it."""
    try:
        yield
    except Exception as fault:  # the file went away, a disk failed, memory is full: MNE wraps none of them
        reason = " ".join(str(fault).split()) or type(fault).__name__
        raise RecordingError(
            f"{recording_name(raw)}: the samples cannot be read ({reason}). Copy or download it again."
        ) from fault


def _read_edf(path, repair):
    header = read_header(path)
    stamps, marks = scan_marks(path, header)
    check_gaps(path, header, stamps)
    encoding, said = _encoding(marks)
    outside = _outside(path, header, marks, stamps[0][1] if stamps else 0.0)
    broken = any(b"\n" in text for _, _, text in marks)  # MNE passes over a mark with a line break in its text
    said += ["line breaks in marks read as blanks"] if broken else []
    said += [f"marks outside of the recording left out or cut: {outside}"] if outside else []
    faster, named = _faster(header)
    said = [*header.repairs, *said]
    if said and not repair:
        raise RecordingError(f"{path}: needs repair ({'; '.join(said)}). Read it with repair=True, or export it again.")
    source, mended = path, header.repaired or broken
    if mended:
        source = _mended(path, header)
    reader = _READERS[path.suffix.lower()]
    raw = reader(source, exclude=faster, encoding=encoding, preload=mended, verbose="error")
    return note_repair(raw, *said, *named) if said or named else raw


def _encoding(marks):
    try:
        for _, _, text in marks:
            text.decode("utf-8")
    except UnicodeDecodeError:
        return "latin-1", ["text of marks is not UTF-8, read as Latin-1"]
    return "utf-8", []


def _outside(path, header, marks, first):
    """How many marks lie outside of the recording; a seizure among them is an error."""
    count = 0
    for onset, duration, text in marks:
        begin = onset - first
        if begin < 0 or begin > header.duration or begin + duration > header.duration + _LATE:
            count += 1
            if is_seizure(text.decode("latin-1")):
                raise RecordingError(
                    f"{path}: a seizure is marked from {begin:g} to {begin + duration:g} s, outside of the recording, "
                    f"which lasts {header.duration:g} s. The marks belong to another file, or a part is missing."
                )
    return count


def _faster(header):
    """Labels of channels faster than the electrodes, and a sentence about them (mne-tools/mne-python#10635)."""
    electrodes = {n for n, label in zip(header.samples, header.labels, strict=True) if _is_electrode(label)}
    channels = [pair for pair in zip(header.labels, header.samples, strict=True) if not pair[0].endswith("Annotations")]
    faster = [(label, n) for label, n in channels if electrodes and n > max(electrodes)]
    rates = ", ".join(f"{label} ({n / header.seconds:g} Hz)" for label, n in faster)
    return [label for label, _ in faster], [f"channels faster than the electrodes left out: {rates}"] if faster else []


def _is_electrode(label):
    return canonical_name(label) or pair_of(label)


def _mended(path, header):
    """The file in memory, with the repaired header, and without line breaks in its marks."""
    content = np.fromfile(path, "uint8")
    content[: header.size] = np.frombuffer(header.content, "uint8")
    records = content[header.size : header.size + header.records * header.record_bytes]
    for begin, end in annotation_bytes(header):
        marks = records.reshape(header.records, -1)[:, begin:end]
        marks[marks == ord("\n")] = ord(" ")
    mended = io.BytesIO(content.tobytes())
    mended.name = str(path)  # MNE takes the recording's name from here
    return mended
