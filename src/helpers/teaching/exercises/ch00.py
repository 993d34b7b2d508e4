"""Exercises of chapter 00: windows, false alarms, and what a rate of them means."""

import math
import random

from helpers.teaching.exercises import Exercise, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def count_windows(n_samples, window, stride):
    after_the_first = n_samples - window
    return 1 + -(-after_the_first // stride)  # rounded up


def check_count_windows(answer):
    draw = random.Random(1)
    cases = [(15360, 15360, 2560), (15361, 15360, 2560), (463616, 15360, 2560), (17920, 15360, 2560)]
    cases += [(draw.randint(50, 900), draw.randint(5, 50), draw.randint(1, 60)) for _ in range(20)]
    for n_samples, window, stride in cases:
        expected = len(range(0, n_samples - window, stride)) + 1
        found = attempt(answer, n_samples, window, stride)
        if found != expected:
            raise WrongAnswer(
                f"count_windows({n_samples}, {window}, {stride}) gave {found}, expected {expected}: one starts every "
                f"{stride} samples, and a last one ends with the recording where none of these does."
            )


def count_false_alarms(events, seizures):
    def touches_a_seizure(onset, end):
        return any(onset < seizure_end and seizure_onset < end for seizure_onset, seizure_end in seizures)

    return sum(not touches_a_seizure(onset, end) for onset, end in events)


def check_count_false_alarms(answer):
    draw = random.Random(2)
    seizures = [(100.0, 130.0), (400.0, 410.0)]
    cases = [
        ([(90.0, 105.0), (405.0, 500.0), (200.0, 210.0)], seizures, 1),  # overlaps at either end are no false alarms
        ([(50.0, 900.0)], seizures, 0),  # covers both seizures
        ([(110.0, 112.0)], seizures, 0),  # lies inside one
        ([(10.0, 20.0), (30.0, 31.0)], [], 2),  # no seizure at all
        ([], seizures, 0),
    ]
    for _ in range(10):
        spans = sorted(draw.sample(range(0, 1000, 3), 8))
        events = [(float(a), float(b)) for a, b in zip(spans[::2], spans[1::2], strict=True)]
        covered = {t / 2 for a, b in seizures for t in range(int(2 * a) + 1, int(2 * b))}
        alarms = sum(not any(a < t < b for t in covered) for a, b in events)
        cases.append((events, seizures, alarms))
    for events, marked, expected in cases:
        found = attempt(answer, events, marked)
        if found != expected:
            raise WrongAnswer(
                f"count_false_alarms({events}, {marked}) gave {found}, expected {expected}: "
                "an event is a false alarm if it overlaps no marked seizure at all."
            )


def alarms_a_day(count, seconds):
    return count * 24 * 3600 / seconds


def check_alarms_a_day(answer):
    draw = random.Random(3)
    for count, seconds in [(4, 1811.0), (0, 60.0), *((draw.randint(1, 50), draw.uniform(60, 2e5)) for _ in range(10))]:
        expected = count / seconds * 86_400
        found = attempt(answer, count, seconds)
        if not math.isclose(found, expected, rel_tol=1e-9):
            raise WrongAnswer(
                f"alarms_a_day({count}, {seconds:.1f}) gave {found}, expected {expected:.3f}: "
                "so many alarms in so many seconds, scaled to the 86,400 seconds of a day."
            )


EXERCISES = [
    Exercise(
        "00.1",
        "how many strides fit between the first window's start and the last possible start?",
        check_count_windows,
        count_windows,
        {
            "forgets the last window": lambda n, window, stride: 1 + (n - window) // stride,
            "forgets the first window": lambda n, window, stride: math.ceil((n - window) / stride),
            "counts strides, not windows": lambda n, window, stride: n // stride,
        },
    ),
    Exercise(
        "00.2",
        "two stretches overlap if each begins before the other ends.",
        check_count_false_alarms,
        count_false_alarms,
        {
            "wants the event inside the seizure": lambda events, seizures: sum(
                not any(a <= onset and end <= b for a, b in seizures) for onset, end in events
            ),
            "looks at the onset only": lambda events, seizures: sum(
                not any(a <= onset < b for a, b in seizures) for onset, end in events
            ),
            "subtracts the number of seizures": lambda events, seizures: max(0, len(events) - len(seizures)),
        },
    ),
    Exercise(
        "00.3",
        "a day has 24 hours of 3600 seconds.",
        check_alarms_a_day,
        alarms_a_day,
        {
            "an hour, not a day": lambda count, seconds: count * 3600 / seconds,
            "takes seconds for hours": lambda count, seconds: count / seconds * 24,
            "rounds to whole alarms": lambda count, seconds: round(count * 86_400 / seconds),
        },
    ),
]
