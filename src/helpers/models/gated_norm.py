"""The gated root-mean-square norm that stands between the SSD and the output projection of Mamba-2.

Forward and backward run a piece of the sequence at a time and keep the two inputs and one number a step and group.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.function import once_differentiable

from helpers.models.pieces import pieces

__all__ = ["GatedRMSNorm"]


class GatedRMSNorm(nn.Module):
    """Root-mean-square norm of y · SiLU(z), a group of channels at a time; the gate comes before the norm.

    Parameters
    ----------
    width : int
        Channels.
    groups : int
        Groups that are normalized each by itself.
    eps : float
        Added to the mean square.

    Notes
    -----
    Computes in float32 at least, under autocast too. There are first derivatives only; asking for second ones raises.
    """

    def __init__(self, width, groups=1, eps=1e-5):
        super().__init__()
        self.groups, self.eps = groups, eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, y, z):
        """y and z (..., length, width) to (..., length, width), of the dtype of y."""
        return _GatedNorm.apply(y, z, self.weight, self.groups, self.eps)


class _GatedNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, y, z, weight, groups, eps):
        work = torch.promote_types(y.dtype, torch.float32)
        weight = None if weight is None else weight.to(work)
        out = torch.empty(y.shape, dtype=y.dtype, device=y.device)
        scale = torch.empty(*y.shape[:-1], groups, 1, dtype=work, device=y.device)  # 1 / root mean square
        for steps in _pieces(y):
            gated = (y[..., steps, :].to(work) * F.silu(z[..., steps, :].to(work))).unflatten(-1, (groups, -1))
            mean_square = torch.linalg.vector_norm(gated, dim=-1, keepdim=True).square_() / gated.shape[-1]
            factor = torch.rsqrt(mean_square + eps)
            normed = (gated * factor).flatten(-2)
            scale[..., steps, :, :] = factor
            out[..., steps, :] = normed if weight is None else normed.mul_(weight)
        ctx.save_for_backward(y, z, weight, scale)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, out_grad):
        y, z, weight, scale = ctx.saved_tensors
        groups = scale.shape[-2]
        y_grad, z_grad = (torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (y, z))
        weight_grad = None if weight is None else torch.zeros_like(weight)
        for steps in _pieces(y):
            y_, z_, grad = (t[..., steps, :].to(scale.dtype) for t in (y, z, out_grad))
            factor, gate = scale[..., steps, :, :], F.silu(z_)
            normed = (y_ * gate).unflatten(-1, (groups, -1)).mul_(factor)
            if weight is not None:
                weight_grad += (grad * normed.flatten(-2)).flatten(0, -2).sum(0)
                grad = grad * weight
            grad = grad.unflatten(-1, (groups, -1))
            along = (grad * normed).mean(-1, keepdim=True)  # the norm takes out what points along its output
            grad = torch.addcmul(grad, normed, along, value=-1).mul_(factor).flatten(-2)  # of y · SiLU(z)
            y_grad[..., steps, :] = gate.mul_(grad)
            z_grad[..., steps, :] = torch.ops.aten.silu_backward(grad.mul_(y_), z_)
        return y_grad, z_grad, weight_grad, None, None


def _pieces(y):
    return pieces(y.shape[-2], y.numel() // y.shape[-2], y.device)
