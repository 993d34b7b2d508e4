"""Files to `mne.io.Raw`: EDF, EDF+, BDF and the cached HDF5 recording, with one clear error for a file that is none.

MNE reads; this module asks first whether the file is whole, because MNE shortens a truncated file, and joins the pieces
of one with gaps, without an error.
"""

import math
import re
from pathlib import Path

import h5py
import mne
import numpy as np

from helpers.eeg.errors import RecordingError

__all__ = ["read_recording", "recording_name"]

_READERS = {".edf": mne.io.read_raw_edf, ".bdf": mne.io.read_raw_bdf}


def read_recording(path):
    """Read one recording.

    Parameters
    ----------
    path : str or Path
        ``.edf`` (EDF or EDF+), ``.bdf``, or ``.h5`` in the layout of eeghdf.

    Returns
    -------
    mne.io.BaseRaw
        With its annotations; samples of an EDF stay on disk until they are asked for.

    Raises
    ------
    RecordingError
        If the file does not exist, is empty, truncated, damaged, has gaps, or is not what its name says.
    """
    path = Path(path)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "no such file"
        raise RecordingError(f"{path}: {found}. Expected an EDF, EDF+ or BDF recording; check the path.")
    if path.stat().st_size == 0:
        raise RecordingError(f"{path}: the file has 0 bytes. Copy or download it again.")
    suffix = path.suffix.lower()
    try:
        if suffix == ".h5":
            return _read_eeghdf(path)
        if suffix in _READERS:
            _check_edf(path)
            return _READERS[suffix](path, verbose="error")
    except RecordingError:
        raise
    except Exception as fault:  # MNE raises AssertionError, ZeroDivisionError and a bare Exception for damaged files
        reason = " ".join(str(fault).split()) or type(fault).__name__
        raise RecordingError(
            f"{path}: cannot be read as {suffix[1:].upper()} ({reason}). It is damaged: copy or download it again."
        ) from fault
    ending = f"the ending {suffix!r} is unknown" if suffix else "the name has no ending"
    raise RecordingError(f"{path}: {ending}. Expected .edf, .bdf or .h5; rename the file if it is one of these.")


def recording_name(raw):
    """Name of the file that a recording was read from, for messages; ``"recording"`` where there is none."""
    return Path(raw.filenames[0]).name if raw.filenames and raw.filenames[0] else "recording"


def _check_edf(path):
    """Check the numbers in the header of an EDF or BDF, and its size against them (Kemp 1992, header layout)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(256)
        if len(head) < 256 or not (head.startswith(b"0       ") or head.startswith(b"\xffBIOSEMI")):
            raise RecordingError(
                f"{path}: this is no EDF or BDF: it begins with {head[:8]!r}, expected b'0       ' or b'\\xffBIOSEMI'. "
                "Was it renamed, or is it an error page of a download?"
            )
        try:
            header_bytes, records, channels = (_count(field) for field in (head[184:192], head[236:244], head[252:256]))
            if channels < 1 or header_bytes != 256 * (channels + 1):
                raise ValueError(f"{channels} channels and {header_bytes} bytes of header do not fit")
            if size < header_bytes:
                raise RecordingError(
                    f"{path}: truncated inside the header: it has {header_bytes:,} bytes, the file {size:,}. "
                    "Copy or download it again."
                )
            if _number(head[244:252]) <= 0:
                raise ValueError(f"records of {_number(head[244:252]):g} s")
            labels = [file.read(16).strip() for _ in range(channels)]
            file.seek(256 + 104 * channels)
            for _ in range(4 * channels):  # physical and digital minimum and maximum of each channel
                _number(file.read(8))
            file.seek(256 + 216 * channels)
            samples = [_count(file.read(8)) for _ in range(channels)]  # of each channel in one record
            if min(samples) < 0 or max(samples) == 0:
                raise ValueError(f"{min(samples)} to {max(samples)} samples in a record")
        except RecordingError:
            raise
        except ValueError as fault:
            raise RecordingError(
                f"{path}: the header is damaged ({fault}). Export the recording again from the software that made it."
            ) from fault
    record_bytes = sum(samples) * (3 if head.startswith(b"\xff") else 2)
    if head[192:197] in (b"EDF+D", b"BDF+D"):
        _check_gaps(path, header_bytes, record_bytes, _number(head[244:252]), labels, samples)
    if records < 0:  # -1: still being recorded; MNE counts the records itself
        return
    expected = header_bytes + records * record_bytes
    if size < expected:
        whole = max(size - header_bytes, 0) // record_bytes
        raise RecordingError(
            f"{path}: truncated: the header promises {records} records ({expected:,} bytes), the file holds {whole} "
            f"({size:,} bytes). Copy or download it again."
        )
    if (size - expected) % record_bytes:  # whole records more: stopped without an update of the count; MNE counts
        raise RecordingError(
            f"{path}: the header is damaged: it promises {records} records of {record_bytes:,} bytes "
            f"({expected:,} bytes in all), the file has {size:,} bytes. "
            "Export the recording again from the software that made it."
        )


def _check_gaps(path, header_bytes, record_bytes, seconds, labels, samples):
    """Refuse a discontinuous file whose records do not follow each other: MNE joins them, and marks go astray.

    Each record says when it begins, in the first annotation of its first annotation signal (EDF+ specification,
    section 2.2.4).
    """
    marks = next((index for index, label in enumerate(labels) if label.endswith(b"Annotations")), None)
    if marks is None:
        return
    width = 3 if path.suffix.lower() == ".bdf" else 2
    before, fraction = width * sum(samples[:marks]), None
    content = np.memmap(path, dtype="uint8", mode="r", offset=header_bytes)
    for number, begin in enumerate(range(before, len(content) - width * samples[marks] + 1, record_bytes)):
        stamp = re.match(rb"([+-][\d.]+)\x14", content[begin : begin + 24].tobytes())
        if stamp is None:
            continue
        fraction = float(stamp[1]) % 1 if fraction is None else fraction  # the header's start time has whole seconds
        late = float(stamp[1]) - fraction - number * seconds
        if abs(late) > 1e-3:
            raise RecordingError(
                f"{path}: the recording has a gap of {late:g} s after {number * seconds:g} s (EDF+D, discontinuous); "
                "read as one piece, all later marks would be off. Export it again as EDF+C, or each piece by itself."
            )


def _count(field):
    try:
        return int(field)
    except ValueError:
        raise ValueError(f"{field.decode('latin-1').strip()!r} is no whole number") from None


def _number(field):
    """A finite number of the header; some software writes a decimal comma."""
    number = float(field.replace(b",", b"."))
    if not math.isfinite(number):
        raise ValueError(f"{field.decode('latin-1').strip()!r} is no finite number")
    return number


def _read_eeghdf(path):
    """The layout of eeghdf 0.2: one record of int16 signals with a physical and a digital range for each."""
    with h5py.File(path) as file:
        record = file["record-0"]
        labels = record["signal_labels"].asstr()[:]
        units = record["physical_dimensions"].asstr()[:]

        def column(name):
            return record[f"signal_{name}"][:].astype(float)[:, None]

        step = (column("physical_maxs") - column("physical_mins")) / (column("digital_maxs") - column("digital_mins"))
        signals = record["signals"][:].astype(float)
        signals -= column("digital_mins")
        signals *= step
        signals += column("physical_mins")
        signals *= np.array([{"uV": 1e-6, "mV": 1e-3}.get(unit, 1.0) for unit in units])[
            :, None
        ]  # volts, as MNE has it
        sfreq = round(float(record.attrs["sample_frequency"]), 6)  # stored as 200.00000000000003
        onsets = record["edf_annotations/starts_100ns"][:] / 1e7
        texts = record["edf_annotations/texts"].asstr()[:]
    info = mne.create_info(list(labels), sfreq, [_channel_type(label) for label in labels])
    raw = mne.io.RawArray(signals, info, verbose="error")
    raw.set_annotations(_with_seizures(onsets, texts))
    raw.filenames = [path]
    return raw


def _channel_type(label):
    if label.startswith("EEG Mark"):
        return "misc"
    return {"EEG": "eeg", "ECG": "ecg"}.get(label.split()[0], "misc")


def _with_seizures(onsets, texts):
    """The marks as they are, and one more of a duration > 0 for each SZ START with the SZ END after it."""
    ends = [onset for onset, text in zip(onsets, texts, strict=True) if text == "SZ END"]
    starts = [onset for onset, text in zip(onsets, texts, strict=True) if text == "SZ START"]
    spans = [(start, min(end for end in ends if end > start)) for start in starts if any(end > start for end in ends)]
    marks = mne.Annotations(onsets, np.zeros(len(onsets)), [text.strip() or "?" for text in texts])
    return marks + mne.Annotations(
        [start for start, _ in spans], [end - start for start, end in spans], ["seizure"] * len(spans)
    )
