"""Synthetic EEG-like windows whose label asks for memory: chapter 07 trains on them. Nothing here is a recording.

Slow waves that began with a burst of fast activity are called a seizure, the same waves without the burst are not. So
a step in the middle of the waves can only be labelled by what remembers, or sees, their beginning.
"""

import math

import torch

__all__ = ["SAMPLES_PER_STEP", "STEPS_PER_SECOND", "eeg_like"]

STEPS_PER_SECOND = 16
SAMPLES_PER_STEP = 4


def eeg_like(batch, length, random):
    """Windows of one channel at 64 Hz in steps of a sixteenth of a second, with a label for each step and task.

    Noise throughout. In each window 3 Hz waves begin once and last at least 3 s; in every other one, drawn at random,
    half a second of 20 Hz stands right before them. Spikes of 60 ms are scattered over all of it.

    Parameters
    ----------
    batch : int
    length : int
        Steps a window; at least 112, that is 7 s.
    random : torch.Generator

    Returns
    -------
    x : Tensor, (batch, length, 4)
        The samples of each step.
    labels : Tensor, (batch, length, 2)
        1 or -1. First whether the step lies in a burst or in the waves that it began; second whether a spike does.
    since : Tensor, (batch, length)
        Steps since the waves began, -1 outside of them.

    Raises
    ------
    ValueError
        If `length` is below 112.
    """
    if length < 112:
        raise ValueError(f"length is {length} steps; expected at least 112, so that waves of 3 s fit behind a burst")
    steps = torch.arange(length)

    def whole(low, high):  # (batch, 1), from low to high - 1
        return torch.randint(low, high, (batch, 1), generator=random)

    begin = whole(24, length - 56)
    end = (begin + whole(48, length)).clamp(max=length)
    seizure = whole(0, 2) == 1
    since = steps - begin
    waves = (since >= 0) & (steps < end)
    burst = seizure & (since >= -8) & (since < 0)
    spike = torch.rand(batch, length, generator=random) < 0.04

    rate = STEPS_PER_SECOND * SAMPLES_PER_STEP
    time = torch.arange(length * SAMPLES_PER_STEP) / rate  # s
    phase = 2 * math.pi * torch.rand(batch, 2, 1, generator=random)
    slow = torch.sin(2 * math.pi * 3 * time + phase[:, 0])
    fast = 1.5 * torch.sin(2 * math.pi * 20 * time + phase[:, 1])
    x = 0.2 * torch.randn(batch, len(time), generator=random)
    x += slow * waves.repeat_interleave(SAMPLES_PER_STEP, 1) + fast * burst.repeat_interleave(SAMPLES_PER_STEP, 1)
    x = x.unflatten(1, (length, SAMPLES_PER_STEP))
    x += spike[..., None] * torch.tensor([0.7, 2.0, 0.9, 0.2])
    ictal = burst | (waves & seizure)
    return x, 2.0 * torch.stack([ictal, spike], dim=-1) - 1, torch.where(waves, since, -1)
