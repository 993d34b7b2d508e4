"""Detectors on many recordings: counted as by hand, the same recordings for each, bad ones left out. Synthetic EEG."""

import json
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from helpers.detection import (
    Detection,
    WeightsError,
    detect_by_network,
    detect_by_rule,
    evaluate,
    load_detector,
    shipped_weights,
)
from helpers.eeg import RecordingError, read_recording, seizures_of
from helpers.eeg.synthetic import write_recordings
from helpers.scoring import Event, auroc


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two recordings of one subject and one of another."""
    home = tmp_path_factory.mktemp("evaluated")
    write_recordings(home / "data", subjects=2, minutes=6, seed=3)
    write_recordings(home / "more", subjects=1, minutes=7, seed=4)
    extra = home / "data" / "sub-01" / "ses-02"
    (home / "more" / "sub-01" / "eeg").rename(extra)
    return home / "data"


def by_marks(raw, shift=0.0, unit="probability"):
    """A detector that knows the answer, late by `shift` s."""
    times = np.arange(raw.n_times // raw.info["sfreq"]) + 0.5
    spans = [(onset + shift, end + shift) for onset, end in seizures_of(raw)]
    scores = np.full(len(times), 0.1)
    for onset, end in spans:
        scores[(times >= onset) & (times < end)] = 0.9
    events = [Event(onset, end - onset, 0.9) for onset, end in spans]
    return Detection("knows", times, scores, unit, 0.86, 0.78, events, raw.n_times / raw.info["sfreq"])


def test_who_knows_the_answer_has_all_of_it(folder):
    (found,), left_out = evaluate(folder, [by_marks])
    seizures = sum(len(seizures_of(path)) for path in folder.rglob("*.edf"))
    assert (found.subjects, found.recordings, left_out) == (2, 3, {})
    assert found.hours == pytest.approx(19 / 60)
    assert (found.auroc, found.auprc, found.event.false_alarms) == (1, 1, 0)
    assert found.overlap.found == found.overlap.reference == seizures >= 3
    assert found.event.sensitivity == found.over_subjects["sensitivity"].mean == 1
    assert found.over_subjects["sensitivity"].subjects == 2
    assert found.ece == pytest.approx(0.1)  # 0.1 where it never is, 0.9 where it always is
    assert all(point.sensitivity == 1 for point in found.operating_points.values())


def test_seconds_of_all_recordings_are_ranked_together(folder):
    (late,), _ = evaluate(folder, [partial(by_marks, shift=7.0)])
    labels, scores = [], []
    for path in sorted(folder.rglob("*.edf")):
        raw = read_recording(path)
        one = by_marks(raw, 7.0)
        labels.append(sum((one.times >= onset) & (one.times < end) for onset, end in seizures_of(raw)) > 0)
        scores.append(one.scores)
    labels, scores = np.concatenate(labels), np.concatenate(scores)
    assert late.auroc == pytest.approx(auroc(labels, scores))
    assert late.ictal == pytest.approx(labels.mean())
    assert 0.5 < late.auroc < 1
    assert late.sample.sensitivity < 1 == late.event.sensitivity


def test_scores_that_are_no_probabilities_have_no_calibration(folder):
    network, rule = evaluate(folder, [by_marks, detect_by_rule])[0]
    assert network.brier == pytest.approx(0.01)
    assert rule.brier is rule.ece is None
    assert (rule.recordings, rule.event.reference) == (network.recordings, network.event.reference)
    assert rule.method.startswith("rule")


def test_a_bad_recording_is_left_out_for_every_detector(folder, tmp_path):
    (tmp_path / "broken.edf").write_text("<!doctype html>")
    paths = [*sorted(folder.rglob("*.edf")), tmp_path / "broken.edf"]
    ticks = []
    (found, rule), left_out = evaluate(paths, [by_marks, detect_by_rule], lambda *tick: ticks.append(tick))
    assert (found.recordings, rule.recordings) == (3, 3)
    assert list(left_out) == [tmp_path / "broken.edf"]
    assert "this is no EDF" in left_out[tmp_path / "broken.edf"]
    assert ticks == [(1, 4), (2, 4), (3, 4), (4, 4)]
    with pytest.raises(RecordingError, match=r"none of 1 recordings can be scored. The first: .*broken.edf"):
        evaluate(paths[-1:], [by_marks])
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordingError, match="no recording in it"):
        evaluate(tmp_path / "empty", [by_marks])


def test_it_is_json_that_any_reader_takes(folder):
    silent = lambda raw: replace(by_marks(raw), events=[], scores=np.zeros(len(by_marks(raw).times)))  # noqa: E731
    (found,), _ = evaluate(folder, [silent])
    assert math.isnan(found.event.precision)
    text = json.dumps(found.as_dict(), allow_nan=False)
    again = json.loads(text)
    assert again["event"]["precision"] is None
    assert again["operating_points"]["10"] == {"threshold": None, "sensitivity": 0, "false_alarms_per_24h": 0}
    assert again["overlap"]["found"] == 0 < again["overlap"]["reference"]


def test_shipped_weights_have_a_name(tmp_path, monkeypatch):
    model, name = load_detector("synthetic")
    assert sum(parameter.numel() for parameter in model.parameters()) == 742_749
    assert "weights synthetic.pt, sha256" in name
    monkeypatch.chdir(tmp_path)
    (tmp_path / "synthetic").write_text("mine")  # a file of that name comes first
    with pytest.raises(WeightsError, match="synthetic: no file of weights"):
        load_detector("synthetic")
    with pytest.raises(WeightsError, match="or a name: synthetic"):
        load_detector("other")


def test_shipped_weights_that_are_missing_are_missed(tmp_path, monkeypatch):
    monkeypatch.setattr("helpers.detection.shipped.__file__", str(tmp_path / "a" / "b" / "c" / "shipped.py"))
    with pytest.raises(FileNotFoundError, match=r"synthetic\.pt: in neither"):
        shipped_weights()


def test_the_shipped_detector_finds_synthetic_seizures_that_it_never_saw(folder):
    """Of subjects drawn from seeds of this test."""
    found, rule = evaluate(folder, [partial(detect_by_network, weights="synthetic", device="cpu"), detect_by_rule])[0]
    assert found.auroc > 0.95 > 0.9 > rule.auroc
    assert found.overlap.sensitivity >= 0.75
