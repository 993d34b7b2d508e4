"""The reference's faults: each wrong number is the one that its rule gives, and the right one is not."""

import math

import numpy as np
import pytest
from scipy import ndimage

from helpers.scoring import (
    calibration,
    events_from_scores,
    overlap_score,
    sensitivity_at,
    stitch,
    szcore_event_score,
)
from helpers.scoring.reference_faults import (
    alarms_by_window,
    bisected_sensitivity,
    closing,
    ece_without_zeros,
    events_on_one_axis,
    home_made_taes,
    opening,
    reference_mask,
    stitched_as_one,
    unused_threshold,
)


def test_one_false_alarm_counts_in_each_window_that_it_touches():
    """10 s in 10 min: 144 a day. The published function gives 1008, seven times as many."""
    assert alarms_by_window([], [(305, 315)], 600) == (1008, 144)
    assert alarms_by_window([], [(300, 310)], 600) == (864, 144)
    assert alarms_by_window([], [(305, 315)], 600, stride=60.0) == (144, 144)  # without overlap there is no fault


def test_a_detection_that_begins_early_is_false_in_windows_that_end_before_the_seizure():
    wrong, right = alarms_by_window([(300, 330)], [(270, 330)], 600)
    assert right == 0
    assert wrong == 3 * 144  # windows that start at 220, 230 and 240


def test_a_miss_and_a_false_alarm_make_a_hit_where_windows_share_an_axis():
    assert events_on_one_axis([[(10, 30)], []], [[], [(10, 30)]], [0, 60]) == (1, 0)
    assert events_on_one_axis([[(10, 30)], []], [[(10, 30)], []], [0, 60]) == (1, 1)


def test_the_home_made_taes_by_its_formula_and_what_it_rewards():
    assert home_made_taes([(0, 10), (50, 90)], [(5, 12), (100, 121)]) == pytest.approx(0.5 / 2 - 0.15 * 21 / 28)
    assert home_made_taes([(0, 10)], []) == 0
    assert home_made_taes([], [(0, 10)]) == 0
    assert home_made_taes([(100, 160)], [(0, 3600)]) == 1  # "seizure" for an hour
    score = szcore_event_score([(100, 160)], [(0, 3600)], 3600)
    assert (score.found, score.false_alarms) == (1, 11)
    nearly = home_made_taes([(100, 160)], [(100, 160), *((a, a + 30) for a in range(300, 3500, 100))])
    assert nearly == pytest.approx(0.85, abs=0.01)  # 32 false alarms an hour


@pytest.fixture(scope="module")
def recordings():
    """Scores that are crowded under 1, as those of a network that is sure of itself."""
    random, made = np.random.default_rng(8), []
    for seizures in ([(600, 640), (2400, 2460)], [(1500, 1530)], []):
        line = np.minimum(np.repeat(random.beta(0.3, 0.3, 720), 5) ** 0.02, 0.9999)
        for onset, end in seizures:
            line[onset:end] = 1 - random.random() * 9e-6
        made.append((np.arange(3600) + 0.5, line, seizures, 3600.0))
    return made


def sensitivity_of(recordings, on, off):
    found = reference = 0
    for times, line, seizures, duration in recordings:
        events = events_from_scores(times, line, on, off, min_duration=3, merge_gap=2)
        score = szcore_event_score(seizures, [(event.onset, event.end) for event in events], duration)
        found, reference = found + score.found, reference + score.reference
    return found / reference


def test_a_threshold_that_is_not_used_gives_one_sensitivity_at_every_limit(recordings):
    points = unused_threshold(recordings, limits=(100, 10, 1))
    right = sensitivity_at(recordings, (100, 10, 1))
    assert {limit: point.right for limit, point in points.items()} == right
    assert {point.wrong for point in points.values()} == {points[10].wrong}
    assert points[10].wrong.sensitivity == sensitivity_of(recordings, 0.86, 0.78) == 1
    assert points[10].wrong.false_alarms_per_24h > 100  # at a limit of 10
    assert points[10].wrong.threshold == 0.86
    assert unused_threshold(recordings, (10,), on=0.99995, off=0.99995)[10].wrong == (0.99995, 1, 0)


def test_halving_misses_the_threshold_where_scores_are_crowded(recordings):
    (point,) = bisected_sensitivity(recordings, limits=(10,)).values()
    assert point.right.sensitivity == 1
    assert point.right.false_alarms_per_24h <= 10
    assert point.wrong.threshold == 0.86  # found none, and says so nowhere
    assert point.wrong.sensitivity == sensitivity_of(recordings, 0.86, 0.78)
    assert point.wrong.false_alarms_per_24h > 10
    easy = [(times, np.where(line > 0.99999, 0.9, 0.1), *rest) for times, line, *rest in recordings]
    (point,) = bisected_sensitivity(easy, limits=(10,)).values()
    assert point.wrong[1:] == point.right[1:] == (1, 0)
    assert 0.1 < point.wrong.threshold < 0.19


def test_windows_of_two_recordings_in_one_line_are_averaged_where_they_never_met():
    quiet, loud = np.zeros((3, 6)), np.ones((2, 6))
    wrong, right = stitched_as_one([quiet, loud], stride=2)
    assert [len(line) for line in right] == [10, 8]
    assert len(wrong) == 14  # 4 samples less than were recorded
    np.testing.assert_array_equal(np.concatenate(right), [0] * 10 + [1] * 8)
    np.testing.assert_allclose(wrong, [0] * 6 + [1 / 3] * 2 + [2 / 3] * 2 + [1] * 4)
    random = np.random.default_rng(1).random((4, 7))
    np.testing.assert_array_equal(stitched_as_one([random], 3).wrong, stitch(random, [0, 3, 6, 9], 16))


def test_bins_that_are_open_below_lose_the_zeros():
    labels, probabilities = [0] * 6 + [1] * 2, [0.0] * 7 + [1.0]
    wrong, right = ece_without_zeros(labels, probabilities)
    assert wrong == 0  # perfect, with a seizure at probability 0
    assert right == calibration(labels, probabilities).ece == pytest.approx(1 / 8)
    random = np.random.default_rng(0)
    same = ece_without_zeros(random.random(500) < 0.3, random.uniform(0.001, 1, 500), 7)
    assert same.wrong == pytest.approx(same.right, abs=1e-12)


# -- opening after hysteresis -----------------------------------------------------------------------------------------


def trembling(seed, count=15_360):
    """A minute at 256 Hz that crosses both thresholds often, slowly and fast."""
    random = np.random.default_rng(seed)
    knots = np.arange(0, count + 300, 300)
    slow = np.interp(np.arange(count), knots, random.normal(0, 4, len(knots)))
    fast = np.convolve(random.normal(0, 1, count + 40), np.ones(41) / 41**0.5, "valid")
    return 1 / (1 + np.exp(-1.5 - slow - fast * random.uniform(0, 2)))


def test_opening_after_hysteresis_changes_nothing_and_closing_hardly_anything():
    opened = closed = events = 0
    for seed in range(60):
        mask = reference_mask(trembling(seed))
        events += np.count_nonzero(np.diff(mask.astype(int)) == 1)
        opened += (opening(mask) != mask).any()
        closed += (closing(mask) != mask).any()
    assert events > 60
    assert opened == 0  # every event has 128 samples or more; opening removes those under 11
    assert closed < 30
    merged = np.zeros(9_000, bool)
    merged[1000:3000] = merged[3020:5000] = True  # 20 samples apart, 0.08 s
    assert closing(merged)[1000:5000].all()
    times = (np.arange(9_000) + 0.5) / 256
    assert len(events_from_scores(times, merged, on=1, merge_gap=2)) == 1  # merging does it anyway


@pytest.mark.parametrize("size", [1, 3, 11, 31])
def test_opening_and_closing_are_those_of_mathematics(size):
    """Away from the ends, where the reference ignores what is outside."""
    for seed in range(8):
        mask = np.repeat(np.random.default_rng(seed).random(60) < 0.5, np.random.default_rng(seed).integers(1, 40, 60))
        mask[:size] = mask[-size:] = False
        np.testing.assert_array_equal(opening(mask, size), ndimage.binary_opening(mask, np.ones(size)))
        np.testing.assert_array_equal(closing(mask, size), ndimage.binary_closing(mask, np.ones(size)))


@pytest.mark.parametrize(("min_on", "min_off"), [(1, 1), (4, 9), (128, 256)])
def test_the_reference_s_mask_against_one_sample_after_the_other(min_on, min_off):
    for seed in range(4):
        scores = trembling(seed, 3_000)
        mask = np.zeros(len(scores), bool)
        inside, high, low = False, 0, 0
        for index, score in enumerate(scores):
            high = high + 1 if score >= 0.86 else 0
            low = low + 1 if score < 0.78 else 0
            if not inside and high == min_on:
                inside = True
                mask[index - min_on + 1 : index] = True
            elif inside and low == min_off:
                inside = False
            mask[index] |= inside
        np.testing.assert_array_equal(reference_mask(scores, min_on=min_on, min_off=min_off), mask)


def test_nothing_of_a_fault_is_offered_as_a_score():
    import helpers.scoring

    assert not {"home_made_taes", "alarms_by_window", "opening"} & set(helpers.scoring.__all__)
    assert overlap_score([], [(305, 315)], 600).false_alarms_per_24h == 144
    assert math.isnan(overlap_score([], [], 600).sensitivity)
