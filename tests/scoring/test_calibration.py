"""Calibration: against sums bin by bin, on the edges of bins, and on labels that are drawn from the probabilities."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.scoring import calibration

answers = st.lists(st.tuples(st.booleans(), st.integers(0, 40).map(lambda n: n / 40)), min_size=1, max_size=50)
some_bins = st.integers(1, 12) | st.just([0, 0.001, 0.01, 0.1, 1]) | st.just((0, 0.3, 1))


@settings(deadline=None, database=None, max_examples=200)
@given(pairs=answers, bins=some_bins)
def test_against_sums_bin_by_bin(pairs, bins):
    labels, probabilities = zip(*pairs, strict=True)
    found = calibration(labels, probabilities, bins)
    edges = np.linspace(0, 1, bins + 1) if isinstance(bins, int) else bins
    np.testing.assert_array_equal(found.edges, edges)
    error = 0.0
    for index, (low, high) in enumerate(pairwise(edges)):
        here = [(label, p) for label, p in pairs if low <= p < high or p == high == 1]
        assert found.counts[index] == len(here)
        if here:
            predicted, observed = sum(p for _, p in here) / len(here), sum(label for label, _ in here) / len(here)
            assert (found.predicted[index], found.observed[index]) == pytest.approx((predicted, observed), abs=1e-12)
            error += abs(predicted - observed) * len(here) / len(pairs)
        else:
            assert math.isnan(found.predicted[index])
            assert math.isnan(found.observed[index])
    assert found.counts.sum() == len(pairs)  # 0 and 1 are in a bin, too
    assert found.ece == pytest.approx(error, abs=1e-12)
    assert found.brier == pytest.approx(sum((p - label) ** 2 for label, p in pairs) / len(pairs), abs=1e-12)


def test_labels_drawn_from_the_probabilities_are_calibrated_and_sharper_ones_are_not():
    random = np.random.default_rng(3)
    probabilities = random.beta(0.5, 2, 40_000)
    labels = random.random(40_000) < probabilities
    right = calibration(labels, probabilities)
    np.testing.assert_allclose(right.observed, right.predicted, atol=0.1)  # the fullest of the rare bins holds 250
    assert right.ece < 0.01
    sure = calibration(labels, probabilities > 0.5)
    assert sure.ece > 0.1
    assert sure.brier > right.brier


@pytest.mark.parametrize(
    ("labels", "probabilities", "bins", "words"),
    [
        ([1], [1.2], 10, "from 1.2 to 1.2; expected probabilities"),
        ([1, 0], [-0.1, 0.3], 10, "from -0.1 to 0.3"),
        ([], [], 10, "no scores"),
        ([1], [math.nan], 10, "1 of 1 scores are NaN"),
        ([1, 0], [0.3], 10, "labels"),
        ([1], [0.3], [0, 0.5], "rise from 0 to 1"),
        ([1], [0.3], [0, 0.5, 0.5, 1], "rise from 0 to 1"),
        ([1], [0.3], 0, "rise from 0 to 1"),
    ],
)
def test_what_is_no_probability_and_no_bin(labels, probabilities, bins, words):
    with pytest.raises(ValueError, match=words):
        calibration(labels, probabilities, bins)
