"""Who the synthetic subjects are: for each a spectrum, an alpha rhythm, habits that make artifacts, a kind of seizure.

All numbers are made up, in ranges that real recordings of adults have. Nobody was measured.
"""

from typing import NamedTuple

import numpy as np

__all__ = ["SEIZURE_KINDS", "SeizureKind", "Subject", "draw_subject", "stream"]


class SeizureKind(NamedTuple):
    """How the seizures of a subject run.

    Attributes
    ----------
    name : str
    sites : tuple of tuple of str
        The electrodes over each possible focus.
    first, last : float
        Hz at the onset and at the end; the frequency falls exponentially in between.
    shape : str
        A key of `helpers.eeg.synthetic_rhythms.SHAPES`.
    width : tuple of float
        Reach around the focus at the onset and at the end, cm.
    seconds : tuple of float
        Shortest and longest duration.
    """

    name: str
    sites: tuple
    first: float
    last: float
    shape: str
    width: tuple
    seconds: tuple


SEIZURE_KINDS = (
    SeizureKind("temporal", (("T3", "F7"), ("T4", "F8")), 6.5, 2.6, "sharp", (3.5, 8.0), (35, 90)),
    SeizureKind("frontal", (("F3", "Fp1"), ("F4", "Fp2")), 11.0, 3.2, "sharp", (3.0, 8.0), (20, 50)),
    SeizureKind("generalized", (("Fz", "Cz"),), 4.4, 2.4, "spike and wave", (7.0, 11.0), (20, 45)),
    SeizureKind("parietal", (("P3", "O1"), ("P4", "O2")), 9.0, 3.0, "round", (3.5, 8.0), (25, 70)),
)
"""Every fourth subject has the same kind."""


class Subject(NamedTuple):
    """What stays the same in all recordings of one synthetic subject.

    Attributes
    ----------
    number : int
    slope : float
        The background's power falls with frequency to the power of minus this.
    background : float
        Its root mean square above 0.5 Hz, µV.
    reach : float
        Distance over which its correlation falls to 1/e, cm.
    alpha_hz, alpha : float
        Center of the posterior rhythm, Hz, and its root mean square over the occipital electrodes, µV.
    drowsiness : float
        Root mean square of the slow activity that comes and goes, in units of `background`.
    blink, blinks : float
        Height of a blink at Fp1 and Fp2, µV, and how many come in a minute.
    muscle, bursts : float
        Root mean square of a muscle burst, µV, and how many come in a minute.
    pops : float
        How many electrodes pop in a minute.
    drift : float
        Root mean square of the slow drift of each electrode, µV.
    line : float
        Amplitude of the mains hum, µV; other at each electrode.
    kind : SeizureKind
    focus : tuple of str
        Electrodes over the focus.
    """

    number: int
    slope: float
    background: float
    reach: float
    alpha_hz: float
    alpha: float
    drowsiness: float
    blink: float
    blinks: float
    muscle: float
    bursts: float
    pops: float
    drift: float
    line: float
    kind: SeizureKind
    focus: tuple


def draw_subject(seed, number):
    """The synthetic subject of this seed and number (from 1); the same each time."""
    random = stream(seed, number)
    kind = SEIZURE_KINDS[number % len(SEIZURE_KINDS)]
    return Subject(
        number=number,
        slope=random.uniform(1.3, 2.0),
        background=random.uniform(11, 22),
        reach=random.uniform(5, 9),
        alpha_hz=random.uniform(8.5, 11.5),
        alpha=random.uniform(6, 20),
        drowsiness=random.uniform(0.4, 1.0),
        blink=random.uniform(70, 150),
        blinks=random.uniform(3, 15),
        muscle=random.uniform(12, 35),
        bursts=random.uniform(0.5, 3),
        pops=random.uniform(0.05, 0.4),
        drift=random.uniform(5, 20),
        line=random.lognormal(0, 0.5),
        kind=kind,
        focus=kind.sites[random.integers(len(kind.sites))],
    )


def stream(seed, number, recording=0, part=0):
    """Random numbers that depend on these four whole numbers alone, so that no part of a recording moves another."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, recording, part)))
