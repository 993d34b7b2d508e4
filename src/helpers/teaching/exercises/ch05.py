"""Exercises of chapter 05: from the recurrence of one head to a chunked scan of any length, one piece at a time."""

import torch

from helpers.models import ssd_recurrence
from helpers.teaching.exercises import Exercise, WrongAnswer, attempt

__all__ = ["EXERCISES"]

TOLERANCE = 1e-5
"""Of the largest expected value. The inputs are float64; an answer that goes through float32 passes, too."""


def scan_one_head(x, dt, A, B, C):
    state = x.new_zeros(x.shape[1], B.shape[1])  # (headdim, d_state)
    outputs = []
    for t in range(len(x)):
        state = torch.exp(dt[t] * A) * state + dt[t] * torch.outer(x[t], B[t])
        outputs.append(state @ C[t])  # (headdim,)
    return torch.stack(outputs)  # (length, headdim)


def check_scan_one_head(answer):
    for length, headdim, d_state in [(11, 3, 2), (23, 1, 4)]:
        x, dt, A, B, C = _one_head(length, headdim, d_state)
        found = attempt(answer, x, dt, A, B, C)
        expected, _ = _exact(x, dt, A, B, C)
        call = f"scan_one_head with x {tuple(x.shape)} and d_state {d_state}"
        _compare(call, found, expected, "decay the state, add dt times the outer product of x and B, then read with C")


def decay_matrix(dt, A):
    total = torch.cumsum(dt * A, dim=0)  # (length,)
    exponent = total[:, None] - total[None, :]  # (step i, step j)
    later = torch.ones_like(exponent).triu(diagonal=1).bool()
    return torch.exp(exponent.masked_fill(later, -torch.inf))


def check_decay_matrix(answer):
    rare = torch.full((60,), 0.01, dtype=torch.float64)
    rare[[7, 8, 31]] = 900.0  # a step that wipes the state: the product of the decays underflows
    for dt, A in [(_one_head(9, 1, 1)[1], -0.7), (rare, -1.0), (_one_head(31, 1, 1)[1] * 100, -1.3)]:
        rate = torch.tensor(A, dtype=dt.dtype)
        expected = _decay_by_sums(dt, rate)
        found = attempt(answer, dt, rate)
        call = f"decay_matrix with {len(dt)} steps, dt up to {dt.max():.3g}, A {A}"
        why = "what is written at step j decays at steps j + 1 to i; no step sees a later one"
        if isinstance(found, torch.Tensor) and found.isnan().any():
            why = "a quotient of two underflown products, or 0 times infinity. Differences first, exp last"
        _compare(call, found, expected, why)

        leaf = dt.clone().requires_grad_()
        found = attempt(answer, leaf, rate)
        if not found.requires_grad:
            raise WrongAnswer(f"{call} is right, but has no gradient: stay with torch, from dt to the matrix.")
        gradients = [torch.autograd.grad(matrix.sum(), leaf)[0] for matrix in (found, _decay_by_sums(leaf, rate))]
        why = "the matrix is right; an exponent above the diagonal was large when exp was taken, and masked too late"
        _compare(f"the gradient of {call}", *gradients, why)


def _decay_by_sums(dt, A):
    rows = [[torch.exp(A * dt[j + 1 : i + 1].sum()) * (j <= i) for j in range(len(dt))] for i in range(len(dt))]
    return torch.stack([torch.stack(row) for row in rows])


def own_chunk(x, dt, A, B, C):
    M = (C @ B.T) * decay_matrix(dt, A) * dt  # (steps, steps); dt is that of the column
    return M @ x  # (steps, headdim)


def check_own_chunk(answer):
    for length, headdim, d_state in [(7, 2, 3), (16, 5, 2)]:
        x, dt, A, B, C = _one_head(length, headdim, d_state)
        found = attempt(answer, x, dt, A, B, C)
        expected, _ = _exact(x, dt, A, B, C)
        call = f"own_chunk with x {tuple(x.shape)} and d_state {d_state}"
        _compare(call, found, expected, "row i of the matrix holds C of step i, column j has B and dt of step j")


def left_behind(x, dt, A, B):
    total = torch.cumsum(dt * A, dim=0)  # (steps,)
    weight = dt * torch.exp(total[-1] - total)  # from the write to the chunk's end
    return x.T @ (weight[:, None] * B)  # (headdim, d_state)


def check_left_behind(answer):
    for length, headdim, d_state in [(7, 2, 3), (16, 4, 5)]:
        x, dt, A, B, C = _one_head(length, headdim, d_state)
        found = attempt(answer, x, dt, A, B)
        _, expected = _exact(x, dt, A, B, C)
        call = f"left_behind with x {tuple(x.shape)} and d_state {d_state}"
        _compare(call, found, expected, "each write counts with its dt and decays from its own step to the last")


def chunked_scan(x, dt, A, B, C, chunk_size):
    batch, length, heads, headdim = x.shape
    B, C = (t.repeat_interleave(heads // t.shape[2], dim=2) for t in (B, C))
    y = torch.empty_like(x)
    for b in range(batch):
        for h in range(heads):
            state = x.new_zeros(headdim, B.shape[-1])
            for start in range(0, length, chunk_size):
                now = (b, slice(start, start + chunk_size), h)  # the last may be shorter
                since = torch.exp(torch.cumsum(dt[now] * A[h], dim=0))  # (steps,)
                past = since[:, None] * (C[now] @ state.T)  # (steps, headdim)
                y[now] = own_chunk(x[now], dt[now], A[h], B[now], C[now]) + past
                state = since[-1] * state + left_behind(x[now], dt[now], A[h], B[now])
    return y


def check_chunked_scan(answer):
    cases = [((2, 37, 4, 3), 2, 5, 8), ((1, 101, 4, 2), 2, 3, 16), ((1, 48, 3, 2), 1, 4, 12), ((1, 5, 2, 2), 1, 2, 8)]
    for shape, groups, d_state, chunk_size in cases:
        tensors = _many_heads(*shape, groups, d_state)
        found = attempt(answer, *tensors, chunk_size)
        expected = ssd_recurrence(*tensors)
        call = f"chunked_scan with x {shape}, {groups} groups, chunk_size {chunk_size}"
        _compare(call, found, expected, _where_it_goes_wrong(found, expected, chunk_size))


def _where_it_goes_wrong(found, expected, chunk_size):
    """What the first wrong step says about the mistake."""
    if getattr(found, "shape", None) != expected.shape:
        return "any length is allowed, a multiple of the chunk or not"
    off = ~((found - expected).abs() <= TOLERANCE * expected.abs().max())  # not a number counts as off
    first = int(off.flatten(2).any(dim=2).any(dim=0).int().argmax())
    full = expected.shape[1] // chunk_size * chunk_size
    if first == full:
        return f"the first {first} steps are right; there the last chunk begins, which is shorter than the others"
    if first >= chunk_size:
        return (
            f"the first {first} steps are right, so look at the state between chunks. Each chunk reads it with the "
            "decay since its start, and hands it on with the decay of the whole chunk and what it left behind"
        )
    return f"step {first} of the first chunk is wrong already; head h reads group h // (heads // groups)"


def _one_head(length, headdim, d_state):
    """Unequal random x, dt, A, B, C for one head, float64; the state is half forgotten after about a chunk."""
    x, dt, A, B, C = _many_heads(1, length, 1, headdim, 1, d_state)
    return x[0, :, 0], dt[0, :, 0], A[0], B[0, :, 0], C[0, :, 0]


def _many_heads(batch, length, heads, headdim, groups, d_state):
    random = torch.Generator().manual_seed(length)
    draw = {"generator": random, "dtype": torch.float64}
    x = torch.randn(batch, length, heads, headdim, **draw)
    dt = 0.02 + 0.4 * torch.rand(batch, length, heads, **draw)
    A = -0.2 - torch.rand(heads, **draw)
    B, C = (torch.randn(batch, length, groups, d_state, **draw) for _ in range(2))
    return x, dt, A, B, C


def _exact(x, dt, A, B, C):
    """Output and final state of one head, one step at a time."""
    y, state = ssd_recurrence(
        x[None, :, None], dt[None, :, None], A[None], B[None, :, None], C[None, :, None], return_final_state=True
    )
    return y[0, :, 0], state[0, 0]


def _compare(call, found, expected, why):
    shape = getattr(found, "shape", None)
    if shape != expected.shape:
        told = f"a {type(found).__name__}" if shape is None else f"the shape {tuple(shape)}"
        raise WrongAnswer(f"{call} gave {told}, expected a tensor of the shape {tuple(expected.shape)}: {why}.")
    off = ~((found - expected).abs() <= TOLERANCE * expected.abs().max())  # not a number counts as off
    if off.any():
        first = tuple(off.nonzero()[0].tolist())
        raise WrongAnswer(f"{call} gave {found[first]:.6g} at {list(first)}, expected {expected[first]:.6g}: {why}.")


# Wrong answers: each is the solution with one mistake.


def _loop(x, dt, A, B, C, sign=1, write_dt=True, read_first=False, decay_write=False):
    state, outputs = x.new_zeros(x.shape[1], B.shape[1]), []
    for t in range(len(x)):
        decay, write = torch.exp(sign * dt[t] * A), torch.outer(x[t], B[t]) * (dt[t] if write_dt else 1)
        before = state
        state = decay * (state + write) if decay_write else decay * state + write
        outputs.append((before if read_first else state) @ C[t])
    return torch.stack(outputs)


def _matrix(dt, A, shift_row=0, shift_column=0, causal=True, divide=False, sign=1, mask_after=None):
    steps = sign * dt * A
    total = torch.cumsum(steps, dim=0)
    if divide:
        return (torch.exp(total)[:, None] / torch.exp(total)[None, :]).tril()
    exponent = (total - shift_row * steps)[:, None] - (total - shift_column * steps)[None, :]
    if mask_after == "by product":
        return torch.exp(exponent) * torch.ones_like(exponent).tril()
    return torch.exp(exponent).tril() if causal else torch.exp(exponent.clamp(max=0))


def _chunks(x, dt, A, B, C, size, reset=False, undecayed_read=False, undecayed_carry=False, whole=False, group0=False):
    heads = x.shape[2]
    if group0:
        B, C = (t[:, :, :1].expand(-1, -1, heads, -1) for t in (B, C))
    B, C = (t.repeat_interleave(heads // t.shape[2], dim=2) for t in (B, C))
    y = torch.zeros_like(x)
    length = x.shape[1] // size * size if whole else x.shape[1]
    for b in range(x.shape[0]):
        for h in range(heads):
            state = x.new_zeros(x.shape[3], B.shape[-1])
            for start in range(0, length, size):
                now = (b, slice(start, start + size), h)
                since = torch.exp(torch.cumsum(dt[now] * A[h], dim=0))
                read = C[now] @ state.T
                y[now] = own_chunk(x[now], dt[now], A[h], B[now], C[now])
                y[now] += 0 if reset else read if undecayed_read else since[:, None] * read
                kept = state if undecayed_carry else since[-1] * state
                state = kept + left_behind(x[now], dt[now], A[h], B[now])
    return y[:, :length]


EXERCISES = [
    Exercise(
        "05.1",
        "three lines in a loop over the steps: decay and write, read, keep the output. torch.outer makes the write.",
        check_scan_one_head,
        scan_one_head,
        {
            "forgot dt in the write": lambda *a: _loop(*a, write_dt=False),
            "reads before it writes": lambda *a: _loop(*a, read_first=True),
            "decays the new write at once": lambda *a: _loop(*a, decay_write=True),
            "the sign of A turned": lambda *a: _loop(*a, sign=-1),
        },
    ),
    Exercise(
        "05.2",
        "differences of torch.cumsum(dt * A), the upper triangle filled with -inf, and exp last of all.",
        check_decay_matrix,
        decay_matrix,
        {
            "includes the decay of step j": lambda dt, A: _matrix(dt, A, shift_column=1),
            "excludes the decay of step i": lambda dt, A: _matrix(dt, A, shift_row=1),
            "divides cumulative products": lambda dt, A: _matrix(dt, A, divide=True),
            "exp of positive numbers, times a mask": lambda dt, A: _matrix(dt, A, mask_after="by product"),
            "exp of positive numbers, cut off afterwards": lambda dt, A: _matrix(dt, A),
            "not causal": lambda dt, A: _matrix(dt, A, causal=False),
            "forgot A": lambda dt, A: _matrix(dt, -torch.ones_like(A)),
        },
    ),
    Exercise(
        "05.3",
        "C @ B.T has every pair of steps; multiply it with your decay_matrix, and each column with its dt.",
        check_own_chunk,
        own_chunk,
        {
            "forgot dt": lambda x, dt, A, B, C: ((C @ B.T) * decay_matrix(dt, A)) @ x,
            "dt of the row": lambda x, dt, A, B, C: ((C @ B.T) * decay_matrix(dt, A) * dt[:, None]) @ x,
            "B and C exchanged": lambda x, dt, A, B, C: ((B @ C.T) * decay_matrix(dt, A) * dt) @ x,
            "not causal": lambda x, dt, A, B, C: ((C @ B.T) * _matrix(dt, A, causal=False) * dt) @ x,
        },
    ),
    Exercise(
        "05.4",
        "the weight of step j is dt_j times the decay from j to the end, exp(total[-1] - total[j]).",
        check_left_behind,
        left_behind,
        {
            "forgot the decay from write to chunk end": lambda x, dt, A, B: x.T @ (dt[:, None] * B),
            "the decay from chunk start to write": lambda x, dt, A, B: (
                x.T @ ((dt * torch.exp(torch.cumsum(dt * A, 0)))[:, None] * B)
            ),
            "decays the write at its own step, too": lambda x, dt, A, B: (
                x.T @ ((dt * torch.exp((dt * A).flip(0).cumsum(0).flip(0)))[:, None] * B)
            ),
            "forgot dt": lambda x, dt, A, B: left_behind(x, dt, A, B / dt[:, None]),
        },
    ),
    Exercise(
        "05.5",
        "three nested loops will do: batch, heads, chunks. Slicing past the end gives the short last chunk by itself.",
        check_chunked_scan,
        chunked_scan,
        {
            "resets the state at chunk boundaries": lambda *a: _chunks(*a, reset=True),
            "reads the carried state without decay": lambda *a: _chunks(*a, undecayed_read=True),
            "carries the state on without decay": lambda *a: _chunks(*a, undecayed_carry=True),
            "leaves the short last chunk out": lambda *a: _chunks(*a, whole=True),
            "every head reads group 0": lambda *a: _chunks(*a, group0=True),
        },
    ),
]
