"""Hard negatives of synthetic EEG: rhythms that keep their frequency and their place, as no synthetic seizure does.

Each shares its band, its wave shape and its size with seizures, so that power in a band cannot tell them apart. They
are made after what readers of real EEG learn to leave alone.
"""

from typing import NamedTuple

import numpy as np

from helpers.eeg.montage import CANONICAL
from helpers.eeg.synthetic_artifacts import muscle
from helpers.eeg.synthetic_head import distances_from, falloff
from helpers.eeg.synthetic_rhythms import phase_of, rhythm, rise_and_fall, wander

__all__ = ["MIMICS", "Mimic", "add_mimic"]

_DELAY = 0.003  # s/cm


class Mimic(NamedTuple):
    """A rhythm that is no seizure.

    Attributes
    ----------
    sites : tuple of tuple of str
        Electrodes under which it may lie; any single one where empty.
    hertz : tuple of float
        Lowest and highest frequency.
    seconds : tuple of float
        Shortest and longest duration.
    width : float
        Reach, cm.
    size : tuple of float
        Smallest and largest root mean square, in units of the subject's background.
    shapes : tuple of str
        Keys of `helpers.eeg.synthetic_rhythms.SHAPES`.
    """

    sites: tuple
    hertz: tuple
    seconds: tuple
    width: float
    size: tuple
    shapes: tuple


MIMICS = {
    "rhythmic slowing": Mimic(
        (("Fz",), ("T3", "F7"), ("T4", "F8")), (1.6, 3.2), (15, 60), 6.0, (1.5, 4.0), ("round", "sharp")
    ),
    "rhythmic theta": Mimic(
        (("T3", "T5"), ("T4", "T6"), ("Cz",)), (4.0, 8.0), (15, 60), 7.0, (1.5, 4.2), ("round", "sharp")
    ),
    "hyperventilation": Mimic((("Fz", "F3", "F4"),), (2.5, 4.2), (30, 80), 8.0, (1.5, 4.0), ("round", "sharp")),
    "chewing": Mimic((("T3", "T4", "F7", "F8"),), (1.0, 2.0), (15, 60), 3.5, (1.2, 3.0), ("round",)),
    "tapping": Mimic((), (3.0, 9.0), (15, 60), 3.0, (1.8, 4.5), ("sharp", "round")),
}
"""By the name that marks them in a recording."""


def add_mimic(signals, random, subject, sfreq, name, first, n):
    """Add one of `MIMICS` to the signals in place; arguments as in `helpers.eeg.synthetic_seizures.add_seizure`."""
    mimic = MIMICS[name]
    sites = mimic.sites[random.integers(len(mimic.sites))] if mimic.sites else (CANONICAL[random.integers(19)],)
    frequency = np.full(n, random.uniform(*mimic.hertz))
    shape = mimic.shapes[random.integers(len(mimic.shapes))]
    wave = rhythm(random, frequency, _DELAY * distances_from(sites), sfreq, shape)
    wave *= falloff(sites, mimic.width)[:, None]
    edge = n * random.uniform(0.1, 0.6)
    envelope = rise_and_fall(n, edge, random.uniform(0.1, 0.9) * (n - edge)) * np.exp(
        0.2 * wander(random, n, sfreq, 1.5)
    )
    if name == "chewing":
        bites = np.clip(np.cos(phase_of(random, frequency, sfreq)), 0, None) ** 2
        wave = 0.7 * wave + 2.0 * bites * muscle(random, sites, n, sfreq)
    size = subject.background * random.uniform(*mimic.size)
    signals[:, first : first + n] += (size * envelope * wave).astype(np.float32)
