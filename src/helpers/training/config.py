"""What a training is, as a YAML file: the detector, the loss, the optimizer, and how long.

Every value is checked before anything is computed, and a key that nothing reads is an error: a misspelled learning rate
must not train with another one. Where the data are and where the results go is said on the command line.
"""

from __future__ import annotations  # the book reads this module without pydantic

import difflib
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, field_validator

from helpers.training.errors import TrainingError

__all__ = ["DetectorConfig", "LossConfig", "OptimizerConfig", "TrainingConfig", "load_config", "shipped_configs"]

Share = Annotated[float, Field(gt=0, lt=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DetectorConfig(_Section):
    """Options of `helpers.models.SeizureDetector`, with its names; the defaults are the reference."""

    widths: tuple[PositiveInt, ...] = Field((64, 128, 256, 512), min_length=1)
    rescnn_blocks: int = Field(3, ge=0)
    mamba_layers: int = Field(6, ge=0)
    d_state: PositiveInt = 16
    dropout: float = Field(0.1, ge=0, lt=1)
    mixing: Literal["concat", "sum", "shared"] = "concat"
    backend: Literal["auto", "torch", "mamba_ssm", "conv1d"] = "auto"


class LossConfig(_Section):
    """Options of `helpers.training.detection_loss`.

    Attributes
    ----------
    gamma : float
        Focus on what is still wrong; 0 is binary cross-entropy.
    pos_weight : float or "auto"
        Weight of an ictal sample. "auto" is √((1 - r) / r), where r is the share of ictal *samples* in the training
        windows. (The reference takes the share of windows with a seizure in them, on the same loss per sample.)
    """

    gamma: float = Field(2.0, ge=0)
    pos_weight: Literal["auto"] | PositiveFloat = "auto"


class OptimizerConfig(_Section):
    """AdamW, its schedule, and the largest step.

    Attributes
    ----------
    lr : float
        Highest learning rate: reached after the warm-up, then falling to 0 along a cosine.
    weight_decay : float
        Of maps only (`helpers.models.parameter_groups`).
    warmup : float
        Share of all steps over which the learning rate rises.
    clip : float
        Longest gradient; longer ones are scaled down to it.
    """

    lr: PositiveFloat = 3e-4
    weight_decay: float = Field(0.05, ge=0)
    warmup: float = Field(0.03, ge=0, lt=1)
    clip: PositiveFloat = 1.0


class TrainingConfig(_Section):
    """One training; `load_config` reads it from YAML.

    Attributes
    ----------
    detector : DetectorConfig
    loss : LossConfig
    optimizer : OptimizerConfig
    fractions : dict of str to float
        Shares of the *subjects*, for ``train``, ``validation`` and ``test``. The test subjects are not touched here.
    epochs : int
        At most; `patience` ends it earlier. An epoch is one balanced set of windows, drawn anew for each.
    windows_per_epoch : int, optional
        Cut each epoch's set to so many of its windows.
    batch_size : int
        Windows in one step, over all devices together: the same batches on any number of them.
    patience : int
        Stop after so many epochs without a better validation.
    seed : int
        Of the split, the weights, the order of windows and the dropout.
    precision : {"auto", "32-true", "bf16-mixed"}
        "auto" is bfloat16 autocast on a GPU that computes with it, float32 elsewhere.
    devices : int or "auto"
        GPUs; "auto" takes all that are there. More than one train by data parallelism.
    workers : int
        Processes on each device that read windows; 0 reads in the training process.
    checkpoint_every : int
        Steps between checkpoints; the end of each epoch has one, too.
    """

    detector: DetectorConfig = DetectorConfig()
    loss: LossConfig = LossConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    fractions: dict[Literal["train", "validation", "test"], Share] = {"train": 0.7, "validation": 0.15, "test": 0.15}
    epochs: PositiveInt = 100
    windows_per_epoch: PositiveInt | None = None
    batch_size: PositiveInt = 64
    patience: PositiveInt = 5
    seed: int = Field(42, ge=0)
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    devices: Literal["auto"] | PositiveInt = "auto"
    workers: int = Field(4, ge=0)
    checkpoint_every: PositiveInt = 500

    @field_validator("fractions")
    @classmethod
    def _complete(cls, fractions):
        if not {"train", "validation"} <= set(fractions) or abs(sum(fractions.values()) - 1) > 1e-6:
            raise ValueError("train and validation must be there, and all must add up to 1")
        return fractions


def shipped_configs():
    """Names of the configurations in the package: ``("full", "small", "smoke")``."""
    return tuple(
        sorted(file.name.removesuffix(".yaml") for file in _shipped().iterdir() if file.name.endswith(".yaml"))
    )


def load_config(path_or_name):
    """Read a configuration.

    Parameters
    ----------
    path_or_name : str or Path
        A YAML file, or the name of one in the package, with or without ``.yaml``. A file of that name in the working
        folder comes first.

    Returns
    -------
    TrainingConfig

    Raises
    ------
    TrainingError
        If there is no such file, it is no YAML, or a key or value in it is not expected.
    """
    path = Path(path_or_name)
    name = str(path_or_name).removesuffix(".yaml")
    if not path.is_file() and name in shipped_configs():
        path = _shipped() / f"{name}.yaml"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise TrainingError(
            f"{path_or_name}: no configuration there ({_short(fault)}). Give a YAML file, or one of the package's: "
            f"{', '.join(shipped_configs())}."
        ) from fault
    try:
        content = yaml.load(text, _UniqueKeys)  # a SafeLoader
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise TrainingError(
            f"{path_or_name}{line}: no YAML ({getattr(fault, 'problem', None) or fault}). Expected `key: value` lines."
        ) from fault
    if not isinstance(content, dict):
        raise TrainingError(
            f"{path_or_name}: found {type(content).__name__}, expected `key: value` lines. Start from one of the "
            f"package's: {', '.join(shipped_configs())}."
        )
    try:
        return TrainingConfig.model_validate(content)
    except ValidationError as fault:
        faults = fault.errors()
        said = "; ".join(_said(error) for error in faults[:3])
        more = f"; and {len(faults) - 3} more" * (len(faults) > 3)
        raise TrainingError(f"{path_or_name}: {said}{more}.") from fault


class _UniqueKeys(yaml.SafeLoader):
    """YAML in which a key stands once: PyYAML takes the last of two and says nothing (yaml/pyyaml#165)."""

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _shipped():
    return files("helpers.training") / "configs"


def _said(error):
    place = [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        known = _keys(place[:-1])
        close = difflib.get_close_matches(place[-1], known, 1)
        return f"unknown key {'.'.join(place)}; " + (
            f"did you mean {close[0]}?" if close else f"expected {', '.join(known)}"
        )
    found = error["input"]
    return f"{'.'.join(place)} is {found!r}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _keys(place):
    section = TrainingConfig
    for name in place:
        section = section.model_fields[name].annotation
    return list(section.model_fields)


def _short(fault):
    return getattr(fault, "strerror", None) or type(fault).__name__
