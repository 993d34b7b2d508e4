"""State space duality (SSD): the sequence map inside Mamba-2, computed two ways.

`ssd_recurrence` takes one step at a time in float64 and is the oracle: every other path is tested against it, forward
and backward. `ssd_chunked` is the same map as a few matrix products a chunk, on any device, for any length; its
gradients are in `helpers.models.ssd_backward`. Neither knows about convolutions, gates or projections; those are in
`helpers.models.mamba2`.

Source: Dao & Gu 2024, "Transformers are SSMs" (arXiv 2405.21060), eq. 2 and section 6.
"""

import contextlib
import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable

from helpers.models.pieces import pieces
from helpers.models.ssd_backward import add_product, gradients_of_chunks

__all__ = ["ssd_chunked", "ssd_recurrence"]


def ssd_recurrence(x, dt, A, B, C, D=None, initial_state=None, return_final_state=False):
    """State space dual, one step at a time, in float64: what every other path is tested against.

    Parameters
    ----------
    x : Tensor, (batch, length, heads, headdim)
        Input.
    dt : Tensor, (batch, length, heads)
        Step size, already through softplus.
    A : Tensor, (heads,)
        Negative decay rate.
    B, C : Tensor, (batch, length, groups, d_state)
        Input and output maps; head h reads group h // (heads // groups).
    D : Tensor, (heads,), optional
        Skip.
    initial_state : Tensor, (batch, heads, headdim, d_state), optional
        State before the first step; zeros if None.
    return_final_state : bool
        Also return the state after the last step.

    Returns
    -------
    y : Tensor, (batch, length, heads, headdim)
        In float64, whatever the input's dtype.
    final_state : Tensor, (batch, heads, headdim, d_state)
        Only with ``return_final_state=True``.

    Raises
    ------
    ValueError
        If the shapes do not fit together.

    Notes
    -----
    h_t = exp(dt_t A) h_{t-1} + dt_t x_t B_t^T,  y_t = h_t C_t + D x_t   (Dao & Gu 2024, eq. 2).
    Gradients flow through every argument. The loop is slow on purpose: it has nothing in it that could be wrong.
    """
    _check_shapes(x, dt, A, B, C, D, initial_state)
    x, dt, A, B, C = (t.double() for t in (x, dt, A, B, C))
    batch, _, heads, headdim = x.shape
    B, C = (t.repeat_interleave(heads // t.shape[2], dim=2) for t in (B, C))  # (batch, length, heads, d_state)
    state = x.new_zeros(batch, heads, headdim, B.shape[-1]) if initial_state is None else initial_state.double()
    outputs = []
    for x_t, dt_t, B_t, C_t in zip(x.unbind(1), dt.unbind(1), B.unbind(1), C.unbind(1), strict=True):
        decay = torch.exp(dt_t * A)  # (batch, heads)
        write = torch.einsum("bh,bhp,bhn->bhpn", dt_t, x_t, B_t)
        state = decay[:, :, None, None] * state + write
        outputs.append(torch.einsum("bhpn,bhn->bhp", state, C_t))
    y = torch.stack(outputs, dim=1)  # (batch, length, heads, headdim)
    if D is not None:
        y = y + D.double()[:, None] * x
    return (y, state) if return_final_state else y


def ssd_chunked(x, dt, A, B, C, D=None, chunk_size=64, initial_state=None, return_final_state=False):
    """State space dual by chunks: matrix products inside a chunk, one small recurrence from chunk to chunk.

    Parameters and returns are those of `ssd_recurrence`, but y has the dtype of `x`, and the final state that of the
    computation: float64 where `x` is, else float32.

    Parameters
    ----------
    chunk_size : int
        Steps a chunk, any positive number. It changes the cost, never the result: inside a chunk the work grows with
        its square, between chunks with their number. The length need not be a multiple of it.

    Raises
    ------
    ValueError
        If the shapes do not fit together, or `chunk_size` is not positive.

    Notes
    -----
    A chunk maps what it reads and the state before it to what it gives and the state after it, by one matrix a head::

        [ y      ]   [ own       past  ] [ x     ]
        [ state' ] = [ writeᵀ    whole ] [ state ]

    The last chunk is filled with steps of dt = 0, which neither decay the state nor write to it. Autocast does not
    reach inside: products and sums are at least in float32. Every exponent is <= 0, so nothing overflows; each is a
    difference of two running sums of dt·A in its chunk, and carries their rounding. There are first derivatives
    only; asking for second ones raises.
    """
    _check_shapes(x, dt, A, B, C, D, initial_state)
    if chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}; it counts steps and must be at least 1")
    y, state = _Chunked.apply(x, dt, A, B, C, D, initial_state, min(chunk_size, x.shape[1]))
    return (y, state) if return_final_state else y


class _Chunked(torch.autograd.Function):
    """`ssd_chunked`, a piece of some chunks at a time.

    Inside, every tensor is (batch, chunks, groups, heads a group, rows, columns), the rows mostly the steps of a chunk,
    with 1 head in B and C, which serve a whole group.
    """

    @staticmethod
    def forward(ctx, x, dt, A, B, C, D, state, size):
        ctx.size, ctx.with_state = size, state is not None
        ctx.set_materialize_grads(False)
        batch, _, heads, headdim = x.shape
        groups, d_state = B.shape[2:]
        with _without_autocast(x.device):
            work = torch.promote_types(x.dtype, torch.float32)
            A_, D_ = (None if t is None else t.to(work).view(groups, -1, 1) for t in (A, D))
            if state is None:
                state = torch.zeros(batch, groups, heads // groups, d_state, headdim, dtype=work, device=x.device)
            else:
                state = state.to(work).unflatten(1, (groups, -1)).mT
            y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
            all_carried = []
            for steps in _pieces(x, size):
                x_, dt_, B_, C_ = _chunks(x, dt, B, C, steps, size, work)
                chunk = _matrices(dt_, A_, B_, C_, D_)

                # 1. What each chunk leaves behind: its writes, decayed to its last step.
                writes = chunk.write.mT @ x_  # (…, d_state, headdim)

                # 2. From chunk to chunk: the recurrence, one step a chunk.
                carried = torch.empty_like(writes)
                one_by_one = (t.unbind(1) for t in (carried, chunk.whole, writes))
                for before, whole, write in zip(*one_by_one, strict=True):
                    before.copy_(state)
                    state = torch.addcmul(write, whole, state)

                # 3. What a step reads of its own chunk. 4. And of the past: the carried state, decayed to the step.
                y_ = add_product(chunk.own @ x_, chunk.past, carried)  # (…, step, headdim)
                y[:, steps] = _steps(y_, steps)
                all_carried.append(carried)
        ctx.save_for_backward(x, dt, A_, B, C, D_, *all_carried)
        return y, state.flatten(1, 2).mT.contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx, y_grad, state_grad):
        x, dt, A, B, C, D, *all_carried = ctx.saved_tensors
        grads = [torch.empty(t.shape, dtype=t.dtype, device=t.device) for t in (x, dt, B, C)]
        A_grad, D_grad = torch.zeros_like(A), None if D is None else torch.zeros_like(D)
        y_grad = torch.zeros_like(x) if y_grad is None else y_grad
        if state_grad is None:
            state_grad = torch.zeros_like(all_carried[0][:, 0])
        else:
            state_grad = state_grad.unflatten(1, (B.shape[2], -1)).mT
        with _without_autocast(x.device):
            for steps, carried in zip(reversed(_pieces(x, ctx.size)), reversed(all_carried), strict=True):
                x_, dt_, B_, C_ = _chunks(x, dt, B, C, steps, ctx.size, A.dtype)
                y_grad_ = _chunked(y_grad[:, steps], ctx.size, A.dtype, B.shape[2], -1, x.shape[3])
                chunk = _matrices(dt_, A, B_, C_, D)
                *of_steps, a, d, state_grad = gradients_of_chunks(
                    x_, dt_, A, B_, C_, chunk, carried, y_grad_, state_grad
                )
                for whole, piece in zip(grads, of_steps, strict=True):
                    whole[:, steps] = _steps(piece, steps)
                A_grad += a
                if D is not None:
                    D_grad += d
        x_grad, dt_grad, B_grad, C_grad = grads
        D_grad = None if D is None else D_grad.flatten()
        initial = state_grad.flatten(1, 2).mT if ctx.with_state else None
        return x_grad, dt_grad, A_grad.flatten(), B_grad, C_grad, D_grad, initial, None


class _Matrices(NamedTuple):
    """The matrix of each chunk and head, in its four parts, and what they are made of."""

    own: torch.Tensor  # (…, step i, step j): since · reads + D on the diagonal
    past: torch.Tensor  # (…, step, d_state): C · until
    write: torch.Tensor  # (…, step, d_state): B · after · dt
    whole: torch.Tensor  # (…, 1, 1): decay of the whole chunk
    until: torch.Tensor  # (…, step, 1): decay from the chunk's start to a step
    after: torch.Tensor  # (…, step, 1): decay from a step to the chunk's end
    since: torch.Tensor  # (…, step i, step j): decay from step j to step i
    reads: torch.Tensor  # (…, 1, step i, step j): C_i · B_j for j <= i, else 0, a group's


def _matrices(dt, A, B, C, D):
    decay = torch.cumsum(dt * A, dim=-1)[..., None]  # log of the decay since the chunk's start: (…, step, 1)
    until, after = _exp(decay), _exp(decay[..., -1:, :] - decay)
    since = _exp(decay - decay.mT)
    reads = (C @ B.mT).tril_()
    own = (since * reads).mul_(dt[..., None, :])
    if D is not None:
        own.diagonal(dim1=-2, dim2=-1).add_(D)
    return _Matrices(own, C * until, B * (after * dt[..., None]), until[..., -1:, :], until, after, since, reads)


def _exp(decay):
    """Exponential of `decay` where that is negative, 1 elsewhere, and 0 where it would be below 1e-31 (float32).

    A CPU takes ten times as long for an exponential that is subnormal, and for products with such numbers.
    """
    numbers = torch.finfo(decay.dtype)
    return F.threshold_(decay.clamp(math.log(numbers.tiny), 0).exp_(), numbers.tiny / numbers.eps, 0.0)


def _pieces(x, size):
    batch, length, heads, headdim = x.shape
    return pieces(length, batch * heads * headdim, x.device, multiple=size)


def _chunks(x, dt, B, C, steps, size, work):
    groups, d_state = B.shape[2:]
    return (
        _chunked(x[:, steps], size, work, groups, -1, x.shape[3]),  # (…, step, headdim)
        _chunked(dt[:, steps], size, work, groups, -1),  # (…, step)
        _chunked(B[:, steps], size, work, groups, 1, d_state),  # (…, 1 head, step, d_state)
        _chunked(C[:, steps], size, work, groups, 1, d_state),
    )


def _chunked(t, size, work, *shape):
    """(batch, steps, …) to (batch, chunks, groups, heads a group, step of a chunk, …), the last chunk filled with 0."""
    t = t.flatten(2).to(work)
    if t.shape[1] % size:
        t = F.pad(t, (0, 0, 0, -t.shape[1] % size))
    t = t.unflatten(1, (-1, size)).unflatten(-1, shape)
    return t.movedim(2, 4).contiguous()


def _steps(t, steps):
    """(batch, chunks, groups, heads a group, step of a chunk, …) back to (batch, steps, groups · heads, …)."""
    return t.movedim(4, 2).flatten(3, 4).flatten(1, 2)[:, : steps.stop - steps.start]


def _without_autocast(device):
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return contextlib.nullcontext()


def _check_shapes(x, dt, A, B, C, D, initial_state):
    if x.ndim != 4 or 0 in x.shape:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected (batch, length, heads, headdim), none of them zero")
    batch, length, heads, headdim = x.shape
    if B.ndim != 4 or B.shape[2] == 0 or heads % B.shape[2]:
        raise ValueError(
            f"B has shape {tuple(B.shape)}; expected (batch, length, groups, d_state) "
            f"with groups a divisor of the {heads} heads"
        )
    expected = {
        "dt": (dt, (batch, length, heads)),
        "A": (A, (heads,)),
        "B": (B, (batch, length, *B.shape[2:])),
        "C": (C, tuple(B.shape)),
        "D": (D, (heads,)),
        "initial_state": (initial_state, (batch, heads, headdim, B.shape[-1])),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected {shape} to go with x {tuple(x.shape)}")
