"""Windows to one line: against a sum at each sample, in any order of ends, and with one window in memory."""

import math
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.scoring import mean_by_second, stitch, stitch_by_second

WEIGHTS = {"mean": lambda size: np.ones(size), "triangle": lambda size: 1 - abs(np.linspace(-0.5, 0.5, size))}


@st.composite
def covered(draw):
    """A recording and its windows, of equal or of unequal length, with gaps."""
    n_samples = draw(st.integers(1, 60))
    starts = sorted(draw(st.lists(st.integers(0, n_samples - 1), max_size=9)))
    sizes = [draw(st.integers(1, n_samples - start)) for start in starts]
    random = np.random.default_rng(n_samples)
    return n_samples, starts, [random.random(size) for size in sizes]


@settings(deadline=None, database=None, max_examples=200)
@given(windows=covered(), weighting=st.sampled_from(["mean", "triangle"]))
def test_stitch_is_the_mean_over_the_windows_at_each_sample(windows, weighting):
    n_samples, starts, scores = windows
    line = stitch(iter(scores), iter(starts), n_samples, weighting)
    assert line.shape == (n_samples,)
    for sample in range(n_samples):
        here = [
            (row[sample - start], WEIGHTS[weighting](len(row))[sample - start])
            for row, start in zip(scores, starts, strict=True)
            if start <= sample < start + len(row)
        ]
        if here:
            expected = sum(score * weight for score, weight in here) / sum(weight for _, weight in here)
            assert line[sample] == pytest.approx(expected, abs=1e-12)
        else:
            assert math.isnan(line[sample])


@settings(deadline=None, database=None)
@given(windows=covered(), sfreq=st.sampled_from([1.0, 3.0, 7.0]), weighting=st.sampled_from(["mean", "triangle"]))
def test_seconds_without_the_line_are_those_of_the_line(windows, sfreq, weighting):
    n_samples, starts, scores = windows
    times, means = stitch_by_second(iter(scores), starts, n_samples, sfreq, weighting)
    expected = mean_by_second(stitch(scores, starts, n_samples, weighting), sfreq)
    np.testing.assert_array_equal(times, expected[0])
    np.testing.assert_allclose(means, expected[1], rtol=1e-12)


def test_the_triangle_listens_to_the_window_that_sees_both_sides():
    """Two windows of 5: at their third common sample the first is at its end, the second near its center."""
    line = stitch([np.zeros(5), np.ones(5)], [0, 2], 7, "triangle")
    np.testing.assert_allclose(line[2:5], [0.5 / 1.5, 0.75 / 1.5, 1 / 1.5])


def test_memory_is_that_of_a_window_however_long_the_recording():
    size, stride, sfreq = 4_000, 1_000, 100

    def peak(count):
        windows = (np.full(size, index, float) for index in range(count))
        tracemalloc.start()
        times, _ = stitch_by_second(windows, range(0, stride * count, stride), stride * (count - 1) + size, sfreq)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used, len(times)

    (short, _), (long, seconds) = peak(20), peak(400)
    assert seconds == 4030
    assert long < short + 64 * seconds  # a few arrays of seconds; the line of samples alone has 800 bytes a second


def test_stitch_needs_one_start_a_window():
    with pytest.raises(ValueError):
        stitch(np.ones((3, 5)), [0, 5], 15)


@pytest.mark.parametrize(
    ("starts", "n_samples", "words"),
    [
        ([0, 5, 3], 20, "starts at sample 3, after one at 5"),
        ([0, 5, 10], 14, "5 samples starts at sample 10; the recording has 14"),
        ([-1, 5, 10], 20, "starts at sample -1"),
    ],
)
def test_windows_that_do_not_fit_the_recording(starts, n_samples, words):
    with pytest.raises(ValueError, match=words):
        stitch(np.ones((3, 5)), starts, n_samples)


def test_a_weighting_that_is_none():
    with pytest.raises(ValueError, match="'hann'; expected 'mean' or 'triangle'"):
        stitch(np.ones((1, 5)), [0], 5, weighting="hann")


@pytest.mark.parametrize(("length", "seconds"), [(0, 0), (6, 0), (7, 1), (13, 1), (14, 2), (71, 10)])
def test_mean_by_second_leaves_out_the_last_part(length, seconds):
    scores = np.random.default_rng(length).random(length)
    times, means = mean_by_second(scores, sfreq=7.0)
    np.testing.assert_array_equal(times, np.arange(seconds) + 0.5)
    np.testing.assert_allclose(means, [scores[7 * s : 7 * s + 7].sum() / 7 for s in range(seconds)], rtol=1e-12)


def test_mean_by_second_of_nan_is_nan():
    scores = np.ones(20)
    scores[7] = math.nan
    np.testing.assert_array_equal(np.isnan(mean_by_second(scores, 5)[1]), [False, True, False, False])
