"""The short depthwise causal convolution of Mamba-2, channels last, of any width."""

import torch.nn.functional as F

__all__ = ["causal_conv"]


def causal_conv(x, weight, bias):
    """Depthwise causal convolution, channels last: (batch, length, channels) to the same shape.

    As a convolution over an image of height 1 in channels-last memory, so that nothing is transposed on the way.
    """
    image = F.pad(x, (0, 0, weight.shape[-1] - 1, 0)).transpose(1, 2)[
        :, :, None
    ]  # (batch, channels, 1, d_conv-1+length)
    return F.conv2d(image, weight[:, :, None], bias, groups=weight.shape[0])[:, :, 0].transpose(1, 2)
