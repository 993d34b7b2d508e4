"""Checkpoints: what is in them, when they are written, and how they are read without running any code from them.

A run's folder has two files. ``last.ckpt`` is all that a training needs to go on; ``detector.pt`` holds the weights of
the best validation alone, a third of the size. `helpers.detection.load_detector` reads both.
"""

import platform
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from helpers.environment import replacing
from helpers.training.errors import TrainingError
from helpers.training.stopping import Stopped, StopRequest
from helpers.training.validation import merit

__all__ = ["BEST", "LAST", "Checkpoints", "SyncedCheckpointIO", "read_checkpoint", "versions"]

LAST = "last.ckpt"
BEST = "detector.pt"


class SyncedCheckpointIO(CheckpointIO):
    """Files that are whole or not there: written beside their place, put on the disk, renamed.

    Lightning's own goes through the folder for temporary files. Where that is another file system than the target, as
    with a mounted volume, its last step is a copy, which can break off half way.
    """

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        """Write a checkpoint; the file that was there stays until this one is complete."""
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as file:
                torch.save(checkpoint, file)
        except (OSError, RuntimeError) as fault:  # torch turns a full disk into a RuntimeError
            raise TrainingError(
                f"{path}: cannot be written ({getattr(fault, 'strerror', None) or str(fault).splitlines()[0]}). The "
                "checkpoint before it is still there; make room, then go on with --resume."
            ) from fault

    def load_checkpoint(self, path, map_location=None, weights_only=True):
        """Read a checkpoint; never with anything but tensors, numbers, strings, lists and dicts in it."""
        return read_checkpoint(path)

    def remove_checkpoint(self, path):
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path):
    """A checkpoint of `fit`, or its ``detector.pt``.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    dict
        ``state_dict`` and ``config``, which `helpers.detection.load_detector` takes, and ``training``: the
        configuration, the data's fingerprint, the splits, what computed the layers, on which device and in which
        versions, the step, and the validations so far. ``last.ckpt`` also has what Lightning needs to go on, and
        ``steps``, (steps, 2): loss and length of the gradient of each.

    Raises
    ------
    TrainingError
        If there is no such file, it is damaged, holds anything but data, or is no checkpoint of a training.
    """
    path = Path(path)
    if not path.is_file():
        raise TrainingError(f"{path}: no such file. Expected {LAST} or {BEST} of a training.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on the protocol of a pickle that is refused anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:  # torch lets KeyError, IndexError, AssertionError and struct.error through
        reason = str(fault).splitlines()[0] if str(fault) else type(fault).__name__
        raise TrainingError(
            f"{path}: no checkpoint ({reason}). Expected a file of `workbook train`; it is damaged, or holds code."
        ) from fault
    if not isinstance(content, dict) or not {"state_dict", "config", "training"} <= set(content):
        found = f"a {type(content).__name__} without what a training writes"
        raise TrainingError(f"{path}: no checkpoint of a training ({found}). Expected {LAST} or {BEST}.")
    return content


class Checkpoints(Checkpoint):
    """Keeps ``last.ckpt`` and ``detector.pt``, and ends the training when validations no longer improve or it has to.

    What is better is said by `merit`. It is two numbers, and Lightning's ModelCheckpoint and EarlyStopping compare one:
    that is why they are not used.

    Parameters
    ----------
    folder : Path
    config : TrainingConfig
    facts : dict
        What is known of the run before it starts, for the checkpoint's ``training``.
    progress : callable, optional
        Called as ``progress(steps_done, steps_in_all)``.
    report : callable, optional
        Called with the figures of each validation, a dict.

    Attributes
    ----------
    request : StopRequest
        Once it has a signal, the step or the validation's batch under way is finished and saved, then `Stopped` raised.
    """

    def __init__(self, folder, config, facts, progress=None, report=None):
        self.folder, self.config, self.facts = folder, config, facts
        self.progress, self.report = progress, report
        self.best, self.waited = None, 0
        self.request = StopRequest()

    @property
    def exhausted(self):
        """Whether `patience` validations in a row were no better."""
        return self.waited >= self.config.patience

    def state_dict(self):
        """What the next validation is compared with."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state):
        """The reverse."""
        self.best, self.waited = state["best"], state["waited"]

    def on_train_start(self, trainer, module):
        """Take back the signals, which Lightning takes just before."""
        self.request.listen()

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        """Save after every `checkpoint_every` steps; after an epoch's last step, the validation does it."""
        done = trainer.global_step
        if self.progress and trainer.is_global_zero:
            self.progress(done, module.order.total_steps)
        if done % module.order.steps_per_epoch:
            asked = self._asked(trainer)
            if asked or done % self.config.checkpoint_every == 0:
                self._save(trainer, module)
            if asked:
                raise Stopped

    def on_validation_start(self, trainer, module):
        """Count the batches of this validation alone, as Lightning does in each of its own epochs."""
        trainer.fit_loop.epoch_loop.val_loop.batch_progress.total.reset()

    def on_validation_batch_end(self, trainer, module, outputs, batch, batch_idx, dataloader_idx=0):
        """Where it has to end here, save such that whoever goes on does all of this validation."""
        if self._asked(trainer):
            # By its count of batches, Lightning would go on after this one, or skip the validation. With one begun and
            # none done, it begins at the first.
            count = trainer.fit_loop.epoch_loop.val_loop.batch_progress
            count.reset()
            count.increment_ready()
            count.increment_started()
            self._save(trainer, module)
            raise Stopped

    def on_validation_end(self, trainer, module):
        """Keep the weights if they are better, save, and stop if they have not been for too long."""
        figures = module.validations[-1]
        found = list(merit(figures))
        better = self.best is None or found > self.best
        self.best, self.waited = (found, 0) if better else (self.best, self.waited + 1)
        if better and trainer.is_global_zero:
            # Before last.ckpt: one that knew of a better detector than there is would never write it again.
            module.check_steps(trainer.global_step)
            weights = {name: tensor.cpu() for name, tensor in module.model.state_dict().items()}  # read anywhere
            content = {"state_dict": weights, **self._described(trainer, module)}
            trainer.strategy.checkpoint_io.save_checkpoint(content, self.folder / BEST)
        self._save(trainer, module)
        if self.report and trainer.is_global_zero:
            self.report(figures)
        trainer.should_stop = trainer.should_stop or self.exhausted

    def on_save_checkpoint(self, trainer, module, checkpoint):
        """Put what describes the run beside Lightning's own state."""
        checkpoint.update(self._described(trainer, module))

    def _asked(self, trainer):
        """Whether one of the devices was asked to end; all of them have to ask at the same place."""
        return trainer.strategy.reduce_boolean_decision(self.request.signum is not None, all=False)

    def _save(self, trainer, module):
        module.check_steps(trainer.global_step)
        trainer.save_checkpoint(self.folder / LAST)

    def _described(self, trainer, module):
        training = {
            **self.facts,
            "backend": module.backend,
            "device": _device_name(module.device),
            "devices": trainer.world_size,
            "precision": trainer.precision,
            "step": trainer.global_step,
            "validations": [dict(figures) for figures in module.validations],
        }
        return {"config": module.model.config, "training": training}


def _device_name(device):
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def versions():
    """What computes here, by name; None for what is not installed."""
    found = {"python": platform.python_version()}
    for name in ("bimamba-eeg-workbook", "torch", "lightning", "numpy", "mamba-ssm", "causal-conv1d"):
        try:
            found[name] = str(version(name))
        except PackageNotFoundError:
            found[name] = None
    return found
