"""What was changed on the way from a file to a recording: each change one sentence, kept with the recording.

MNE carries ``raw.info["description"]`` through copies, crops and saved files, so that is where they are.
"""

__all__ = ["note_repair", "repairs"]

_MARK = "repaired: "


def repairs(raw):
    """Every change that was made to a recording beyond what its file says, oldest first.

    Parameters
    ----------
    raw : mne.io.BaseRaw

    Returns
    -------
    tuple of str
        Such as ``"start time '09:01:17' read as 09.01.17"`` or ``"Fz, Pz interpolated from 17 electrodes"``; empty
        where nothing was changed.
    """
    lines = (raw.info["description"] or "").splitlines()
    return tuple(line.removeprefix(_MARK) for line in lines if line.startswith(_MARK))


def note_repair(raw, *texts):
    """Add changes to those that `repairs` gives; returns the recording."""
    lines = [*(raw.info["description"] or "").splitlines(), *(_MARK + " ".join(text.split()) for text in texts)]
    raw.info["description"] = "\n".join(lines) or None
    return raw
