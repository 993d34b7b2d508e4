"""A training from its configuration to the weights: start it, go on with it, and what came of it.

The order of windows, the step, and the files are each in their own module; Lightning's trainer carries the loop.
"""

import logging
import signal
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException

from helpers.environment import keep_freed_memory
from helpers.training.checkpoints import BEST, LAST, Checkpoints, SyncedCheckpointIO, read_checkpoint, versions
from helpers.training.config import TrainingConfig, load_config
from helpers.training.data import DetectionData
from helpers.training.errors import TrainingError
from helpers.training.loss import balancing_weight
from helpers.training.module import DetectionTraining
from helpers.training.order import WindowOrder
from helpers.training.stopping import Stopped
from helpers.training.validation import merit

__all__ = ["Training", "fit"]

_MAY_DIFFER = {"devices", "workers", "checkpoint_every"}  # between a run and its resumption: how, not what


@dataclass(frozen=True)
class Training:
    """What `fit` gives back.

    Attributes
    ----------
    detector : Path
        Weights of the best validation, for `helpers.detection`.
    checkpoint : Path
        To go on from.
    ended : str
        Why, in words.
    steps : ndarray, (steps, 2)
        Loss and length of the gradient of each step since the beginning, over resumptions too.
    validations : list of dict of str to float
        Of each epoch: ``step``, ``training_loss``, ``loss``, ``auroc``, ``sensitivity_at_10``, ``_5``, ``_2.5`` and
        ``_1``.
    splits : dict of str to tuple of str
        Subjects for ``train``, ``validation`` and ``test``.
    """

    detector: Path
    checkpoint: Path
    ended: str
    steps: np.ndarray
    validations: list
    splits: dict

    @property
    def best(self):
        """The validation that the detector's weights had."""
        return max(self.validations, key=merit)


def fit(config, store, out, resume=False, progress=None, report=None, other_data=False):
    """Train a detector.

    Parameters
    ----------
    config : TrainingConfig, str or Path
        Or what `load_config` takes.
    store : Store
    out : str or Path
        Folder of the run; made if needed. It gets ``last.ckpt``, ``detector.pt`` and ``tensorboard/``.
    resume : bool
        Go on from ``last.ckpt`` in `out`, at the step after it; begin where there is none yet, so that a job that is
        started again needs no other command.
    progress : callable, optional
        Called as ``progress(steps_done, steps_in_all)``.
    report : callable, optional
        Called with the figures of each validation, a dict.
    other_data : bool
        Go on although the store is not the one that the checkpoint was trained on.

    Returns
    -------
    Training

    Raises
    ------
    TrainingError
        If the folder holds a run and `resume` is False, the checkpoint cannot be read or belongs to another
        configuration or store, a file cannot be written, the loss is NaN, or a device is missing or its memory full.
    StoreError
        If the store has no window to train on or too few subjects.
    KeyboardInterrupt
        After Ctrl-C: the step is finished and saved first. After another one, at once; the last checkpoint stays.
    SystemExit
        143, after SIGTERM, by which a system ends a job: as after one Ctrl-C. Of several processes, the first one ends
        so; the others with 0, because Lightning kills all of them where one ends otherwise.

    Notes
    -----
    On a CPU, a training that was ended at any time and resumed takes the same steps, to the last bit, as one that was
    not, if both have the same number of threads. On a GPU, sums come in another order each time.

    Lightning sees the whole training as one of its epochs. An epoch of ours is a part of the one order of batches, so
    to go on is to go on with the next batch, wherever that is.
    """
    config = config if isinstance(config, TrainingConfig) else load_config(config)
    out = Path(out).absolute()
    order = WindowOrder(config, store)
    pos_weight = config.loss.pos_weight
    facts = {
        "config": config.model_dump(mode="json"),
        "data": store.fingerprint,
        "splits": {name: list(subjects) for name, subjects in order.splits.items()},
        "pos_weight": balancing_weight(order.ictal_share) if pos_weight == "auto" else pos_weight,
        "total_steps": order.total_steps,
        "versions": versions(),
    }
    module = DetectionTraining(config, order, facts["pos_weight"])
    keeper = Checkpoints(out, config, facts, progress, report)
    before = _checkpoint(out, resume, facts, module.model.config, other_data)
    if before:
        module.on_load_checkpoint(before)
        keeper.load_state_dict(before["callbacks"][keeper.state_key])
    validated = module.validations[-1]["step"] if module.validations else 0
    if validated < order.total_steps and not keeper.exhausted:
        _train(module, DetectionData(config, store, order), keeper, before["training"]["step"] if before else 0)
    return Training(
        detector=out / BEST,
        checkpoint=out / LAST,
        ended=f"{config.patience} validations without a better one" if keeper.exhausted else "all epochs",
        steps=module.taken_steps().numpy(),
        validations=module.validations,
        splits=order.splits,
    )


def _checkpoint(out, resume, facts, detector, other_data):
    """The checkpoint to go on from, or None where the training begins."""
    path = out / LAST
    if not path.exists():
        return None
    found = read_checkpoint(path)
    said = found["training"]
    if "callbacks" not in found:
        raise TrainingError(f"{path}: holds weights alone, as {BEST} does; expected all that a training goes on from.")
    if not resume:
        raise TrainingError(
            f"{out}: holds a training at step {said['step']} of {said['total_steps']}. Go on with --resume, or choose "
            "another folder with --output."
        )
    other = [key for key in _differences(said["config"], facts["config"]) if key.split(" ")[0] not in _MAY_DIFFER]
    if other:
        raise TrainingError(
            f"{path}: made with another configuration: {'; '.join(other[:5])}. Go on with the one it was made with, or "
            "choose another folder with --output."
        )
    was, would_be = found["config"]["backend"], detector["backend"]
    if (was == "conv1d") != (would_be == "conv1d"):
        raise TrainingError(
            f"{path}: its layers are {was}, these would be {would_be}, another network. Set "
            "SEIZURE_MAMBA_FORCE_FALLBACK as it was."
        )
    if said["data"] != facts["data"] and not other_data:
        raise TrainingError(
            f"{path}: trained on the store {said['data'][:12]}…, this one is {facts['data'][:12]}…. Give the store it "
            "was trained on, or go on with this one by --other-data."
        )
    if said["validations"] and not (out / BEST).exists():
        raise TrainingError(f"{out}: {BEST} is missing beside {LAST}. Put it back, or train anew in another folder.")
    return found


def _differences(before, now, prefix=""):
    """``key was a, is b`` for each value that differs."""
    found = []
    for key in before.keys() | now.keys():
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{prefix}{key}.")
        elif old != new:
            found.append(f"{prefix}{key} was {old}, is {new}")
    return sorted(found)


def _train(module, data, keeper, done):
    out = keeper.folder
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise TrainingError(f"{out}: cannot be made ({fault.strerror}). Choose another with --output.") from fault
    with keeper.request.awaited(), _quiet(), torch.random.fork_rng(devices=[]):
        try:
            trainer = _trainer(module, keeper, done)
        except MisconfigurationException as fault:
            raise TrainingError(f"devices is {module.training_config.devices}. {fault}") from fault
        if trainer.is_global_zero:
            for part in [*out.glob(f".{LAST}.*.part"), *out.glob(f".{BEST}.*.part")]:  # of a process that was killed
                part.unlink()
        try:
            trainer.fit(module, datamodule=data, ckpt_path=out / LAST if done else None, weights_only=True)
        except torch.OutOfMemoryError as fault:
            raise TrainingError(
                f"no memory left with {module.training_config.batch_size} windows on {trainer.world_size} device(s). "
                f"Lower batch_size, in a new folder, or take more devices. {str(fault).splitlines()[0]}"
            ) from fault
        except (Stopped, SIGTERMException):  # Lightning's own, if the signal came while it set itself up
            raise _end(trainer, keeper) from None
        except RuntimeError as fault:
            if "DataLoader worker" not in str(fault):
                raise
            if keeper.request.signum:  # it came to a process that was just beginning
                raise _end(trainer, keeper) from None
            raise TrainingError(
                f"a process that reads windows has ended: {str(fault).splitlines()[0]} Was memory short? Go on with "
                "--resume and a lower `workers`; 0 reads in the training's own process."
            ) from fault
        except SystemExit:
            if not trainer.interrupted:
                raise
            raise KeyboardInterrupt from None  # which Lightning turns into sys.exit(1)


def _end(trainer, keeper):
    """The exception with which a training ends that was asked to."""
    if not trainer.is_global_zero:
        return SystemExit(0)
    return KeyboardInterrupt() if keeper.request.signum == signal.SIGINT else SystemExit(128 + signal.SIGTERM)


def _trainer(module, keeper, done):
    config, cuda = module.training_config, torch.cuda.is_available()
    if not cuda:
        keep_freed_memory()
    bf16 = config.precision == "auto" and cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    return Trainer(
        max_epochs=1,  # not max_steps: where those are done, a validation that was stopped would not be taken up again
        val_check_interval=module.order.steps_per_epoch,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        devices=config.devices,
        precision="bf16-mixed" if bf16 else config.precision.replace("auto", "32-true"),
        sync_batchnorm=cuda,  # the batch's statistics, not those of one device's share of it
        use_distributed_sampler=False,  # the order of windows shares them out
        logger=TensorBoardLogger(keeper.folder, "tensorboard", "", default_hp_metric=False, purge_step=done + 1),
        callbacks=[keeper],
        plugins=[SyncedCheckpointIO()],
        default_root_dir=keeper.folder,
        log_every_n_steps=1,  # nothing goes through `log`; without this, short trainings are warned about
        enable_progress_bar=False,
        enable_model_summary=False,
    )


@contextmanager
def _quiet():
    """Without Lightning's notes on what it found; warnings and errors stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*does not have many workers.*")  # `workers` says how many
            warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")  # Lightning's own use of torch
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
