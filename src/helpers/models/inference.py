"""The detector as a copy that computes the same function with fewer operations, for when it is only read from.

Three identities, applied to a copy: a batch norm in evaluation is a scale and a shift, so it goes into the convolution
before it; linear maps in a row are one, so each direction's norm weight and output projection go into the map (or the
sum) that joins the directions, and the head into the decoder's last map; a convolution in time is one over an image of
height 1, which in channels-last memory is the order that the Mamba-2 layers read, so nothing is transposed on the way.
Outputs agree up to rounding.
"""

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from helpers.models.bimamba2 import BiMamba2
from helpers.models.detector import check_window, layers_backend
from helpers.models.linear import Linear

__all__ = ["FusedDetector", "fuse_for_inference"]


def fuse_for_inference(model):
    """The fused copy of a detector.

    Parameters
    ----------
    model : SeizureDetector
        With any mixing and backend, in evaluation mode; it is left as it is.

    Returns
    -------
    FusedDetector
        In evaluation mode, without gradients. Its state dict is another one: save `model`, not the copy.

    Raises
    ------
    ValueError
        If `model` is in training mode, where a batch norm depends on the batch.
    """
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")
    return FusedDetector(model).eval().requires_grad_(False)


class FusedDetector(nn.Module):
    """What `fuse_for_inference` returns: maps what `SeizureDetector` maps, in evaluation only."""

    def __init__(self, model):
        super().__init__()
        model = copy.deepcopy(model)
        self.n_channels, self.stride = model.n_channels, model.stride
        model.decoder.output = _joined_head(model.decoder.output, model.head)
        for module in list(model.modules()):
            if isinstance(module, nn.Sequential):
                _fold_batch_norms(module)
            elif isinstance(module, BiMamba2):
                _join_projections(module)
        for part in (model.encoder, model.rescnn, model.decoder):
            _turn_into_images(part)
        self.encoder, self.rescnn, self.mamba, self.decoder = model.encoder, model.rescnn, model.mamba, model.decoder

    def forward(self, eeg):
        """(batch, n_channels, length) to (batch, length) logits."""
        check_window(eeg, self.n_channels, self.stride)
        image = eeg[:, :, None].contiguous(memory_format=torch.channels_last)
        x, skips = self.encoder(image)  # (batch, 512, 1, length / 16)
        x = self.rescnn(x)
        x = self.mamba(x[:, :, 0].transpose(1, 2)).transpose(1, 2)[:, :, None]
        return self.decoder(x, skips)[:, 0, 0]  # (batch, length)

    def backend_for(self, eeg):
        """Which backend computes the layers for the input `eeg`; as `SeizureDetector.backend_for`."""
        return layers_backend(self.mamba, eeg, self.stride)


def _fold_batch_norms(sequence):
    for index, (conv, norm) in enumerate(pairwise(sequence)):
        if isinstance(conv, nn.Conv1d) and isinstance(norm, nn.BatchNorm1d):
            sequence[index], sequence[index + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


def _join_projections(layer):
    if layer.backend == "conv1d" or layer.mixing == "shared":
        return  # the stand-in has no projections; one shared block has nothing to join its own with
    directions = (layer.forward_ssm, layer.backward_ssm)
    joined = [ssm.out_proj.weight * ssm.norm.weight for ssm in directions]  # (d_model, d_inner) each
    bias = None
    if layer.mixing == "concat":
        halves, bias = layer.mix.weight.chunk(2, dim=1), layer.mix.bias  # (d_model, d_model) for each direction
        joined = [half @ weight for half, weight in zip(halves, joined, strict=True)]
    layer.mix, layer.mixing = _with_weights(Linear, torch.cat(joined, dim=1), bias), "concat"  # (d_model, 2 d_inner)
    for ssm in directions:
        ssm.out_proj, ssm.norm.weight = nn.Identity(), None


def _joined_head(output, head):
    weight = head.weight[:, :, 0] @ output.weight[:, :, 0]  # (1, width)
    bias = head.weight[:, :, 0] @ output.bias + head.bias
    return _with_weights(nn.Conv1d, weight[..., None], bias, kernel_size=1)


def _turn_into_images(module):
    """Replace each convolution in time by the one over images of height 1, its weight in channels-last memory."""
    images = {nn.Conv1d: nn.Conv2d, nn.ConvTranspose1d: nn.ConvTranspose2d}
    for name, child in module.named_children():
        if type(child) in images:
            sizes = {key: (1, getattr(child, key)[0]) for key in ("kernel_size", "stride")}
            image = images[type(child)](child.in_channels, child.out_channels, padding=(0, child.padding[0]), **sizes)
            weight = child.weight.detach()[:, :, None].contiguous(memory_format=torch.channels_last)
            image.weight, image.bias = nn.Parameter(weight), child.bias
            setattr(module, name, image)
        elif isinstance(child, nn.Dropout1d):
            setattr(module, name, nn.Identity())
        else:
            _turn_into_images(child)


def _with_weights(kind, weight, bias=None, **options):
    layer = kind(weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype, **options)
    layer.weight = nn.Parameter(weight.detach())
    layer.bias = None if bias is None else nn.Parameter(bias.detach())
    return layer
