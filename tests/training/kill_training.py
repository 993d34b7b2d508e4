"""A training that is killed again and again, beside one that is not: both must end with the same files.

The suite runs it with three kills. In full: ``python tests/training/kill_training.py FOLDER --kills 20 --devices 2``.
Each kill is SIGKILL to the whole group of processes, at a random step and a random time after it; every step is saved,
so that many hit a file that is being written. Every second life reads by a process of its own. For each four kills, the
training is also asked to end by SIGTERM and by SIGINT, as by Ctrl-C, and has to end with 143 and 130. Prints JSON; exit
code 1 where the two trainings differ, or a life ended otherwise.
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

EXPECTED = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 143, signal.SIGINT: 130}


def train(folder, report, options):
    """One process: go on with the training in a folder, and write a byte for each step; its exit code."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a shell began this behind itself
    store = MemoryStore(Path(folder).parent)
    try:
        fit(config(**options), store, folder, resume=True, progress=lambda done, total: os.write(report, b"."))
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:
        return end.code
    return 0


def begin(folder, report, options):
    """Start `train`, in a fork of this process or, for several devices, as the script that they start again."""
    if options["devices"] > 1:
        command = [sys.executable, __file__, str(folder), "--train", str(report), "--options", json.dumps(options)]
        return subprocess.Popen(command, pass_fds=[report], start_new_session=True).pid
    if pid := os.fork():
        return pid
    os.setsid()
    code = 1
    try:
        code = train(folder, report, options)
    finally:
        os._exit(code)


def run(folder, options, after=None, delay=0.0, how=signal.SIGKILL):
    """Train; kill so many seconds after so many steps. Returns the exit status, the steps taken, and seconds a step."""
    reading, writing = os.pipe()
    pid = begin(folder, writing, options)
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
    parser.add_argument("--options", type=json.loads, help="internal: of the configuration")
    given = parser.parse_args()
    if given.train is not None:
        return train(given.folder, given.train, given.options)
    drawn = random.Random(given.seed)
    ends = [signal.SIGKILL] * given.kills + [signal.SIGTERM, signal.SIGINT] * (given.kills // 4)
    drawn.shuffle(ends)
    options = {"checkpoint_every": 1, "batch_size": 2, "devices": given.devices, "workers": 0}
    options["epochs"] = options["patience"] = max(3, len(ends))  # of four steps
    whole, killed = given.folder / "whole", given.folder / "killed"
    status, total, pace = run(whole, options)
    found = {"steps": total, "whole": status, "kills": 0, "requests": 0, "other_ends": [], "half_written": 0}
    found["resumed_at"] = [0]
    for number, how in enumerate(ends):
        # Few steps a life, or the training would be over before the last kill.
        left = total - found["resumed_at"][-1]
        after = min(drawn.randint(how != signal.SIGKILL, total // len(ends)), max(left - 4, 1))
        life = options | {"workers": number % 2}
        delay = 2 * pace * drawn.random() ** 3  # most of them soon after the step, when it is saved
        status, *_ = run(killed, life, after, delay, how)
        if status != EXPECTED[how]:
            found["other_ends"].append([how.name, status])
        found["kills"] += how == signal.SIGKILL
        found["requests"] += how != signal.SIGKILL
        found["half_written"] += len(list(killed.glob(".*.part")))
        saved = killed / "last.ckpt"
        found["resumed_at"].append(read_checkpoint(saved)["training"]["step"] if saved.exists() else 0)
    status, *_ = run(killed, options)
    found |= {"killed": status, "left": sorted(path.name for path in killed.glob(".*"))}
    found["differences"] = differences(whole, killed)
    last = read_checkpoint(whole / "last.ckpt")["training"]["validations"][-1]
    by_hand = validation_by_hand(whole, MemoryStore(given.folder))
    found["validation"] = max(abs(last[name] - value) for name, value in by_hand.items())
    print(json.dumps(found))
    wrong = [status, found["whole"], found["other_ends"], found["differences"], found["left"]]
    return int(any(wrong) or found["validation"] > 1e-4)


if __name__ == "__main__":
    sys.exit(main())
