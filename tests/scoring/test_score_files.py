"""Files of SzCORE against files: counts by subject, means over subjects, and an error for all that does not fit."""

import json
import math
import statistics
from datetime import datetime

import numpy as np
import pytest
from timescoring.annotations import Annotation
from timescoring.scoring import EventScoring, SampleScoring

from helpers.scoring import (
    METRICS,
    Event,
    EventScore,
    SampleScore,
    ScoringError,
    mean_over_subjects,
    pool,
    read_recording_events,
    score_files,
    szcore_event_score,
    write_events,
)

START = datetime(2000, 1, 1)


def write(path, spans, duration=3600.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_events(path, [Event(onset, end - onset) for onset, end in spans], duration, "test", START)
    return path


def drawn(random, duration, rate):
    """Events that do not overlap, in hundredths of a second."""
    cuts = np.unique(np.round(random.uniform(0, duration - 1, 2 * random.poisson(rate)), 2))
    return [(a, min(b, a + 400)) for a, b in zip(cuts[:-1:2], cuts[1::2], strict=False)]


@pytest.fixture
def corpus(tmp_path):
    """Three subjects with one to three recordings, in BIDS folders; what was detected lies flat, with longer names."""
    random, truth = np.random.default_rng(5), {}
    for subject, runs in (("01", 2), ("02", 1), ("chb03", 3)):
        for run in range(runs):
            duration = float(np.round(random.uniform(2000, 5000), 2))
            name = f"sub-{subject}_ses-01_task-szMonitoring_run-{run:02}"
            reference = write(
                tmp_path / "bids" / f"sub-{subject}" / "ses-01" / "eeg" / f"{name}_events.tsv",
                drawn(random, duration, 3),
                duration,
            )
            found = write(
                tmp_path / "found" / f"{name}_eeg_rule_events.tsv", drawn(random, duration, 6), duration + 0.7
            )
            truth.setdefault(f"sub-{subject}", []).append((reference, found))
    (tmp_path / "bids" / "participants.tsv").write_text("participant_id\nsub-01\n")
    (tmp_path / "bids" / "sub-01" / "ses-01" / "eeg" / "sub-01_ses-01_channels.tsv").write_text("name\nFp1\n")
    (tmp_path / "found" / "sub-01_eeg_rule_scores.tsv").write_text("time\tscore\n")
    return tmp_path / "bids", tmp_path / "found", truth


def by_szcore_evaluation(pairs):
    """The sums over the recordings of a subject, and what timescoring makes of them, as szcore-evaluation does it."""
    sums = {}
    for reference, found in pairs:
        masks, (_, duration) = [], read_recording_events(reference)
        for path in (reference, found):
            mask = np.zeros(int(duration), bool)
            for event in read_recording_events(path).events:
                mask[int(event.onset) : int(event.onset + event.duration)] = True
            masks.append(Annotation(mask, 1))
        for kind, scoring in (("event", EventScoring), ("sample", SampleScoring)):
            score = scoring(*masks)
            total = sums.setdefault(kind, score)
            if total is not score:
                for name in ("tp", "fp", "refTrue"):
                    setattr(total, name, getattr(total, name) + getattr(score, name))
                total.numSamples += score.numSamples
    for total in sums.values():
        total.computeScores()
    return sums


def test_folders_give_the_numbers_of_szcore_evaluation(corpus):
    reference, hypothesis, truth = corpus
    calls = []
    scores = score_files(str(reference), hypothesis, progress=lambda *call: calls.append(call))
    assert calls == [(done, 6) for done in range(1, 7)]
    assert [(each.subject, each.recordings) for each in scores.subjects] == [
        ("sub-01", 2),
        ("sub-02", 1),
        ("sub-chb03", 3),
    ]
    expected = {subject: by_szcore_evaluation(pairs) for subject, pairs in truth.items()}
    ratios = {"sensitivity": "sensitivity", "precision": "precision", "f1": "f1", "false_alarms_per_24h": "fpRate"}
    for kind in ("event", "sample"):
        for each in scores.subjects:
            ours, theirs = getattr(each, kind), expected[each.subject][kind]
            assert (ours.reference, ours.found, ours.false_alarms) == (theirs.refTrue, theirs.tp, theirs.fp)
            for name, their_name in ratios.items():
                assert getattr(ours, name) == pytest.approx(getattr(theirs, their_name), nan_ok=True)
        for name, their_name in ratios.items():
            values = [getattr(each[kind], their_name) for each in expected.values()]
            mean = getattr(scores, kind)[name]
            assert (mean.mean, mean.std) == pytest.approx((np.nanmean(values), np.nanstd(values)))
            assert mean.subjects == 3


def test_what_goes_into_json(corpus):
    scores = score_files(*corpus[:2])
    found = json.loads(json.dumps(scores.as_dict(), allow_nan=False))
    assert found["recordings"] == 6
    assert found["hours"] == pytest.approx(sum(each.event.hours for each in scores.subjects))
    names = ("sensitivity", "precision", "f1", "f1_before_0.0.7", "fpRate")
    for kind, means in (("event_results", scores.event), ("sample_results", scores.sample)):
        for name, metric in zip(names, METRICS, strict=True):
            values = (found[kind][name], found[kind][f"{name}_std"], found[kind][f"{name}_subjects"])
            assert values == means[metric]
    assert [each["subject"] for each in found["subjects"]] == ["sub-01", "sub-02", "sub-chb03"]
    assert found["subjects"][2]["event"]["reference"] == scores.subjects[2].event.reference


def test_two_files_and_what_is_undefined_is_null(tmp_path):
    reference = write(tmp_path / "night" / "truth.tsv", [(100, 130)])
    hypothesis = write(tmp_path / "silent.tsv", [])
    scores = score_files(reference, hypothesis)
    (subject,) = scores.subjects
    assert (subject.subject, subject.recordings) == ("night", 1)
    assert subject.event == szcore_event_score([(100, 130)], [], 3600)
    found = scores.as_dict()
    assert found["event_results"]["f1"] == 0
    assert found["event_results"]["precision"] is found["event_results"]["f1_before_0.0.7"] is None
    assert found["event_results"]["precision_subjects"] == 0


def test_files_without_bids_names_belong_together_by_place(tmp_path):
    """As in szcore-evaluation's own tests."""
    for name, spans in (("ref", [(10, 15)]), ("hyp", [])):
        write(tmp_path / name / "sub-001" / "rec.tsv", [(10, 15)], 60.0)
        write(tmp_path / name / "sub-002" / "rec.tsv", spans, 60.0)
    scores = score_files(tmp_path / "ref", tmp_path / "hyp")
    assert [each.subject for each in scores.subjects] == ["sub-001", "sub-002"]
    assert scores.sample["sensitivity"] == (0.5, 0.5, 2)


def test_silence_was_worth_more_before():
    """Three subjects: the detector answers in one of them alone."""
    spoke, silent = EventScore("SzCORE", 4, 2, 2, 10.0), EventScore("SzCORE", 4, 0, 0, 10.0)
    means = mean_over_subjects({"a": spoke, "b": silent, "c": silent})
    assert means["f1"] == pytest.approx((0.5 / 3, statistics.pstdev([0.5, 0, 0]), 3))
    assert means["f1_before_0_0_7"] == (0.5, 0.0, 1)
    assert means["false_alarms_per_24h"].mean == pytest.approx(2 / 10 * 24 / 3)
    assert mean_over_subjects({"b": silent})["precision"] == (pytest.approx(math.nan, nan_ok=True),) * 2 + (0,)


def test_pool_adds_counts_and_hours_of_one_kind():
    scores = [SampleScore("a", 5, 3, 2, 1.5), SampleScore("a", 7, 1, 9, 0.25)]
    assert pool(iter(scores)) == SampleScore("a", 12, 4, 11, 1.75)
    assert type(pool(scores)) is SampleScore
    with pytest.raises(ValueError, match=r"2 scores by the rules \['a', 'b'\]; expected one"):
        pool([scores[0], EventScore("b", 1, 1, 1, 1.0)])


# -- what does not fit ------------------------------------------------------------------------------------------------


def refused(reference, hypothesis):
    with pytest.raises(ScoringError) as caught:
        score_files(reference, hypothesis)
    return caught.value.faults


@pytest.mark.parametrize(("length", "fits"), [(3599.1, True), (3600.9, True), (3599.0, False), (3601.0, False)])
def test_another_length_is_an_error_and_never_a_silent_detector(tmp_path, length, fits):
    reference = write(tmp_path / "a.tsv", [(100, 130)])
    hypothesis = write(tmp_path / "b.tsv", [(100, 130)], length)
    if fits:
        assert score_files(reference, hypothesis).event["sensitivity"].mean == 1
    else:
        (fault,) = refused(reference, hypothesis)
        assert "b.tsv: recordingDuration is" in fault
        assert "a.tsv 3600 s; expected the same" in fault


def test_all_faults_of_all_files_are_said_together(corpus):
    reference, hypothesis, truth = corpus
    gone, short, extra = truth["sub-01"][0], truth["sub-02"][0], hypothesis / "sub-09_task-x_events.tsv"
    gone[1].unlink()
    write(short[1], [], 60.0)
    write(extra, [])
    double = hypothesis / "again" / truth["sub-chb03"][0][1].name
    write(double, [])
    damaged = truth["sub-chb03"][1]
    for path in damaged:
        path.write_text(path.read_text().replace("\tsz\t", "\tseizure\t").replace("\tbckg\t", "\tnothing\t"))
    faults = refused(reference, hypothesis)
    assert len(faults) == 6
    for path, words in [
        (gone[0], f"nothing for sub-01_ses-01_task-szMonitoring_run-00 in {hypothesis}"),
        (extra, f"nothing for sub-09_task-x in {reference}"),
        (short[1], "recordingDuration is 60 s"),
        (damaged[0], "line 2: event type"),
        (damaged[1], "line 2: event type"),
    ]:
        assert [fault for fault in faults if fault.startswith(f"{path}") and words in fault], (path, faults)
    assert [fault for fault in faults if "expected one file a recording" in fault and str(double) in fault]


def test_paths_that_are_no_pair(tmp_path):
    file = write(tmp_path / "folder" / "a.tsv", [])
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "gone.tsv: no such file or folder" in refused(tmp_path / "gone.tsv", file)[0]
    assert "gone.tsv: no such file or folder" in refused(file, tmp_path / "gone.tsv")[0]
    for pair in ((file, file.parent), (file.parent, file)):
        assert refused(*pair) == (f"{file.parent} is a folder, {file} is a file; expected two files or two folders.",)
    assert "empty: no TSV file in it" in refused(empty, file.parent)[0]
    assert "empty: no TSV file in it" in refused(file.parent, empty)[0]
