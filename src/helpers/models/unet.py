"""The U-Net around the bottleneck: an encoder from 256 Hz down to 16 Hz, and a decoder back up with skips.

It sees short stretches only (about half a second at the bottleneck); all longer context is the bottleneck's job.
Source: Ronneberger 2015, in one dimension, with the widths of the reference detector.
"""

from itertools import pairwise

import torch
from torch import nn

__all__ = ["Decoder", "Encoder", "conv_block"]


def conv_block(in_channels, out_channels, kernel_size):
    """Convolution, batch norm, ReLU; (batch, in_channels, length) to (batch, out_channels, length)."""
    return nn.Sequential(
        nn.Conv1d(in_channels, out_channels, kernel_size, padding=kernel_size // 2),
        nn.BatchNorm1d(out_channels),
        nn.ReLU(inplace=True),
    )


class Encoder(nn.Module):
    """(batch, in_channels, length) to (batch, widths[-1], length / 2**len(widths)), and one skip a stage.

    Parameters
    ----------
    in_channels : int
        EEG channels.
    widths : sequence of int
        Channels of each stage; each stage halves the rate.
    """

    def __init__(self, in_channels, widths):
        super().__init__()
        self.input = conv_block(in_channels, widths[0], 7)
        self.stages = nn.ModuleList(
            nn.Sequential(conv_block(narrow, wide, 5), conv_block(wide, wide, 5))
            for narrow, wide in pairwise([widths[0], *widths])
        )
        self.downs = nn.ModuleList(nn.Conv1d(width, width, kernel_size=2, stride=2) for width in widths)

    def forward(self, x):
        """Return the bottleneck and the list of skips, finest first."""
        x, skips = self.input(x), []
        for stage, down in zip(self.stages, self.downs, strict=True):
            skips.append(stage(x))
            x = down(skips[-1])
        return x, skips


class Decoder(nn.Module):
    """The bottleneck and the skips to (batch, out_channels, length): the encoder's mirror.

    Parameters
    ----------
    widths : sequence of int
        The encoder's widths, finest first.
    out_channels : int
        Maps in the output.
    """

    def __init__(self, widths, out_channels):
        super().__init__()
        upward = list(pairwise([*reversed(widths), widths[0]]))  # (512, 256) (256, 128) (128, 64) (64, 64)
        self.ups = nn.ModuleList(nn.ConvTranspose1d(deep, width, kernel_size=2, stride=2) for deep, width in upward)
        self.stages = nn.ModuleList(
            nn.Sequential(conv_block(width + skip, width, 5), conv_block(width, width, 5))
            for (_, width), skip in zip(upward, reversed(widths), strict=True)
        )
        self.output = nn.Conv1d(widths[0], out_channels, kernel_size=1)

    def forward(self, x, skips):
        """x (batch, widths[-1], short) and the skips, finest first, to (batch, out_channels, length)."""
        for up, stage, skip in zip(self.ups, self.stages, reversed(skips), strict=True):
            x = stage(torch.cat([up(x), skip], dim=1))
        return self.output(x)
