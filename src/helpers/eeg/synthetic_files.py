"""Synthetic recordings on disk: EDF+ files with their seizures, in the folders and names of BIDS.

The header of each file, its name and the folder's description say that it is synthetic.
"""

import csv
import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

from edfio import Edf, EdfAnnotation, EdfSignal, Patient, Recording

from helpers import __version__
from helpers.eeg.errors import RecordingError
from helpers.eeg.montage import CANONICAL
from helpers.eeg.synthetic_schedule import SEIZURE
from helpers.eeg.synthetic_signals import STEP, check_whole, draw_signals
from helpers.environment import replacing

__all__ = ["start_of", "subject_id", "write_recordings"]

_COLUMNS = ("onset", "duration", "eventType", "confidence", "channels", "dateTime", "recordingDuration")  # SzCORE


def write_recordings(folder, subjects=8, minutes=30.0, seed=0, *, recordings=1, sfreq=256, line=60, progress=None):
    """Write synthetic recordings as EDF+, each with its seizures in a TSV of SzCORE beside it.

    A file is whole or not there. Written again, it is the same, byte for byte, on one machine and with the same
    versions of numpy and scipy.

    Parameters
    ----------
    folder : str or Path
        Made if needed; holds ``dataset_description.json`` and
        ``sub-01/eeg/sub-01_task-synthetic_run-01_eeg.edf`` afterwards, and so on.
    subjects, recordings : int
        How many subjects, and recordings of each.
    minutes, seed, sfreq, line
        See `helpers.eeg.synthetic.draw_recording`.
    progress : callable, optional
        Called as ``progress(recordings_done, recordings_in_all)``.

    Returns
    -------
    list of Path
        The EDF+ files, by subject and recording.

    Raises
    ------
    RecordingError
        If the folder holds another data set, or the same one drawn otherwise.
    ValueError
        If a number is out of range.
    OSError
        If it cannot be written there.
    """
    check_whole(subjects=(subjects, 1), recordings=(recordings, 1))
    folder = Path(folder)
    drawn_by = {"seed": seed, "minutes": minutes, "sfreq": sfreq, "line": line}
    paths = []
    for subject in range(1, subjects + 1):
        for recording in range(1, recordings + 1):
            drawn = draw_signals(seed, subject, recording, minutes, sfreq, line)
            if not paths:
                _describe(folder, drawn_by)
            home = folder / f"sub-{subject:02d}" / "eeg"
            home.mkdir(parents=True, exist_ok=True)
            stem = f"sub-{subject:02d}_task-synthetic_run-{recording:02d}"
            _write_events(home / f"{stem}_events.tsv", drawn, recording, sfreq)
            paths.append(home / f"{stem}_eeg.edf")
            with replacing(paths[-1]) as file:
                _edf(drawn, seed, recording, sfreq).write(file)
            if progress:
                progress(len(paths), subjects * recordings)
    return paths


def start_of(recording):
    """When a synthetic recording began: the first on 1 January 2000, each other one a day later, all at midnight."""
    return datetime(2000, 1, 1, tzinfo=timezone.utc) + timedelta(days=recording - 1)


def subject_id(subject):
    """What stands in the place of a patient's number."""
    return f"synthetic-{subject:02d}"


def _edf(drawn, seed, recording, sfreq):
    low, high = -32768, 32767
    signals = [
        EdfSignal.from_digital(
            samples,
            sfreq,
            label=name,
            transducer_type="synthetic, no electrode",
            physical_dimension="uV",
            physical_range=(round(low * STEP, 1), round(high * STEP, 1)),
            digital_range=(low, high),
        )
        for name, samples in zip(CANONICAL, drawn.samples, strict=True)
    ]
    return Edf(
        signals,
        patient=Patient(code=subject_id(drawn.subject.number), name="synthetic"),
        recording=Recording(
            startdate=start_of(recording).date(),
            hospital_administration_code="synthetic",
            investigator_technician_code="synthetic",
            equipment_code="synthetic",
            additional=(f"seed-{seed}",),
        ),
        starttime=start_of(recording).time(),
        data_record_duration=1,
        annotations=[EdfAnnotation(episode.onset, episode.duration, episode.name) for episode in drawn.episodes],
    )


def _write_events(path, drawn, recording, sfreq):
    """The seizures as SzCORE has them; a recording without any gets one row of background."""
    seconds = drawn.samples.shape[1] / sfreq
    event_type = "sz_gen" if drawn.subject.kind.name == "generalized" else "sz_foc"
    rows = [
        (episode.onset, episode.duration, event_type, ",".join(drawn.subject.focus))
        for episode in drawn.episodes
        if episode.name == SEIZURE
    ] or [(0.0, seconds, "bckg", "n/a")]
    with replacing(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", lineterminator="\n")
        writer.writerow(_COLUMNS)
        for onset, duration, kind, channels in rows:
            moment = f"{start_of(recording):%Y-%m-%d %H:%M:%S}"
            writer.writerow([f"{onset:.2f}", f"{duration:.2f}", kind, "n/a", channels, moment, f"{seconds:.2f}"])


def _describe(folder, drawn_by):
    """Say what the folder holds, unless that is something else already."""
    description = {
        "Name": "Synthetic EEG with synthetic seizures, drawn at random; no patient was recorded",
        "BIDSVersion": "1.9.0",
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "helpers.eeg.synthetic", "Version": __version__, "Parameters": drawn_by}],
    }
    path = folder / "dataset_description.json"
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != description:
            raise RecordingError(
                f"{path}: the folder holds another data set, or one drawn otherwise. Expected none, or synthetic EEG "
                f"of {drawn_by} by version {__version__}. Choose another folder, or delete this one."
            )
        return
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path, "w", encoding="utf-8") as file:
        json.dump(description, file, indent=2)
        file.write("\n")
