"""The same function with fewer operations, for when a detector is only read from.

Two identities of linear algebra, applied to a copy: a batch norm in evaluation is a scale and a shift, so it goes into
the convolution before it; linear maps in a row are one, so each direction's norm weight and output projection go into
the map that joins the directions. Outputs agree up to rounding.
"""

import copy
from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from helpers.models.bimamba2 import BiMamba2
from helpers.models.linear import Linear

__all__ = ["fuse_for_inference"]


def fuse_for_inference(model):
    """A copy of a detector with batch norms and output projections folded away.

    Parameters
    ----------
    model : nn.Module
        In evaluation mode; it is left as it is.

    Returns
    -------
    nn.Module
        In evaluation mode, without gradients. Its state dict is another one: save `model`, not the copy.

    Raises
    ------
    ValueError
        If `model` is in training mode, where a batch norm depends on the batch.
    """
    if model.training:
        raise ValueError("the model is in training mode; call model.eval() first")
    fused = copy.deepcopy(model).requires_grad_(False)
    for module in list(fused.modules()):
        if isinstance(module, nn.Sequential):
            _fold_batch_norms(module)
        elif isinstance(module, BiMamba2):
            _join_projections(module)
    return fused


def _fold_batch_norms(sequence):
    for index, (conv, norm) in enumerate(pairwise(sequence)):
        if isinstance(conv, nn.Conv1d) and isinstance(norm, nn.BatchNorm1d):
            sequence[index], sequence[index + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()


def _join_projections(layer):
    directions = (layer.forward_ssm, layer.backward_ssm)
    halves = layer.mix.weight.chunk(2, dim=1)  # (d_model, d_model) for each direction
    joined = [half @ (ssm.out_proj.weight * ssm.norm.weight) for half, ssm in zip(halves, directions, strict=True)]
    weight, bias = torch.cat(joined, dim=1), layer.mix.bias  # (d_model, 2 d_inner)
    layer.mix = Linear(weight.shape[1], weight.shape[0], device=weight.device, dtype=weight.dtype)
    layer.mix.weight, layer.mix.bias = nn.Parameter(weight, requires_grad=False), bias
    for ssm in directions:
        ssm.out_proj, ssm.norm.weight = nn.Identity(), None
