"""Channel names: any spelling of the 10-20 electrodes to the 19 canonical names, in a stated order.

One table (`montage.toml`) holds names and orders. Bipolar channels (``FP1-F7``) are recognised and refused: two
electrodes cannot be told apart again.
"""

import re
from importlib import resources

import tomllib

from helpers.eeg.errors import RecordingError
from helpers.eeg.recordings import recording_name

__all__ = ["CANONICAL", "canonical_name", "pick_canonical"]

_TABLE = tomllib.loads(resources.files("helpers.eeg").joinpath("montage.toml").read_text())

CANONICAL = tuple(_TABLE["orders"]["szcore"])
"""The 19 canonical channels, in the order of SzCORE."""

_BY_UPPER = {name.upper(): name for name in CANONICAL} | {new.upper(): old for new, old in _TABLE["renamed"].items()}
_PREFIX = re.compile(rf"^({'|'.join(_TABLE['affixes']['prefixes'])})[\s-]+", re.IGNORECASE)
_SUFFIX = re.compile(rf"[-\s]+({'|'.join(_TABLE['affixes']['suffixes'])})$", re.IGNORECASE)


def canonical_name(label):
    """The canonical name of one electrode, or None where the label is no 10-20 electrode.

    Parameters
    ----------
    label : str
        As it stands in the file, say ``"EEG FP1-LE"`` or ``"T7"``.

    Returns
    -------
    str or None
        One of `CANONICAL`, say ``"Fp1"`` or ``"T3"``.
    """
    return _BY_UPPER.get(_SUFFIX.sub("", _PREFIX.sub("", label.strip())).strip().upper())


def pick_canonical(raw):
    """A copy of the recording with the 19 canonical channels, renamed, in the order of `CANONICAL`.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Any recording; it is left as it is.

    Returns
    -------
    mne.io.BaseRaw

    Raises
    ------
    RecordingError
        If channels are missing or appear twice.
    """
    found = {}
    for label in raw.ch_names:
        found.setdefault(canonical_name(label), []).append(label)
    missing = [name for name in CANONICAL if name not in found]
    twice = {name: labels for name, labels in found.items() if name is not None and len(labels) > 1}
    if missing:
        raise RecordingError(
            f"{recording_name(raw)}: {len(missing)} of the 19 channels are missing: {', '.join(missing)}. "
            f"The file has {', '.join(raw.ch_names[:40])}. {_advice(raw)}"
        )
    if twice:
        listed = "; ".join(f"{name}: {', '.join(labels)}" for name, labels in twice.items())
        raise RecordingError(
            f"{recording_name(raw)}: channels appear twice ({listed}). Keep one of each: raw.drop_channels([…])."
        )
    picked = raw.copy().pick([found[name][0] for name in CANONICAL])
    return picked.rename_channels({found[name][0]: name for name in CANONICAL}, verbose="error")


def _advice(raw):
    pairs = [
        label for label in raw.ch_names if all(canonical_name(part) for part in label.split("-", 1)) and "-" in label
    ]
    if pairs:
        return f"It is bipolar ({pairs[0]} is a difference of two electrodes); a referential recording is needed."
    return "Needed is a referential recording of the 10-20 system; rename channels with raw.rename_channels({…})."
