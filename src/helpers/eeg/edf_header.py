"""The header of an EDF, EDF+ or BDF file: checked against the file's size, its known faults repaired and named.

Nothing here reads samples (MNE does) or writes: a repaired header is handed on as bytes, and the file stays as it is. A
fault is repaired where only one reading makes sense; where two do, it is an error. Source: Kemp et al. 1992, and the
EDF+ specification (Kemp & Olivan 2003), whose field names these are.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from helpers.eeg.errors import RecordingError
from helpers.eeg.montage import canonical_name, pair_of

__all__ = ["EdfHeader", "read_header"]

_FIELDS = {"version": 8, "patient": 80, "recording": 80, "start date": 8, "start time": 8, "header bytes": 8}
_FIELDS |= {"kind": 44, "records": 8, "seconds a record": 8, "signals": 4}
_SIGNAL = {"label": 16, "transducer": 80, "unit": 8, "physical minimum": 8, "physical maximum": 8}
_SIGNAL |= {"digital minimum": 8, "digital maximum": 8, "filters": 80, "samples a record": 8, "reserved": 32}
_RANGES = ("physical minimum", "physical maximum", "digital minimum", "digital maximum")

_UNITS = {b"uV": {"uv", "µv", "μv", "microv", "microvolt"}, b"mV": {"mv", "millivolt"}, b"V": {"v", "volt"}}
_UNITS_OF_MNE = (b"uV", b"\xb5V", b"mV", b"V")  # any other is taken for volts there
_EXPORT = "Export the recording again from the software that made it."


@dataclass(frozen=True)
class EdfHeader:
    """What a reader of the samples has to know.

    Attributes
    ----------
    content : bytes
        The header with its repairs.
    size : int
        Of the header, in bytes.
    width : int
        Bytes a sample: 2 (EDF) or 3 (BDF).
    records : int
        Whole records in the file.
    seconds : float
        Of one record.
    labels : tuple of str
        Of the signals, those with annotations too.
    samples : tuple of int
        Of each signal in one record.
    gaps : bool
        The file says that its records need not follow each other (EDF+D).
    repaired : bool
        `content` is not what the file holds.
    repairs : tuple of str
        One sentence each, also for what a reader repairs by itself.
    """

    content: bytes
    size: int
    width: int
    records: int
    seconds: float
    labels: tuple
    samples: tuple
    gaps: bool
    repaired: bool
    repairs: tuple

    @property
    def record_bytes(self):
        """Size of one record."""
        return self.width * sum(self.samples)

    @property
    def duration(self):
        """Of the recording, s."""
        return self.records * self.seconds


def read_header(path):
    """Read and check the header of an EDF or BDF file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    EdfHeader

    Raises
    ------
    RecordingError
        If the file is none, is truncated, or has a header that cannot be repaired without guessing.
    OSError
        If it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(256)
        if len(head) < 256 or not (head[:8].rstrip(b" \0") == b"0" or head.startswith(b"\xffBIOSEMI")):
            raise RecordingError(
                f"{path}: this is no EDF or BDF: it begins with {head[:8]!r}, expected b'0       ' or b'\\xffBIOSEMI'. "
                "Was it renamed, or is it an error page of a download?"
            )
        try:
            header_bytes, channels = _count(head[184:192]), _count(head[252:256])
            if channels < 1 or header_bytes != 256 * (channels + 1):
                raise ValueError(f"{channels} channels and {header_bytes} bytes of header do not fit")
            if size < header_bytes:
                raise RecordingError(
                    f"{path}: truncated inside the header: it has {header_bytes:,} bytes, the file {size:,}. "
                    "Copy or download it again."
                )
            content = head + file.read(header_bytes - 256)
            return _check(path, size, content, channels)
        except RecordingError:
            raise
        except ValueError as fault:
            raise RecordingError(f"{path}: the header is damaged ({fault}). {_EXPORT}") from fault


def _check(path, size, original, channels):
    fields, signals = _split(original, channels)
    repairs = [*_plain_text(fields, signals), *_decimal_points(fields, signals), *_start(fields), *_units(signals)]
    content = b"".join([*fields.values(), *(value for values in signals.values() for value in values)])
    for values in (signals[name] for name in _RANGES):
        for value in values:
            _number(value)
    seconds, samples = _number(fields["seconds a record"]), [_count(value) for value in signals["samples a record"]]
    labels = [value.strip().decode("latin-1") for value in signals["label"]]
    if seconds <= 0:
        raise ValueError(f"records of {seconds:g} s")
    if min(samples) < 0 or max(samples) == 0:
        raise ValueError(f"{min(samples)} to {max(samples)} samples in a record")
    electrodes = [row for row, label in enumerate(labels) if canonical_name(label) or pair_of(label)]
    _check_electrodes([(labels[row], samples[row] / seconds) for row in electrodes])
    for row in electrodes:
        for kind in ("physical", "digital"):
            low, high = (_number(signals[f"{kind} {end}"][row]) for end in ("minimum", "maximum"))
            if low == high:
                raise ValueError(f"the {kind} range of {labels[row]} is {low:g} to {high:g}")
    width = 3 if original.startswith(b"\xff") else 2
    records, recounted = _records(path, size, len(content), width * sum(samples), _count(fields["records"]))
    return EdfHeader(
        content=content,
        size=len(content),
        width=width,
        records=records,
        seconds=seconds,
        labels=tuple(labels),
        samples=tuple(samples),
        gaps=fields["kind"].startswith((b"EDF+D", b"BDF+D")),
        repaired=content != original,
        repairs=(*repairs, *recounted),
    )


def _split(content, channels):
    fields, signals, place = {}, {}, 0
    for name, width in _FIELDS.items():
        fields[name] = content[place : place + width]
        place += width
    for name, width in _SIGNAL.items():
        signals[name] = [content[place + width * row : place + width * (row + 1)] for row in range(channels)]
        place += width * channels
    return fields, signals


def _plain_text(fields, signals):
    """Control characters are blanks; what is not ASCII is Latin-1, as MNE reads it, but in the reserved fields."""
    blanked, latin = [], []
    for name, values in [*((name, [value]) for name, value in fields.items()), *signals.items()]:
        clean = [bytes(byte if byte >= 32 else 32 for byte in value) for value in values]
        if name == "reserved":
            clean = [value if value.isascii() else b" " * len(value) for value in clean]
        if clean != values:
            blanked.append(name)
        if not b"".join(clean).isascii() and name not in ("version", "unit"):  # of a BDF; looked at below
            latin.append(name)
        if name in fields:
            fields[name] = clean[0]
        else:
            signals[name] = clean
    if blanked:
        yield f"bytes that are no text in the header ({', '.join(blanked)}) read as blanks"
    if latin:
        yield f"characters beyond ASCII in the header ({', '.join(latin)}) read as Latin-1"


def _decimal_points(fields, signals):
    found = []
    if b"," in fields["seconds a record"]:
        fields["seconds a record"] = fields["seconds a record"].replace(b",", b".")
        found.append("seconds a record")
    for name in _RANGES:
        if any(b"," in value for value in signals[name]):
            found.append(name)  # MNE reads a comma there as a point, too
    if found:
        yield f"decimal commas in the header ({', '.join(found)}) read as points"


def _start(fields):
    """Date and time with other separators than points, or none at all (MNE: midnight, no date, without a word)."""
    words = fields["recording"].decode("latin-1").rstrip().split(" ")
    dated = len(words) == 5 and _parses(words[1], "%d-%b-%Y")  # EDF+: MNE takes the date, with its century, from here
    for name, form, without in (
        ("start date", "%d.%m.%y", "left out"),
        ("start time", "%H.%M.%S", "taken as midnight"),
    ):
        text = fields[name].decode("latin-1")
        parts = re.fullmatch(r"\s*(\d{1,2})\D(\d{1,2})\D(\d{1,2})\s*", text)
        new = ".".join(part.zfill(2) for part in parts.groups()) if parts else ""
        if name == "start date" and (dated or text.endswith("yy")):  # "yy" from 2085 on (EDF+)
            continue
        if not _parses(new, form):
            if name == "start time":
                fields[name] = b"00.00.00"
            yield f"{name} {text.strip()!r} cannot be read, {without}"
        elif new != text:
            fields[name] = new.encode()
            yield f"{name} {text.strip()!r} read as {new}"


def _parses(text, form):
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return True


def _units(signals):
    """One spelling for microvolts, millivolts and volts; MNE takes a spelling that it doesn't know for volts."""
    found = {}
    for row, value in enumerate(signals["unit"]):
        label, unit = signals["label"][row].strip().decode("latin-1"), value.strip()
        if not (canonical_name(label) or pair_of(label)) or unit in _UNITS_OF_MNE:
            continue
        try:
            text = unit.decode("utf-8")
        except UnicodeDecodeError:
            text = unit.decode("latin-1")
        plain = text.lower().rstrip("s.").strip()
        known = next((unit for unit, spellings in _UNITS.items() if plain in spellings), None)
        if known is None and text:
            raise ValueError(f"{label} is in {text!r}, expected uV, mV or V")
        if not text:  # no EEG is below 1 µV, none reaches 1 V
            known = b"uV" if _number(signals["physical maximum"][row]) >= 1 else b"V"
        signals["unit"][row] = known.ljust(8)
        found.setdefault((text, known.decode()), []).append(label)
    for (text, known), labels in found.items():
        yield f"unit {text!r} of {', '.join(labels)} read as {known}"


def _check_electrodes(rates):
    if len({rate for _, rate in rates}) > 1:
        by_rate = {rate: [label for label, other in rates if other == rate] for _, rate in rates}
        listed = "; ".join(f"{rate:g} Hz: {', '.join(labels[:4])}" for rate, labels in by_rate.items())
        raise ValueError(f"its electrodes have different rates, {listed}")


def _records(path, size, header_bytes, record_bytes, promised):
    """Whole records in the file, and what is to be said about the promise."""
    records, rest = divmod(size - header_bytes, record_bytes)
    expected = header_bytes + promised * record_bytes
    if promised >= 0 and size < expected:
        raise RecordingError(
            f"{path}: truncated: the header promises {promised} records ({expected:,} bytes), the file holds {records} "
            f"({size:,} bytes). Copy or download it again."
        )
    if records == 0:
        raise RecordingError(f"{path}: the header is whole, and no record follows. Copy or download it again.")
    if promised < 0:  # -1: the recorder was still running, or was switched off
        return records, [f"number of records {promised} read as {records}" + (", the last one is cut" if rest else "")]
    if rest:
        raise RecordingError(
            f"{path}: the header is damaged: it promises {promised} records of {record_bytes:,} bytes "
            f"({expected:,} bytes in all), the file has {size:,} bytes. {_EXPORT}"
        )
    return records, [f"number of records {promised} read as {records}"] if records != promised else []


def _count(field):
    text = field.strip().strip(b"\0").decode("latin-1")
    if not re.fullmatch(r"[+-]?\d+", text, re.ASCII):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def _number(field):
    text = field.strip().decode("latin-1").replace(",", ".")
    try:
        number = float(text.replace("_", "?"))  # Python would read 1_000
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None
    if not abs(number) < 1e100:  # NaN, infinity, and what would become one in a sum
        raise ValueError(f"{text!r} is no finite number")
    return number
