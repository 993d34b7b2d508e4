"""Marks that a recording carries: which of them are seizures. Files of annotations are in `helpers.eeg.annotations`."""

__all__ = ["SEIZURE_LABELS", "is_seizure", "seizures"]

SEIZURE_LABELS = frozenset({"seizure", "seiz", "sz"})
"""Descriptions, in lower case, of a mark that covers a seizure from onset to end; ``sz_…`` of SzCORE is one, too."""


def is_seizure(text):
    """Whether the description of a mark says *seizure*."""
    text = text.strip().lower()
    return text in SEIZURE_LABELS or text.startswith("sz_")


def seizures(raw):
    """The seizures among the marks of a recording.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Its annotations of a duration > 0 whose description is one of `SEIZURE_LABELS` or begins with ``sz_`` count.

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
        if is_seizure(text) and duration > 0
    )
