"""The smallest training that has everything: a few epochs, some steps each, of a detector of 20,000 parameters."""

from types import SimpleNamespace

import numpy as np
import torch

from helpers.detection import load_detector
from helpers.eeg import labels_of
from helpers.training import (
    DetectionData,
    TrainingConfig,
    WindowOrder,
    detection_loss,
    fit,
    read_checkpoint,
    validate,
)

DETECTOR = {"widths": [4, 4, 8, 32], "rescnn_blocks": 0, "mamba_layers": 1}
FILES = ("last.ckpt", "detector.pt")


def config(**changes):
    """Three epochs of four steps with two windows each, and a checkpoint after every second step."""
    options = {"epochs": 3, "windows_per_epoch": 9, "batch_size": 2, "workers": 0, "checkpoint_every": 2}
    return TrainingConfig.model_validate(
        {"detector": DETECTOR, "optimizer": {"lr": 3e-3, "warmup": 0.1}, **options, **changes}
    )


def data_of(store, options, devices=1, rank=0):
    """The data module as Lightning's trainer would hold it, on one of several devices."""
    data = DetectionData(options, store, WindowOrder(options, store))
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    data.trainer = SimpleNamespace(world_size=devices, global_rank=rank, strategy=strategy)
    return data


class Stopped(Exception):
    """Raised from inside a training."""


def fit_until(step, *arguments, **options):
    """Train until a step was taken, and stop before it is saved; None as there is no result."""

    def progress(done, total):
        if done == step:
            raise Stopped

    try:
        return fit(*arguments, progress=progress, **options)
    except Stopped:
        return None


def validation_by_hand(folder, store):
    """What the validation at the last checkpoint ought to have found: one window at a time, by detection's reader."""
    training = read_checkpoint(folder / "last.ckpt")["training"]
    options = TrainingConfig.model_validate(training["config"])
    data = DetectionData(options, store, WindowOrder(options, store))
    model, _ = load_detector(folder / "last.ckpt")
    seconds, losses = [], []
    with torch.inference_mode():
        for id, start in data.validation_windows:
            logits = model(torch.from_numpy(store.batch([(id, start)])))
            labels = torch.from_numpy(labels_of(store[id].seizures, start))[None]
            losses.append(detection_loss(logits, labels, options.loss.gamma, training["pos_weight"]).item())
            seconds.append(torch.sigmoid(logits).reshape(60, 256).mean(1).double().numpy())
    return {"loss": float(np.mean(losses)), **validate(data.validation, data.validation_windows, np.array(seconds))}


def differences(one, other):
    """What differs, to the last bit, between two folders of trainings that ought to be the same."""
    found = []
    for name in FILES:
        a, b = read_checkpoint(one / name), read_checkpoint(other / name)
        found += [f"{name}: {place}" for place in _differences(a, b)]
    return found


def _differences(a, b, place=""):
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) else [place]
    if isinstance(a, dict):
        keys = [] if a.keys() == b.keys() else [f"{place} keys"]
        return keys + [one for key in a.keys() & b.keys() for one in _differences(a[key], b[key], f"{place}/{key}")]
    if isinstance(a, (list, tuple)):
        size = [] if len(a) == len(b) else [f"{place} length"]
        return size + [
            one for k, pair in enumerate(zip(a, b, strict=False)) for one in _differences(*pair, f"{place}/{k}")
        ]
    return [] if a == b else [place]
