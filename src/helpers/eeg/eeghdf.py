"""The layout of eeghdf 0.2 (HDF5), in which the ``absence`` recording comes: one record of int16 signals, and marks.

What is missing in a file, or does not fit, is found. A file that is damaged inside may keep the HDF5 library busy for
ever, where a list of texts leads in a circle; `helpers.eeg.fetch` checks the one that it brings by its hash.
"""

import h5py
import mne
import numpy as np

__all__ = ["read_eeghdf"]


def read_eeghdf(path):
    """Read one recording.

    Parameters
    ----------
    path : Path

    Returns
    -------
    mne.io.BaseRaw
        In memory, V; with the file's marks, and one ``"seizure"`` for each marked seizure.

    Raises
    ------
    Exception
        Of many kinds, where the file is another one; `read_recording` makes them one.
    """
    with h5py.File(path) as file:
        record = file["record-0"]
        labels = record["signal_labels"].asstr()[:]
        units = record["physical_dimensions"].asstr()[:]

        def column(name):
            return record[f"signal_{name}"][:].astype(float)[:, None]

        step = (column("physical_maxs") - column("physical_mins")) / (column("digital_maxs") - column("digital_mins"))
        signals = record["signals"][:].astype(float)
        signals -= column("digital_mins")
        signals *= step
        signals += column("physical_mins")
        signals *= np.array([{"uV": 1e-6, "mV": 1e-3}.get(unit, 1.0) for unit in units])[:, None]  # to volts
        sfreq = round(float(record.attrs["sample_frequency"]), 6)  # stored as 200.00000000000003
        onsets = record["edf_annotations/starts_100ns"][:] / 1e7
        texts = record["edf_annotations/texts"].asstr()[:]
    info = mne.create_info(list(labels), sfreq, [_channel_type(label) for label in labels])
    raw = mne.io.RawArray(signals, info, verbose="error")
    raw.set_annotations(_with_seizures(onsets, texts, raw.n_times / sfreq), verbose="error")
    raw.filenames = [path]
    return raw


def _channel_type(label):
    if label.startswith("EEG Mark"):
        return "misc"
    return {"EEG": "eeg", "ECG": "ecg"}.get(label.split()[0], "misc")


def _with_seizures(onsets, texts, duration):
    """The marks as they are, and one more of a duration > 0 for each SZ START with the SZ END after it."""
    ends = [onset for onset, text in zip(onsets, texts, strict=True) if text == "SZ END"]
    spans = []
    for start in (onset for onset, text in zip(onsets, texts, strict=True) if text == "SZ START"):
        end = min((end for end in ends if end > start), default=None)
        if end is None or not 0 <= start < end <= duration:
            raise ValueError(f"SZ START at {start:g} s of {duration:g} s has its SZ END at {end} s")
        spans.append((start, end))
    marks = mne.Annotations(onsets, np.zeros(len(onsets)), [text.strip() or "?" for text in texts])
    return marks + mne.Annotations(
        [start for start, _ in spans], [end - start for start, end in spans], ["seizure"] * len(spans)
    )
