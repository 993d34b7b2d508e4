"""Channel names: any spelling of the 10-20 electrodes to the 19 canonical names, in a stated order.

One table (`montage.toml`) holds names and orders. Bipolar channels (``FP1-F7``) are recognised and refused: what can be
had from them is in `helpers.eeg.bipolar`.
"""

import re
from importlib import resources

import tomllib

from helpers.eeg.errors import RecordingError
from helpers.eeg.naming import recording_name

__all__ = ["CANONICAL", "MOST_MISSING", "canonical_labels", "canonical_name", "pair_of", "pick_canonical"]

_TABLE = tomllib.loads(resources.files("helpers.eeg").joinpath("montage.toml").read_text())

CANONICAL = tuple(_TABLE["orders"]["szcore"])
"""The 19 canonical channels, in the order of SzCORE."""

MOST_MISSING = 4
"""Electrodes of the 19 that may be estimated from the others; beyond that a recording is another one."""

_BY_UPPER = {name.upper(): name for name in CANONICAL} | {new.upper(): old for new, old in _TABLE["renamed"].items()}
_PREFIX = re.compile(rf"^({'|'.join(_TABLE['affixes']['prefixes'])})[\s_:-]+", re.IGNORECASE)
_SUFFIX = re.compile(rf"[\s_:-]+({'|'.join(map(re.escape, _TABLE['affixes']['suffixes']))})$", re.IGNORECASE)
_RUNNING = re.compile(r"-\d$")  # MNE's, where two channels have one label: "Fp1-0", "Fp1-1"
_OTHER = re.compile(r"(FP|AF|F|FT|FC|T|C|TP|CP|P|PO|O|I|A|M)(Z|\d{1,2})")  # electrodes beyond the 19, say FT9


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
    return _BY_UPPER.get(_bare(label))


def pair_of(label):
    """The two electrodes of a bipolar channel, or None where the label is none.

    Parameters
    ----------
    label : str
        As it stands in the file, say ``"FP1-F7"`` or ``"EEG T8-P8"``.

    Returns
    -------
    (str, str) or None
        Canonical names where they are of the 19, say ``("Fp1", "F7")``; else in upper case, say ``"FT9"``.
    """
    parts = _PREFIX.sub("", _RUNNING.sub("", label.strip())).split("-")
    names = [_BY_UPPER.get(part, part) for part in (part.strip().upper() for part in parts)]
    known = all(name in CANONICAL or _OTHER.fullmatch(name) for name in names)
    if len(names) != 2 or not known or names[0] == names[1] or canonical_name(label):
        return None
    return names[0], names[1]


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
    labels = canonical_labels(raw)
    picked = raw.copy().pick(list(labels.values()))
    return picked.rename_channels({label: name for name, label in labels.items()}, verbose="error")


def canonical_labels(raw, missing_ok=False):
    """Which channels of a recording are the 19 electrodes.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    missing_ok : bool
        Leave out what is missing, and don't raise for it.

    Returns
    -------
    dict of str to str
        Label in the recording for each canonical name, in the order of `CANONICAL`.

    Raises
    ------
    RecordingError
        If channels are missing or appear twice.
    """
    found = {name: [] for name in CANONICAL}
    for label in raw.ch_names:
        if name := canonical_name(label) or canonical_name(_RUNNING.sub("", label)):
            found[name].append(label)
    missing = [name for name, labels in found.items() if not labels]
    twice = "; ".join(f"{name}: {', '.join(labels)}" for name, labels in found.items() if len(labels) > 1)
    if missing and not missing_ok:
        raise RecordingError(f"{recording_name(raw)}: {_what_is_missing(raw, missing)}")
    if twice:
        raise RecordingError(
            f"{recording_name(raw)}: channels appear twice ({twice}). Keep one of each: raw.drop_channels([…])."
        )
    return {name: labels[0] for name, labels in found.items() if labels}


def _what_is_missing(raw, missing):
    pairs = [label for label in raw.ch_names if pair_of(label)]
    if pairs and len(missing) == len(CANONICAL):
        return (
            f"all 19 channels are missing. It is bipolar ({pairs[0]} is a difference of two electrodes); a referential "
            f"recording is needed. helpers.eeg.interpolate_missing(raw) takes from its {len(pairs)} pairs what can be "
            "had, and estimates the rest."
        )
    found = (
        f"{len(missing)} of the 19 channels are missing: {', '.join(missing)}. The file has "
        f"{', '.join(raw.ch_names[:40])}."
    )
    if pairs:
        return (
            f"{found} It is bipolar in part ({pairs[0]} is a difference of two electrodes); a referential recording is "
            "needed."
        )
    if len(missing) <= MOST_MISSING:
        return f"{found} Take another file, or estimate them: helpers.eeg.interpolate_missing(raw)."
    return (
        f"{found} Needed is a referential recording of the 10-20 system; rename channels: raw.rename_channels({{…}})."
    )


def _bare(label):
    return _SUFFIX.sub("", _PREFIX.sub("", label.strip())).strip().rstrip(".").upper()
