"""Windows: every sample in one, and none copied."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.eeg import SFREQ, STRIDE, WINDOW, RecordingError, window_starts, windows


def check(n_samples, window, stride):
    starts = window_starts(n_samples, window, stride)
    covered = np.zeros(n_samples, bool)
    for start in starts:
        assert 0 <= start <= n_samples - window
        covered[start : start + window] = True
    steps = np.diff(starts)
    assert starts[0] == 0
    assert starts[-1] == n_samples - window
    assert (steps > 0).all()
    assert (steps[:-1] == stride).all()
    assert (steps <= stride).all()
    assert covered.all()
    assert len(starts) == 1 + -(-(n_samples - window) // stride)


@settings(deadline=None, database=None)
@given(window=st.integers(1, 60), stride=st.integers(1, 60), more=st.integers(0, 400))
def test_every_sample_is_in_a_window(window, stride, more):
    check(window + more, window, min(stride, window))


@pytest.mark.parametrize(
    "more", [0, 1, STRIDE - 1, STRIDE, STRIDE + 1, 7 * STRIDE - 1, 7 * STRIDE, 7 * STRIDE + 1, WINDOW]
)
def test_lengths_around_multiples_of_the_stride(more):
    check(WINDOW + more, WINDOW, STRIDE)
    assert len(window_starts(WINDOW + more)) == 1 + -(-more // STRIDE)


def test_sizes_are_60_and_10_seconds():
    assert WINDOW / SFREQ == 60
    assert STRIDE / SFREQ == 10


def test_shorter_than_a_window():
    with pytest.raises(RecordingError, match=r"15359 samples, one window has 15360 \(60 s.*longer recording"):
        window_starts(WINDOW - 1)
    with pytest.raises(RecordingError):
        windows(np.ones((19, 99)))


def test_windows_are_views():
    samples = np.random.default_rng(0).normal(size=(3, 101)).astype(np.float32)
    views = windows(samples, window=40, stride=17)
    assert [view.shape for view in views] == [(3, 40)] * 5
    assert all(np.shares_memory(view, samples) for view in views)
    for view, start in zip(views, window_starts(101, 40, 17), strict=True):
        np.testing.assert_array_equal(view, samples[:, start : start + 40])
    samples[:, 70] = 99
    assert views[-1][0, 70 - 61] == 99
