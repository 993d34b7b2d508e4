"""Missing electrodes, estimated from the others by spherical splines. Only ever done when asked for, and noted.

An estimate adds no information: it is a weighted sum of the other channels. It gives a network the shape of input that
it was trained on; what it says about the place of the missing electrode is a guess.
"""

import mne
import numpy as np

from helpers.eeg.bipolar import connected_potentials, electrodes_from_pairs
from helpers.eeg.errors import RecordingError
from helpers.eeg.montage import CANONICAL, MOST_MISSING, canonical_labels, pair_of
from helpers.eeg.naming import recording_name
from helpers.eeg.recordings import reading
from helpers.eeg.repairs import note_repair

__all__ = ["interpolate_missing"]


def interpolate_missing(raw):
    """The 19 canonical channels, those that are missing or marked bad estimated from the others.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        With at least 15 of the 19 electrodes in working order; left as it is. One whose label is in
        ``raw.info["bads"]`` counts as missing. A bipolar recording goes through `electrodes_from_pairs` first.

    Returns
    -------
    mne.io.BaseRaw
        A copy in memory, in the order of `CANONICAL`, without bad channels. What was estimated is in `repairs`; where
        nothing was missing, nothing is.

    Raises
    ------
    RecordingError
        If more than four are missing, a channel appears twice, the samples cannot be read, or, bipolar, as
        `electrodes_from_pairs` says.

    Notes
    -----
    Spherical splines (Perrin et al. 1989) at template positions, by MNE. A potential that all channels share passes
    through, so the reference does not matter. Where pairs connect missing electrodes with each other (Fz, Cz and Pz of
    CHB-MIT), their differences are kept as measured, and the estimate says only how high they lie together.

    On the ``absence`` recording (average reference, high-pass 0.5 Hz), one missing electrode's estimate correlates with
    what was measured by 0.70 (T3) to 0.89 (O1). Turned into CHB-MIT's 23 channels and back, Fz, Cz and Pz do by 0.93,
    0.90 and 0.89.
    """
    sets = []
    if not canonical_labels(raw, missing_ok=True) and any(pair_of(label) for label in raw.ch_names):
        sets = connected_potentials(raw)[1:]
        raw = electrodes_from_pairs(raw)
    found = canonical_labels(raw, missing_ok=True)
    found = {name: label for name, label in found.items() if label not in raw.info["bads"]}
    missing = [name for name in CANONICAL if name not in found]
    if len(missing) > MOST_MISSING:
        raise RecordingError(
            f"{recording_name(raw)}: {len(missing)} of the 19 electrodes are missing or bad ({', '.join(missing)}); at "
            f"most {MOST_MISSING} can be estimated from the others. Leave the file out."
        )
    with reading(raw):
        picked = raw.copy().pick(list(found.values())).load_data(verbose="error")
    picked.rename_channels({label: name for name, label in found.items()}, verbose="error")
    picked.set_channel_types(dict.fromkeys(picked.ch_names, "eeg"), verbose="error")
    if not missing:
        return picked
    blank = np.zeros((len(missing), raw.n_times))
    info = mne.create_info(missing, raw.info["sfreq"], "eeg")
    blank = mne.io.RawArray(blank, info, raw.first_samp, verbose="error")
    picked.add_channels([blank], force_update_info=True).reorder_channels(list(CANONICAL))
    picked.set_montage(_positions(), verbose="error")
    picked.info["bads"] = missing
    picked.interpolate_bads(reset_bads=True, verbose="error")
    for names, potentials in sets:
        level = picked.get_data(picks=list(names)).mean(axis=0)
        rows = [CANONICAL.index(name) for name in names]
        picked._data[rows] = potentials - potentials.mean(axis=0) + level
    return note_repair(picked, f"{', '.join(missing)} interpolated from {len(found)} electrodes")


def _positions():
    """Template positions; ``standard_1020`` goes away in MNE 1.14 and its successor came with 1.13."""
    name = "colin27_1020"
    return mne.channels.make_standard_montage(name if name in mne.channels.get_builtin_montages() else "standard_1020")
