"""What a recording is called and whose it is, from its path. Not a file reader: nothing is opened here.

Subjects decide which recordings may stand on both sides of a split, so a doubtful path gives too few subjects rather
than too many: recordings in one folder that say nothing else belong to one.
"""

import re
from pathlib import Path

__all__ = ["recording_name", "subject_of"]

_BIDS = re.compile(r"(?:^|_)(sub-[A-Za-z0-9]+)(?:_|$)")
_TUSZ = re.compile(r"^([a-z]{8}|\d{8})_s\d{3,}_t\d{3,}")  # subject, session, token; digits before 2.0
_CHBMIT = re.compile(r"^(chb\d\d)[a-z]?_\d", re.IGNORECASE)

# "Case chb21 was obtained 1.5 years after case chb01, from the same female subject" (PhysioNet, chbmit 1.0.0).
_SAME_PERSON = {"chb21": "chb01"}


def recording_name(raw):
    """Name of the file that a recording was read from, for messages; ``"recording"`` where there is none."""
    return Path(raw.filenames[0]).name if raw.filenames and raw.filenames[0] else "recording"


def subject_of(path):
    """Whose recording a file is, by its name or its folders.

    Parameters
    ----------
    path : str or Path
        The file need not exist.

    Returns
    -------
    str
        ``"sub-01"`` where the name or a folder is of that form (BIDS); ``"aaaaaaaq"`` of
        ``aaaaaaaq_s006_t001.edf`` (TUSZ); ``"chb01"`` of ``chb01_03.edf`` (CHB-MIT, where ``chb21`` is ``chb01``
        again, the same person 1.5 years later); else the name of the folder that the file is in.
    """
    path = Path(path)
    if found := _BIDS.search(path.name.split(".")[0]) or _TUSZ.match(path.name):
        subject = found[1]
    elif found := _CHBMIT.match(path.name):
        subject = found[1].lower()
    else:
        folders = [found[1] for part in reversed(path.parent.parts) if (found := _BIDS.search(part))]
        subject = folders[0] if folders else path.absolute().parent.name
    return _SAME_PERSON.get(subject.lower(), subject)
