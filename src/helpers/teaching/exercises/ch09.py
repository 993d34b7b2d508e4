"""Exercises of chapter 09: stored integers to µV, where a tone folds to, channels in order, spans without overlap."""

import math
import random

import numpy as np

from helpers.teaching.exercises import Exercise, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def physical_value(digital, digital_range, physical_range):
    (d_low, d_high), (p_low, p_high) = digital_range, physical_range
    steps = np.asarray(digital, float) - d_low  # 16 bits would overflow here
    return p_low + steps * (p_high - p_low) / (d_high - d_low)


def check_physical_value(answer):
    draw = np.random.default_rng(1)
    cases = [
        (0, (-32768, 32767), (-3200.0, 3200.0)),
        (-32767, (-32767, 32767), (-1184.09, 2896.875)),  # the range need not be symmetric
        (2047, (0, 4095), (-500.0, 500.0)),  # nor the integers
        (np.array([-32767, 5, 32767], "int16"), (-32767, 32767), (-1184.09, 2896.875)),  # as a file has them
        (draw.integers(-2000, 2000, 7), (-2048, 2047), (250.0, -250.0)),  # nor the line rise: an inverted channel
    ]
    for digital, stored, real in cases:
        found = attempt(answer, digital, stored, real)
        expected = np.interp(digital, stored, real)  # the straight line between the two pairs
        if np.shape(found) != np.shape(digital) or not np.allclose(found, expected, rtol=1e-9, atol=1e-9):
            raise WrongAnswer(
                f"physical_value({digital}, {stored}, {real}) gave {found}, expected {expected}: a straight line on "
                f"which {stored[0]} stands for {real[0]} and {stored[1]} for {real[1]}"
                + (", and 16 bits do not hold the difference of two such integers." if _is_int16(digital) else ".")
            )


def _is_int16(digital):
    return getattr(digital, "dtype", None) == np.int16


def alias(frequency, rate):
    return abs(frequency - rate * round(frequency / rate))


def check_alias(answer):
    draw = random.Random(2)
    cases = [(60.0, 100.0), (170.0, 100.0), (30.0, 100.0), (130.0, 256.0), (256.0, 256.0), (300.0, 64.0)]
    cases += [(draw.uniform(1, 500), draw.choice([50.0, 64.0, 128.0, 200.0])) for _ in range(12)]
    for frequency, rate in cases:
        found = attempt(answer, frequency, rate)
        # a cosine of either frequency gives the same samples: that is what the two having one alias means
        expected = math.acos(round(math.cos(2 * math.pi * frequency / rate), 14)) * rate / (2 * math.pi)
        if not math.isclose(found, expected, abs_tol=1e-4):
            raise WrongAnswer(
                f"alias({frequency:.6g}, {rate:g}) gave {found}, expected {expected:.6g}: the distance to the nearest "
                "multiple of the rate, which is 0 to half the rate."
            )


def in_order(samples, names, order):
    missing = [name for name in order if name not in names]
    if missing:
        raise ValueError(f"missing: {', '.join(missing)}")
    return samples[[names.index(name) for name in order]]


def check_in_order(answer):
    draw = np.random.default_rng(3)
    names = ["T4", "Fp1", "Cz", "O2", "ECG", "F3"]
    samples = draw.normal(size=(6, 11))
    before = samples.copy()
    for order in (["Fp1", "F3", "Cz"], ["O2", "Cz", "T4", "Fp1", "F3"], names[::-1]):
        found = attempt(answer, samples, list(names), order)
        expected = np.stack([before[names.index(name)] for name in order])
        if np.shape(found) != expected.shape or not np.array_equal(found, expected):
            rows = [_row_of(row, before, names) for row in np.atleast_2d(found)]
            raise WrongAnswer(
                f"in_order(samples, {names}, {order}) gave the rows of {rows}, expected those of {order}: each row is "
                "found by the place of its name in names."
            )
    if not np.array_equal(samples, before):
        raise WrongAnswer("in_order gave changed samples, expected them untouched: return new rows instead.")
    try:
        nothing = answer(samples, list(names), ["Fp1", "Pz"])
    except ValueError as fault:
        said = f"the ValueError {str(fault)!r}"
        if "Pz" in str(fault):
            return
    except Exception as fault:
        said = f"{type(fault).__name__}: {fault}"
    else:
        said = f"an array of shape {np.shape(nothing)}"
    raise WrongAnswer(
        f"in_order(samples, {names}, ['Fp1', 'Pz']) gave {said}, expected a ValueError that names Pz: whoever reads it "
        "has to know which channel to look for."
    )


def _row_of(row, samples, names):
    same = [name for name, known in zip(names, samples, strict=True) if np.array_equal(row, known)]
    return same[0] if same else "?"


def _sorted_in_place(samples, names, order):
    samples[: len(order)] = in_order(samples, names, order)
    return samples[: len(order)].copy()


def joined(spans):
    result = []
    for onset, end in sorted(spans):
        if result and onset <= result[-1][1]:
            result[-1] = (result[-1][0], max(end, result[-1][1]))  # the earlier span may reach further
        else:
            result.append((onset, end))
    return result


def check_joined(answer):
    draw = random.Random(4)
    cases = [
        ([(1381.5, 1384.0), (1380.5, 1383.0)], "an earlier one may come later in the list"),
        ([(3.0, 20.0), (5.0, 8.0), (19.0, 21.0)], "one may lie inside another"),
        ([(0.0, 4.0), (4.0, 6.5)], "where they touch they become one"),
        ([(0.0, 4.0), (4.25, 6.5)], "a gap, however short, stays"),
        ([], "nothing marked, nothing joined"),
    ]
    for _ in range(12):
        onsets = [draw.randrange(0, 160) / 4 for _ in range(draw.randrange(2, 9))]
        cases.append(
            ([(onset, onset + draw.randrange(1, 40) / 4) for onset in onsets], "each moment belongs to one span")
        )
    for spans, why in cases:
        given = list(spans)
        found = attempt(answer, given)
        expected = _covered(spans)
        try:
            same = [(float(onset), float(end)) for onset, end in found] == expected
        except (TypeError, ValueError):
            same = False
        if not same:
            raise WrongAnswer(f"joined({spans}) gave {found}, expected {expected}: {why}.")
        if given != spans:
            raise WrongAnswer(f"joined({spans}) gave a changed input, {given}, expected it untouched: use sorted().")


def _covered(spans):
    """The union by another way: which quarters of a second lie in a span, and where that changes."""
    quarters = {quarter for onset, end in spans for quarter in range(round(onset * 4), round(end * 4))}
    begins = sorted(quarter / 4 for quarter in quarters if quarter - 1 not in quarters)
    ends = sorted((quarter + 1) / 4 for quarter in quarters if quarter + 1 not in quarters)
    return list(zip(begins, ends, strict=True))


def _chained(spans, touches=lambda onset, end: onset <= end, reach=max):
    result = []
    for onset, end in spans:
        if result and touches(onset, result[-1][1]):
            result[-1] = (result[-1][0], reach(end, result[-1][1]))
        else:
            result.append((onset, end))
    return result


def _sorted_the_input(spans):
    spans.sort()
    return _chained(spans)


EXERCISES = [
    Exercise(
        "09.1",
        "how many µV is one step, and how many steps is the integer above the lowest?",
        check_physical_value,
        physical_value,
        {
            "takes the ranges for symmetric": lambda d, stored, real: d * real[1] / stored[1],
            "forgets the lowest value": lambda d, stored, real: (
                (d - stored[0]) * (real[1] - real[0]) / (stored[1] - stored[0])
            ),
            "computes in 16 bits": lambda d, stored, real: (
                (d - (np.int16(stored[0]) if _is_int16(d) else stored[0]))
                * (real[1] - real[0])
                / (stored[1] - stored[0])
                + real[0]
            ),
            "swaps the two ranges": lambda d, stored, real: physical_value(d, real, stored),
        },
    ),
    Exercise(
        "09.2",
        "sampling cannot tell a frequency from the same plus or minus any multiple of the rate; which is nearest to 0?",
        check_alias,
        alias,
        {
            "subtracts the rate once": lambda frequency, rate: abs(frequency - rate),
            "takes the remainder": lambda frequency, rate: frequency % rate,
            "mirrors at half the rate once": lambda frequency, rate: (
                frequency if frequency <= rate / 2 else rate - frequency
            ),
        },
    ),
    Exercise(
        "09.3",
        "for each name of the order, at which place does it stand in names?",
        check_in_order,
        in_order,
        {
            "takes rows by position": lambda samples, names, order: samples[: len(order)],
            "keeps the file's order": lambda samples, names, order: samples[[name in order for name in names]],
            "leaves missing channels out": lambda samples, names, order: samples[
                [names.index(name) for name in order if name in names]
            ],
            "raises without a name": lambda samples, names, order: (
                samples[[names.index(name) for name in order[:]]] if all(name in names for name in order) else [][0]
            ),
            "writes into the input": _sorted_in_place,
        },
    ),
    Exercise(
        "09.4",
        "in order of onset, does the next span begin before the last one ends, and which of the two ends later?",
        check_joined,
        joined,
        {
            "trusts the order": _chained,
            "takes the end of the last to begin": lambda spans: _chained(sorted(spans), reach=lambda end, before: end),
            "keeps apart what touches": lambda spans: _chained(sorted(spans), touches=lambda onset, end: onset < end),
            "bridges gaps below a second": lambda spans: _chained(sorted(spans), lambda onset, end: onset <= end + 1),
            "sorts the input": _sorted_the_input,
        },
    ),
]
