"""A training that is killed again and again, beside one that is not: both must end with the same files.

The suite runs it with three kills. In full: ``python tests/training/kill_training.py FOLDER --kills 20 --devices 2``.
Each kill is SIGKILL at a random step and a random time after it; every step is saved, so that many hit a file that is
being written. One in four is SIGTERM, after which the process may still save. Prints JSON; exit code 1 where the two
differ.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from memory_store import MemoryStore
from tiny import config, differences, validation_by_hand

from helpers.training import fit, read_checkpoint


def train(folder, devices, report):
    """One process: go on with the training in a folder, and write a byte for each step."""
    store = MemoryStore(Path(folder).parent)
    options = config(checkpoint_every=1, batch_size=2, devices=devices)
    fit(options, store, folder, resume=True, progress=lambda done, total: os.write(report, b"."))


def begin(folder, devices, report):
    """Start `train`, in a fork of this process or, for several devices, as the script that they start again."""
    if devices > 1:
        command = [sys.executable, __file__, str(folder), "--train", str(report), "--devices", str(devices)]
        return subprocess.Popen(command, pass_fds=[report], start_new_session=True).pid
    if pid := os.fork():
        return pid
    os.setsid()
    code = 1
    try:
        train(folder, devices, report)
        code = 0
    except SystemExit as end:  # after SIGTERM
        code = end.code
    finally:
        os._exit(code if isinstance(code, int) else 1)


def run(folder, devices, after=None, delay=0.0, how=signal.SIGKILL):
    """Train; kill so many seconds after so many steps. Returns the exit status, the steps taken, and seconds a step."""
    reading, writing = os.pipe()
    pid = begin(folder, devices, writing)
    os.close(writing)
    steps, began = 0, time.monotonic()
    while steps != after and os.read(reading, 1):
        steps += 1
        began = time.monotonic() if steps == 1 else began
    pace = (time.monotonic() - began) / max(steps, 1)
    if after is not None:
        time.sleep(delay)
        os.killpg(pid, how)
    _, status = os.waitpid(pid, 0)
    os.close(reading)
    return os.waitstatus_to_exitcode(status), steps, pace


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--devices", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=int, help="internal: report to this file descriptor")
    options = parser.parse_args()
    if options.train is not None:
        train(options.folder, options.devices, options.train)
        return 0
    drawn = random.Random(options.seed)
    whole, killed = options.folder / "whole", options.folder / "killed"
    status, total, pace = run(whole, options.devices)
    found = {"steps": total, "whole": status, "kills": 0, "terminations": 0, "half_written": 0, "resumed_at": []}
    for number in range(options.kills):
        # Few steps a life, or the training would be over before the last kill.
        how = signal.SIGTERM if number % 4 == 3 else signal.SIGKILL
        after = drawn.randint(0, max(1, 2 * total // options.kills))
        run(killed, options.devices, after, drawn.uniform(0, 2 * pace), how)
        found["kills"] += how == signal.SIGKILL
        found["terminations"] += how == signal.SIGTERM
        found["half_written"] += len(list(killed.glob(".*.part")))
        saved = killed / "last.ckpt"
        found["resumed_at"].append(read_checkpoint(saved)["training"]["step"] if saved.exists() else 0)
    status, *_ = run(killed, options.devices)
    found |= {"killed": status, "left": sorted(path.name for path in killed.glob(".*"))}
    found["differences"] = differences(whole, killed)
    last = read_checkpoint(whole / "last.ckpt")["training"]["validations"][-1]
    by_hand = validation_by_hand(whole, MemoryStore(options.folder))
    found["validation"] = max(abs(last[name] - value) for name, value in by_hand.items())
    print(json.dumps(found))
    return int(bool(status or found["whole"] or found["differences"] or found["left"] or found["validation"] > 1e-4))


if __name__ == "__main__":
    sys.exit(main())
