"""Where other packages meet the detectors: MNE's annotations out, and the detector with braindecode's signature.

Neither package's conventions reach further in than this. SzCORE's files are in `helpers.scoring`.
"""

import mne
import torch

from helpers.detection.rule import detect_by_rule
from helpers.eeg import SFREQ, WINDOW
from helpers.models import SeizureDetector

__all__ = ["DETECTED", "BraindecodeDetector", "annotate"]

DETECTED = "detected seizure"
"""Description of a detected event; not one of those that `helpers.eeg.seizures` takes for a person's mark."""


def annotate(raw, detect=detect_by_rule, **options):
    """Detect, and give the events as MNE's annotations.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Left as it is.
    detect : callable
        `detect_by_rule`, `detect_by_network`, or another function of a recording that returns a `Detection`.
    **options
        Of `detect`, say ``weights="best.pt"``.

    Returns
    -------
    mne.Annotations
        One for each event, described as `DETECTED`, on the clock of `raw`, so that it can be added to
        ``raw.annotations``. Its ``extras`` hold the ``method`` in words and, where scores are probabilities, the
        ``confidence``.

    Raises
    ------
    RecordingError, WeightsError
        See `detect`.

    Examples
    --------
    >>> raw.set_annotations(raw.annotations + annotate(raw, detect_by_network, weights="best.pt"))  # doctest: +SKIP
    """
    detection = detect(raw, **options)
    # Onsets count from the first sample in a detection, in MNE from meas_date, which a cropped recording has before it.
    before = raw.first_time if raw.info["meas_date"] is not None else 0.0
    return mne.Annotations(
        [event.onset + before for event in detection.events],
        [event.duration for event in detection.events],
        [DETECTED] * len(detection.events),
        orig_time=raw.info["meas_date"],
        extras=[{"method": detection.method, "confidence": event.confidence} for event in detection.events],
    )


class BraindecodeDetector(SeizureDetector):
    """`SeizureDetector` with the signature and the output of braindecode's models.

    Its state dict is the detector's, either way. In braindecode it goes where a model class goes:
    ``EEGClassifier(BraindecodeDetector, cropped=True, criterion=CroppedLoss, criterion__loss_function=…)`` for one
    label a window; for one label a sample, `torch.nn.CrossEntropyLoss` takes its output as it is.

    Parameters
    ----------
    n_chans : int
        EEG channels.
    n_outputs : {2, 1}
        2: classes 0 (no seizure, always 0) and 1 (the detector's logit), whose softmax is the detector's sigmoid.
        1: the logit alone.
    n_times : int
        Samples in a window; a multiple of the detector's stride, 16.
    sfreq : float
        Hz. The kernels count samples: at another rate than 256 Hz the same weights see another signal.
    **options
        Of `SeizureDetector`.

    Raises
    ------
    ValueError
        If `n_outputs` is neither, or `n_times` does not fit.

    Notes
    -----
    Source: braindecode 1.x, the parameters that its models share, and its "cropped" models, whose output is
    (batch, n_outputs, predictions in time).
    """

    def __init__(self, n_chans=19, n_outputs=2, n_times=WINDOW, sfreq=SFREQ, **options):
        if n_outputs not in (1, 2):
            raise ValueError(
                f"n_outputs is {n_outputs}; the detector tells seizure from no seizure. Take 2 (classes) or 1 (logit)."
            )
        super().__init__(n_channels=n_chans, **options)
        if n_times < self.stride or n_times % self.stride:
            raise ValueError(
                f"n_times is {n_times}; expected a multiple of {self.stride}. "
                f"Cut windows of {max(n_times // self.stride, 1) * self.stride} samples."
            )
        self.n_chans, self.n_outputs, self.n_times, self.sfreq = n_chans, n_outputs, n_times, sfreq

    @property
    def input_window_seconds(self):
        """Length of a window, s."""
        return self.n_times / self.sfreq

    def forward(self, eeg):
        """(batch, n_chans, n_times) to (batch, n_outputs, n_times) logits."""
        logits = super().forward(eeg)[:, None]  # (batch, 1, n_times)
        return logits if self.n_outputs == 1 else torch.cat([torch.zeros_like(logits), logits], dim=1)
