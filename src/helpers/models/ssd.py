"""State space duality (SSD): the sequence map inside Mamba-2, computed two ways.

`ssd_recurrence` takes one step at a time in float64 and is the oracle: every other path is tested against it, forward
and backward. `ssd_chunked` is the same map as a few matrix products a chunk, on any device, for any length. Neither
knows about convolutions, gates or projections; those are in `helpers.models.mamba2`.

Source: Dao & Gu 2024, "Transformers are SSMs" (arXiv 2405.21060), eq. 2 and section 6.
"""

import torch
import torch.nn.functional as F

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
    batch, length, heads, headdim = x.shape
    B, C = (t.repeat_interleave(heads // t.shape[2], dim=2) for t in (B, C))  # (batch, length, heads, d_state)
    state = x.new_zeros(batch, heads, headdim, B.shape[-1]) if initial_state is None else initial_state.double()
    outputs = []
    for t in range(length):
        decay = torch.exp(dt[:, t] * A)  # (batch, heads)
        write = torch.einsum("bh,bhp,bhn->bhpn", dt[:, t], x[:, t], B[:, t])
        state = decay[:, :, None, None] * state + write
        outputs.append(torch.einsum("bhpn,bhn->bhp", state, C[:, t]))
    y = torch.stack(outputs, dim=1)  # (batch, length, heads, headdim)
    if D is not None:
        y = y + D.double()[:, None] * x
    return (y, state) if return_final_state else y


def ssd_chunked(x, dt, A, B, C, D=None, chunk_size=64, initial_state=None, return_final_state=False):
    """State space dual by chunks: matrix products inside a chunk, one small recurrence from chunk to chunk.

    Parameters and returns are those of `ssd_recurrence`; the result has the dtype of `x`.

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
    The last chunk is filled with steps of dt = 0, which neither decay the state nor write to it. Decays are sums of
    dt·A in at least float32; every exponent is <= 0, so nothing overflows.
    """
    _check_shapes(x, dt, A, B, C, D, initial_state)
    if chunk_size < 1:
        raise ValueError(f"chunk_size is {chunk_size}; it counts steps and must be at least 1")
    length, headdim = x.shape[1], x.shape[3]
    groups, d_state = B.shape[2:]
    size = min(chunk_size, length)
    chunks = -(-length // size)
    work = torch.promote_types(x.dtype, torch.float32)

    def by_chunk(t, *shape):  # (batch, length, …) -> (batch, chunks, step, *shape)
        t = t.flatten(2).to(work)
        if chunks * size > length:
            t = F.pad(t, (0, 0, 0, chunks * size - length))
        return t.unflatten(1, (chunks, size)).unflatten(-1, shape)

    # One matrix a head and chunk: (batch, chunks, groups, heads a group, rows, columns). B and C serve a whole group.
    x_ = by_chunk(x, groups, -1, headdim).permute(0, 1, 3, 4, 2, 5).contiguous()  # (…, step, headdim)
    dt_ = by_chunk(dt, groups, -1, 1).permute(0, 1, 3, 4, 2, 5).contiguous()  # (…, step, 1)
    B_ = by_chunk(B, groups, 1, d_state).permute(0, 1, 3, 4, 2, 5)  # (…, step, d_state)
    C_ = by_chunk(C, groups, 1, d_state).permute(0, 1, 3, 4, 2, 5)  # (…, step, d_state)
    decay = torch.cumsum(dt_ * A.to(work).view(groups, -1, 1, 1), dim=-2)  # log of the decay since the chunk's start

    # 1. What each chunk leaves behind: its writes, decayed to its last step.
    writes = (B_ * (dt_ * torch.exp(decay[..., -1:, :] - decay))).contiguous().mT @ x_  # (…, d_state, headdim)

    # 2. From chunk to chunk: the recurrence, one step a chunk.
    state = torch.zeros_like(writes[:, 0])
    if initial_state is not None:
        state = initial_state.to(work).mT.unflatten(1, (groups, -1))
    carried = []
    for whole, write in zip(torch.exp(decay[..., -1:, :]).unbind(1), writes.unbind(1), strict=True):
        carried.append(state)
        state = torch.addcmul(write, whole, state)

    # 3. What a step reads of its own chunk: a causal matrix, C_i · B_j times the decay from j to i; D on its diagonal.
    causal = torch.ones(size, size, dtype=work, device=x.device).tril()
    since = torch.exp((decay - decay.mT).clamp(max=0))  # (…, step i, step j)
    own = since * (causal * (C_ @ B_.mT)) * dt_.mT  # (…, step i, step j)
    if D is not None:
        own = own + D.to(work).view(groups, -1, 1, 1) * torch.eye(size, dtype=work, device=x.device)

    # 4. And what it reads of the past: the carried state, decayed to the step. Both in one product.
    past = C_ * torch.exp(decay)  # (…, step, d_state)
    y = torch.cat([own, past], dim=-1) @ torch.cat([x_, torch.stack(carried, dim=1)], dim=-2)

    y = y.permute(0, 1, 4, 2, 3, 5).flatten(3, 4).flatten(1, 2)[:, :length].to(x.dtype)
    return (y, state.flatten(1, 2).mT) if return_final_state else y


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
