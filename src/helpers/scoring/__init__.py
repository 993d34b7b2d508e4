"""From scores to events, and from events to what they are worth.

Plain numbers in seconds; no models and no signals here.
"""

from helpers.scoring.events import Event, events_from_scores
from helpers.scoring.scores import EventScore, auroc, overlap_score, szcore_event_score
from helpers.scoring.stitching import mean_by_second, stitch
from helpers.scoring.tsv import COLUMNS, read_events, write_events

__all__ = [
    "COLUMNS",
    "Event",
    "EventScore",
    "auroc",
    "events_from_scores",
    "mean_by_second",
    "overlap_score",
    "read_events",
    "stitch",
    "szcore_event_score",
    "write_events",
]
