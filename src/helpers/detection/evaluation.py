"""Detectors on many recordings with marked seizures: the same recordings for each, and one table for all.

`workbook evaluate` and the card of the shipped weights come from here. What is counted, and how, is said in
`helpers.scoring`.
"""

import math
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from helpers.detection.result import ictal_seconds
from helpers.eeg import RecordingError, find_recordings, read_recording, seizures_of, subject_of
from helpers.scoring import (
    METRICS,
    EventScore,
    SampleScore,
    ScoredRecording,
    auprc,
    auroc,
    calibration,
    mean_over_subjects,
    overlap_score,
    pool,
    sensitivity_at,
    szcore_event_score,
    szcore_sample_score,
)

__all__ = ["Evaluation", "evaluate"]

_COUNTS = (overlap_score, szcore_event_score, szcore_sample_score)


@dataclass(frozen=True)
class Evaluation:
    """What one detector is worth on some recordings.

    Attributes
    ----------
    method : str
        As its detections name it.
    subjects, recordings : int
    hours : float
    auroc, auprc : float
        Over all seconds of all recordings. A detector that guesses has an AUROC of 0.5, and as AUPRC the share of
        ictal seconds, `ictal`.
    ictal : float
    brier, ece : float or None
        `helpers.scoring.calibration`; None where scores are no probabilities.
    overlap, event, sample : EventScore, EventScore, SampleScore
        At the detector's own thresholds, counts over all recordings: each marked seizure and each event by itself; by
        SzCORE; its seconds.
    over_subjects : dict of str to SubjectMean
        Of the event scores; see `mean_over_subjects`.
    operating_points : dict of float to OperatingPoint
        By limit of false alarms in 24 h, the threshold being chosen on these very recordings: the best that this
        detector can do here, no estimate for others.
    """

    method: str
    subjects: int
    recordings: int
    hours: float
    auroc: float
    auprc: float
    ictal: float
    brier: float | None
    ece: float | None
    overlap: EventScore
    event: EventScore
    sample: SampleScore
    over_subjects: dict
    operating_points: dict

    def as_dict(self):
        """For JSON; what is undefined is None, and so is a threshold that nothing reaches."""
        counts = {
            name: asdict(score) | {metric: getattr(score, metric) for metric in METRICS}
            for name, score in (("overlap", self.overlap), ("event", self.event), ("sample", self.sample))
        }
        means = {name: mean._asdict() for name, mean in self.over_subjects.items()}
        points = {f"{limit:g}": point._asdict() for limit, point in self.operating_points.items()}
        return _plain(vars(self) | counts | {"over_subjects": means, "operating_points": points})


def evaluate(recordings, detectors, progress=None):
    """Run detectors over recordings and score them.

    Parameters
    ----------
    recordings : str, Path or sequence of Path
        A folder, which is searched with all folders below it, or files.
    detectors : sequence of callable
        `detect_by_rule`, `detect_by_network` with its weights, or another function of a recording that returns a
        `Detection`.
    progress : callable, optional
        Called as ``progress(recordings_done, recordings_in_all)``.

    Returns
    -------
    evaluations : list of Evaluation
        One for each detector, in their order.
    left_out : dict of Path to str
        Why each of the other recordings was not scored: for any detector, so that all have the same ones.

    Raises
    ------
    RecordingError
        If there is no recording, or none of them can be scored.
    WeightsError
        See `detect_by_network`.
    """
    if isinstance(recordings, str | Path):
        recordings = find_recordings(recordings)
    scored, left_out = [], {}
    for done, path in enumerate(recordings, start=1):
        try:
            raw = read_recording(path)
            marked = seizures_of(raw)
            scored.append((subject_of(path), marked, [detect(raw) for detect in detectors]))
        except RecordingError as fault:
            left_out[Path(path)] = str(fault)
        if progress:
            progress(done, len(recordings))
    if not scored:
        first = next(iter(left_out.values()), "none was given")
        raise RecordingError(f"none of {len(recordings)} recordings can be scored. The first: {first}")
    subjects, marks, detections = zip(*scored, strict=True)
    return [_evaluation(subjects, marks, each) for each in zip(*detections, strict=True)], left_out


def _evaluation(subjects, marks, detections):
    ictal = np.concatenate([ictal_seconds(one.times, marked) for one, marked in zip(detections, marks, strict=True)])
    scores = np.concatenate([one.scores for one in detections])
    probable = calibration(ictal, scores) if detections[0].unit == "probability" else None
    by_subject = {}
    for subject, marked, one in zip(subjects, marks, detections, strict=True):
        spans = marked, [(event.onset, event.end) for event in one.events], one.duration
        by_subject.setdefault(subject, []).append([count(*spans) for count in _COUNTS])
    overlap, event, sample = (pool(each) for each in zip(*chain(*by_subject.values()), strict=True))
    recordings = [
        ScoredRecording(one.times, one.scores, marked, one.duration)
        for one, marked in zip(detections, marks, strict=True)
    ]
    return Evaluation(
        method=detections[0].method,
        subjects=len(by_subject),
        recordings=len(detections),
        hours=sum(one.duration for one in detections) / 3600,
        auroc=auroc(ictal, scores),
        auprc=auprc(ictal, scores),
        ictal=float(ictal.mean()),
        brier=probable and probable.brier,
        ece=probable and probable.ece,
        overlap=overlap,
        event=event,
        sample=sample,
        over_subjects=mean_over_subjects(
            {subject: pool(event for _, event, _ in each) for subject, each in by_subject.items()}
        ),
        operating_points=sensitivity_at(recordings, hysteresis=detections[0].on - detections[0].off),
    )


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
