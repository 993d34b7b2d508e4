"""The Conv1d stand-in: what some code puts where Mamba-2 belongs when mamba_ssm cannot be imported.

It is here to be recognized and measured, and for checkpoints that were trained with it. It keeps shapes and has no
memory; nothing in this package puts it in by itself. `BiMamba2` takes it only by ``backend="conv1d"`` or by
SEIZURE_MAMBA_FORCE_FALLBACK=1, and it warns.
"""

import os
import sys
import warnings

from torch import nn

__all__ = ["Conv1dStandIn", "StandInWarning", "stand_in_forced"]

_VARIABLE = "SEIZURE_MAMBA_FORCE_FALLBACK"


class StandInWarning(UserWarning):
    """A layer was built with a convolution in the place of Mamba-2."""


class Conv1dStandIn(nn.Module):
    """A depthwise convolution over a few steps, (batch, length, d_model) to the same shape. It is not a Mamba-2.

    An output reads ``kernel_size // 2`` steps on either side and nothing else: no state, no gate, no mixing of
    channels.

    Parameters
    ----------
    d_model : int
        Width of the input and the output.
    kernel_size : int
        Width of the convolution, in steps, odd.

    Raises
    ------
    ValueError
        If `kernel_size` is even, or the input has another shape.

    Warns
    -----
    StandInWarning
        Whenever one is built, at the line outside of the models that asked for it.

    Notes
    -----
    Source: the fallback of ``brain-go-brr-v2`` v2.1.0, ``src/brain_brr/models/mamba.py``, built anew.
    """

    def __init__(self, d_model, kernel_size=5):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size is {kernel_size}; expected an odd width, {kernel_size - 1} or {kernel_size + 1}"
            )
        self.d_model = d_model
        self.conv1d = nn.Conv1d(d_model, d_model, kernel_size, padding=kernel_size // 2, groups=d_model)
        warnings.warn(
            f"a Conv1d stands where Mamba-2 belongs: it reads {kernel_size // 2} steps to either side, has no memory, "
            f"and what it scores says nothing about Mamba-2. It was asked for by backend='conv1d' or {_VARIABLE}=1",
            StandInWarning,
            stacklevel=_level_outside(),
        )

    def forward(self, x):
        """(batch, length, d_model) to (batch, length, d_model)."""
        if x.ndim != 3 or x.shape[-1] != self.d_model:
            raise ValueError(f"input has shape {tuple(x.shape)}; expected (batch, length, {self.d_model})")
        return self.conv1d(x.mT).mT

    def backend_for(self, x):
        """ "conv1d", whatever the input: what a result or a checkpoint has to record."""
        return "conv1d"


def stand_in_forced():
    """Whether SEIZURE_MAMBA_FORCE_FALLBACK asks for the stand-in: 1 does; 0, nothing and not being set do not.

    Raises
    ------
    ValueError
        If it is set to anything else.
    """
    value = os.environ.get(_VARIABLE, "")
    if value not in ("", "0", "1"):
        raise ValueError(f"{_VARIABLE} is {value!r}; expected 1 (build the Conv1d stand-in) or 0. Set one, or unset it")
    return value == "1"


def _level_outside():
    """The stacklevel of the first caller that is no part of the models: the line that a reader wrote."""
    level, frame = 2, sys._getframe(2)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith("helpers.models."):
        level, frame = level + 1, frame.f_back
    return level
