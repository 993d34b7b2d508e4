"""Prepared recordings on disk, and random windows of them in microseconds.

A store is a folder with one continuous array for each recording, ``recordings/<id>.<key>.npy``, and beside it
``recordings/<id>.json``, which says what it is. Windows are read out of the memory-mapped arrays; none is ever written.
This module reads a store and knows its layout; `helpers.eeg.preparation` fills one, `helpers.eeg.manifest` chooses
windows.

The arrays are int16, (channels, samples). The detector's input is clipped at ±20, so a step of 20 / 32767 = 0.0006
robust standard deviations takes the room of float16 and loses less than it above 0.6. In memory, a window of 60 s comes
out of (channels, samples) in 0.11 ms and out of (samples, channels), which has to be transposed, in 0.21 ms; from disk
it is 1.8 and 1.6 ms (random windows of 12 recordings of 1 h, one core of an AMD EPYC, medians of five runs).
"""

import hashlib
import json
import os
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from helpers.eeg.errors import StoreError
from helpers.eeg.montage import CANONICAL
from helpers.eeg.preprocessing import SFREQ
from helpers.eeg.windows import WINDOW

__all__ = ["SCALE", "Store", "StoredRecording", "open_store"]

SCALE = 20 / 32_767
"""Robust standard deviations in one step of a stored int16."""

FORMAT = 1
"""Of the files. Raise it when their layout changes, or the signal that the same options give: stores are made anew."""

_OPEN = 128  # memory maps kept open: each holds a file descriptor, of which a process may have as few as 256


@dataclass(frozen=True)
class StoredRecording:
    """What a store says of one recording.

    Attributes
    ----------
    id : str
        Path of its file in the folder that was prepared, with ``/`` between the parts.
    subject : str
        Whose recording it is (`subject_of`).
    n_samples : int
        At 256 Hz.
    seizures : tuple of (onset, end)
        In s from the first sample.
    repairs : tuple of str
        What was changed beyond what the file says (`repairs`).
    source_sha256, sha256 : str
        Of the file it was made from, and of the array.
    file : str
        The array, below ``recordings/``.
    """

    id: str
    subject: str
    n_samples: int
    seizures: tuple
    repairs: tuple
    source_sha256: str
    sha256: str
    file: str

    @property
    def duration(self):
        """In s."""
        return self.n_samples / SFREQ


def open_store(path):
    """Open the store in a folder, as `prepare` left it.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    Store

    Raises
    ------
    StoreError
        If there is no store, it is empty, from another version, half way between two preparations, or an array is
        missing or has another size. Contents are not read: `Store.verify` does that.
    """
    path = Path(path)
    entries = read_entries(path)
    if not entries:
        found = "no such folder" if not path.is_dir() else "no prepared recording in it"
        raise StoreError(f"{path}: {found}. Expected a store; make one with `workbook prepare FOLDER --store {path}`.")
    again = "Run `workbook prepare` on its recordings again."
    first = entries[0]
    for entry in entries:
        array = path / "recordings" / entry["file"]
        found = array.stat().st_size if array.is_file() else 0
        if found != entry["bytes"]:
            raise StoreError(f"{array}: it has {found:,} bytes, expected {entry['bytes']:,}. {again}")
        if entry["options"] != first["options"]:
            raise StoreError(
                f"{path}: {first['id']} is prepared with {first['options']}, {entry['id']} with {entry['options']}. "
                f"{again}"
            )
    return Store(path, tuple(_recording(entry) for entry in entries), first["options"])


class Store:
    """Prepared recordings: open one with `open_store`. It can be pickled, and shared by threads.

    Attributes
    ----------
    path : Path
    recordings : tuple of StoredRecording
        Sorted by id.
    options : dict
        What `preprocess` was called with.
    """

    def __init__(self, path, recordings, options):
        self.path, self.recordings, self.options = Path(path), recordings, options
        self._by_id = {recording.id: recording for recording in recordings}
        self._map = lru_cache(_OPEN)(self._open)

    def __reduce__(self):
        return type(self), (self.path, self.recordings, self.options)

    def __repr__(self):
        hours = sum(recording.duration for recording in self.recordings) / 3600
        return f"<Store {self.path}: {len(self.recordings)} recordings of {len(self.subjects)} subjects, {hours:.1f} h>"

    def __getitem__(self, id):
        """The `StoredRecording` of an id."""
        if id not in self._by_id:
            raise StoreError(f"{self.path}: no recording {id!r}; expected one of {_some(self._by_id)}.")
        return self._by_id[id]

    @property
    def subjects(self):
        """All subjects, sorted."""
        return tuple(sorted({recording.subject for recording in self.recordings}))

    @cached_property
    def fingerprint(self):
        """Hex SHA-256 of what is in it: ids, subjects, seizures, and the arrays' checksums.

        It is the same for the same recordings prepared in the same way, whenever and by however many processes.
        """
        content = [
            [recording.id, recording.subject, recording.seizures, recording.n_samples, recording.sha256]
            for recording in self.recordings
        ]
        described = json.dumps([FORMAT, CANONICAL, SFREQ, SCALE, content])
        return hashlib.sha256(described.encode()).hexdigest()

    def signal(self, id):
        """A recording's array.

        Returns
        -------
        memmap, (19, samples), int16
            In steps of `SCALE`, at 256 Hz, channels in the order of `CANONICAL`; it cannot be written to.
        """
        return self._map(id)

    def window(self, id, start, n=WINDOW):
        """Samples of one window.

        Parameters
        ----------
        id : str
        start : int
            First sample.
        n : int
            Samples.

        Returns
        -------
        ndarray, (19, n), float32
            In robust standard deviations, between -20 and 20.

        Raises
        ------
        StoreError
            If the recording is not there or does not reach so far.
        """
        return self.batch([(id, start)], n)[0]

    def batch(self, windows, n=WINDOW, out=None):
        """Samples of many windows.

        Parameters
        ----------
        windows : iterable of (id, start)
        n : int
            Samples in each.
        out : ndarray, (batch, 19, n), float32, optional
            Where they are written, say memory that a GPU can fetch them from. A new array for each batch takes about
            as long to get from the system as the windows take to read.

        Returns
        -------
        ndarray, (batch, 19, n), float32
            In robust standard deviations, between -20 and 20.

        Raises
        ------
        StoreError
            If a recording is not there or does not reach so far.
        ValueError
            If `out` has another shape or type.
        """
        windows = list(windows)
        shape = (len(windows), len(CANONICAL), n)
        if out is None:
            out = np.empty(shape, np.float32)
        elif out.shape != shape or out.dtype != np.float32:
            raise ValueError(f"out is {out.shape}, {out.dtype}; expected {shape}, float32")
        for (id, start), samples in zip(windows, out, strict=True):
            recording = self[id]
            if not 0 <= start <= recording.n_samples - n:
                raise StoreError(
                    f"{self.path}: {id} has samples 0 to {recording.n_samples}; a window from {start} to {start + n} "
                    "does not lie in it. Take starts from build_manifest or window_starts."
                )
            np.copyto(samples, self._map(id)[:, start : start + n])
            np.multiply(samples, np.float32(SCALE), out=samples)  # from int16 at once, it takes half as long again
        return out

    def verify(self):
        """Ids of the recordings whose array is not what it was when it was written; it reads all of them.

        Returns
        -------
        tuple of str
            Empty where all is well. `prepare` makes the others anew.
        """
        folder = self.path / "recordings"
        return tuple(one.id for one in self.recordings if sha256_of(folder / one.file) != one.sha256)

    def _open(self, id):
        """Map an array; not by `numpy.load`, which at times cannot parse headers in threads (python/cpython#106905)."""
        recording = self[id]
        path, shape = self.path / "recordings" / recording.file, (len(CANONICAL), recording.n_samples)
        try:
            header = path.stat().st_size - 2 * shape[0] * shape[1]
            return np.memmap(path, "<i2", "r", offset=header, shape=shape)
        except (OSError, ValueError, OverflowError) as fault:
            raise StoreError(
                f"{path}: cannot be read ({fault}). If it was prepared again meanwhile, open the store again."
            ) from fault


def sha256_of(path):
    """Hex SHA-256 of a file."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_entries(path):
    """What the JSON files of a store say, sorted by id; for this package.

    Raises
    ------
    StoreError
        If one cannot be read, or is of another format.
    """
    return sorted((_read_entry(file) for file in entry_files(path)), key=lambda entry: entry["id"])


def entry_files(path):
    """The JSON files of a store; for this package."""
    found = []
    for folder, _, names in os.walk(Path(path) / "recordings"):
        found += [Path(folder) / name for name in names if name.endswith(".json")]
    return found


def _read_entry(file):
    try:
        entry = json.loads(file.read_bytes())
        if entry["format"] != FORMAT:
            raise StoreError(
                f"{file}: format {entry['format']}, expected {FORMAT}; another version of the workbook made it. "
                "Prepare the recordings into a new folder."
            )
        _recording(entry), entry["bytes"], entry["options"]
    except (OSError, ValueError, KeyError, TypeError) as fault:
        if isinstance(fault, StoreError):
            raise
        raise StoreError(f"{file}: cannot be read ({fault!r}). Delete it and run `workbook prepare` again.") from fault
    return entry


def _recording(entry):
    return StoredRecording(
        id=entry["id"],
        subject=entry["subject"],
        n_samples=entry["n_samples"],
        seizures=tuple((float(onset), float(end)) for onset, end in entry["seizures"]),
        repairs=tuple(entry["repairs"]),
        source_sha256=entry["source_sha256"],
        sha256=entry["sha256"],
        file=entry["file"],
    )


def _some(ids):
    shown = ", ".join(list(ids)[:5])
    return shown if len(ids) <= 5 else f"{shown}, … ({len(ids)} in all)"
