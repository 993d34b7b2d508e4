"""Cost of a layer against the length of its input: one Transformer layer and one bidirectional Mamba-2 layer.

Forward and backward, at a number of steps that stays the same, so that a layer whose cost is linear in the length shows
a flat line. It times layers alone: no data, no optimizer, no accuracy.
"""

import math
import time
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from helpers.models import BiMamba2

__all__ = ["LengthCost", "crossover", "measure_length"]

LAYERS = ("Transformer", "Bi-Mamba-2")


@dataclass(frozen=True)
class LengthCost:
    """What one layer costs at one length, forward and backward.

    Attributes
    ----------
    layer : str
        "Transformer" or "Bi-Mamba-2".
    length, batch : int
        Steps of one sequence, and sequences.
    backend : str or None
        What computed it: "torch", for Mamba-2 also "mamba_ssm" or "conv1d" (`BiMamba2.backend_for`).
    ms, low, high : float or None
        Median, smallest and largest time of the repeats; None where it was left out.
    first_s : float or None
        Time of the first call at this length, not counted above: a fresh process compiles and tunes kernels in it.
    peak_mib : float or None
        Largest GPU memory during the repeats, weights included; None on a CPU.
    expected_s : float or None
        Where it was left out: how long one call would have taken, after the length before it.
    busy_ms : float or None
        Of one call, how long the GPU computed, by torch's profiler. What is missing to `ms` is time in which it waited
        for the CPU to start the next kernel. None on a CPU.
    """

    layer: str
    length: int
    batch: int
    backend: str | None = None
    ms: float | None = None
    low: float | None = None
    high: float | None = None
    first_s: float | None = None
    peak_mib: float | None = None
    expected_s: float | None = None
    busy_ms: float | None = None

    @property
    def ns_per_step(self):
        """Median time divided by all steps of the batch, ns; None where it was left out."""
        return _per_step(self.ms, self)

    @property
    def busy_ns_per_step(self):
        """As `ns_per_step`, of `busy_ms`."""
        return _per_step(self.busy_ms, self)


def measure_length(lengths, steps, d_model=512, device=None, repeats=10, limit_s=10.0):
    """Time both layers at each length, forward and backward.

    Parameters
    ----------
    lengths : sequence of int
        Increasing.
    steps : int
        In a batch: ``steps // length`` sequences, at least one.
    d_model : int
        Width; a multiple of 64, the width of one head of either layer. The Transformer layer is torch's, with a
        feedforward width of 4 d_model and no mask; `BiMamba2` has d_state 16. Neither has dropout.
    device : str, optional
        Default: "cuda" where there is one, else "cpu". On a GPU it computes under bfloat16 autocast.
    repeats : int
        Timed calls at each length, after two that are not counted. A length at which these would take longer than
        `limit_s` gets fewer, at least two.
    limit_s : float
        A layer is left out at a length where a single call is expected to take longer. Expected is growth with the
        square of the length for the Transformer, with the length for Mamba-2.

    Returns
    -------
    list of LengthCost
        Both layers at every length, in the order of `lengths`.

    Raises
    ------
    ValueError
        If the lengths do not increase, or `d_model` is no multiple of 64.
    """
    if not lengths or list(lengths) != sorted(set(lengths)) or lengths[0] < 1:
        raise ValueError(f"lengths are {lengths!r}; expected increasing positive numbers of steps, at least one")
    if d_model % 64 or d_model < 64:
        raise ValueError(f"d_model is {d_model}; expected a multiple of 64, the width of one head")
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    layers = {name: _build(name, d_model).to(device) for name in LAYERS}
    costs, last = [], {}
    for length in lengths:
        batch = max(1, steps // length)
        left_out = {name: _expected_s(cost, length, batch) for name, cost in last.items()}
        left_out = {name: seconds for name, seconds in left_out.items() if seconds > limit_s}
        timed = {name: layer for name, layer in layers.items() if name not in left_out}
        last |= _measure(timed, length, batch, d_model, device, repeats, limit_s)
        for name in LAYERS:
            costs.append(last[name] if name in timed else LengthCost(name, length, batch, expected_s=left_out[name]))
    return costs


def crossover(costs, busy=False):
    """Length from which Mamba-2 is the faster one, interpolated in logarithms between two measured lengths.

    Parameters
    ----------
    costs : list of LengthCost
        As from `measure_length`.
    busy : bool
        Compare `busy_ms`, the GPU's own time, and not `ms`.

    Returns
    -------
    float or None
        None if one of the two is faster at every length that was measured of both.
    """
    ratios = {}  # length: time of Mamba-2 / time of the Transformer, as logarithm
    for cost in costs:
        took = cost.busy_ns_per_step if busy else cost.ns_per_step
        if took is not None:
            sign = 1 if cost.layer == "Bi-Mamba-2" else -1
            ratios.setdefault(cost.length, []).append(sign * math.log(took))
    both = sorted((length, sum(pair)) for length, pair in ratios.items() if len(pair) == 2)
    for (short, before), (long, after) in pairwise(both):
        if before > 0 >= after:
            return short * (long / short) ** (before / (before - after))
    return None


def _per_step(ms, cost):
    return None if ms is None else ms * 1e6 / (cost.length * cost.batch)


def _expected_s(cost, length, batch):
    """How long one call will take, after the cost at a shorter length."""
    growth = length / cost.length
    return cost.ms / 1e3 * (growth**2 if cost.layer == "Transformer" else growth) * batch / cost.batch


def _build(name, d_model):
    if name == "Transformer":
        return nn.TransformerEncoderLayer(d_model, d_model // 64, 4 * d_model, dropout=0.0, batch_first=True)
    return BiMamba2(d_model, dropout=0.0, d_state=16)


def _measure(layers, length, batch, d_model, device, repeats, limit_s):
    """Time layers in turn, so that a machine that is busy for a while slows all of them down."""
    x = torch.randn(batch, length, d_model, device=device, requires_grad=True)
    gradient = torch.randn_like(x)  # of the output; that of a sum would vanish in the last LayerNorm
    first = {name: _seconds(layer, x, gradient) for name, layer in layers.items()}
    turns = {name: _turns(_seconds(layer, x, gradient), repeats, limit_s) for name, layer in layers.items()}
    times, peaks = {name: [] for name in layers}, dict.fromkeys(layers, 0.0)
    for turn in range(max(turns.values(), default=0)):
        for name, layer in layers.items():
            if turn >= turns[name]:
                continue
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            times[name].append(_seconds(layer, x, gradient) * 1e3)
            if device == "cuda":
                peaks[name] = max(peaks[name], torch.cuda.max_memory_allocated() / 2**20)
            layer.zero_grad(set_to_none=True)
    return {
        name: LengthCost(
            name,
            length,
            batch,
            _backend(layers[name], x),
            median(ms),
            min(ms),
            max(ms),
            first[name],
            peaks[name] or None,
            busy_ms=_busy_ms(layers[name], x, gradient) if device == "cuda" else None,
        )
        for name, ms in times.items()
    }


def _backend(layer, x):
    return layer.backend_for(x) if isinstance(layer, BiMamba2) else "torch"


def _turns(seconds, repeats, limit_s):
    return max(2, min(repeats, int(limit_s / seconds)))


def _seconds(layer, x, gradient):
    """Time of one forward and backward pass. Old gradients are dropped before the clock starts."""
    layer.zero_grad(set_to_none=True)
    x.grad = None
    if x.device.type != "cuda":
        began = time.perf_counter()
        layer(x).backward(gradient)
        return time.perf_counter() - began
    began, ended = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    began.record()
    with torch.autocast("cuda", torch.bfloat16):
        y = layer(x)
    y.backward(gradient.to(y.dtype))
    ended.record()
    torch.cuda.synchronize()
    return began.elapsed_time(ended) / 1e3  # event times are in ms


def _busy_ms(layer, x, gradient):
    """Add up the times of all kernels of one call."""
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as seen:  # else it warns
        _seconds(layer, x, gradient)
    layer.zero_grad(set_to_none=True)
    return sum(kernel.self_device_time_total for kernel in seen.key_averages()) / 1e3  # the profiler counts in µs
