"""Exercises of chapter 12: the rules of SzCORE, what a count of false alarms shows, limits, and prevalence."""

import math
from itertools import pairwise

import numpy as np
from scipy.stats import chi2, poisson

from helpers.teaching.exercises import Exercise, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def szcore_events(events):
    merged = []
    for onset, end in events:
        if merged and onset - merged[-1][1] < 90:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((onset, end))
    return [(start, min(start + 300, end)) for onset, end in merged for start in range(onset, end, 300)]


def check_szcore_events(answer):
    draw = np.random.default_rng(1)
    cases = [
        [],
        [(10, 20)],
        [(10, 20), (109, 120)],  # 89 s apart
        [(10, 20), (110, 120)],  # 90 s apart
        [(0, 900)],
        [(5, 306)],
        [(0, 200), (250, 420)],  # longer than 300 s only when merged
        [(100, 1000), (1050, 1100)],
    ]
    for _ in range(10):
        edges = np.sort(draw.choice(3000, 8, replace=False)).tolist()
        cases.append(list(zip(edges[::2], edges[1::2], strict=True)))
    for events in cases:
        found = [tuple(event) for event in attempt(answer, list(events))]
        expected = _counted(events)
        if found != expected:
            raise WrongAnswer(
                f"szcore_events({events}) gave {found}, expected {expected}: what is less than 90 s apart is one "
                "event, and then a new piece begins every 300 s of it."
            )


def _counted(events):
    """The same from a line of seconds: closed gaps, then runs, then pieces of 300 s."""
    seconds = np.zeros(4000, bool)
    for onset, end in events:
        seconds[onset:end] = True
    on = np.flatnonzero(seconds)
    for last, following in pairwise(on):
        if following - last - 1 < 90:
            seconds[last:following] = True
    pieces, length = [], 0
    for second in range(len(seconds)):
        length = length + 1 if seconds[second] else 0
        if length % 300 == 1:
            pieces.append((second, second + 1))
        elif length:
            pieces[-1] = (pieces[-1][0], second + 1)
    return pieces


def alarm_interval(count, hours):
    low = chi2.ppf(0.025, 2 * count) / 2 if count else 0.0
    high = chi2.ppf(0.975, 2 * count + 2) / 2
    return low * 24 / hours, high * 24 / hours


def check_alarm_interval(answer):
    draw = np.random.default_rng(2)
    cases = [(4, 0.503), (0, 0.503), (0, 48.0), (1, 24.0)]
    cases += [(int(draw.integers(1, 60)), float(draw.uniform(0.5, 200))) for _ in range(8)]
    for count, hours in cases:
        found = attempt(answer, count, hours)
        low, high = (rate * hours / 24 for rate in found)
        # What the limits mean: so many or more are that rare at the lower one, so many or fewer at the upper one.
        above = poisson.sf(count - 1, low) if count else 0.025 * (low == 0)
        below = poisson.cdf(count, high)
        if not (math.isclose(above, 0.025, rel_tol=1e-4) and math.isclose(below, 0.025, rel_tol=1e-4)):
            expected = tuple(round(float(rate), 3) for rate in alarm_interval(count, hours))
            shown = tuple(round(float(rate), 3) for rate in found)
            raise WrongAnswer(
                f"alarm_interval({count}, {hours:.3f}) gave {shown}, expected {expected}: at the lower limit a count "
                f"of {count} or more has a chance of 2.5 %, at the upper one one of {count} or less, both in 24 hours."
            )


def best_sensitivity(found, false_alarms, reference, hours, limit):
    allowed = np.asarray(false_alarms) * 24 / hours <= limit
    return np.max(np.asarray(found)[allowed], initial=0) / reference


def check_best_sensitivity(answer):
    draw = np.random.default_rng(3)
    cases = [
        ([0, 1, 2, 3, 3], [0, 2, 1, 4, 2], 4, 24.0, 2),  # alarms fall again: the best has the lowest threshold
        ([0, 2, 5], [0, 10, 30], 6, 240.0, 1),  # the limit itself is allowed
        ([1, 3], [9, 7], 3, 24.0, 5),  # nothing is
    ]
    for _ in range(10):
        size = int(draw.integers(3, 12))
        reference = int(draw.integers(5, 20))
        counts = draw.integers(0, reference + 1, size), draw.integers(0, 30, size)
        cases.append((*counts, reference, float(draw.uniform(10, 100)), float(draw.choice([10, 5, 2.5]))))
    for found, alarms, reference, hours, limit in cases:
        gave = attempt(answer, np.array(found), np.array(alarms), reference, hours, limit)
        fits = [hit for hit, alarm in zip(found, alarms, strict=True) if alarm * 24 <= limit * hours]
        expected = max(fits, default=0) / reference
        if not math.isclose(gave, expected, abs_tol=1e-9):
            raise WrongAnswer(
                f"best_sensitivity({list(map(int, found))}, {list(map(int, alarms))}, {reference}, {hours:.1f}, "
                f"{limit:g}) gave {gave:.4g}, expected {expected:.4g}: of all thresholds with at most {limit:g} false "
                "alarms in 24 h the one that finds most."
            )


def at_prevalence(probability, trained, real):
    odds = probability / (1 - probability)
    odds = odds * (real / (1 - real)) / (trained / (1 - trained))
    return odds / (1 + odds)


def check_at_prevalence(answer):
    draw = np.random.default_rng(4)
    cases = [(0.3, 0.3, 0.009), (0.95, 0.3, 0.009), (0.4, 0.2, 0.2), (draw.uniform(0.01, 0.99, 5), 0.5, 0.02)]
    cases += [tuple(draw.uniform(0.02, 0.98, 3)) for _ in range(10)]
    for probability, trained, real in cases:
        found = attempt(answer, probability, trained, real)
        # Bayes: weight the two answers by how much more or less often each now occurs.
        yes, no = probability * real / trained, (1 - probability) * (1 - real) / (1 - trained)
        expected = yes / (yes + no)
        if np.shape(found) != np.shape(expected) or not np.allclose(found, expected, rtol=1e-9, atol=1e-12):
            raise WrongAnswer(
                f"at_prevalence({np.round(probability, 4)}, {trained:.4g}, {real:.4g}) gave {np.round(found, 5)}, "
                f"expected {np.round(expected, 5)}: the odds change by the ratio of the odds of both prevalences."
            )


EXERCISES = [
    Exercise(
        "12.1",
        "keep a list of merged events, and look at the gap between the last one's end and the next onset.",
        check_szcore_events,
        szcore_events,
        {
            "merges at 90 s too": lambda events: _merge_and_split(events, gap=91),
            "does not merge": lambda events: _merge_and_split(events, gap=0),
            "splits before merging": lambda events: _merge_and_split(_merge_and_split(events, gap=0), longest=10**6),
            "loses the rest": lambda events: [(a, b) for a, b in szcore_events(events) if b - a == 300 or b - a < 100],
            "does not split": lambda events: _merge_and_split(events, longest=10**6),
        },
    ),
    Exercise(
        "12.2",
        "the cell about the real recording has both limits for an hour; what is different at a count of 0?",
        check_alarm_interval,
        alarm_interval,
        {
            "an hour, not a day": lambda count, hours: tuple(rate / 24 for rate in alarm_interval(count, hours)),
            "two standard deviations": lambda count, hours: (
                max(0.0, count - 1.96 * count**0.5) * 24 / hours,
                (count + 1.96 * count**0.5) * 24 / hours,
            ),
            "forgets the one more above": lambda count, hours: (
                alarm_interval(count, hours)[0],
                chi2.ppf(0.975, 2 * max(count, 0.01)) / 2 * 24 / hours,
            ),
            "scales the count first": lambda count, hours: alarm_interval(count * 24 / hours, 24),
        },
    ),
    Exercise(
        "12.3",
        "a mask of the allowed thresholds, and the largest count in it.",
        check_best_sensitivity,
        best_sensitivity,
        {
            "takes the threshold with most allowed alarms": lambda found, alarms, reference, hours, limit: (
                max(
                    ((alarm, hit) for hit, alarm in zip(found, alarms, strict=True) if alarm * 24 / hours <= limit),
                    default=(0, 0),
                )[1]
                / reference
            ),
            "forbids the limit itself": lambda found, alarms, reference, hours, limit: (
                np.max(found[alarms * 24 / hours < limit], initial=0) / reference
            ),
            "forgets the hours": lambda found, alarms, reference, hours, limit: (
                np.max(found[alarms <= limit], initial=0) / reference
            ),
            "stops at the first that is too many": lambda found, alarms, reference, hours, limit: (
                np.max(found[np.cumprod(alarms * 24 / hours <= limit) > 0], initial=0) / reference
            ),
        },
    ),
    Exercise(
        "12.4",
        "in odds, p / (1 - p), it is one factor: the odds of the real prevalence over those of the trained one.",
        check_at_prevalence,
        at_prevalence,
        {
            "scales the probability": lambda probability, trained, real: probability * real / trained,
            "swaps the two": lambda probability, trained, real: at_prevalence(probability, real, trained),
            "scales odds by fractions": lambda probability, trained, real: (
                probability * real / (probability * real + (1 - probability) * trained)
            ),
        },
    ),
]


def _merge_and_split(events, gap=90, longest=300):
    """`szcore_events` with other limits, for the wrong answers."""
    merged = []
    for onset, end in events:
        if merged and onset - merged[-1][1] < gap:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((onset, end))
    return [(start, min(start + longest, end)) for onset, end in merged for start in range(onset, end, longest)]
