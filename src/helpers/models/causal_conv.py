"""The short depthwise causal convolution of Mamba-2, channels last, of any width.

As shifted multiply-adds a piece of the sequence at a time: with a few taps these are faster on a CPU than a
convolution, whose gradient of the weights torch computes channel by channel. Not for other convolutions.
"""

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from helpers.models.pieces import pieces

__all__ = ["causal_conv"]


def causal_conv(x, weight, bias, silu=False):
    """Depthwise causal convolution, channels last, and the SiLU after it if asked for.

    Parameters
    ----------
    x : Tensor, (batch, length, channels)
        Of any strides.
    weight : Tensor, (channels, 1, d_conv)
        As `torch.nn.Conv1d` has it: the last tap reads the present step.
    bias : Tensor, (channels,)
    silu : bool
        Apply SiLU to the result; then the convolution itself is not kept for the backward pass.

    Returns
    -------
    Tensor, (batch, length, channels)
        Of the dtype of `x`; computed in float32 at least, under autocast too.

    Notes
    -----
    There are first derivatives only; asking for second ones raises.
    """
    return _CausalConv.apply(x, weight, bias, silu)


class _CausalConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, silu):
        work = torch.promote_types(x.dtype, torch.float32)
        taps, bias = weight[:, 0].T.to(work).contiguous(), bias.to(work)  # (d_conv, channels)
        y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        for steps in _pieces(x):
            convolved, _ = _convolved(x, taps, bias, steps)
            y[:, steps] = F.silu(convolved, inplace=True) if silu else convolved
        ctx.save_for_backward(x, taps, bias)
        ctx.silu = silu
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, y_grad):
        x, taps, bias = ctx.saved_tensors
        length, d_conv = x.shape[1], len(taps)
        x_grad = torch.empty(x.shape, dtype=x.dtype, device=x.device)
        taps_grad, bias_grad = torch.zeros_like(taps), torch.zeros_like(bias)
        for steps in _pieces(x):
            n = steps.stop - steps.start
            # A step of x is read by d_conv - 1 later ones: the gradient of this piece needs theirs as well.
            reach = slice(steps.start, min(steps.stop + d_conv - 1, length))
            grad = y_grad[:, reach].to(taps.dtype)
            if ctx.silu:
                convolved, seen = _convolved(x, taps, bias, reach)
                grad = torch.ops.aten.silu_backward(grad, convolved)
            else:
                seen = _seen(x, taps, reach)
            if grad.shape[1] < n + d_conv - 1:  # the end of the sequence: nothing reads beyond it
                grad = F.pad(grad, (0, 0, 0, n + d_conv - 1 - grad.shape[1]))
            here = grad[:, :n]
            bias_grad += here.sum((0, 1))
            piece = here * taps[-1]
            for lag in range(d_conv):
                past = seen[:, d_conv - 1 - lag :][:, :n]
                taps_grad[-1 - lag] += (here * past).sum((0, 1))
                if lag:
                    piece.addcmul_(grad[:, lag : lag + n], taps[-1 - lag])
            x_grad[:, steps] = piece
        return x_grad, taps_grad.T[:, None], bias_grad, None


def _convolved(x, taps, bias, steps):
    """Return the convolution at `steps`, and what of x it has read: (batch, d_conv - 1 + steps, channels)."""
    seen = _seen(x, taps, steps)
    n, d_conv = steps.stop - steps.start, len(taps)
    y = torch.addcmul(bias, seen[:, d_conv - 1 :], taps[-1])
    for lag in range(1, d_conv):
        y.addcmul_(seen[:, d_conv - 1 - lag :][:, :n], taps[-1 - lag])
    return y, seen


def _seen(x, taps, steps):
    start = steps.start - (len(taps) - 1)
    seen = x[:, max(0, start) : steps.stop].to(taps.dtype)
    return seen if start >= 0 else F.pad(seen, (0, 0, -start, 0))  # zeros before the beginning


def _pieces(x):
    return pieces(x.shape[1], x.shape[0] * x.shape[2], x.device)
