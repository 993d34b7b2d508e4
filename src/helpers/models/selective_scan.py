"""The selective scan: the sequence map inside Mamba (Mamba-1), computed two ways.

`selective_scan_recurrence` takes one step at a time in float64 and is the oracle: every other path is tested against
it, forward and backward. `selective_scan` is the same map in plain torch, on any device, for any length. Neither knows
about convolutions or projections; those are in `helpers.models.mamba`. Where all states of a channel decay at one rate
the map is the state space dual of `helpers.models.ssd`, which has a faster algorithm.

Source: Gu & Dao 2023, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces" (arXiv 2312.00752), section 3.
"""

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

__all__ = ["selective_scan", "selective_scan_recurrence"]

_SEGMENT = 32  # steps whose states exist at one time; it changes memory and time, never the result


def selective_scan_recurrence(x, dt, A, B, C, D=None, z=None, initial_state=None, return_final_state=False):
    """Selective scan, one step at a time, in float64: what every other path is tested against.

    Parameters
    ----------
    x : Tensor, (batch, length, channels)
        Input; `u` in mamba_ssm.
    dt : Tensor, (batch, length, channels)
        Step size, already through softplus; `delta` in mamba_ssm.
    A : Tensor, (channels, d_state)
        Negative decay rate of each state of each channel.
    B, C : Tensor, (batch, length, groups, d_state)
        Input and output maps; channel d reads group d // (channels // groups).
    D : Tensor, (channels,), optional
        Skip.
    z : Tensor, (batch, length, channels), optional
        Gate: the output is multiplied by SiLU(z).
    initial_state : Tensor, (batch, channels, d_state), optional
        State before the first step; zeros if None.
    return_final_state : bool
        Also return the state after the last step.

    Returns
    -------
    y : Tensor, (batch, length, channels)
        In float64, whatever the input's dtype.
    final_state : Tensor, (batch, channels, d_state)
        Only with ``return_final_state=True``.

    Raises
    ------
    ValueError
        If the shapes do not fit together, or a tensor is not of real floating-point numbers.

    Notes
    -----
    h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t,  y_t = (h_t C_t + D x_t) SiLU(z_t), each channel for itself. B is
    discretized as dt B, as in mamba_ssm, not as the zero-order hold of the paper's eq. 4. Gradients flow through every
    argument. The loop is slow on purpose: it has nothing in it that could be wrong.
    """
    _check(x, dt, A, B, C, D, z, initial_state)
    x, dt, A, B, C = (t.double() for t in (x, dt, A, B, C))
    share = x.shape[2] // B.shape[2]  # channels a group
    state = x.new_zeros(x.shape[0], *A.shape) if initial_state is None else initial_state.double()
    outputs = []
    for x_t, dt_t, B_t, C_t in zip(x.unbind(1), dt.unbind(1), B.unbind(1), C.unbind(1), strict=True):
        B_t, C_t = (t.repeat_interleave(share, dim=1) for t in (B_t, C_t))  # (batch, channels, d_state)
        decay = torch.exp(dt_t[:, :, None] * A)  # (batch, channels, d_state)
        state = decay * state + (dt_t * x_t)[:, :, None] * B_t
        outputs.append((state * C_t).sum(-1))  # (batch, channels)
    y = torch.stack(outputs, dim=1)  # (batch, length, channels)
    if D is not None:
        y = y + D.double() * x
    if z is not None:
        y = y * F.silu(z.double())
    return (y, state) if return_final_state else y


def selective_scan(x, dt, A, B, C, D=None, z=None, initial_state=None, return_final_state=False):
    """Selective scan in plain torch: one multiply-add a step, everything else many steps at a time.

    Parameters, errors and returns are those of `selective_scan_recurrence`, but y has the dtype of `x`, and the final
    state that of the computation: float64 where `x` is, else float32.

    Notes
    -----
    The states of a whole sequence are d_state times as large as its input, so only a short segment of them exists at a
    time: the backward pass computes each segment anew from the state before it. Nothing here is a matrix product, so
    neither autocast nor TF32 changes the result. There are first derivatives only; asking for second ones raises.
    """
    _check(x, dt, A, B, C, D, z, initial_state)
    work = torch.promote_types(x.dtype, torch.float32)
    groups = B.shape[2]

    # Channels by group: (batch, length, groups, channels a group, d_state), with a 1 where a tensor has no such axis.
    x_, dt_ = (t.to(work).unflatten(-1, (groups, -1)).unsqueeze(-1) for t in (x, dt))
    B_, C_ = (t.to(work).unsqueeze(-2) for t in (B, C))
    A_ = A.to(work).unflatten(0, (groups, -1))  # (groups, channels a group, d_state)
    if initial_state is None:
        state = torch.zeros(x.shape[0], *A_.shape, dtype=work, device=x.device)
    else:
        state = initial_state.to(work).unflatten(1, (groups, -1))

    y, state = _Scan.apply(x_, dt_, A_, B_, C_, state)
    y = y.flatten(2)  # (batch, length, channels)
    if D is not None:
        y = y + D.to(work) * x
    if z is not None:
        y = y * F.silu(z.to(work))
    y = y.to(x.dtype)
    return (y, state.flatten(1, 2)) if return_final_state else y


class _Scan(torch.autograd.Function):
    """The scan of `selective_scan`, a segment at a time. The backward pass runs each segment anew, then from its end.

    x and dt are (batch, length, groups, channels a group, 1), A is (groups, channels a group, d_state), B and C are
    (batch, length, groups, 1, d_state), the state is (batch, groups, channels a group, d_state).
    """

    @staticmethod
    def forward(ctx, x, dt, A, B, C, state):
        segments = _segments(x.shape[1])
        starts = state.new_empty(len(segments), *state.shape)  # the state before each segment
        y = torch.empty_like(x)
        for steps, start in zip(segments, starts, strict=True):
            start.copy_(state)
            _, states = _states(x[:, steps], dt[:, steps], A, B[:, steps], start)
            y[:, steps] = (states * C[:, steps]).sum(-1, keepdim=True)
            state = states[:, -1]
        ctx.save_for_backward(x, dt, A, B, C, starts)
        return y, state.clone()  # a view would keep the states of the last segment alive

    @staticmethod
    @once_differentiable
    def backward(ctx, y_grad, carried):
        x, dt, A, B, C, starts = ctx.saved_tensors
        x_grad, dt_grad, A_grad, B_grad, C_grad = (torch.zeros_like(t) for t in (x, dt, A, B, C))
        for steps, start in zip(reversed(_segments(x.shape[1])), reversed(starts.unbind(0)), strict=True):
            decay, states = _states(x[:, steps], dt[:, steps], A, B[:, steps], start)
            C_grad[:, steps] = (y_grad[:, steps] * states).sum(-2, keepdim=True)

            grad = y_grad[:, steps] * C[:, steps]  # of the states: what a step reads, and what the later steps do
            for to, a in zip(reversed(grad.unbind(1)), reversed(decay.unbind(1)), strict=True):
                to.add_(carried)
                carried = a * to

            B_grad[:, steps] = (grad * dt[:, steps] * x[:, steps]).sum(-2, keepdim=True)
            written = (grad * B[:, steps]).sum(-1, keepdim=True)  # of dt x
            x_grad[:, steps] = written * dt[:, steps]
            before = torch.cat([start[:, None], states[:, :-1]], dim=1)
            grad = grad * before * decay  # of dt A
            dt_grad[:, steps] = written * x[:, steps] + (grad * A).sum(-1, keepdim=True)
            A_grad += (grad * dt[:, steps]).sum((0, 1))
        return x_grad, dt_grad, A_grad, B_grad, C_grad, carried


def _states(x, dt, A, B, state):
    """Return the decay of each step and the state after it: (batch, steps, groups, channels a group, d_state) each."""
    decay = torch.exp(dt * A)
    states = dt * x * B
    for a, h in zip(decay.unbind(1), states.unbind(1), strict=True):
        state = h.addcmul_(a, state)
    return decay, states


def _segments(length):
    return [slice(start, start + _SEGMENT) for start in range(0, length, _SEGMENT)]


def _check(x, dt, A, B, C, D, z, initial_state):
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (batch, length, channels), none of them zero")
    batch, length, channels = x.shape
    if B.ndim != 4 or 0 in B.shape or channels % B.shape[2]:
        raise ValueError(
            f"B has shape {tuple(B.shape)}; expected (batch, length, groups, d_state) "
            f"with groups a divisor of the {channels} channels"
        )
    d_state = B.shape[3]
    expected = {
        "x": (x, tuple(x.shape)),
        "dt": (dt, (batch, length, channels)),
        "A": (A, (channels, d_state)),
        "B": (B, (batch, length, *B.shape[2:])),
        "C": (C, tuple(B.shape)),
        "D": (D, (channels,)),
        "z": (z, (batch, length, channels)),
        "initial_state": (initial_state, (batch, channels, d_state)),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is None:
            continue
        if tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {shape} to go with x {tuple(x.shape)}")
        if not tensor.is_floating_point():
            raise ValueError(f"{name} is {tensor.dtype}; expected real floating-point numbers, such as torch.float32")
