"""Marks of a recording: which stretches a person marked as seizures."""

__all__ = ["SEIZURE_LABELS", "seizures"]

SEIZURE_LABELS = frozenset({"seizure", "seiz", "sz"})
"""Descriptions, in lower case, of an annotation that covers a seizure from onset to end."""


def seizures(raw):
    """The marked seizures of a recording.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Its annotations of a duration > 0 whose description is one of `SEIZURE_LABELS` count.

    Returns
    -------
    list of (onset, end)
        In seconds from the recording's first sample, in order of onset.
    """
    marks = raw.annotations
    offset = raw.first_time if marks.orig_time is not None else 0.0
    return sorted(
        (float(onset - offset), float(onset - offset + duration))
        for onset, duration, text in zip(marks.onset, marks.duration, marks.description, strict=True)
        if text.strip().lower() in SEIZURE_LABELS and duration > 0
    )
