"""Score one SzCORE file against another, or a folder of them against a folder: `workbook score`.

What cannot be scored is an error, never an empty prediction: szcore-evaluation counts a missing file, or one of another
length, as a detector that found nothing. All files are read before anything is said, and all faults are said together.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from helpers.scoring.errors import ScoringError
from helpers.scoring.scores import EventScore, SampleScore, szcore_event_score, szcore_sample_score
from helpers.scoring.summary import METRICS, mean_over_subjects, pool
from helpers.scoring.tsv import read_recording_events

__all__ = ["FileScores", "SubjectScore", "score_files"]

SAME_LENGTH = 1.0  # s: closer recording durations are one recording on a grid of seconds
ENTITY = re.compile(r"(?<![a-zA-Z0-9])([a-z]+)-([a-zA-Z0-9]+)(?=_|\.|$)")
_SZCORE_NAMES = {"false_alarms_per_24h": "fpRate", "f1_before_0_0_7": "f1_before_0.0.7"}


@dataclass(frozen=True)
class SubjectScore:
    """Counts over all recordings of one subject."""

    subject: str
    recordings: int
    event: EventScore
    sample: SampleScore


@dataclass(frozen=True)
class FileScores:
    """The scores of a reference and a hypothesis.

    Attributes
    ----------
    reference, hypothesis : Path
    subjects : tuple of SubjectScore
        By name.
    event, sample : dict of str to SubjectMean
        Mean over subjects of each of `METRICS`.
    """

    reference: Path
    hypothesis: Path
    subjects: tuple
    event: dict
    sample: dict

    def as_dict(self):
        """For JSON: ``event_results`` and ``sample_results`` carry the names that szcore-evaluation gives them.

        What is undefined is None.
        """
        return {
            "reference": str(self.reference),
            "hypothesis": str(self.hypothesis),
            "recordings": sum(subject.recordings for subject in self.subjects),
            "hours": sum(subject.event.hours for subject in self.subjects),
            "event_results": _results(self.event),
            "sample_results": _results(self.sample),
            "subjects": [
                {
                    "subject": subject.subject,
                    "recordings": subject.recordings,
                    "hours": subject.event.hours,
                    "event": _counts(subject.event),
                    "sample": _counts(subject.sample),
                }
                for subject in self.subjects
            ],
        }


def score_files(reference, hypothesis, progress=None):
    """Score SzCORE files by the SzCORE rules, summed by subject, then averaged over subjects.

    Parameters
    ----------
    reference, hypothesis : str or Path
        Two TSV files, or two folders. In folders the files ``*events.tsv`` count, or all TSV files where none is called
        so. They belong together where their BIDS entities do (``sub-01_ses-02_task-rest_run-03``), whatever else is in
        the name, or, without entities, where they have the same place in both folders. The subject is the entity
        ``sub``, else the folder of the file.
    progress : callable, optional
        Called as ``progress(pairs_done, pairs_in_all)``.

    Returns
    -------
    FileScores

    Raises
    ------
    ScoringError
        For all faults together: those of `read_recording_events`, a file without its partner, two files for one
        recording, and recordings whose durations differ by 1 s or more.
    """
    reference, hypothesis = Path(reference), Path(hypothesis)
    pairs, faults = _pairs(reference, hypothesis)
    scores = {}
    for done, (subject, truth, guess) in enumerate(pairs, start=1):
        try:
            scores.setdefault(subject, []).append(_score(truth, guess))
        except ScoringError as fault:
            faults += fault.faults
        if progress:
            progress(done, len(pairs))
    if faults:
        raise ScoringError(*faults)
    subjects = tuple(
        SubjectScore(subject, len(each), *(pool(kind) for kind in zip(*each, strict=True)))
        for subject, each in sorted(scores.items())
    )
    event, sample = (
        mean_over_subjects({each.subject: getattr(each, kind) for each in subjects}) for kind in ("event", "sample")
    )
    return FileScores(reference, hypothesis, subjects, event, sample)


def _score(truth, guess):
    faults, read = [], []
    for path in (truth, guess):
        try:
            read.append(read_recording_events(path))
        except ScoringError as fault:
            faults += fault.faults
    if faults:
        raise ScoringError(*faults)
    marked, found = read
    if abs(marked.duration - found.duration) >= SAME_LENGTH:
        raise ScoringError(
            f"{guess}: recordingDuration is {found.duration:g} s, in {truth} {marked.duration:g} s; expected the same. "
            "Were both made from one recording, and all of it?"
        )
    spans = [[(event.onset, event.end) for event in each.events] for each in read]
    return szcore_event_score(*spans, marked.duration), szcore_sample_score(*spans, marked.duration)


def _pairs(reference, hypothesis):
    """(subject, reference file, hypothesis file) of each recording, and what is wrong with the rest."""
    for path in (reference, hypothesis):
        if not path.exists():
            raise ScoringError(f"{path}: no such file or folder. Check the path.")
    if reference.is_dir() != hypothesis.is_dir():
        folder, file = (reference, hypothesis) if reference.is_dir() else (hypothesis, reference)
        raise ScoringError(f"{folder} is a folder, {file} is a file; expected two files or two folders.")
    if not reference.is_dir():
        return [(_subject(reference), reference, hypothesis)], []
    (truths, faults, twice), (guesses, more, again) = _files(reference), _files(hypothesis)
    faults += more
    for here, others, there in ((truths, guesses, hypothesis), (guesses, truths, reference)):
        for key in sorted(here.keys() - others.keys()):
            faults.append(f"{here[key]}: nothing for {key} in {there}. Add it, or leave both out.")
    both = sorted((truths.keys() & guesses.keys()) - twice - again)
    return [(_subject(truths[key]), truths[key], guesses[key]) for key in both], faults


def _files(folder):
    """The files of a folder by recording, what is wrong with the rest, and the recordings that it is wrong with."""
    paths = sorted(folder.rglob("*events.tsv")) or sorted(folder.rglob("*.tsv"))
    if not paths:
        raise ScoringError(f"{folder}: no TSV file in it. Expected SzCORE annotations, as sub-01_…_events.tsv.")
    found, faults, twice = {}, [], set()
    for path in paths:
        entities = ENTITY.findall(path.name)
        named = "sub" in dict(entities)
        key = "_".join(map("-".join, entities)) if named else path.relative_to(folder).as_posix()
        if key in found:
            twice.add(key)
            faults.append(f"{path}: {key} is in {found[key]} already; expected one file a recording. Move one away.")
        found.setdefault(key, path)
    return found, faults, twice


def _subject(path):
    for part in (path.name, *(parent.name for parent in path.absolute().parents)):
        if subject := dict(ENTITY.findall(part)).get("sub"):
            return f"sub-{subject}"
    return path.absolute().parent.name


def _results(means):
    results = {}
    for metric, mean in means.items():
        name = _SZCORE_NAMES.get(metric, metric)
        results |= {name: _number(mean.mean), f"{name}_std": _number(mean.std), f"{name}_subjects": mean.subjects}
    return results


def _counts(score):
    counts = {name: getattr(score, name) for name in ("reference", "found", "false_alarms")}
    return counts | {_SZCORE_NAMES.get(name, name): _number(getattr(score, name)) for name in METRICS}


def _number(value):
    return None if math.isnan(value) else value
