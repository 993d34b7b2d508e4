"""Electrodes from bipolar channels: what a chain of differences still says about potentials, and what it does not.

Each channel of a bipolar recording is the difference of two electrodes. Within a set of electrodes that pairs connect,
all potentials are known but for one number common to the set, and that number is what an average reference takes away.
Between two sets that no pair connects, it is lost. In the 23 channels of CHB-MIT, pairs over FT9 and FT10 connect both
hemispheres; Fz, Cz and Pz are connected with each other only. So 16 of the 19 electrodes can be had, and of the other
three their differences: no referential recording of 19.
"""

import mne
import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from helpers.eeg.errors import RecordingError
from helpers.eeg.montage import CANONICAL, MOST_MISSING, pair_of
from helpers.eeg.naming import recording_name
from helpers.eeg.recordings import reading
from helpers.eeg.repairs import note_repair, repairs

__all__ = ["connected_potentials", "electrodes_from_pairs"]

_MOST_LEFT = 0.1  # of the pairs' own size, where they contradict each other; rounding in the file leaves 1e-3


def electrodes_from_pairs(raw):
    """The electrodes of a bipolar recording, as far as its pairs connect them.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Channels such as ``"FP1-F7"``; others are left out. It is left as it is.

    Returns
    -------
    mne.io.BaseRaw
        In memory, V, with the marks: those of the 19 electrodes that pairs connect with each other (of CHB-MIT's 23
        channels: all but Fz, Cz and Pz), against their average. `repairs` says so. `interpolate_missing` takes the
        bipolar recording, too, and estimates the rest.

    Raises
    ------
    RecordingError
        If the recording has no pairs, they connect fewer than 15 of the 19 electrodes, or contradict each other where
        they close a loop.

    Notes
    -----
    Electrodes are the nodes of a graph and pairs its edges; the result is the least-squares solution of least norm.
    On the ``absence`` recording, turned into CHB-MIT's 23 channels and back, it is the original but for rounding.
    """
    names, potentials = connected_potentials(raw)[0]
    info = mne.create_info(list(names), raw.info["sfreq"], "eeg")
    result = mne.io.RawArray(potentials - potentials.mean(axis=0), info, raw.first_samp, verbose="error")
    result.filenames = raw.filenames
    result.set_meas_date(raw.info["meas_date"])
    result.set_annotations(raw.annotations, verbose="error")
    pairs = sum(pair_of(label) is not None for label in raw.ch_names)
    return note_repair(result, *repairs(raw), f"{len(names)} electrodes from {pairs} bipolar channels")


def connected_potentials(raw):
    """Potentials of the 19 electrodes, set by set: within one all differences are known, between two none.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Bipolar.

    Returns
    -------
    list of (names, potentials)
        Canonical names of each connected set, the largest first, and (electrodes, samples), V, each set up to one
        number a sample.

    Raises
    ------
    RecordingError
        As `electrodes_from_pairs` says.
    """
    pairs = {label: pair for label in raw.ch_names if (pair := pair_of(label))}
    if not pairs:
        raise RecordingError(
            f"{recording_name(raw)}: no bipolar channels; it has {', '.join(raw.ch_names[:40])}. Expected pairs such "
            "as FP1-F7. A referential recording needs no such step."
        )
    nodes = sorted({name for pair in pairs.values() for name in pair})
    difference = np.zeros((len(pairs), len(nodes)))  # (pairs, nodes): pair = difference @ potentials
    for row, (plus, minus) in enumerate(pairs.values()):
        difference[row, nodes.index(plus)], difference[row, nodes.index(minus)] = 1, -1
    sets = _connected(nodes, difference)
    if len(sets[0]) < len(CANONICAL) - MOST_MISSING:
        raise RecordingError(
            f"{recording_name(raw)}: its pairs connect at most {len(sets[0])} of the 19 electrodes with each other "
            f"({', '.join(sets[0])}), expected at least {len(CANONICAL) - MOST_MISSING}. Needed are pairs between the "
            "hemispheres, such as T7-FT9, FT9-FT10 and FT10-T8, or a referential recording."
        )
    with reading(raw):
        signals = raw.get_data(picks=list(pairs))  # (pairs, samples)
    potentials = np.linalg.pinv(difference) @ signals  # (nodes, samples)
    left = _size(difference @ potentials - signals)
    if not left <= _MOST_LEFT * _size(signals):  # so that NaN is refused too
        raise RecordingError(
            f"{recording_name(raw)}: its pairs contradict each other by {1e6 * left:.3g} µV where they close a loop, "
            "or hold NaN. A label or a channel is wrong; leave the file out."
        )
    return [(names, potentials[[nodes.index(name) for name in names]]) for names in sets]


def _connected(nodes, difference):
    """Those of the 19 electrodes in each connected set, the largest set first."""
    plus, minus = difference.argmax(axis=1), difference.argmin(axis=1)
    edges = coo_array((np.ones(len(plus)), (plus, minus)), shape=(len(nodes), len(nodes)))
    count, member = connected_components(edges, directed=False)
    member = dict(zip(nodes, member, strict=True))
    sets = [tuple(name for name in CANONICAL if member.get(name) == number) for number in range(count)]
    return sorted((names for names in sets if names), key=len, reverse=True) or [()]


def _size(signals):
    """Median over time of the RMS over channels: an artifact beyond the amplifier's range contradicts only then."""
    return np.median(np.sqrt(np.mean(signals**2, axis=0)))
