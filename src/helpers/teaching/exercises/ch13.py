"""Exercises of chapter 13: attempts at a long run, a GPU by its cost, a mean over unequal shares, and a safe save."""

import copy
import math

from helpers.teaching.exercises import Exercise, NotAttempted, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def attempts(work, timeout, start, every):
    kept = (timeout - start) // every * every
    if work <= timeout - start:
        return 1
    if kept <= 0:
        return math.inf
    return 1 + math.ceil((work - (timeout - start)) / kept)


def check_attempts(answer):
    cases = [
        (3600, 86_400, 180, 60, 1, "it fits into one attempt"),
        (86_400, 86_400, 180, 60, 2, "the start takes a part of the first attempt"),
        (86_220, 86_400, 180, 60, 1, "it fits exactly"),
        (261, 100, 0, 40, 4, "of each 100 s, only 80 are saved, and the last attempt needs no save"),
        (180, 100, 0, 40, 2, "80 saved, and the last 100 s fit"),
        (181, 100, 0, 40, 3, "80 and 80 saved, 21 s are left"),
        (500, 100, 20, 30, 8, "60 of each 100 s are saved: 20 for the start, 20 lost with the kill"),
        (200, 100, 30, 90, math.inf, "no attempt lives until its first checkpoint"),
        (200, 100, 120, 10, math.inf, "no attempt lives until its first step"),
        (60, 100, 30, 90, 1, "no checkpoint is needed for what ends in time"),
    ]
    for *given, expected, why in cases:
        found = attempt(answer, *given)
        if found != expected:
            raise WrongAnswer(f"attempts{tuple(given)} gave {found}, expected {expected}: {why}.")


def cheapest(gpus, windows, deadline):
    possible = {
        name: windows / speed * rate for name, (rate, speed) in gpus.items() if speed and windows / speed <= deadline
    }
    return min(possible, key=possible.get) if possible else "none"


def check_cheapest(answer):
    gpus = {"slow": (0.0003, 70), "middle": (0.0007, 210), "fast": (0.0011, 444), "new": (0.0002, None)}
    cases = [
        (gpus, 1_000_000, 86_400, "fast", "at 444 windows a second, a second costs most and a window least"),
        ({"slow": (0.0003, 140), "fast": (0.0011, 444)}, 1_000_000, 86_400, "slow", "a window costs least there"),
        ({"slow": (0.0003, 140), "fast": (0.0011, 444)}, 1_000_000, 3_600, "fast", "the other one comes too late"),
        ({"slow": (0.0003, 140), "fast": (0.0011, 444)}, 9_000_000, 3_600, "none", "neither is in time"),
        ({"new": (0.0002, None)}, 1_000, 3_600, "none", "nobody measured it, so nobody knows"),
    ]
    for table, windows, deadline, expected, why in cases:
        found = attempt(answer, copy.deepcopy(table), windows, deadline)
        if found != expected:
            raise WrongAnswer(f"cheapest({table}, {windows}, {deadline}) gave {found!r}, expected {expected!r}: {why}.")


def joined(gradients, sizes):
    return sum(gradient * size for gradient, size in zip(gradients, sizes, strict=True)) / sum(sizes)


def check_joined(answer):
    import numpy as np

    draw = np.random.default_rng(13)
    for sizes in ([8, 8], [8, 8, 5], [3, 1], [7]):
        of_windows = [draw.normal(size=(size, 4)) for size in sizes]  # a gradient of each window
        found = attempt(answer, [rows.mean(axis=0) for rows in of_windows], list(sizes))
        expected = np.concatenate(of_windows).mean(axis=0)
        if not np.shape(found) == (4,) or not np.allclose(found, expected):
            raise WrongAnswer(
                f"for shares of {sizes} windows, joined gave {np.round(found, 3)}, expected {np.round(expected, 3)}: "
                "the mean over all windows, as one process would have it."
            )


def save(content, write, rename, commit):
    write("last.ckpt.part", content)
    rename("last.ckpt.part", "last.ckpt")
    commit()


class _Killed(BaseException):
    """The container ends here. No Exception, so that no answer catches it by accident."""


class _Volume:
    """Files of a container, and what the service has of them; the container is killed in its n-th operation."""

    def __init__(self, kill_in):
        self.kill_in, self.done = kill_in, []
        self.files = {"last.ckpt": "the old checkpoint"}
        self.kept = dict(self.files)

    def write(self, name, content):
        self.files[name] = content[: len(content) // 2]  # a file is empty, then half, then whole
        self._next(f"write {name}")
        self.files[name] = content

    def rename(self, old, new):
        self._next(f"rename {old}")
        if old not in self.files:
            raise WrongAnswer(f"rename({old!r}, {new!r}): there is no {old}. Write it first.")
        self.files[new] = self.files.pop(old)

    def commit(self):
        self._next("commit")
        self.kept = dict(self.files)

    def _next(self, operation):
        self.done.append(operation)
        if len(self.done) == self.kill_in:
            raise _Killed


def check_save(answer):
    for kill_in in (None, 1, 2, 3, 4):
        volume = _Volume(kill_in)
        try:
            answer("the new checkpoint", volume.write, volume.rename, volume.commit)
        except _Killed:
            # What Modal does by itself: files are committed in the background, and when a container ends.
            volume.kept = dict(volume.files)
        if not volume.done:
            raise NotAttempted
        found = volume.kept.get("last.ckpt")
        if found not in ("the old checkpoint", "the new checkpoint"):
            raise WrongAnswer(
                f"killed in {volume.done[-1]!r}, save gave the Volume {found!r} as last.ckpt, expected the old one or "
                "the new one: write beside it, then rename."
            )
        if kill_in is None and found != "the new checkpoint":
            raise WrongAnswer(
                f"{', '.join(volume.done)} gave the Volume {found!r}, expected the new one: what is to outlive the "
                "container is committed, last of all."
            )


def _ignores_the_start(work, timeout, start, every):
    return attempts(work, timeout, 0, every)


def _loses_nothing(work, timeout, start, every):
    return math.ceil(work / (timeout - start)) if timeout > start else math.inf


def _divides(work, timeout, start, every):
    return math.ceil(work / timeout)


def _by_the_hour(gpus, windows, deadline):
    return min(gpus, key=lambda name: gpus[name][0])


def _the_fastest(gpus, windows, deadline):
    return max(gpus, key=lambda name: gpus[name][1] or 0)


def _forgets_the_deadline(gpus, windows, deadline):
    return cheapest(gpus, windows, math.inf)


def _mean_of_means(gradients, sizes):
    return sum(gradients) / len(gradients)


def _sum_of_means(gradients, sizes):
    return sum(gradients)


def _sum_over_windows(gradients, sizes):
    return sum(gradient * size for gradient, size in zip(gradients, sizes, strict=True))


def _over_the_old_one(content, write, rename, commit):
    write("last.ckpt", content)
    commit()


def _commits_too_early(content, write, rename, commit):
    write("last.ckpt.part", content)
    commit()
    rename("last.ckpt.part", "last.ckpt")


def _never_commits(content, write, rename, commit):
    write("last.ckpt.part", content)
    rename("last.ckpt.part", "last.ckpt")


EXERCISES = [
    Exercise(
        "13.1",
        "an attempt computes for timeout - start seconds; what it keeps of that is a multiple of every.",
        check_attempts,
        attempts,
        {
            "forgets that every attempt has to start": _ignores_the_start,
            "loses nothing in a kill": _loses_nothing,
            "divides the work by the timeout": _divides,
        },
    ),
    Exercise(
        "13.2",
        "a run takes windows / speed seconds and costs that times the rate; leave out what is too late or unmeasured.",
        check_cheapest,
        cheapest,
        {
            "compares prices an hour": _by_the_hour,
            "takes the fastest": _the_fastest,
            "forgets the deadline": _forgets_the_deadline,
        },
    ),
    Exercise(
        "13.3",
        "the mean over all windows is the sum of mean times size, over all processes, divided by the sum of the sizes.",
        check_joined,
        joined,
        {
            "a mean of means, as if all shares were equal": _mean_of_means,
            "adds the means up": _sum_of_means,
            "adds up and does not divide": _sum_over_windows,
        },
    ),
    Exercise(
        "13.4",
        "three calls: write under another name, rename it to last.ckpt, commit.",
        check_save,
        save,
        {
            "writes over the only checkpoint": _over_the_old_one,
            "commits before the rename": _commits_too_early,
            "never commits": _never_commits,
        },
    ),
]
