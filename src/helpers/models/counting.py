"""Parameters and operations of a detector, stage by stage, from a pass through the very model.

The pass runs on torch's meta device: shapes without numbers, so that it costs nothing and needs no GPU. What is counted
are convolutions and matrix products, those inside the state space layers too, at two operations a multiplication with
addition. What is left out: everything elementwise (norms, activations, gates, exponentials, cumulative sums, flips,
concatenations, the four taps of Mamba-2's own convolution), which costs little arithmetic and much time.
"""

import copy
import warnings
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from helpers.models.detector import SeizureDetector
from helpers.models.stand_in import Conv1dStandIn, StandInWarning

__all__ = ["Stage", "Total", "count_stages", "published_totals", "stages_of"]


@dataclass(frozen=True)
class Stage:
    """One stage of a detector, counted.

    Attributes
    ----------
    name : str
        The module's path in the model.
    operation : str
        What it does, in words.
    shape : tuple of int
        Of its output for one window, (channels, steps).
    rate : float
        Steps a second, Hz.
    parameters : int
    gflop : float
        10^9 operations for one window, forward.
    """

    name: str
    operation: str
    shape: tuple
    rate: float
    parameters: int
    gflop: float


@dataclass(frozen=True)
class Total:
    """A number of parameters that has been published for this network, and what has that many."""

    parameters: int
    counted: str
    meaning: str


def count_stages(model, length=15360, sfreq=256.0):
    """Count a detector in one pass of one window.

    Parameters
    ----------
    model : SeizureDetector or FusedDetector
        Left as it is.
    length : int
        Samples of the window.
    sfreq : float
        Sampling rate of the window, Hz.

    Returns
    -------
    list of Stage
        In the order of the pass. Parameters and operations add up to those of the whole.

    Raises
    ------
    ValueError
        If `length` is no multiple of the model's stride.

    Notes
    -----
    The operations are those of the torch path; the official kernels choose chunks of another size.
    """
    model = _without_numbers(model).eval()
    for module in model.modules():
        if getattr(module, "backend", None) == "mamba_ssm":  # a kernel runs on a GPU only; the same function, in torch
            module.backend = "torch"
    stages, shapes = stages_of(model), {}
    for name, _, module in stages:
        module.register_forward_hook(lambda _, __, output, name=name: shapes.update({name: output.shape}))
    root = type(model).__name__
    with FlopCounterMode(display=False, custom_mapping=_NOT_IN_TORCH) as counter, torch.no_grad():
        model(torch.empty(1, model.n_channels, length, device="meta", dtype=next(model.parameters()).dtype))
    operations = counter.get_flop_counts()
    rows = []
    for name, operation, module in stages:
        channels, steps = _channels_and_steps(name, shapes[name])
        parameters = sum(parameter.numel() for parameter in module.parameters())
        gflop = sum(operations.get(f"{root}.{name}", {}).values()) / 1e9
        rows.append(Stage(name, operation, (channels, steps), sfreq * steps / length, parameters, gflop))
    return rows


def published_totals():
    """The totals that have been published for the reference network, each counted on what has that many.

    Returns
    -------
    list of Total
    """
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", StandInWarning)  # it is built here to be counted
        whole, without = _parameters(SeizureDetector(backend="torch")), SeizureDetector(backend="conv1d")
        dead = sum(2 * _parameters(Conv1dStandIn(512)) for _ in without.mamba)
    return [
        Total(whole, "SeizureDetector()", "the network as described; every part runs"),
        Total(whole + dead, "the same, and two Conv1dStandIn a layer", "as the reference builds it; they never run"),
        Total(_parameters(without), 'SeizureDetector(backend="conv1d")', 'the "13.4M"; no Mamba-2 is in it'),
    ]


def stages_of(model):
    """Name, operation in words and module of each stage of a detector, in the order of the pass.

    Parameters
    ----------
    model : SeizureDetector or FusedDetector

    Returns
    -------
    list of (str, str, torch.nn.Module)
    """
    encoder, decoder = model.encoder, model.decoder
    found = [("encoder.input", "convolution", encoder.input)]
    for index, (stage, down) in enumerate(zip(encoder.stages, encoder.downs, strict=True)):
        found.append((f"encoder.stages.{index}", "two convolutions", stage))
        found.append((f"encoder.downs.{index}", "half the rate", down))
    found += [(f"rescnn.{index}", "ResCNN block", block) for index, block in enumerate(model.rescnn)]
    for index, layer in enumerate(model.mamba):
        operation = "stand-in, NO Mamba-2" if layer.backend == "conv1d" else "Bi-Mamba-2 layer"
        found.append((f"mamba.{index}", operation, layer))
    for index, (up, stage) in enumerate(zip(decoder.ups, decoder.stages, strict=True)):
        found.append((f"decoder.ups.{index}", "twice the rate", up))
        found.append((f"decoder.stages.{index}", "skip, two convolutions", stage))
    found.append(("decoder.output", "map to channels", decoder.output))
    return [*found, ("head", "map to one logit", model.head)] if hasattr(model, "head") else found


def _product_in_place(total, left, right, out_shape=None, **factors):
    """Operations of ``total.baddbmm_(left, right)``, from shapes (batch, rows, inner) and (batch, inner, columns)."""
    (batch, rows, inner), columns = left, right[-1]
    return 2 * batch * rows * inner * columns


_NOT_IN_TORCH = {torch.ops.aten.baddbmm_: _product_in_place}  # the scan uses it; torch counts its other form only


def _without_numbers(model):
    """Copy a model to the meta device, without copying its numbers first."""
    memo = {id(p): torch.nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in model.parameters()}
    return copy.deepcopy(model, memo | {id(buffer): buffer.to("meta") for buffer in model.buffers()})


def _channels_and_steps(name, shape):
    if name.startswith("mamba."):
        return shape[2], shape[1]  # (batch, steps, channels)
    return shape[1], shape[-1]  # (batch, channels, steps), or (batch, channels, 1, steps) where it is fused


def _parameters(module):
    return sum(parameter.numel() for parameter in module.parameters())
