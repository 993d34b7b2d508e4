"""The sweep of thresholds against events made and scored at each threshold in turn."""

import math
import time

import numpy as np
import pytest

from helpers.scoring import (
    ScoredRecording,
    events_from_scores,
    sensitivity_at,
    szcore_event_score,
    threshold_curve,
)


def counts_at(recordings, threshold, hysteresis, min_duration, merge_gap):
    """(found, false alarms, reference) by way of events."""
    scores = []
    for times, line, seizures, duration in recordings:
        events = events_from_scores(
            times, line, threshold, threshold - hysteresis, min_duration=min_duration, merge_gap=merge_gap
        )
        scores.append(szcore_event_score(seizures, [(event.onset, event.end) for event in events], duration))
    return tuple(sum(getattr(score, name) for score in scores) for name in ("found", "false_alarms", "reference"))


def drawn(random, step, offset, levels, seizures):
    """A recording of half an hour or so whose scores stay on one of a few levels for a second or some minutes."""
    duration = random.uniform(1500, 2500)
    count = int((duration - offset) / step)
    stays = np.ceil(random.lognormal(3, 1.3, count) / step).astype(int)
    line = np.repeat(random.choice(levels, count), stays)[:count]
    line[random.random(count) < 0.02] = random.choice(levels)
    line[random.random(count) < 0.01] = math.nan
    onsets = np.sort(random.uniform(0, duration - 400, seizures))
    marked = [(onset, onset + random.choice([7.5, 31, 320])) for onset in onsets]
    return ScoredRecording(offset + step / 2 + step * np.arange(count), line, marked, duration)


@pytest.mark.parametrize(
    ("step", "offset", "hysteresis", "min_duration", "merge_gap"),
    [
        (1.0, 0.0, 0.08, 3, 2),
        (1.0, 0.5, 0.3, 1, 0),  # windows of 2 s, one a second
        (0.5, 0.0, 0.08, 3.2, 1.9),
        (1 / 16, 0.0, 0.12, 1, 2),
        (3.0, 17.25, 0.0, 0, 7),
        (1.0, 0.0, 5.0, 40, 30),  # a lower threshold below everything
    ],
)
def test_the_curve_is_that_of_events_at_every_threshold(step, offset, hysteresis, min_duration, merge_gap):
    options = {"hysteresis": hysteresis, "min_duration": min_duration, "merge_gap": merge_gap}
    for seed in range(6 if step >= 0.5 else 3):
        random = np.random.default_rng(seed)
        levels = np.round(random.normal(0, 1, 7), 2)
        recordings = [drawn(random, step, offset, levels, count) for count in (3, 0, 1)[seed % 3 :]]
        curve = threshold_curve(iter(recordings), **options)
        every = np.unique(np.concatenate([levels, levels + hysteresis]))[::-1]
        between = (every + np.append(every[1:], every[-1] - 1)) / 2  # counts change at no other place
        slow = [(0, 0)]
        for threshold in between:
            *counts, reference = counts_at(recordings, threshold, **options)
            if tuple(counts) != slow[-1]:
                slow.append(tuple(counts))
        assert list(zip(curve.found.tolist(), curve.false_alarms.tolist(), strict=True)) == slow
        assert curve.reference == reference
        assert curve.hours == pytest.approx(sum(int(recording.duration) for recording in recordings) / 3600)
        assert curve.thresholds[0] == math.inf
        assert (np.diff(curve.thresholds) < 0).all()
        for index in range(1, len(slow)):  # the thresholds that it names give what it says
            assert counts_at(recordings, curve.thresholds[index], **options)[:2] == slow[index]


def test_the_best_point_within_a_limit():
    random = np.random.default_rng(9)
    recordings = [drawn(random, 1.0, 0.0, random.random(40), count) for count in (4, 1, 2)]
    for recording, rise in zip(recordings, (0.4, 0.1, 0.9), strict=True):
        onset, end = recording.seizures[0]
        recording.scores[int(onset) : int(end)] += rise
    curve = threshold_curve(recordings)
    assert (np.diff(curve.false_alarms) < 0).any()  # false alarms merge: no search by halves would be right
    limits = (1000, 400, 120.5, 60, 25, 10, 1)
    points = sensitivity_at(recordings, limits)
    for limit in limits:
        allowed = [index for index, rate in enumerate(curve.false_alarms_per_24h) if rate <= limit]
        best = max(curve.found[index] for index in allowed)
        fewest = min(curve.false_alarms[index] for index in allowed if curve.found[index] == best)
        assert points[limit] == curve.at(limit)
        assert points[limit].sensitivity == best / curve.reference
        assert points[limit].false_alarms_per_24h == pytest.approx(fewest / curve.hours * 24)
    assert 0 < points[10].sensitivity < points[400].sensitivity
    assert tuple(sensitivity_at(recordings)) == (10, 5, 2.5, 1)


def test_scores_a_hair_apart_are_told_apart():
    """All within a ten-thousandth: two seizures, and between them false alarms."""
    line = np.full(3600, 0.0)
    for second, score in ((500, 0.99995), (1500, 0.99993), (2500, 0.99994)):
        line[second : second + 10] = score
    recording = (np.arange(3600) + 0.5, line, [(500, 520), (1500, 1530)], 3600.0)
    points = sensitivity_at([recording], (10, 24))
    assert (points[10].sensitivity, points[10].false_alarms_per_24h) == (0.5, 0)
    assert 0.99994 < points[10].threshold <= 0.99995
    assert (points[24].sensitivity, points[24].false_alarms_per_24h) == (1, 24)
    assert 0 < points[24].threshold <= 0.99993


def test_the_lower_threshold_carries_an_event_as_far_as_is_said():
    """A peak of one second with a long shoulder, at the end of which the seizure lies."""
    line = np.zeros(1200)
    line[100], line[101:400] = 0.95, 0.85
    curve = threshold_curve([(np.arange(1200) + 0.5, line, [(380, 395)], 1200.0)], hysteresis=0.08, min_duration=1)
    # above 0.93 the peak alone, a false alarm; from there the shoulder; from 0.08 four pieces of 300 s, one is true
    np.testing.assert_allclose(curve.thresholds, [math.inf, (0.95 + 0.93) / 2, (0.93 + 0.08) / 2, 0.04])
    assert list(zip(curve.found, curve.false_alarms, strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 3)]


@pytest.mark.parametrize(("min_duration", "points"), [(2.9, 2), (3.0, 2), (3.2, 1), (3.5, 1)])
def test_the_shortest_duration_between_two_steps(min_duration, points):
    """An event of 3 s, on scores half a second apart."""
    line = np.full(400, -math.inf)
    line[100:106] = 0.9
    curve = threshold_curve([((np.arange(400) + 0.5) / 2, line, [], 200.0)], min_duration=min_duration)
    assert len(curve.thresholds) == points


@pytest.mark.parametrize("duration", [1.0, 2.5, 40.0, 89.9, 90.0, 91.0, 299.0, 300.0, 301.0])
def test_recordings_shorter_than_the_rules_reach(duration):
    """SzCORE's 90 s and 300 s are longer than some recordings."""
    random = np.random.default_rng(round(duration))
    levels = random.random(5)
    line = np.repeat(random.choice(levels, 101), 3)[: int(duration)]
    recording = (np.arange(len(line)) + 0.5, line, [(0.4 * duration, 0.7 * duration)], duration)
    options = {"hysteresis": 0.05, "min_duration": 1, "merge_gap": 0}
    curve = threshold_curve([recording], **options)
    for threshold, found, false_alarms in zip(curve.thresholds, curve.found, curve.false_alarms, strict=True):
        assert counts_at([recording], threshold, **options) == (found, false_alarms, 1)


def test_without_seizures_there_is_no_sensitivity_and_without_events_no_false_alarm():
    random = np.random.default_rng(2)
    points = sensitivity_at([(np.arange(600) + 0.5, random.random(600), [], 600.0)])
    assert all(math.isnan(point.sensitivity) for point in points.values())
    silent = sensitivity_at([(np.arange(600) + 0.5, np.full(600, math.nan), [(100, 120)], 600.0)])
    assert set(silent.values()) == {(math.inf, 0.0, 0.0)}


@pytest.mark.parametrize("step", [1.0, 1 / 16])
def test_a_day_takes_seconds(step):
    """CPU seconds; on a quiet core 0.1 and 0.8. The exact counts are those of events at some of the thresholds."""
    random = np.random.default_rng(4)
    count = round(86_400 / step)
    walk = np.cumsum(random.normal(0, math.sqrt(step / 20), count))
    line = 1 / (1 + np.exp(4 - np.abs(walk - np.interp(np.arange(count), np.arange(0, count, 999), walk[::999]))))
    recording = ((np.arange(count) + 0.5) * step, line, [(3000, 3060.5), (40_000, 40_500), (86_000, 86_100)], 86_400.0)
    began = time.process_time()
    curve = threshold_curve([recording])
    assert time.process_time() - began < 5
    assert len(curve.thresholds) > 200
    for index in (1, 7, 50, len(curve.thresholds) // 2, -1):
        found, false_alarms, _ = counts_at([recording], curve.thresholds[index], 0.08, 3, 2)
        assert (found, false_alarms) == (curve.found[index], curve.false_alarms[index])


SECONDS = np.arange(100) + 0.5


@pytest.mark.parametrize(
    ("recording", "options", "words"),
    [
        ((SECONDS, np.ones(99), [], 100.0), {}, r"times \(100,\) and scores \(99,\)"),
        (([], [], [], 100.0), {}, "above 0"),
        ((SECONDS**1.01, np.ones(100), [], 110.0), {}, "not equally spaced"),
        ((SECONDS[::-1], np.ones(100), [], 100.0), {}, "not equally spaced"),
        ((SECONDS, np.ones(100), [], 99.0), {}, "cover 0 to 100 s; the recording lasts 99 s"),
        ((SECONDS - 0.5, np.ones(100), [], 100.0), {}, "cover -0.5 to"),
        ((SECONDS, np.full(100, math.inf), [], 100.0), {}, r"a score is \+inf"),
        ((SECONDS, np.ones(100), [(90, 120)], 100.0), {}, "lies outside the recording"),
        ((SECONDS, np.ones(100), [], 100.0), {"hysteresis": -0.1}, "expected neither below 0"),
        ((SECONDS, np.ones(100), [], 100.0), {"merge_gap": -1}, "expected neither below 0"),
        ((SECONDS / 2, np.ones(100), [], 100.0), {"min_duration": 0.5}, "expected at least 1 s of one"),
    ],
)
def test_what_cannot_be_swept(recording, options, words):
    with pytest.raises(ValueError, match=words):
        threshold_curve([recording], **options)


def test_no_recording():
    with pytest.raises(ValueError, match="no recording"):
        sensitivity_at([])
