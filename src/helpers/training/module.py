"""One training step, one validation, and the optimizer: what Lightning's trainer asks for.

Everything random in step k is drawn from (seed, k, device), so that nothing has to be remembered of the steps before.
When to save and when to stop is in `helpers.training.checkpoints`.
"""

import math
import warnings

import numpy as np
import torch
from lightning.pytorch import LightningModule
from torch.nn.utils import clip_grad_norm_

from helpers.eeg import WINDOW
from helpers.models import SeizureDetector, parameter_groups
from helpers.training.data import RATE
from helpers.training.errors import TrainingError
from helpers.training.loss import detection_loss
from helpers.training.validation import validate

__all__ = ["DetectionTraining", "learning_rate_factor"]

_SECONDS = WINDOW // RATE
_LOG_EVERY = 10  # steps; on a GPU, reading a number waits for all work before it


class DetectionTraining(LightningModule):
    """`SeizureDetector` with its loss, optimizer, schedule and validation.

    Parameters
    ----------
    config : TrainingConfig
    order : WindowOrder
        Names the windows of a step that went wrong.
    pos_weight : float
        Weight of an ictal sample.

    Attributes
    ----------
    model : SeizureDetector
    steps : Tensor, (total_steps, 2)
        Loss and length of the gradient of each step that was taken; NaN for those to come.
    validations : list of dict of str to float
        What each validation found: ``step``, ``training_loss`` (mean over the epoch's steps), ``loss``, and what
        `validate` says.
    backend : str
        What computes the layers here: "torch", "mamba_ssm" or "conv1d".

    Raises
    ------
    TrainingError
        If the detector's options fit no detector; in training, if the loss or the gradient is NaN or infinite.
    """

    def __init__(self, config, order, pos_weight):
        super().__init__()
        self.training_config, self.order, self.pos_weight = config, order, pos_weight
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                self.model = SeizureDetector(**config.detector.model_dump())
        except ValueError as fault:
            raise TrainingError(f"detector: {fault}") from fault
        self.steps = torch.full((order.total_steps, 2), torch.nan)
        self.validations = []
        self.backend = self._backend_before = None
        self._checked = 0

    def on_fit_start(self):
        """Bring the record of steps to the device, where it can be written without waiting."""
        self.steps = self.steps.to(self.device)

    def on_train_batch_start(self, batch, batch_idx):
        """Make what is random in this step a function of seed and step."""
        step = self.global_step
        if batch["step"] != step:
            raise TrainingError(f"batch {batch['step']} came at step {step}; loader and optimizer are out of step")
        self._find_backend(batch)
        entropy = np.random.SeedSequence([self.training_config.seed, step, self.global_rank])
        torch.manual_seed(int(entropy.generate_state(1)[0]))

    def training_step(self, batch, batch_idx):
        """Loss of one batch, a mean over samples and windows."""
        loss = self._loss(self.model(batch["eeg"]), batch["labels"])
        self.steps[self.global_step, 0] = self.trainer.strategy.reduce(loss.detach(), reduce_op="mean")
        return loss

    def configure_gradient_clipping(self, optimizer, gradient_clip_val=None, gradient_clip_algorithm=None):
        """Clip as the configuration says, and record how long the gradient was."""
        step = self.global_step
        self.steps[step, 1] = clip_grad_norm_(self.model.parameters(), self.training_config.optimizer.clip)
        if self.device.type == "cpu":
            self.check_steps(step + 1)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        """Log now and then, and look whether all numbers so far are numbers."""
        done = self.global_step
        if done % _LOG_EVERY == 0:
            self.check_steps(done)
            loss, norm = self.steps[done - 1].tolist()
            rate = self.lr_schedulers().get_last_lr()[0]
            figures = {"train/loss": loss, "train/gradient": norm, "train/learning_rate": rate}
            self.logger.log_metrics(figures, step=done)

    def check_steps(self, done):
        """Raise an error if the loss or gradient of one of the first `done` steps is no number.

        The weights are broken from there on, so no checkpoint is written without it.
        """
        bad = (~self.steps[self._checked : done].isfinite()).any(dim=1).nonzero()
        if len(bad):
            step = self._checked + int(bad[0])
            loss, norm = self.steps[step].tolist()
            windows = "Windows: " + ", ".join(f"{id} at {start / RATE:g} s" for id, start in self.order.windows(step))
            raise TrainingError(
                f"step {step}: the loss is {loss:g}, the gradient's length {norm:g}; expected numbers. Look at the "
                f"batch, or train anew with a lower optimizer.lr; the checkpoint before it is whole. {windows}."
            )
        self._checked = done

    def taken_steps(self):
        """`steps` without those to come, on the CPU."""
        steps = self.steps.cpu()
        return steps[: int((~steps[:, 0].isnan()).sum())]

    def on_validation_epoch_start(self):
        """Forget the validation before."""
        count = len(self.trainer.datamodule.validation_windows)
        self._found = torch.zeros(count, _SECONDS + 2, device=self.device)  # a probability a second, loss, times read

    def on_validation_batch_start(self, batch, batch_idx):
        """A training that was stopped in a validation goes on with it, before any step."""
        self._find_backend(batch)

    def validation_step(self, batch, batch_idx):
        """Keep a mean probability for each second, and the loss of each window."""
        logits = self.model(batch["eeg"]).float()
        seconds = torch.sigmoid(logits).unflatten(1, (_SECONDS, RATE)).mean(-1)  # (batch, 60)
        losses = torch.stack([self._loss(*pair) for pair in zip(logits, batch["labels"], strict=True)])
        once = torch.ones_like(losses)
        self._found.index_add_(0, batch["rows"], torch.cat([seconds, losses[:, None], once[:, None]], dim=1))

    def on_validation_epoch_end(self):
        """Put the windows of all devices together and score them, recording by recording."""
        found = self.trainer.strategy.reduce(self._found, reduce_op="sum").cpu().double().numpy()
        found = found[:, :-1] / found[:, -1:]  # windows that two devices read to be even count once
        data = self.trainer.datamodule
        epoch = self.steps[max(0, self.global_step - self.order.steps_per_epoch) : self.global_step, 0]
        figures = {"step": self.global_step, "training_loss": float(epoch.mean()), "loss": float(found[:, -1].mean())}
        figures |= validate(data.validation, data.validation_windows, found[:, :-1])
        self.validations.append(figures)
        logged = {f"validation/{name}": value for name, value in figures.items() if name != "step"}
        self.logger.log_metrics(logged, step=self.global_step)

    def configure_optimizers(self):
        """AdamW, with weight decay on maps only; the learning rate changes with each step."""
        options = self.training_config.optimizer
        groups = parameter_groups(self.model, options.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=options.lr, fused=self.device.type == "cuda")
        total = self.order.total_steps
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: learning_rate_factor(step, total, options.warmup)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def on_save_checkpoint(self, checkpoint):
        """Weights under the detector's own names, as `helpers.detection` reads them, and the record of the steps."""
        checkpoint["state_dict"] = self.model.state_dict()
        checkpoint["steps"] = self.taken_steps()

    def on_load_checkpoint(self, checkpoint):
        """The reverse."""
        checkpoint["state_dict"] = {f"model.{name}": weight for name, weight in checkpoint["state_dict"].items()}
        before = checkpoint["steps"][: len(self.steps)]
        self.steps[: len(before)] = before
        self.validations = list(checkpoint["training"]["validations"])
        self._checked = len(before)
        self._backend_before = checkpoint["training"]["backend"]

    def _find_backend(self, batch):
        if self.backend is not None:
            return
        try:
            self.backend = self.model.backend_for(batch["eeg"])
        except RuntimeError as fault:
            raise TrainingError(f"detector.backend: {fault}") from fault
        if self._backend_before not in (None, self.backend):
            warnings.warn(
                f"so far {self._backend_before} computed the layers, from here on {self.backend} does: the same "
                "function, other rounding",
                stacklevel=2,
            )

    def _loss(self, logits, labels):
        return detection_loss(logits, labels, self.training_config.loss.gamma, self.pos_weight)


def learning_rate_factor(step, total, warmup):
    """What the highest learning rate is multiplied with: up in a line, then down to 0 along a cosine.

    Parameters
    ----------
    step : int
        From 0.
    total : int
        Steps in all.
    warmup : float
        Share of them that goes up.

    Returns
    -------
    float
        Above 0 for every step before `total`.
    """
    rising = round(warmup * total)
    if step < rising:
        return (step + 1) / (rising + 1)
    return (1 + math.cos(math.pi * (step - rising) / (total - rising))) / 2
