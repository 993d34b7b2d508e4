"""The gradients of the chunked state space dual, by hand: the four steps of `helpers.models.ssd`, from the last.

Autograd would keep every matrix of every chunk and write each gradient into a zeroed tensor of full size. Here the
matrices are made anew from dt, A, B and C. It is called by `ssd_chunked` and by nothing else.
"""

import torch
import torch.nn.functional as F

__all__ = ["add_product", "gradients_of_chunks"]


def gradients_of_chunks(x, dt, A, B, C, chunk, carried, y_grad, state_grad):
    """Gradients of one piece of the sequence, given those of what it gave.

    Every exponent is a sum of rates dt·A over some steps: over j+1 to i in `since`, over the first i in `until`, over
    those past j in `after`, over all in `whole`. So the gradient of a rate is the sum of those of the exponents that
    hold it. It is added up as such, and never as a difference of two sums that cancel.

    Parameters
    ----------
    x, dt, B, C : Tensor, (batch, chunks, groups, heads a group or 1, step, …)
        What the chunks read.
    A : Tensor, (groups, heads a group, 1)
    chunk : tuple of Tensor
        The matrices of the chunks by name, as `helpers.models.ssd` makes them.
    carried : Tensor, (batch, chunks, groups, heads a group, d_state, headdim)
        The state before each chunk.
    y_grad : Tensor, as x
    state_grad : Tensor, (batch, groups, heads a group, d_state, headdim)
        Of the state after the last chunk.

    Returns
    -------
    x_grad, dt_grad, B_grad, C_grad, A_grad, D_grad, state_grad : Tensor
        As x, dt, B, C, A, A; the last of the state before the first chunk.
    """
    steps = torch.ones(dt.shape[-1], dt.shape[-1], dtype=dt.dtype, device=dt.device)

    # 4. y gets past @ carried, past = C · until.
    carried_grad = chunk.past.mT @ y_grad
    past_grad = y_grad @ carried.mT  # (…, step, d_state)
    C_grad = (past_grad * chunk.until).sum(3, keepdim=True)
    exponent = past_grad.mul_(chunk.past).sum(-1)  # (…, step)
    rate_grad = exponent.flip(-1).cumsum(-1).flip(-1)

    # 3. y gets own @ x, own = since · reads · dt_j + D on the diagonal, reads = C Bᵀ.
    x_grad = chunk.own.mT @ y_grad
    own_grad = y_grad @ x.mT  # (…, step i, step j)
    D_grad = own_grad.diagonal(dim1=-2, dim2=-1).sum(-1).sum((0, 1))[..., None]
    own_grad *= chunk.since
    reads_grad = (own_grad * dt[..., None, :]).sum(3, keepdim=True).tril_()
    C_grad += reads_grad @ B
    B_grad = reads_grad.mT @ C
    own_grad *= chunk.reads
    dt_grad = own_grad.sum(-2)
    own_grad *= dt[..., None, :]
    before = own_grad.flatten(0, -2) @ steps.triu(1)  # (…, step i, k): the exponents of i that begin before k
    rate_grad += before.view_as(own_grad).mul_(steps.tril()).sum(-2)  # and end at k or later

    # 2. The state goes from chunk to chunk, times whole.
    after_grad = torch.empty_like(carried_grad)  # of the state after each chunk
    backward = [reversed(t.unbind(1)) for t in (after_grad, chunk.whole, carried_grad)]
    for after, whole, read in zip(*backward, strict=True):
        after.copy_(state_grad)
        state_grad = torch.addcmul(read, whole, state_grad)
    rate_grad += (after_grad * carried).sum((-2, -1))[..., None] * chunk.whole[..., 0]

    # 1. The state gets writeᵀ @ x, write = B · after · dt.
    add_product(x_grad, chunk.write, after_grad)
    write_grad = x @ after_grad.mT  # (…, step, d_state)
    B_grad += (write_grad * (chunk.after * dt[..., None])).sum(3, keepdim=True)
    exponent = write_grad.mul_(B).sum(-1) * chunk.after[..., 0]  # (…, step)
    dt_grad += exponent
    exponent *= dt
    rate_grad += F.pad(exponent[..., :-1].cumsum(-1), (1, 0))

    dt_grad += rate_grad * A
    A_grad = (rate_grad * dt).sum((0, 1)).sum(-1, keepdim=True)
    return x_grad, dt_grad, B_grad, C_grad, A_grad, D_grad, state_grad


def add_product(total, left, right):
    """Add the matrix products of `left` and `right` to `total`, in place; all (…, rows, columns) and contiguous."""
    total.flatten(0, -3).baddbmm_(left.flatten(0, -3), right.flatten(0, -3))
    return total
