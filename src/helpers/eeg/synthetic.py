"""Synthetic EEG: recordings with seizures and hard negatives, drawn from a seed, in memory or as EDF+ files.

For learning how everything works, and for tests at any size. All of it is made up, each header says so, and a score on
it shows nothing about a detector's worth on patients.
"""

import mne

from helpers.eeg.montage import CANONICAL
from helpers.eeg.synthetic_files import start_of, subject_id, write_recordings
from helpers.eeg.synthetic_signals import STEP, draw_signals

__all__ = ["draw_recording", "write_recordings"]


def draw_recording(seed, subject=1, recording=1, minutes=10.0, sfreq=256, line=60):
    """Draw one recording; the same arguments give the same samples.

    Ongoing activity is 1/f noise that neighbors share, an alpha rhythm, and slow waves that come and go. Blinks,
    muscle bursts, electrode pops, drift and mains hum lie over it. Seizures have a focus, slow down, grow and spread,
    for 20 to 90 s; a subject has one of four kinds of them and one focus. At least as many hard negatives (rhythmic
    slowing, rhythmic theta, hyperventilation, chewing, tapping) have their bands, wave shapes and sizes, and keep
    their frequency and their place.

    Parameters
    ----------
    seed : int
        Of all subjects.
    subject : int
        From 1; says which spectrum, which habits, and which kind of seizures.
    recording : int
        From 1. The first of each subject holds at least one seizure; another may hold none.
    minutes : float
        3 to 1440, rounded to whole seconds. Takes about 0.5 GB of memory an hour.
    sfreq : int
        Hz, at least 100. Seizures and hard negatives come at the same times at any rate.
    line : float or None
        Frequency of the mains hum, Hz; None for no hum.

    Returns
    -------
    mne.io.RawArray
        The 19 channels in the order of `CANONICAL`, in steps of 0.1 µV, each seizure annotated as ``"seizure"`` and
        each hard negative by its name.

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    drawn = draw_signals(seed, subject, recording, minutes, sfreq, line)
    info = mne.create_info(list(CANONICAL), sfreq, "eeg")
    info["description"] = f"synthetic EEG, seed {seed}; no patient was recorded"
    info["subject_info"] = {"his_id": subject_id(subject)}
    raw = mne.io.RawArray(drawn.samples * (STEP * 1e-6), info, verbose="error")
    raw.set_meas_date(start_of(recording))
    names, onsets, durations = zip(*drawn.episodes, strict=True)
    return raw.set_annotations(mne.Annotations(onsets, durations, names, raw.info["meas_date"]))
