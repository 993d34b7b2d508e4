"""From scores to events, and from events to what they are worth.

Plain numbers in seconds; no models and no signals here.
"""

from helpers.scoring.calibration import Calibration, calibration
from helpers.scoring.errors import ScoringError
from helpers.scoring.events import Event, events_from_scores
from helpers.scoring.files import FileScores, SubjectScore, score_files
from helpers.scoring.ranking import auprc, auroc
from helpers.scoring.scores import (
    F1_CONVENTIONS,
    EventScore,
    SampleScore,
    f1,
    overlap_score,
    szcore_event_score,
    szcore_sample_score,
)
from helpers.scoring.stitching import mean_by_second, stitch, stitch_by_second
from helpers.scoring.summary import METRICS, SubjectMean, mean_over_subjects, pool
from helpers.scoring.sweep import OperatingPoint, ScoredRecording, ThresholdCurve, sensitivity_at, threshold_curve
from helpers.scoring.tsv import COLUMNS, RecordingEvents, read_events, read_recording_events, write_events

__all__ = [
    "COLUMNS",
    "F1_CONVENTIONS",
    "METRICS",
    "Calibration",
    "Event",
    "EventScore",
    "FileScores",
    "OperatingPoint",
    "RecordingEvents",
    "SampleScore",
    "ScoredRecording",
    "ScoringError",
    "SubjectMean",
    "SubjectScore",
    "ThresholdCurve",
    "auprc",
    "auroc",
    "calibration",
    "events_from_scores",
    "f1",
    "mean_by_second",
    "mean_over_subjects",
    "overlap_score",
    "pool",
    "read_events",
    "read_recording_events",
    "score_files",
    "sensitivity_at",
    "stitch",
    "stitch_by_second",
    "szcore_event_score",
    "szcore_sample_score",
    "threshold_curve",
    "write_events",
]
