"""The gated root-mean-square norm that stands between the SSD and the output projection of Mamba-2."""

import torch
import torch.nn.functional as F
from torch import nn

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
    """

    def __init__(self, width, groups=1, eps=1e-5):
        super().__init__()
        self.groups, self.eps = groups, eps
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, y, z):
        """y and z (..., width) to (..., width)."""
        gated = (y * F.silu(z)).unflatten(-1, (self.groups, -1))
        mean_square = torch.linalg.vector_norm(gated, dim=-1, keepdim=True).square() / gated.shape[-1]
        normed = (gated * torch.rsqrt(mean_square + self.eps)).flatten(-2)
        return normed if self.weight is None else normed * self.weight
