"""The residual convolution block between the U-Net's encoder and the Bi-Mamba-2 layers.

Three kernel widths side by side. At the bottleneck's 16 Hz they span 0.2 to 0.4 s: they shape local rhythm, not spikes,
which are faster than 8 Hz and travel through the U-Net's skips.
"""

import torch
from torch import nn

from helpers.models.unet import conv_block

__all__ = ["ResCNN"]


class ResCNN(nn.Module):
    """ReLU(x + f(x)): branches with kernels 3, 5 and 7, concatenated, mixed by a 1x1 convolution.

    Parameters
    ----------
    channels : int
        Channels of the input and the output; a third of them for each branch, the rest for the last.
    dropout : float
        Probability of zeroing a channel of f, in training.
    """

    def __init__(self, channels, dropout=0.1):
        super().__init__()
        third = channels // 3
        widths = {3: third, 5: third, 7: channels - 2 * third}
        self.branches = nn.ModuleList(conv_block(channels, width, kernel) for kernel, width in widths.items())
        self.mix = nn.Sequential(nn.Conv1d(channels, channels, kernel_size=1), nn.BatchNorm1d(channels))
        self.dropout = nn.Dropout1d(dropout)

    def forward(self, x):
        """(batch, channels, length) to (batch, channels, length)."""
        branches = torch.cat([branch(x) for branch in self.branches], dim=1)
        return torch.relu(x + self.dropout(self.mix(branches)))
