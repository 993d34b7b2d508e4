"""Events against a reference: the rules at their edges, what timescoring publishes, and the two definitions of F1."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from timescoring.annotations import Annotation
from timescoring.scoring import EventScoring, SampleScoring

from helpers.scoring import (
    F1_CONVENTIONS,
    SampleScore,
    ScoringError,
    f1,
    overlap_score,
    szcore_event_score,
    szcore_sample_score,
)

spans = st.lists(
    st.tuples(st.integers(0, 300), st.integers(1, 40)).map(lambda s: (s[0] / 2, (s[0] + s[1]) / 2)), max_size=6
)


@settings(deadline=None, database=None)
@given(reference=spans, hypothesis=spans)
def test_overlap_against_a_raster(reference, hypothesis):
    """On a grid of half seconds two events overlap where they share a cell."""

    def cells(event):
        return set(range(round(2 * event[0]), round(2 * event[1])))

    score = overlap_score(reference, hypothesis, duration=200)
    assert score.reference == len(reference)
    assert score.found == sum(any(cells(a) & cells(b) for b in hypothesis) for a in reference)
    assert score.false_alarms == sum(not any(cells(a) & cells(b) for b in reference) for a in hypothesis)
    assert score.sensitivity == pytest.approx(score.found / len(reference) if reference else math.nan, nan_ok=True)
    assert score.false_alarms_per_24h == pytest.approx(score.false_alarms * 432)


def test_overlap_events_that_touch_do_not_overlap():
    score = overlap_score([(10, 20)], [(5, 10), (20, 25), (19.9, 30)], duration=7200)
    assert (score.found, score.false_alarms, score.false_alarms_per_24h) == (1, 2, 24)
    assert score.rules == "overlap"


BLIPS = [(60.0 * k, 60.0 * k + 2) for k in range(60)]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "counts"),
    [
        ([(1000, 1060)], [(1030, 1031)], (1, 1, 0)),  # a hit of 1 s
        ([(1000, 1060)], [(965, 975)], (1, 1, 0)),  # ends 25 s before
        ([(1000, 1060)], [(955, 965)], (1, 0, 1)),  # ends 35 s before
        ([(1000, 1060)], [(1115, 1125)], (1, 1, 0)),  # starts 55 s after
        ([(1000, 1060)], [(1125, 1135)], (1, 0, 1)),  # starts 65 s after
        ([(1600, 1660)], [(0, 3600)], (1, 1, 11)),  # an hour over one seizure: 12 blocks of 300 s
        ([(1500, 1560)], [(0, 3600)], (1, 1, 10)),  # the 30 s before it reach into one block more
        ([(1000, 1600)], [(1000, 1600)], (2, 2, 0)),  # a seizure of 10 min is two
        ([(1000, 1030), (1110, 1140)], [(1010, 1020)], (1, 1, 0)),  # 80 s apart: one
        ([(1000, 1030), (1130, 1160)], [(1010, 1020)], (2, 1, 0)),  # 100 s apart: two
        ([], BLIPS, (0, 0, 12)),  # 60 blips: merged, then split into blocks of 300 s
        ([], [], (0, 0, 0)),
        ([(1000, 1060)], [], (1, 0, 0)),
    ],
)
def test_szcore_rules(reference, hypothesis, counts):
    score = szcore_event_score(reference, hypothesis, duration=3600)
    assert (score.reference, score.found, score.false_alarms) == counts
    assert score.rules == "SzCORE"
    assert score.false_alarms_per_24h == 24 * counts[2]
    assert score.sensitivity == pytest.approx(counts[1] / counts[0] if counts[0] else math.nan, nan_ok=True)


@pytest.mark.parametrize(
    "event", [(0.0, 0.2), (0.4, 0.6), (10.2, 10.4), (59.6, 60.4), (60.1, 60.4), (0.5, 1.5), (1.5, 2.5)]
)
def test_szcore_loses_no_short_event_to_rounding(event):
    score = szcore_event_score([], [event], duration=60.4)
    assert score.false_alarms == 1
    assert szcore_event_score([event], [], duration=60.4).reference == 1


# -- SzCORE against its rules, written out --------------------------------------------------------------------------


def grid(events, duration):
    """The whole seconds of events: onset and end lose their fraction, and no event is without a second."""
    seconds = set()
    for onset, end in events:
        seconds |= set(range(int(onset), int(end))) or {min(int(onset), int(duration) - 1)}
    return {second for second in seconds if second < int(duration)}


def runs(seconds, gap):
    """[first, end) of seconds with less than `gap` between them."""
    found = []
    for second in sorted(seconds):
        if found and second - found[-1][1] < gap:
            found[-1][1] = second + 1
        else:
            found.append([second, second + 1])
    return found


def pieces(found):
    return [(first, min(first + 300, end)) for start, end in found for first in range(start, end, 300)]


def by_the_rules(reference, hypothesis, duration):
    """(reference, found, false alarms) in sets of seconds."""
    truth, guess = (pieces(runs(grid(events, duration), 90)) for events in (reference, hypothesis))
    zones = [set(range(first - 30, end + 60)) for first, end in truth]
    seconds = [set(range(*piece)) for piece in guess]
    found = [zone for zone in zones if any(zone & piece for piece in seconds)]
    return len(zones), len(found), sum(not any(zone & piece for zone in found) for piece in seconds)


@st.composite
def days(draw):
    """Two lists of events that meet the limits of 30, 60, 90 and 300 s often, and a duration that is not whole."""
    duration = draw(st.floats(1500, 2600))
    length = st.sampled_from([0.0, 0.3, 1.0, 29.5, 60.0, 89.7, 90.0, 300.0, 301.0, 640.25])
    lists = []
    for _ in range(2):
        at, events = 0.0, []
        while True:
            at += draw(st.sampled_from([0.5, 29.0, 30.0, 59.9, 61.0, 88.0, 89.0, 90.0, 91.0, 350.0]))
            end = min(at + draw(length), duration)
            if at >= duration - 1 or len(events) == 12:
                break
            events.append((at, end))
            at = end
        lists.append(events)
    return *lists, duration


@settings(deadline=None, database=None, max_examples=150)
@given(day=days())
def test_szcore_against_its_rules_in_sets_of_seconds(day):
    reference, hypothesis, duration = day
    score = szcore_event_score(reference, hypothesis, duration)
    assert (score.reference, score.found, score.false_alarms) == by_the_rules(*day)
    truth, guess = grid(reference, duration), grid(hypothesis, duration)
    sample = szcore_sample_score(reference, hypothesis, duration)
    assert isinstance(sample, SampleScore)
    assert (sample.reference, sample.found, sample.false_alarms) == (
        len(truth),
        len(truth & guess),
        len(guess - truth),
    )
    assert score.hours == sample.hours == int(duration) / 3600


def test_a_recording_s_fraction_of_a_second_does_not_count():
    assert szcore_event_score([], [(5.9, 8.9)], 86.9).hours == 86 / 3600
    assert szcore_sample_score([], [(5.9, 8.9)], 86.9).false_alarms == 3  # 5, 6, 7: as szcore-evaluation cuts them


# -- what timescoring publishes ---------------------------------------------------------------------------------------

DAY, MINUTE = 24 * 3600, 60


def spans_of(mask):
    """Events of a mask with one value a second."""
    return [(second, second + 1) for second, inside in enumerate(mask) if inside]


@pytest.mark.parametrize(
    ("reference", "hypothesis", "sensitivity", "precision", "false"),
    [
        ([1, 1, 1, 0, 0, 0, 1, 1, 1, 0], [0, 1, 1, 0, 1, 1, 0, 0, 1, 0], 3 / 6, 3 / 5, 2),
        ([1, 1, 1, 0, 0, 0, 1, 1, 1, 0], [0] * 10, 0, math.nan, 0),
        ([0] * 10, [0, 1, 1, 0, 1, 1, 0, 0, 1, 0], math.nan, 0, 5),
    ],
)
def test_samples_of_timescoring_s_own_tests(reference, hypothesis, sensitivity, precision, false):
    """tests/test.py of timescoring: test_sample_scoring."""
    score = szcore_sample_score(spans_of(reference), spans_of(hypothesis), 10)
    assert score.sensitivity == pytest.approx(sensitivity, nan_ok=True)
    assert score.precision == pytest.approx(precision, nan_ok=True)
    assert score.false_alarms_per_24h == pytest.approx(false * DAY / 10)


@pytest.mark.parametrize(
    ("reference", "hypothesis", "sensitivity", "precision", "false"),
    [
        ([(40, 60)], [(39, 60)], 1, 1, 0),  # tolerance before events
        ([(40, 60)], [(42, 65 + 6 * 60)], 1, 1 / 2, 24),  # split long events
        ([(40, 60)], [], 0, math.nan, 0),  # no detections
        ([], [(40, 60)], math.nan, 0, 24),  # no events
    ],
)
def test_events_of_timescoring_s_own_tests(reference, hypothesis, sensitivity, precision, false):
    """tests/test.py of timescoring: test_event_scoring, the cases that the default rules decide."""
    score = szcore_event_score(reference, hypothesis, 3600)
    assert score.sensitivity == pytest.approx(sensitivity, nan_ok=True)
    assert score.precision == pytest.approx(precision, nan_ok=True)
    assert score.false_alarms_per_24h == false


def test_the_example_of_timescoring_s_readme():
    """66 min, three seizures, four detections: one covers, one is early, one late within 60 s, one false."""
    reference = [(8 * MINUTE, 12 * MINUTE), (30 * MINUTE, 35 * MINUTE), (48 * MINUTE, 50 * MINUTE)]
    hypothesis = [(8 * MINUTE, 12 * MINUTE), (28 * MINUTE, 32 * MINUTE), (3030, 3060), (60 * MINUTE, 62 * MINUTE)]
    event = szcore_event_score(reference, hypothesis, 66 * MINUTE)
    assert (event.sensitivity, event.precision, event.f1) == pytest.approx((1, 3 / 4, 6 / 7))
    assert event.false_alarms_per_24h == pytest.approx(24 * 60 / 66)
    sample = szcore_sample_score(reference, hypothesis, 66 * MINUTE)
    assert (sample.sensitivity, sample.precision) == pytest.approx((6 / 11, 6 / 10.5))
    annotations = [Annotation(events, 1, 66 * MINUTE) for events in (reference, hypothesis)]
    for ours, theirs in ((event, EventScoring(*annotations)), (sample, SampleScoring(*annotations))):
        assert (ours.sensitivity, ours.precision, ours.f1) == (theirs.sensitivity, theirs.precision, theirs.f1)
        assert ours.false_alarms_per_24h == pytest.approx(theirs.fpRate)


# -- F1 ---------------------------------------------------------------------------------------------------------------


@settings(deadline=None, database=None)
@given(missed=st.integers(0, 9), found=st.integers(0, 9), false=st.integers(0, 9))
def test_f1_is_the_harmonic_mean_wherever_both_ratios_exist(missed, found, false):
    reference = missed + found
    old, new = (f1(found, false, reference, convention) for convention in ("before 0.0.7", "from 0.0.7"))
    if reference and found + false:
        sensitivity, precision = found / reference, found / (found + false)
        mean = 2 * sensitivity * precision / (sensitivity + precision) if found else 0
        assert old == new == pytest.approx(mean)
    else:
        assert math.isnan(old)
        assert math.isnan(new) if not reference + false else new == 0


def test_silence_by_both_conventions():
    silent = szcore_event_score([(1000, 1060)], [], 3600)
    assert silent.f1 == 0
    assert math.isnan(silent.f1_before_0_0_7)
    healthy = szcore_event_score([], [(1000, 1060)], 3600)
    assert healthy.f1 == 0
    assert math.isnan(healthy.f1_before_0_0_7)
    assert math.isnan(szcore_event_score([], [], 3600).f1)
    assert F1_CONVENTIONS == ("from 0.0.7", "before 0.0.7")
    with pytest.raises(ValueError, match=r"'0\.0\.6'; expected one of 'from 0\.0\.7'"):
        f1(1, 1, 1, "0.0.6")


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [overlap_score, szcore_event_score, szcore_sample_score])
@pytest.mark.parametrize(
    ("event", "words"),
    [
        ((20, 10), "from 20 to 10 s ends before it begins"),
        ((-3, 10), "from -3 to 10 s lies outside the recording, which lasts 60"),
        ((60, 60), "lies outside"),
        ((50, 61.5), "lies outside"),
        ((math.nan, 10), "expected numbers"),
        ((10, math.inf), "expected numbers"),
    ],
)
def test_an_event_that_cannot_be(score, event, words):
    with pytest.raises(ScoringError, match=f"reference: an event .*{words}"):
        score([event], [(1, 2)], 60)
    with pytest.raises(ScoringError, match=f"hypothesis: an event .*{words}"):
        score([(1, 2)], [event], 60)


@pytest.mark.parametrize("duration", [0, -5, math.nan, math.inf])
def test_a_duration_that_cannot_be(duration):
    for score in (overlap_score, szcore_event_score, szcore_sample_score):
        with pytest.raises(ScoringError, match="the recording lasts"):
            score([], [], duration)


def test_less_than_a_second_has_no_szcore():
    with pytest.raises(ScoringError, match=r"lasts 0\.7 s; SzCORE counts whole seconds"):
        szcore_event_score([], [], 0.7)
