"""The short convolution of a block from its weights alone, tap by tap: for the tests that build a block by hand."""

import torch


def convolved_by_hand(x, conv1d, past):
    """What a convolution of each channel gives whose first tap reads `past` steps back; zeros lie around the sequence.

    Parameters
    ----------
    x : (batch, length, channels)
    conv1d : Conv1d
        Its weight is (channels, 1, d_conv).
    past : int
        d_conv - 1 for a causal convolution, d_conv // 2 for a centered one.

    Returns
    -------
    (batch, length, channels)
    """
    length = x.shape[1]
    convolved = torch.zeros_like(x) + conv1d.bias
    for t in range(length):
        for tap in range(conv1d.weight.shape[-1]):
            source = t + tap - past
            if 0 <= source < length:
                convolved[:, t] = convolved[:, t] + conv1d.weight[:, 0, tap] * x[:, source]
    return convolved
