"""Where the 19 electrodes are, and how far a source reaches: the geometry behind synthetic EEG.

Distances between electrodes stand for distances in the brain. No head model, no dipoles.
"""

from functools import lru_cache

import mne
import numpy as np

from helpers.eeg.montage import CANONICAL, canonical_name

__all__ = ["distances_from", "electrode_distances", "falloff"]


@lru_cache(maxsize=1)
def electrode_distances():
    """Distance between each two of the canonical electrodes, in cm.

    Returns
    -------
    ndarray, (19, 19)
        In the order of `CANONICAL`; straight lines between their places on the sphere of MNE's ``easycap-M1``.
    """
    places = mne.channels.make_standard_montage("easycap-M1").get_positions()["ch_pos"]
    places = {canonical_name(name): place for name, place in places.items()}
    places = 100 * np.array([places[name] for name in CANONICAL])  # (19, 3), cm
    return np.linalg.norm(places[:, None] - places, axis=-1)


def distances_from(sites):
    """Distance of each electrode to the nearest of `sites` (canonical names); (19,), cm."""
    return electrode_distances()[:, [CANONICAL.index(site) for site in sites]].min(axis=1)


def falloff(sites, width):
    """How much of a source under `sites` each electrode sees: 1 there, a Gaussian of `width` (cm) around; (19,)."""
    return np.exp(-((distances_from(sites) / width) ** 2) / 2).astype(np.float32)
