"""The network: the recording in 60 s windows through `SeizureDetector`, stitched to one probability a second.

Without weights it runs with random ones and says *untrained* wherever it is named: then it shows that everything works
and detects nothing. Where the Conv1d stand-in runs in the place of Mamba-2, the name says that.
"""

import hashlib
import warnings
from pathlib import Path

import numpy as np
import torch

from helpers.detection.result import Detection
from helpers.detection.shipped import SHIPPED, shipped_weights
from helpers.eeg import CANONICAL, SFREQ, WINDOW, RecordingError, preprocess, recording_name, window_starts, windows
from helpers.environment import keep_freed_memory
from helpers.models import SeizureDetector, fuse_for_inference
from helpers.scoring import events_from_scores, stitch_by_second

__all__ = ["HYSTERESIS", "WeightsError", "best_device", "detect_by_network", "load_detector"]

HYSTERESIS = (0.86, 0.78)
"""Probabilities at which an event begins and ends, from the reference detector."""

MIN_DURATION, MERGE_GAP = 3.0, 2.0  # s, from the reference detector
BATCH = {"cpu": 4, "cuda": 64, "mps": 8}  # windows at a time


class WeightsError(ValueError):
    """A file of weights that does not fit the detector."""


def best_device():
    """``"cuda"``, ``"mps"`` or ``"cpu"``: the first that torch can use here."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def load_detector(weights=None, seed=0):
    """The reference detector in evaluation mode, and its name.

    Parameters
    ----------
    weights : str or Path, optional
        A name in `SHIPPED` (a file of that name comes first), or a file: a state dict saved by `torch.save`, or a dict
        that holds one under ``"state_dict"`` and, under ``"config"``, the options of the `SeizureDetector` that it
        belongs to. Without a config it is the reference's. Loading runs no pickled code.
    seed : int
        Of the random weights, where none are given.

    Returns
    -------
    model : SeizureDetector
    name : str
        Names what runs in the layers, and the weights by file and hash, or calls them untrained.

    Raises
    ------
    WeightsError
        If the file is missing, is no file of weights, its config cannot be built, its names and shapes do not fit, or
        it holds NaN.
    """
    if weights is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = SeizureDetector()
        return model.eval(), f"network ({_layers(model)}, UNTRAINED random weights, seed {seed})"
    weights = Path(weights)
    if str(weights) in SHIPPED and not weights.exists():
        weights = shipped_weights(str(weights))
    if not weights.is_file():
        raise WeightsError(
            f"{weights}: no such file. Expected weights saved by torch.save(model.state_dict(), …), or a name: "
            f"{', '.join(SHIPPED)}."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the protocol of a pickle that is refused anyway
            state = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as fault:  # torch lets KeyError, IndexError, AssertionError and struct.error through
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise WeightsError(
            f"{weights}: no file of weights ({reason}). Expected tensors saved by "
            "torch.save(model.state_dict(), …); anything else in the file is refused."
        ) from fault
    config = {}
    if isinstance(state, dict) and "state_dict" in state:
        config, state = state.get("config", {}), state["state_dict"]
    try:
        model = SeizureDetector(**config)
    except Exception as fault:  # whatever stands in the file, torch or python may stumble over it
        raise WeightsError(
            f"{weights}: its config builds no detector ({_first_lines(fault)}). Expected a SeizureDetector.config."
        ) from fault
    if model.n_channels != len(CANONICAL):
        raise WeightsError(
            f"{weights}: a detector of {model.n_channels} channels; recordings have {len(CANONICAL)} here."
        )
    try:
        model.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError, AttributeError) as fault:
        raise WeightsError(
            f"{weights}: the weights do not fit the detector ({_layers(model)}). {_first_lines(fault)}"
        ) from fault
    broken = [name for name, tensor in model.state_dict().items() if not tensor.isfinite().all()]
    if broken:
        raise WeightsError(
            f"{weights}: NaN or infinity in {broken[0]}"
            f"{f' and {len(broken) - 1} more tensors' if len(broken) > 1 else ''}. The training diverged; "
            "use an earlier checkpoint."
        )
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    return model.eval(), f"network ({_layers(model)}, weights {weights.name}, sha256 {digest[:12]})"


def detect_by_network(raw, weights=None, device=None, progress=None):
    """Detect with `SeizureDetector`.

    Windows of 60 s, one every 10 s and one that ends with the recording; where they overlap their probabilities are
    averaged, then again over each second; hysteresis, at least 3 s long, gaps up to 2 s closed.

    Parameters
    ----------
    raw : mne.io.BaseRaw
    weights : str or Path, optional
        See `load_detector`.
    device : str, optional
        Default: `best_device`.
    progress : callable, optional
        Called as ``progress(windows_done, windows_in_all)``.

    Returns
    -------
    Detection

    Raises
    ------
    RecordingError
        If channels are missing or unusable, or the recording is shorter than 60 s.
    WeightsError
        See `load_detector`.
    """
    device = device or best_device()
    duration = raw.n_times / raw.info["sfreq"]
    if round(duration * SFREQ) < WINDOW:  # said before any work is done
        raise RecordingError(
            f"{recording_name(raw)}: the recording lasts {duration:.1f} s; the network reads windows of "
            f"{WINDOW / SFREQ:.0f} s. Use a longer one, or the rule."
        )
    samples = preprocess(raw)  # (19, samples) at 256 Hz
    starts, views = window_starts(samples.shape[1]), windows(samples)
    with torch.random.fork_rng(devices=[]):  # the layers' first weights are drawn, then replaced
        model, name = load_detector(weights)
        model = fuse_for_inference(model).to(device)
    try:
        model.backend_for(torch.empty(1, len(CANONICAL), WINDOW, device=device))
    except RuntimeError as fault:
        raise WeightsError(f"{weights}: its config asks for what cannot be here. {_first_lines(fault)}") from fault
    if device == "cpu":
        keep_freed_memory()
    probabilities = _probabilities(model, views, device, progress)
    times, scores = stitch_by_second(probabilities, starts, samples.shape[1], SFREQ)
    on, off = HYSTERESIS
    return Detection(
        method=name,
        times=times,
        scores=scores,
        unit="probability",
        on=on,
        off=off,
        events=events_from_scores(times, scores, on, off, min_duration=MIN_DURATION, merge_gap=MERGE_GAP),
        duration=duration,
        start=raw.info["meas_date"],
    )


def _probabilities(model, views, device, progress):
    """Of one window after the other, ``(window,)``: a night's windows together take more memory than its recording."""
    size = BATCH.get(device, 2)
    for first in range(0, len(views), size):
        with torch.inference_mode():  # not around the yield: it would hold for whoever reads on
            batch = torch.from_numpy(np.stack(views[first : first + size])).to(device)
            found = torch.sigmoid(model(batch)).cpu().numpy()
        if progress:
            progress(first + len(found), len(views))
        yield from found


def _layers(model):
    """What runs in the layers, in words; a result carries it."""
    return "Conv1d stand-in, NO Mamba-2" if model.config["backend"] == "conv1d" else "Bi-Mamba-2"


def _first_lines(fault, count=4):
    lines = [line.strip() for line in str(fault).splitlines()]
    return " ".join(line if len(line) < 200 else line[:200] + " …" for line in lines[:count])
