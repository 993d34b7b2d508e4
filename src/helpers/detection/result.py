"""What a detector gives back: scores, events, and the name of the method that made them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.scoring import Event, auroc, overlap_score, szcore_event_score, write_events

__all__ = ["Detection", "DetectionScore"]


@dataclass(frozen=True)
class DetectionScore:
    """A detection against the marks of its recording."""

    auroc: float
    overlap: object  # EventScore
    szcore: object  # EventScore


@dataclass(frozen=True)
class Detection:
    """The result of one method on one recording.

    Attributes
    ----------
    method : str
        In words, with the word *untrained* where weights are; every output names it.
    times : ndarray, (n,)
        Center of each score, s; one score a second.
    scores : ndarray, (n,)
        In `unit`.
    unit : str
        What a score is.
    on, off : float
        Thresholds of the hysteresis that made the events.
    events : list of Event
    duration : float
        Of the recording, s.
    start : datetime or None
        Of the recording.
    """

    method: str
    times: np.ndarray
    scores: np.ndarray
    unit: str
    on: float
    off: float
    events: list[Event]
    duration: float
    start: object = None

    def score(self, seizures):
        """Compare with marked seizures, a list of (onset, end) in s.

        Returns
        -------
        DetectionScore
            The AUROC is over seconds; see `ictal_seconds`.
        """
        found = [(event.onset, event.end) for event in self.events]
        return DetectionScore(
            auroc=auroc(ictal_seconds(self.times, seizures), self.scores),
            overlap=overlap_score(seizures, found, self.duration),
            szcore=szcore_event_score(seizures, found, self.duration),
        )

    def write(self, folder, stem):
        """Write ``<stem>_scores.tsv`` and ``<stem>_events.tsv``.

        Returns
        -------
        list of Path
        """
        scores, events = Path(folder) / f"{stem}_scores.tsv", Path(folder) / f"{stem}_events.tsv"
        part = scores.with_name(scores.name + ".part")
        try:
            with part.open("w") as file:
                file.write("time\tscore\tunit\tmethod\n")
                for time, score in zip(self.times, self.scores, strict=True):
                    file.write(f"{time:.1f}\t{score:.6g}\t{self.unit}\t{self.method}\n")
            part.replace(scores)
        finally:
            part.unlink(missing_ok=True)
        write_events(events, self.events, self.duration, self.method, self.start)
        return [scores, events]


def ictal_seconds(times, seizures):
    """Which scores belong to a seizure: those whose center, in ``times``, lies in one of ``(onset, end)``, in s.

    Returns
    -------
    ndarray of bool, (n,)
    """
    ictal = np.zeros(len(times), bool)
    for onset, end in seizures:
        ictal |= (times >= onset) & (times < end)
    return ictal
