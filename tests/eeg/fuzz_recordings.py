"""Damaged EDF and BDF files: each gives samples or a `RecordingError`, in bounded time and memory.

The suite draws a few. In full, with as many as wanted: ``python tests/eeg/fuzz_recordings.py 5000 --seed 1``. Every
file is read, its marks, too, and preprocessed in a process of its own. Prints what came of them; exit code 1 where
there was another exception, even a warning, or a limit was reached. Such files stay in the folder that is named.
"""

import argparse
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import mne
import numpy as np

from helpers.eeg import CANONICAL, RecordingError, preprocess, read_recording, seizures_of

SECONDS = 20  # of computing
MEMORY = 2**30  # bytes more than before the file; the whole ones take a hundredth of it
DAMAGES = ("header bytes", "header fields", "body bytes", "body noise", "cut", "moved", "header and body")
FIELDS = [
    b"",
    b"-1",
    b"0",
    b"1",
    b"1e308",
    b"-1e308",
    b"nan",
    b"inf",
    b"99999999",
    b"1e-99",
    b"0.1",
    b"\xff\xff",
    b"1 1",
]
"""What is put in the place of a field."""


def write_whole(folder):
    """The files that are damaged: EDF+ and BDF+ of 13 s with marks. Synthetic."""
    random, paths = np.random.default_rng(0), []
    for name, sfreq in (("a.edf", 200), ("b.bdf", 100)):
        signals = random.normal(0, 30e-6, (20, 13 * sfreq))
        raw = mne.io.RawArray(signals, mne.create_info([*CANONICAL, "ECG"], sfreq, "eeg"), verbose="error")
        raw.set_annotations(mne.Annotations([2.5, 6.0], [3.0, 0.0], ["seizure", "eyes open"]))
        mne.export.export_raw(folder / name, raw, verbose="error")
        paths.append(folder / name)
    return paths


def damage(content, kind, random):
    """A damaged copy of a file's bytes."""
    content, header = bytearray(content), int(content[184:192])
    signals = int(content[252:256])
    if kind in ("header bytes", "header and body"):
        for place in random.integers(0, header, _some(40, random)):
            content[place] = random.integers(256)
    if kind == "header fields":
        sizes = [8, 80, 80, 8, 8, 8, 44, 8, 8, 4]
        for size in (16, 80, 8, 8, 8, 8, 8, 80, 8, 32):
            sizes += [size] * signals
        starts = np.cumsum([0, *sizes])
        for field in random.integers(0, len(sizes), _some(5, random)):
            value = FIELDS[random.integers(len(FIELDS))][: sizes[field]]
            content[starts[field] : starts[field + 1]] = value.ljust(sizes[field])
    if kind in ("body bytes", "header and body"):
        for place in random.integers(header, len(content), _some(400, random)):
            content[place] = random.integers(256)
    if kind == "body noise":
        first, last = np.sort(random.integers(header, len(content), 2))
        content[first:last] = random.bytes(last - first)
    if kind == "cut":
        content = content[: random.integers(0, len(content))]
    if kind == "moved":  # a part is missing, there twice, or elsewhere
        first, last, place = random.integers(0, len(content), 3)
        part = content[min(first, last) : max(first, last)]
        if random.random() < 0.5:
            del content[min(first, last) : max(first, last)]
        if random.random() < 0.5:
            content[place:place] = part
    return bytes(content)


def _some(most, random):
    """A number from 1 on, as often below its root as above: few damages leave more of the reader to be run."""
    return int(most ** random.random())


def campaign(folder, count, seed):
    """Damage so many files.

    Returns
    -------
    counts : Counter of (str, str)
        How many gave samples, and how many a `RecordingError`, by the kind of damage.
    faults : list of str
        What happened to the others, with the path of the file.
    most : dict
        Of one file: the longest time (s of computing) and the most memory (MB more than the whole ones take).
    """
    whole, before = [], 0
    for path in write_whole(folder):
        attempt(path)  # here first: what the first reading imports is none of its memory
        whole.append(path.read_bytes())
        before = max(before, _in_a_process(path)[2].ru_maxrss)
    counts, faults, most = Counter(), [], {"seconds": 0.0, "megabytes": 0.0}
    for number in range(count):
        random = np.random.default_rng([seed, number])
        which, kind = number % len(whole), DAMAGES[number // len(whole) % len(DAMAGES)]
        path = folder / f"damaged {number}{('.edf', '.bdf')[which]}"
        path.write_bytes(damage(whole[which], kind, random))
        outcome, said, used = _in_a_process(path)
        most["seconds"] = max(most["seconds"], used.ru_utime + used.ru_stime)
        most["megabytes"] = max(most["megabytes"], (used.ru_maxrss - before) / 1024)
        if outcome in ("samples", "RecordingError"):
            counts[kind, outcome] += 1
            path.unlink()
        else:
            faults.append(f"{path} ({kind}): {outcome}\n{said}")
    return counts, faults, most


def attempt(path):
    """What comes of one file: ``samples``, ``RecordingError``, or a traceback."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            raw = read_recording(path)
            seizures_of(raw)
            samples = preprocess(raw)
        assert samples.shape[0] == 19
        assert np.isfinite(samples).all()
    except RecordingError as fault:
        if path.name in str(fault) and "\n" not in str(fault):
            return "RecordingError"
        raise
    return "samples"


def _in_a_process(path):
    """The outcome, what was written about it, and the resources that it took."""
    outcomes = ("samples", "RecordingError")
    with tempfile.TemporaryFile("w+") as log:
        pid = os.fork()
        if not pid:
            code = len(outcomes)
            try:
                size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
                resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
                code = outcomes.index(attempt(path))
            except BaseException:
                traceback.print_exc(limit=-4, file=log)
                log.flush()
            finally:
                os._exit(code)
        _, status, used = os.wait4(pid, 0)
        log.seek(0)
        code = os.waitstatus_to_exitcode(status)
        outcome = outcomes[code] if 0 <= code < len(outcomes) else "an exception" if code > 0 else f"signal {-code}"
        return outcome, log.read(), used


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    began = time.monotonic()
    counts, faults, most = campaign(folder, options.count, options.seed)
    for kind in DAMAGES:
        print(f"{kind}: {counts[kind, 'samples']} samples, {counts[kind, 'RecordingError']} RecordingError")
    print("\n".join(faults))
    print(f"{options.count} damaged files in {time.monotonic() - began:.0f} s, {len(faults)} of them neither")
    print(f"the slowest took {most['seconds']:.2f} s, the largest {most['megabytes']:.0f} MB more than a whole one")
    if faults:
        print(f"those files are in {folder}")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
