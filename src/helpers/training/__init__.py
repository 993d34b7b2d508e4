"""Training: a configuration and a store in, the weights of a detector out; it can be stopped anywhere and resumed.

`fit` does all of it. It prints and draws nothing; the command line and the chapters do.
"""

from helpers.training.checkpoints import BEST, LAST, read_checkpoint
from helpers.training.config import (
    DetectorConfig,
    LossConfig,
    OptimizerConfig,
    TrainingConfig,
    load_config,
    shipped_configs,
)
from helpers.training.data import DetectionData, ResumableLoader
from helpers.training.errors import TrainingError
from helpers.training.loss import balancing_weight, detection_loss
from helpers.training.module import DetectionTraining, learning_rate_factor
from helpers.training.order import WindowOrder
from helpers.training.run import Training, fit
from helpers.training.validation import FALSE_ALARMS, merit, validate

__all__ = [
    "BEST",
    "FALSE_ALARMS",
    "LAST",
    "DetectionData",
    "DetectionTraining",
    "DetectorConfig",
    "LossConfig",
    "OptimizerConfig",
    "ResumableLoader",
    "Training",
    "TrainingConfig",
    "TrainingError",
    "WindowOrder",
    "balancing_weight",
    "detection_loss",
    "fit",
    "learning_rate_factor",
    "load_config",
    "merit",
    "read_checkpoint",
    "shipped_configs",
    "validate",
]
