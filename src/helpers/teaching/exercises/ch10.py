"""Exercises of chapter 10: kinds of windows, leaked subjects, another base rate, and gathered windows."""

import math
import random

import numpy as np

from helpers.teaching.exercises import Exercise, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def kind_of(labels):
    share = labels.mean()
    return "none" if share == 0 else "full" if share >= 0.99 else "partial"


def check_kind_of(answer):
    draw = np.random.default_rng(101)
    cases = [(0, 200, "none"), (200, 200, "full"), (198, 200, "full"), (197, 200, "partial"), (1, 15360, "partial")]
    cases += [(15207, 15360, "full"), (15206, 15360, "partial")]  # 99 % of 15360 is 15206.4
    cases += [(int(draw.integers(1, 0.98 * n)), int(n), "partial") for n in draw.integers(50, 900, 8)]
    for ictal, n, expected in cases:
        labels = np.zeros(n, np.float32)
        labels[draw.permutation(n)[:ictal]] = 1  # a seizure may stop and begin again: places do not matter
        found = attempt(answer, labels)
        if found != expected:
            raise WrongAnswer(
                f"kind_of(labels) with {ictal} ones among {n} gave {found!r}, expected {expected!r}: none where no "
                "sample is in a seizure, full from 99 % on, partial between."
            )


def leaked(train, test):
    def subjects(files):
        return {file.split("_")[0] for file in files}

    return sorted(subjects(train) & subjects(test))


def check_leaked(answer):
    draw = random.Random(102)
    for round_ in range(12):
        names = ["".join(draw.choices("aeghmqx", k=8)) for _ in range(9)]
        names[1] = names[0][:7] + ("q" if names[0][7] != "q" else "x")  # alike but for the last letter
        shared = names[2:4] if round_ % 3 else []
        sides = []
        for own in (names[:1] + names[4:6], names[1:2] + names[6:9]):
            numbers = draw.sample(range(1, 40), 6)  # another session and token on each side
            files = [f"{name}_s{number:03d}_t{number % 7:03d}.edf" for name in own + shared for number in numbers[:2]]
            draw.shuffle(files)
            sides.append(files)
        found = attempt(answer, *sides)
        expected = sorted(set(shared))
        if not isinstance(found, (list, tuple)) or list(found) != expected:
            raise WrongAnswer(
                f"leaked({_some(sides[0])}, {_some(sides[1])}) gave {found!r}, expected {expected}: the sorted "
                "subjects, each once, whose part of the name before the first underscore is on both sides."
            )


def _some(files):
    return f"[{', '.join(map(repr, files[:3]))}, …]"


def at_base_rate(probability, rate_in_training, rate_here):
    odds = probability / (1 - probability)
    odds *= rate_here / (1 - rate_here) * (1 - rate_in_training) / rate_in_training
    return odds / (1 + odds)


def check_at_base_rate(answer):
    draw = random.Random(103)
    # 40 windows with a seizure and 60 without got one score; of those without, one in `kept` had been kept for training
    for kept in (1, 3, 10, draw.randint(11, 200)):
        seizure, none = draw.randint(5, 90), draw.randint(5, 90)  # in the balanced set, of this score
        all_seizure, all_none = seizure + draw.randint(1, 90), none + draw.randint(1, 300)  # in the balanced set
        trained, here = all_seizure / (all_seizure + all_none), all_seizure / (all_seizure + kept * all_none)
        given = seizure / (seizure + none)
        expected = seizure / (seizure + kept * none)  # counted
        found = attempt(answer, given, trained, here)
        if not math.isclose(found, expected, rel_tol=1e-9):
            raise WrongAnswer(
                f"at_base_rate({given:.4f}, {trained:.4f}, {here:.4f}) gave {found}, expected {expected:.6f}: "
                f"{seizure} windows with a seizure and {none} without had this score; {kept} times as many "
                "without are real."
            )


def gather(signal, starts, n):
    return np.stack([signal[:, start : start + n] for start in starts])


def check_gather(answer):
    draw = np.random.default_rng(104)
    for channels, length, n, batch in [(3, 40, 7, 5), (19, 101, 33, 2), (2, 9, 9, 1), (4, 30, 1, 6)]:
        signal = draw.integers(-999, 999, (channels, length), dtype=np.int16)
        starts = draw.integers(0, length - n + 1, batch)
        starts[-1] = length - n  # the last window ends with the recording
        before = signal.copy()
        found = np.asarray(attempt(answer, signal, starts, n))
        expected = np.array(
            [[[before[c, start + k] for k in range(n)] for c in range(channels)] for start in starts.tolist()]
        )
        where = f"gather(signal, starts, {n}) of a signal of shape {signal.shape}, starts {starts.tolist()},"
        if found.shape != expected.shape:
            raise WrongAnswer(
                f"{where} gave the shape {found.shape}, expected {expected.shape}: windows first, then channels, then "
                "time."
            )
        if not np.array_equal(found, expected) or not np.array_equal(signal, before):
            what = "a changed signal" if not np.array_equal(signal, before) else "other samples"
            raise WrongAnswer(
                f"{where} gave {what}, expected window i to hold signal[:, starts[i]] to signal[:, starts[i] + n - 1]: "
                "each start is a sample, and nothing is written."
            )


EXERCISES = [
    Exercise(
        "10.1",
        "the mean of zeros and ones is the share of ones.",
        check_kind_of,
        kind_of,
        {
            "full only where all samples are": lambda labels: (
                "none" if labels.mean() == 0 else "full" if labels.mean() == 1 else "partial"
            ),
            "full from one half": lambda labels: (
                "none" if labels.mean() == 0 else "full" if labels.mean() >= 0.5 else "partial"
            ),
            "takes a single sample for none": lambda labels: (
                "none" if labels.mean() < 0.01 else "full" if labels.mean() >= 0.99 else "partial"
            ),
            "looks at both ends only": lambda labels: ("none", "partial", "full")[int(labels[0] + labels[-1])],
        },
    ),
    Exercise(
        "10.2",
        "what does 'aaaaaaaq_s006_t001.edf'.split('_') give, and which of the pieces is the patient?",
        check_leaked,
        leaked,
        {
            "compares files": lambda train, test: sorted(set(train) & set(test)),
            "compares sessions": lambda train, test: sorted(
                {file[:13] for file in train} & {file[:13] for file in test}
            ),
            "cuts the name short": lambda train, test: sorted(
                {file[:7] for file in train} & {file[:7] for file in test}
            ),
            "names a subject for each file": lambda train, test: sorted(
                file[:8] for file in train if file[:8] in {other[:8] for other in test}
            ),
        },
    ),
    Exercise(
        "10.3",
        "turn the probability into odds, p / (1 - p), and each base rate too; odds may be multiplied.",
        check_at_base_rate,
        at_base_rate,
        {
            "scales the probability": lambda p, trained, here: p * here / trained,
            "scales the odds by the rates": lambda p, trained, here: (
                p / (1 - p) * here / trained / (1 + p / (1 - p) * here / trained)
            ),
            "corrects the wrong way": lambda p, trained, here: at_base_rate(p, here, trained),
            "returns odds": lambda p, trained, here: (
                at_base_rate(p, trained, here) / (1 - at_base_rate(p, trained, here))
            ),
        },
    ),
    Exercise(
        "10.4",
        "one window is signal[:, start : start + n]; np.stack puts several into one array.",
        check_gather,
        gather,
        {
            "leaves channels in front": lambda signal, starts, n: np.stack(
                [signal[:, start : start + n] for start in starts], axis=1
            ),
            "takes windows in a row": lambda signal, starts, n: np.stack(
                [signal[:, : len(signal[0]) // n * n].reshape(len(signal), -1, n)[:, 0] for _ in starts]
            ),
            "counts starts in windows": lambda signal, starts, n: np.stack(
                [np.roll(signal, -start * n, axis=1)[:, :n] for start in starts]
            ),
            "joins the windows in time": lambda signal, starts, n: np.concatenate(
                [signal[:, start : start + n] for start in starts], axis=1
            ),
        },
    ),
]
