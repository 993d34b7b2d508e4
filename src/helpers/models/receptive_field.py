"""What one step of the bottleneck has seen of the EEG: computed from kernels and strides, and checked by gradients.

`receptive_field` is the arithmetic for any chain of convolutions, `receptive_fields` applies it to a detector as it is
built. `influence` asks the network itself: which samples move a given output step at all. State space layers have no
receptive field in this sense: they reach every step of the window.
"""

from dataclasses import dataclass

import torch
from torch import nn

from helpers.models.rescnn import ResCNN

__all__ = ["ReceptiveField", "influence", "receptive_field", "receptive_fields"]


@dataclass(frozen=True)
class ReceptiveField:
    """Samples that one output step can depend on, and samples between two neighboring steps."""

    size: int
    step: int


def receptive_field(layers):
    """The receptive field of a chain of convolutions.

    Parameters
    ----------
    layers : iterable of (int, int)
        Kernel size and stride of each, from the input on.

    Returns
    -------
    ReceptiveField
        In samples of the input.

    Raises
    ------
    ValueError
        If a kernel size or a stride is below 1.

    Notes
    -----
    A kernel of k steps adds k - 1 steps to what is seen, each as long as all strides before it multiplied together.
    """
    size, step = 1, 1
    for kernel_size, stride in layers:
        if kernel_size < 1 or stride < 1:
            raise ValueError(f"kernel size {kernel_size} with stride {stride}; expected at least 1 for both")
        size += (kernel_size - 1) * step
        step *= stride
    return ReceptiveField(size, step)


def receptive_fields(model):
    """Receptive field after each stage on the way down to a detector's state space layers.

    Parameters
    ----------
    model : SeizureDetector

    Returns
    -------
    dict of str to ReceptiveField
        By stage, in the order of the pass: ``"encoder.input"``, ``"encoder.stages.0"``, ``"encoder.downs.0"``, …,
        ``"rescnn.2"``.
    """
    encoder = model.encoder
    path = {"encoder.input": encoder.input}
    for index, (stage, down) in enumerate(zip(encoder.stages, encoder.downs, strict=True)):
        path |= {f"encoder.stages.{index}": stage, f"encoder.downs.{index}": down}
    path |= {f"rescnn.{index}": block for index, block in enumerate(model.rescnn)}
    layers, fields = [], {}
    for name, module in path.items():
        layers += _layers(module)
        fields[name] = receptive_field(layers)
    return fields


def influence(function, eeg, step):
    """How much each sample of the EEG moves one output step: where it is zero, the step has not seen the sample.

    Parameters
    ----------
    function : callable
        (1, n_channels, length) to (1, width, steps); a module in evaluation mode, where steps do not meet in a batch
        norm.
    eeg : Tensor, (1, n_channels, length)
        In float64: there a convolution leaves exact zeros; in float32 some algorithms leave rounding instead.
    step : int
        Of the output.

    Returns
    -------
    Tensor, (length,)
        Absolute gradient of one random, always equal combination of the step's outputs, summed over the EEG's channels.
        (Their plain sum would not do: after a layer norm it is constant.)

    Raises
    ------
    ValueError
        If `eeg` is no float64, or `step` is not one of the output's.
    """
    if eeg.dtype != torch.float64:
        raise ValueError(f"eeg is {eeg.dtype}; expected float64. Use eeg.double() and model.double()")
    eeg = eeg.detach().requires_grad_()
    output = function(eeg)
    if not 0 <= step < output.shape[-1]:
        raise ValueError(f"step {step} of an output of {output.shape[-1]} steps; expected 0 to {output.shape[-1] - 1}")
    random = torch.Generator().manual_seed(0)
    combination = torch.randn(output.shape[1], generator=random, dtype=eeg.dtype).to(eeg.device)
    (gradient,) = torch.autograd.grad(output[0, :, step] @ combination, eeg)
    return gradient.abs().sum(dim=(0, 1))


def _layers(module):
    """(kernel size, stride) of the convolutions in a stage, in order; of parallel branches the widest."""
    if isinstance(module, ResCNN):
        widest = max(module.branches, key=lambda branch: branch[0].kernel_size[0])
        return _layers(widest) + _layers(module.mix)
    return [(conv.kernel_size[0], conv.stride[0]) for conv in module.modules() if isinstance(conv, nn.Conv1d)]
