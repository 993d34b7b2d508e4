"""What a validation says, against the rules of scoring applied by hand to whole recordings."""

from dataclasses import replace

import numpy as np
import pytest
from memory_store import MemoryStore
from tiny import config

from helpers.eeg import labels_of
from helpers.scoring import ScoredRecording, auroc, sensitivity_at
from helpers.training import FALSE_ALARMS, DetectionData, WindowOrder, merit, validate


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    store = MemoryStore(tmp_path_factory.mktemp("store"), subjects=6, seed=8, seconds=(801.3, 1400))
    options = config(fractions={"train": 0.4, "validation": 0.6})
    return DetectionData(options, store, WindowOrder(options, store))


def seconds_of(data, lines):
    """Each window's 60 values out of a line of values for each recording."""
    return np.array([lines[id][start // 256 : start // 256 + 60] for id, start in data.validation_windows])


def test_figures_are_those_of_the_whole_recordings(data):
    random = np.random.default_rng(4)
    lines = {one.id: random.beta(1, 3, one.n_samples // 256) for one in data.validation}
    for one in data.validation[::2]:
        onset, end = (int(mark) for mark in one.seizures[0])
        lines[one.id][onset + 2 : end] += 1
    figures = validate(data.validation, data.validation_windows, seconds_of(data, lines))
    marks = [labels_of(one.seizures, 128, one.n_samples)[: one.n_samples // 256 * 256 : 256] for one in data.validation]
    scores = [lines[one.id] for one in data.validation]
    assert figures["auroc"] == pytest.approx(auroc(np.concatenate(marks) > 0, np.concatenate(scores)), rel=1e-12)
    points = sensitivity_at(
        [
            ScoredRecording(np.arange(len(line)) + 0.5, line, list(one.seizures), one.n_samples / 256)
            for one, line in zip(data.validation, scores, strict=True)
        ]
    )
    assert [figures[f"sensitivity_at_{limit:g}"] for limit in FALSE_ALARMS] == [
        points[x].sensitivity for x in (10, 5, 2.5, 1)
    ]
    assert 0 < figures["sensitivity_at_10"] < 1


def test_where_windows_overlap_their_values_are_averaged(data):
    lines = {one.id: np.zeros(one.n_samples // 256) for one in data.validation}
    seconds = seconds_of(data, lines)
    for one in data.validation:
        seizure = slice(*(int(mark) for mark in one.seizures[0]))
        lines[one.id][seizure] = 1
    perfect = seconds_of(data, lines)
    assert validate(data.validation, data.validation_windows, perfect)["auroc"] > 0.98  # but for part of a second
    ids = [id for id, _ in data.validation_windows]
    last = np.array([id not in ids[row + 1 :] for row, id in enumerate(ids)])
    seconds[last] = -perfect[last]  # the last window of each recording overlaps the one before
    mixed = validate(data.validation, data.validation_windows, perfect + seconds)
    assert mixed["auroc"] < 1


def test_a_seizure_in_the_last_part_of_a_second_counts(data):
    cut = [replace(one, n_samples=one.n_samples // 256 * 256 + 200) for one in data.validation]
    cut.sort(key=lambda one: one.seizures[0][1] - one.duration)  # SzCORE joins seizures less than 90 s apart
    end = cut[0].duration
    late = replace(cut[0], seizures=(*cut[0].seizures, (end - 0.7, end)))
    lines = {one.id: np.zeros(one.n_samples // 256) for one in data.validation}
    lines[late.id][int(late.seizures[0][0]) : int(late.seizures[0][1])] = 1
    found = [
        validate([one, *cut[1:]], data.validation_windows, seconds_of(data, lines))["sensitivity_at_10"]
        for one in (cut[0], late)
    ]
    assert found == pytest.approx([1 / len(cut), 1 / (len(cut) + 1)])


def test_merit_is_sensitivity_then_loss():
    def figures(sensitivity, loss):
        return {"sensitivity_at_10": sensitivity, "sensitivity_at_1": 1 - sensitivity, "loss": loss, "auroc": loss}

    worst_first = [figures(0.25, 0.1), figures(0.5, 0.9), figures(0.5, 0.2), figures(0.75, 3.0)]
    assert sorted([worst_first[k] for k in (2, 0, 3, 1)], key=merit) == worst_first
