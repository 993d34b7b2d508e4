"""Events and scores against a reference: the rules at their edges, and the ROC area against a count of pairs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.scoring import auroc, overlap_score, szcore_event_score

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


scores_with_ties = st.lists(
    st.tuples(st.booleans(), st.sampled_from([-1.5, 0.0, 0.2, 0.2000001, 7.0, math.inf])), max_size=40
)


@settings(deadline=None, database=None, max_examples=200)
@given(pairs=scores_with_ties)
def test_auroc_is_a_count_of_pairs(pairs):
    labels, scores = [label for label, _ in pairs], [score for _, score in pairs]
    inside = [score for label, score in pairs if label]
    outside = [score for label, score in pairs if not label]
    won = sum((a > b) + (a == b) / 2 for a in inside for b in outside)
    expected = won / (len(inside) * len(outside)) if inside and outside else math.nan
    assert auroc(labels, scores) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_auroc_by_hand():
    assert auroc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == 0.75
    assert auroc([1, 0], [1, 1]) == 0.5
    assert math.isnan(auroc([1, 1, 1], [0.1, 0.2, 0.3]))
    assert math.isnan(auroc([0, 0], [0.1, 0.2]))


def test_auroc_refuses_nan_and_unequal_lengths():
    with pytest.raises(ValueError, match="2 of 3 scores are NaN"):
        auroc([0, 1, 1], [math.nan, 0.5, math.nan])
    with pytest.raises(ValueError, match=r"labels \(2,\) and scores \(3,\)"):
        auroc([0, 1], [0.1, 0.2, 0.3])


def test_a_score_over_many_samples_is_as_large_as_its_chance():
    random = np.random.default_rng(1)
    labels = random.random(20_001) < 0.03
    assert auroc(labels, random.random(20_001)) == pytest.approx(0.5, abs=0.05)  # 0.012 is one standard deviation
