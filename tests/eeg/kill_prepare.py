"""Preparation killed at random points: what is then in the store is whole, and the next run completes it.

The suite kills it three times. In full, 20 times, on recordings made for it: ``python tests/eeg/kill_prepare.py 20``.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from helpers.eeg import StoreError, open_store, prepare
from helpers.eeg.store import sha256_of


def campaign(folder, place, kills, seed, workers=(1, 2)):
    """Kill preparations of a folder at random points, each followed by one that may finish.

    Parameters
    ----------
    folder : Path
        Of good recordings.
    place : Path
        Where stores may be made.
    kills : int
    seed : int
    workers : sequence of int
        Processes, taken in turn. Only the process that began them is killed; they have to end by themselves.

    Returns
    -------
    list of dict
        Of each kill, how many files there were, how many of them half-written, and how many recordings the next run
        found there already.

    Raises
    ------
    AssertionError
        If anything in a store is not whole, or the next run gives another store than one that nobody disturbed.
    """
    draw, found = random.Random(seed), []
    undisturbed, other = place / "undisturbed", place / "other"
    began = time.monotonic()
    recordings = len(prepare(folder, undisturbed, workers=1).prepared)
    each = (time.monotonic() - began) / recordings  # s
    prepare(folder, other, workers=1, interpolate=True)  # other options, so that all of it has to be exchanged
    expected = open_store(undisturbed).fingerprint
    for number in range(kills):
        store = place / f"{number}"
        files = None
        while files is None:  # it was done before it could be killed
            shutil.rmtree(store, ignore_errors=True)
            if number % 2:
                shutil.copytree(other, store)
            arrays, pause = draw.randrange(recordings), draw.uniform(0, each)
            files = _kill(folder, store, workers[number % len(workers)], arrays, pause)
        _check_whole(store)
        report = prepare(folder, store, workers=1)
        assert not report.left_out, report.left_out
        assert open_store(store).fingerprint == expected
        assert open_store(store).verify() == ()
        assert _names(store) == _names(undisturbed)
        found.append({"files": files.total(), "half-written": files["part"], "kept": len(report.kept)})
        shutil.rmtree(store)
    return found


def _kill(folder, store, workers, arrays, pause):
    """Kill it `pause` s after so many arrays are written; which kinds of files there were then.

    None if it was done first.
    """
    old, there = set(store.rglob("*.npy")), -1
    killed = os.fork()  # all is imported already
    if not killed:
        try:
            prepare(folder, store, workers=workers)
        finally:
            os._exit(0)
    done = False
    while not done and there < arrays:
        if (store / ".lock").exists():
            there = len(set(store.rglob("*.npy")) - old)
        done = os.waitpid(killed, os.WNOHANG)[0] == killed
        time.sleep(0.002)
    time.sleep(pause)
    if not done:
        os.kill(killed, signal.SIGKILL)
        done = os.WIFEXITED(os.waitpid(killed, 0)[1])
    time.sleep(0.1)  # for its processes
    return None if done else Counter(path.suffix.lstrip(".") for path in store.rglob("*") if path.is_file())


def _names(store):
    return sorted(path.name for path in store.rglob("*") if path.is_file() and path.name != "manifest.npz")


def _check_whole(store):
    """Each description names an array that is there and is what it says; and the store opens, or says why not."""
    for path in (store / "recordings").rglob("*.json"):
        entry = json.loads(path.read_text())
        assert sha256_of(store / "recordings" / entry["file"]) == entry["sha256"]
    try:
        open_store(store)
        reason = None
    except StoreError as fault:
        reason = str(fault)
    assert reason is None or "no prepared recording" in reason or "is prepared with" in reason, reason


def main(kills):
    from helpers.eeg.synthetic import write_recordings

    with tempfile.TemporaryDirectory() as place:
        write_recordings(Path(place, "in"), subjects=8, minutes=5, seed=1)
        found = campaign(Path(place, "in"), Path(place), kills, seed=time.time_ns())
    for name in ("files", "half-written", "kept"):
        values = [one[name] for one in found]
        print(f"{name} at a kill: {min(values)} to {max(values)}, {sum(values)} in {len(values)} kills")
    print(f"{kills} kills: nothing broken in any store; each was completed to the same fingerprint by the next run")


if __name__ == "__main__":
    main(int(sys.argv[1]))
