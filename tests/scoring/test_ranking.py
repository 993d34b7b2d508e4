"""Areas under curves: the ROC against a count of pairs, precision and recall against every threshold in turn."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.scoring import auprc, auroc

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


@settings(deadline=None, database=None, max_examples=200)
@given(pairs=scores_with_ties)
def test_auprc_is_the_sum_over_thresholds(pairs):
    """In exact fractions, one threshold after the other; equal scores pass a threshold together."""
    labels, scores = [label for label, _ in pairs], [score for _, score in pairs]
    area, recall, positive = Fraction(0), Fraction(0), sum(labels)
    for threshold in sorted(set(scores), reverse=True) if positive else []:
        passed = [label for label, score in pairs if score >= threshold]
        area += (Fraction(sum(passed), positive) - recall) * Fraction(sum(passed), len(passed))
        recall = Fraction(sum(passed), positive)
    expected = float(area) if positive else math.nan
    assert auprc(labels, scores) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_auprc_by_hand():
    assert auprc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)
    assert auprc([1, 0, 0, 0], [0.5, 0.5, 0.5, 0.5]) == 0.25  # a constant answer: the fraction of positives
    assert auprc([0, 0, 0, 1], [0.5, 0.5, 0.5, 0.5]) == 0.25  # in whatever order
    assert math.isnan(auprc([0, 0], [0.1, 0.2]))


@pytest.mark.parametrize("area", [auroc, auprc])
def test_nan_and_unequal_lengths_are_refused(area):
    with pytest.raises(ValueError, match="2 of 3 scores are NaN"):
        area([0, 1, 1], [math.nan, 0.5, math.nan])
    with pytest.raises(ValueError, match=r"labels \(2,\) and scores \(3,\)"):
        area([0, 1], [0.1, 0.2, 0.3])


def test_a_score_over_many_samples_is_as_large_as_its_chance():
    random = np.random.default_rng(1)
    labels = random.random(20_001) < 0.03
    assert auroc(labels, random.random(20_001)) == pytest.approx(0.5, abs=0.05)  # 0.012 is one standard deviation
    assert auprc(labels, random.random(20_001)) == pytest.approx(labels.mean(), abs=0.02)  # not 0.5
