"""A folder of recordings to a store: each is read, preprocessed, and written once, as an array with its description.

It can be stopped at any time, by kill -9 too, and run again: what was done is kept, what was not is done. A bad
recording is left out and reported; the others go on. What is on disk is said in `helpers.eeg.store`.
"""

import errno
import hashlib
import inspect
import io
import json
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.eeg.annotations import seizures_of
from helpers.eeg.errors import RecordingError, StoreError
from helpers.eeg.interpolation import interpolate_missing
from helpers.eeg.naming import subject_of
from helpers.eeg.preprocessing import SFREQ, check_options, preprocess
from helpers.eeg.recordings import read_recording
from helpers.eeg.repairs import repairs
from helpers.eeg.store import FORMAT, SCALE, entry_files, sha256_of
from helpers.eeg.windows import WINDOW
from helpers.environment import ProcessDied, in_processes, replacing

__all__ = ["PreparationReport", "find_recordings", "prepare"]

_ENDINGS = (".edf", ".bdf", ".h5")
_KEPT = ("n_samples", "repairs", "file", "bytes", "sha256")  # of a description, where its array is
_OURS = re.compile(r".+\.[0-9a-f]{12}\.npy|\..+\.[0-9a-f]{8}\.part")


@dataclass(frozen=True)
class PreparationReport:
    """What became of each recording of a folder.

    Attributes
    ----------
    store : Path
    prepared, kept : tuple of str
        Ids of those made now, and of those that were there already.
    left_out : dict of str to str
        Why each of the others is not in the store.
    repaired : dict of str to list of str
        What was changed beyond what the file says, of those in the store (`repairs`).
    hours : float
        Length of all that is in the store from this folder.
    without_seizures : int
        How many of these recordings have no marked seizure. More than expected: their marks may use other words.
    """

    store: Path
    prepared: tuple
    kept: tuple
    left_out: dict
    repaired: dict
    hours: float
    without_seizures: int

    def __str__(self):
        lines = [
            f"{self.store}: {len(self.prepared)} recording{'s' * (len(self.prepared) != 1)} prepared, "
            f"{len(self.kept)} already there, {len(self.left_out)} left out; {self.hours:.1f} h; "
            f"{self.without_seizures} without a marked seizure"
        ]
        lines += [f"  left out  {id}: {reason}" for id, reason in self.left_out.items()]
        lines += [f"  repaired  {id}: {'; '.join(repairs)}" for id, repairs in self.repaired.items()]
        return "\n".join(lines)


def prepare(folder, store, *, interpolate=False, workers=None, progress=None, **options):
    """Prepare all recordings of a folder into a store.

    Parameters
    ----------
    folder : str or Path
        It is searched with all folders below it. A recording's id is its path in it.
    store : str or Path
        Folder of the store, made if needed. A recording that is there already, made from the same content with the
        same options, is kept, once its checksum is found right; one that has changed is made anew. Recordings of
        other folders stay.
    interpolate : bool
        Estimate up to four missing electrodes (`interpolate_missing`), and those that the pairs of a bipolar recording
        leave open (`electrodes_from_pairs`). Without, such a recording is left out.
    workers : int, optional
        Processes, of one thread each. Default: as many as this process may use cores, fewer for little work.
    progress : callable, optional
        Called as ``progress(recordings_done, recordings_in_all)``.
    **options
        Of `preprocess`, the same for all.

    Returns
    -------
    PreparationReport

    Raises
    ------
    RecordingError
        If there is no recording in the folder. A recording that cannot be used is no error: the report says why.
    StoreError
        If the store cannot be written, or somebody else is preparing into it. What was done stays.
    TypeError
        If `preprocess` has no such option.
    ValueError
        If it takes no such value, or `workers` is below 1.
    """
    folder, store = Path(folder), Path(store)
    options = _complete(options)
    check_options(options["l_freq"], options["h_freq"], options["line"])  # or each recording would be left out for it
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; expected at least 1, or None for as many as there are cores.")
    options = {"interpolate": interpolate, **options}
    files = find_recordings(folder)
    tasks = [(str(folder), str(file.relative_to(folder)), str(store), options) for file in files]
    tasks.sort(key=lambda task: -_size(folder / task[1]))  # a long one begun last would keep one process busy alone
    workers = min(workers or _workers(files), len(tasks))
    outcomes = {}
    try:
        with _locked(store):
            _sweep(store)
            for task, outcome in in_processes(_prepare_one, tasks, workers):
                if isinstance(outcome, ProcessDied):
                    outcome = {"left_out": f"{outcome}. Run it again with fewer processes (--workers)."}
                if "stop" in outcome:
                    raise StoreError(f"{store}: {outcome['stop']}. What was prepared stays; free some space.")
                outcomes[Path(task[1]).as_posix()] = outcome
                if progress:
                    progress(len(outcomes), len(tasks))
    except OSError as fault:
        raise StoreError(f"{store}: cannot be written ({fault.strerror or fault}). Choose another folder.") from fault
    done = {id: outcome for id, outcome in sorted(outcomes.items()) if "left_out" not in outcome}
    return PreparationReport(
        store,
        prepared=tuple(id for id, outcome in done.items() if not outcome["kept"]),
        kept=tuple(id for id, outcome in done.items() if outcome["kept"]),
        left_out={id: outcome["left_out"] for id, outcome in sorted(outcomes.items()) if "left_out" in outcome},
        repaired={id: outcome["repairs"] for id, outcome in done.items() if outcome["repairs"]},
        hours=sum(outcome["n_samples"] for outcome in done.values()) / SFREQ / 3600,
        without_seizures=sum(not outcome["seizures"] for outcome in done.values()),
    )


def find_recordings(folder):
    """All recordings below a folder, by their endings: ``.edf``, ``.bdf``, and ``.h5`` in the layout of eeghdf.

    Parameters
    ----------
    folder : str or Path

    Returns
    -------
    list of Path
        Sorted. Hidden files are passed over: macOS leaves a ``._night.edf`` beside each ``night.edf`` it copies.

    Raises
    ------
    RecordingError
        If there is none.
    """
    folder = Path(folder)
    if not folder.is_dir():
        found = "a file" if folder.exists() else "no such folder"
        raise RecordingError(f"{folder}: {found}. Expected a folder of recordings; check the path.")
    files = [
        Path(place) / name
        for place, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(_ENDINGS) and not name.startswith(".")
    ]
    if not files:
        raise RecordingError(f"{folder}: no recording in it. Expected {', '.join(_ENDINGS)} files; check the path.")
    return sorted(files)


def _complete(options):
    """The options with every default of `preprocess`, so that a store made before a default changed is made anew."""
    bound = inspect.signature(preprocess).bind(None, **options)
    bound.apply_defaults()
    return dict(list(bound.arguments.items())[1:])


def _prepare_one(folder, name, store, options):
    """Prepare one recording; what became of it, as JSON. Called in a process of its own.

    The array is written first, under a name that follows from its content's source, and then the description that
    names it: at any moment there is the old pair, or the new one.
    """
    file, id = Path(folder, name), Path(name).as_posix()
    place = Path(store, "recordings", f"{id}.json")
    before = _entry(place)
    try:
        source = sha256_of(file)
    except OSError as fault:
        return {"left_out": f"cannot be read ({fault.strerror or fault}). Check the file and its permissions."}
    described = json.dumps([FORMAT, source, options], sort_keys=True)
    array = place.with_name(f"{place.stem}.{hashlib.sha256(described.encode()).hexdigest()[:12]}.npy")
    kept = _whole(array, before)
    try:
        raw = read_recording(file)
        entry = {"format": FORMAT, "id": id, "subject": subject_of(file), "seizures": seizures_of(raw)}
        if kept:
            entry |= {name: before[name] for name in _KEPT}
        else:
            samples, changes = _samples(raw, **options)
            entry |= {"n_samples": samples.shape[1], "repairs": changes}
        # Resampled, a recording ends up to 2 ms earlier; a seizure that begins after that is not in the array.
        entry["seizures"] = [span for span in entry["seizures"] if span[0] < entry["n_samples"] / SFREQ]
        entry |= {"options": options, "source_sha256": source}
    except Exception as fault:  # of a damaged file; MNE has no one error for these
        _forget(place, before)
        return {"left_out": _reason(fault, folder, name)}
    try:
        if not kept:
            place.parent.mkdir(parents=True, exist_ok=True)
            entry |= _write(array, samples, Path(store, "recordings"))
        content = json.dumps(entry, indent=1)
        if json.loads(content) != before:
            with replacing(place, "w") as description:
                description.write(content)
        if before.get("file") not in (None, entry["file"]):
            place.with_name(Path(before["file"]).name).unlink(missing_ok=True)
    except OSError as fault:
        if fault.errno == errno.ENAMETOOLONG:
            return {"left_out": "its name is too long for the store, which adds 32 characters to it. Rename the file."}
        return {"stop": f"cannot be written ({fault.strerror or fault})"}
    return {"kept": kept, **{name: entry[name] for name in ("n_samples", "repairs", "seizures")}}


def _entry(place):
    """What the store says of a recording; the name of its array alone, or nothing, where no more can be used."""
    try:
        entry = json.loads(place.read_bytes())
        whole = entry["format"] == FORMAT and entry.keys() >= set(_KEPT)
        return entry if whole else {"file": str(entry["file"])}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _whole(array, entry):
    """Whether an array is the one that the store speaks of, byte for byte."""
    if not entry.keys() >= set(_KEPT) or array.name != Path(entry["file"]).name or not array.is_file():
        return False
    return array.stat().st_size == entry["bytes"] and sha256_of(array) == entry["sha256"]


def _samples(raw, interpolate, **options):
    """The samples to be stored, and what was changed on the way."""
    if interpolate:
        raw = interpolate_missing(raw)
    samples = preprocess(raw, **options)
    if samples.shape[1] < WINDOW:
        raise RecordingError(
            f"the recording lasts {samples.shape[1] / SFREQ:.1f} s, one window {WINDOW / SFREQ:g} s. Use a longer one."
        )
    return samples, list(repairs(raw))


def _reason(fault, folder, name):
    """The error in one line, with paths as they are in the folder: the report begins each line with the recording's."""
    text = " ".join(str(fault).replace(f"{folder}{os.sep}", "").split())
    text = text.removeprefix(f"{name}: ").removeprefix(f"{Path(name).name}: ")
    return text if isinstance(fault, RecordingError) else f"cannot be prepared ({type(fault).__name__}: {text})"


def _write(array, samples, folder):
    """Write the samples as int16; the fields of the description that say where and what they are."""
    digest, size = hashlib.sha256(), 0
    with replacing(array) as file:

        def put(content):
            nonlocal size
            digest.update(content)
            size += file.write(content)

        header = io.BytesIO()
        described = {"descr": "<i2", "fortran_order": False, "shape": samples.shape}
        np.lib.format.write_array_header_1_0(header, described)
        put(header.getvalue())
        for channel in samples:  # one at a time: a day of all channels would take 0.8 GB more
            put(np.rint(channel / np.float32(SCALE)).astype("<i2").tobytes())
    return {"file": array.relative_to(folder).as_posix(), "bytes": size, "sha256": digest.hexdigest()}


def _forget(place, entry):
    """Take a recording out of the store whose file can no longer be used."""
    if entry:
        place.unlink(missing_ok=True)
        place.with_name(Path(entry["file"]).name).unlink(missing_ok=True)


def _sweep(store):
    """Remove what a killed run left: half-written files, and arrays that nothing describes yet.

    By their names and places: somebody may have chosen a folder for the store that holds other files.
    """
    named = {Path(place.parent, Path(_entry(place).get("file", "")).name) for place in entry_files(store)}
    for folder, _, names in os.walk(store / "recordings"):
        for path in (Path(folder, name) for name in names if _OURS.fullmatch(name)):
            if path not in named:
                path.unlink(missing_ok=True)
    for path in store.glob(".manifest.npz.*.part"):
        path.unlink(missing_ok=True)


@contextmanager
def _locked(store):
    """Keep a second run out of the store; the system takes the lock back when this process ends, however it ends."""
    import fcntl  # here: on Windows there is none, and all the rest of this package works

    store.mkdir(parents=True, exist_ok=True)
    with (store / ".lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(f"{store}: another process is preparing into it. Wait for it, or end it.") from None
        yield


def _workers(files):
    """One for each core, and for each 32 MB: a process begins in the time that it prepares some 10 MB in."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 1 + sum(map(_size, files)) // 2**25)


def _size(file):
    return file.stat().st_size if file.exists() else 0
