"""The bidirectional Mamba-2 layer: one Mamba-2 reads forward in time, another reads backward, a linear map joins them.

For signals that are complete when they are read, as a 60 s window of EEG is. The two directions share no weights.
"""

import torch
from torch import nn

from helpers.models.linear import Linear
from helpers.models.mamba2 import Mamba2

__all__ = ["BiMamba2"]


class BiMamba2(nn.Module):
    """Two directions, concatenated, projected, added to the input and normalized after the addition.

    y = LayerNorm(x + Dropout(W [M_f(x), flip(M_b(flip(x)))])), with flip reversing time.

    Parameters
    ----------
    d_model : int
        Width of the input and the output.
    dropout : float
        Probability of a zero on the branch, in training.
    **mamba2
        Options of `Mamba2`, the same for both directions.

    Notes
    -----
    Source: the bottleneck layer of ``brain-go-brr-v2`` v2.1.0, built anew.
    """

    def __init__(self, d_model, dropout=0.1, **mamba2):
        super().__init__()
        self.forward_ssm = Mamba2(d_model, **mamba2)
        self.backward_ssm = Mamba2(d_model, **mamba2)
        self.mix = Linear(2 * d_model, d_model)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(d_model)

    def forward(self, x):
        """(batch, length, d_model) to (batch, length, d_model)."""
        ahead = self.forward_ssm(x)
        behind = self.backward_ssm(x.flip(1)).flip(1)
        return self.norm(x + self.dropout(self.mix(torch.cat([ahead, behind], dim=-1))))
