"""Labels of samples against their definition, sample by sample."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.eeg import labels_of
from helpers.eeg.labels import ictal_share

moments = st.floats(-20, 60, allow_nan=False) | st.integers(-5120, 15_360).map(lambda sample: sample / 256)
spans = st.lists(st.tuples(moments, moments).map(sorted).map(tuple), max_size=4)
fast = settings(max_examples=60, deadline=None, database=None)


def by_definition(seizures, start, n):
    times = [(start + sample) / 256 for sample in range(n)]
    return [any(onset <= time < end for onset, end in seizures) for time in times]


@fast
@given(seizures=spans, start=st.integers(0, 9000), n=st.integers(1, 999))
def test_a_sample_is_labeled_where_it_lies_in_a_seizure(seizures, start, n):
    labels = labels_of(seizures, start, n)
    assert labels.dtype == np.float32
    assert labels.shape == (n,)
    np.testing.assert_array_equal(labels, by_definition(seizures, start, n))


def test_onsets_and_ends_between_two_samples():
    random = np.random.default_rng(11)
    for start in random.integers(0, 10**7, 50):  # up to eleven hours into a recording
        seizures = [tuple(sorted(start / 256 + random.uniform(-0.5, 2.5, 2))) for _ in range(2)]
        np.testing.assert_array_equal(labels_of(seizures, start, 511), by_definition(seizures, start, 511))


@fast
@given(seizures=spans, starts=st.lists(st.integers(0, 9000), max_size=5), n=st.integers(1, 999))
def test_the_share_of_a_window_is_the_mean_of_its_labels(seizures, starts, n):
    share = ictal_share(seizures, np.array(starts, dtype=int), n)
    expected = [np.mean(labels_of(seizures, start, n), dtype=float) for start in starts]
    np.testing.assert_allclose(share, expected, rtol=1e-12)  # a quotient of whole numbers either way


@pytest.mark.parametrize(
    ("seizures", "share"),
    [
        ([(10, 30), (20, 40)], 30 / 60),  # overlapping
        ([(10, 40), (20, 30)], 30 / 60),  # one inside the other
        ([(20, 30), (10, 20)], 20 / 60),  # touching, out of order
        ([(-5, 65)], 1),
        ([(60, 61), (-3, 0)], 0),  # beside the window
        ([(7, 7)], 0),
        ([], 0),
    ],
)
def test_seizures_that_meet_count_once(seizures, share):
    assert ictal_share(seizures, [0]) == pytest.approx([share], abs=1e-12)
    assert labels_of(seizures).mean() == pytest.approx(share, abs=1e-6)  # float32
