"""Scores to events, against a slow state machine that looks at one score after the other."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.scoring import Event, events_from_scores

SLACK = 1e-6  # of a step: rounding of times


def state_machine(times, scores, on, off, min_duration, merge_gap):
    """Events as lists of indices, one score at a time."""
    step = times[1] - times[0] if len(times) > 1 else 1.0
    found, run, fired = [], [], False
    for index, score in [*enumerate(scores), (len(scores), math.nan)]:
        if score >= off:
            run.append(index)
            fired = fired or score >= on
            continue
        if fired:
            found.append(run)
        run, fired = [], False
    merged = []
    for run in found:
        gap = (run[0] - merged[-1][-1] - 1) * step if merged else math.inf
        if gap <= merge_gap + SLACK * step:
            merged[-1] = [*range(merged[-1][0], run[-1] + 1)]
        else:
            merged.append(run)
    events = []
    for run in merged:
        onset = max(0.0, times[run[0]] - step / 2)
        end = times[run[-1]] + step / 2
        values = [scores[index] for index in run if not math.isnan(scores[index])]
        if end - onset >= min_duration - SLACK * step:
            events.append((onset, end, sum(values) / len(values)))
    return events


grid = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, math.nan])  # coarse, so that scores meet thresholds


@settings(deadline=None, database=None, max_examples=400)
@given(
    scores=st.lists(grid, max_size=40),
    thresholds=st.tuples(grid, grid).filter(lambda pair: not math.isnan(sum(pair))).map(sorted),
    step=st.sampled_from([0.1, 0.5, 1.0, 3.0]),
    first=st.sampled_from([0.0, 0.5, 1.0, 17.3]),
    min_steps=st.integers(0, 5),
    gap_steps=st.integers(0, 5),
)
def test_events_are_those_of_a_state_machine(scores, thresholds, step, first, min_steps, gap_steps):
    off, on = thresholds
    times = first + step * np.arange(len(scores))
    # an event that begins at 0 may lack half a step: durations stay a quarter away from the limit
    limits = {"min_duration": step * (min_steps - 0.25), "merge_gap": step * gap_steps}
    found = events_from_scores(times, scores, on, off, **limits)
    expected = state_machine(times, scores, on, off, **limits)
    assert len(found) == len(expected)
    for event, (onset, end, confidence) in zip(found, expected, strict=True):
        assert (event.onset, event.end, event.confidence) == pytest.approx((onset, end, confidence), abs=1e-9)


def test_hysteresis_needs_one_score_at_on_and_lasts_while_at_off():
    times = np.arange(11) + 0.5
    scores = [0.2, 0.6, 0.9, 0.6, 0.5, 0.6, 0.4, 0.9, 0.5, 0.3, 0.9]
    low = events_from_scores(times, scores, on=0.9, off=0.5)
    assert [(event.onset, event.end) for event in low] == [(1, 6), (7, 9), (10, 11)]
    assert low[0].confidence == pytest.approx(np.mean([0.6, 0.9, 0.6, 0.5, 0.6]))
    high = events_from_scores(times, scores, on=0.9)
    assert [(event.onset, event.end) for event in high] == [(2, 3), (7, 8), (10, 11)]
    assert events_from_scores(times, scores, on=0.95, off=0.1) == []


def test_each_step_does_something_and_the_reference_s_values_tell_them_apart():
    """A score a second: two near events, one of them with a tremor, a blip, and a long weak stretch."""
    scores = [0.1, 0.9, 0.8, 0.9, 0.9, 0.2, 0.2, 0.9, 0.88, 0.79, 0.1, 0.1, 0.1, 0.95, 0.1, 0.85, 0.85, 0.85, 0.85]
    times = np.arange(len(scores)) + 0.5

    def spans(**options):
        return [(event.onset, event.end) for event in events_from_scores(times, scores, **options)]

    assert spans(on=0.86) == [(1, 2), (3, 5), (7, 9), (13, 14)]  # one threshold: the tremor makes two events of one
    assert spans(on=0.78) == [(1, 5), (7, 10), (13, 14), (15, 19)]  # the lower one alone: an event of weak scores
    assert spans(on=0.86, off=0.78) == [(1, 5), (7, 10), (13, 14)]
    assert spans(on=0.86, off=0.78, merge_gap=2) == [(1, 10), (13, 14)]
    assert spans(on=0.86, off=0.78, min_duration=3) == [(1, 5), (7, 10)]
    assert spans(on=0.86, off=0.78, merge_gap=2, min_duration=3) == [(1, 10)]


def test_merging_comes_before_the_shortest_duration():
    times, scores = np.arange(9) + 0.5, np.array([0, 1, 0, 1, 0, 0, 0, 1, 0])
    events = events_from_scores(times, scores, on=1, min_duration=3, merge_gap=1)
    assert [(event.onset, event.duration) for event in events] == [(1, 3)]
    assert events_from_scores(times, scores, on=1, min_duration=2) == []


@pytest.mark.parametrize("first", [0.05, 7.1, 17.3, 100.7])
@pytest.mark.parametrize("steps", [1, 3, 7, 12, 19])
def test_limits_hold_where_steps_are_no_binary_fractions(first, steps):
    """Two runs of some tenths of a second, as many tenths apart; the limits are the decimals that a person types."""
    limit = steps / 10
    scores = np.tile(np.repeat([1.0, 0.0], steps), 2)
    times = first + 0.1 * np.arange(len(scores))
    (merged,) = events_from_scores(times, scores, on=1, merge_gap=limit)
    assert merged.duration == pytest.approx(3 * limit)
    assert len(events_from_scores(times, scores, on=1, min_duration=limit, merge_gap=limit - 0.05)) == 2
    assert events_from_scores(times, scores, on=1, min_duration=limit + 0.05) == []


def test_an_event_does_not_begin_before_the_recording():
    (event,) = events_from_scores([0.0, 1.0, 2.0, 3.0], [0.9, 0.8, 0.1, 0.2], on=0.5)
    assert (event.onset, event.end) == (0, 1.5)


def test_nan_ends_an_event_and_a_merged_gap_of_nan_counts_for_nothing():
    times, scores = np.arange(6) + 0.5, [0.9, math.nan, 0.7, 0.1, math.nan, 0.2]
    with np.errstate(all="raise"):
        apart = events_from_scores(times, scores, on=0.6)
        (merged,) = events_from_scores(times, scores, on=0.6, merge_gap=1)
    assert [(event.onset, event.end) for event in apart] == [(0, 1), (2, 3)]
    assert merged == Event(0, 3, pytest.approx(0.8))
    assert events_from_scores(times, [math.nan] * 6, on=0.6) == []


def test_no_scores_and_one_score():
    assert events_from_scores([], [], on=0.5) == []
    assert events_from_scores([0.5], [0.7], on=0.5) == [Event(0.0, 1.0, 0.7)]


def test_confidence_only_where_scores_are_probabilities():
    (event,) = events_from_scores([1.0, 2.0], [44.0, 3.0], on=40, probability=False)
    assert event.confidence is None


def test_thresholds_that_are_the_wrong_way_round():
    with pytest.raises(ValueError, match=r"off is 0\.8, above on 0\.5"):
        events_from_scores([1.0], [0.9], on=0.5, off=0.8)


@pytest.mark.parametrize(("times", "scores"), [((3,), (4,)), ((2, 2), (2, 2)), ((), ())])
def test_shapes_that_do_not_fit(times, scores):
    with pytest.raises(ValueError, match="two vectors of one length"):
        events_from_scores(np.ones(times), np.ones(scores), on=0.5)
