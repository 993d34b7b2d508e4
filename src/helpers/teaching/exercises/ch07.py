"""Exercises of chapter 07: padded windows backward, how far convolutions reach, who reads what, Hydra's join."""

import random

import numpy as np
import torch

from helpers.teaching.exercises import Exercise, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def backward_each(causal, x, lengths):
    y = torch.zeros_like(x)
    for window, length in enumerate(lengths):
        signal = x[window : window + 1, :length]
        y[window, :length] = causal(signal.flip(1)).flip(1)[0]
    return y


def check_backward_each(answer):
    random_numbers = torch.Generator().manual_seed(1)
    for shape, lengths in [((2, 5, 3), [5, 2]), ((1, 7, 7), [4]), ((3, 4, 2), [1, 4, 3]), ((4, 6, 1), [6, 6, 6, 6])]:
        x = torch.randn(shape, generator=random_numbers, dtype=torch.float64)
        expected = torch.zeros_like(x)
        for window, length in enumerate(lengths):
            x[window, length:] = 0
            for t in range(length):
                expected[window, t] = sum(0.5 ** (s - t) * (x[window, s] + 1) for s in range(t, length))
        before = x.clone()
        found = attempt(answer, _fading, x, list(lengths))
        if not torch.is_tensor(found) or found.shape != x.shape or not _close(found, expected).all():
            raise WrongAnswer(
                f"backward_each(fading, x, {lengths}) at shape {shape} gave {_what_differs(found, expected)}, expected "
                "what fading (y[t] = y[t-1] / 2 + x[t] + 1) makes of each signal in reversed time: the signal alone is "
                "reversed, its answers are reversed back, and where there is no signal stands 0."
            )
        if not torch.equal(x, before):
            raise WrongAnswer("backward_each gave a changed x, expected it untouched: write to a new tensor.")


def _fading(x):
    """A causal map in which zeros leave a trace: y_t = y_(t-1) / 2 + x_t + 1."""
    y = [x[:, 0] + 1]
    for t in range(1, x.shape[1]):
        y.append(0.5 * y[-1] + x[:, t] + 1)
    return torch.stack(y, dim=1)


def _close(found, expected):
    return torch.isclose(found.to(expected), expected, atol=1e-6)  # an answer in float32 will do


def _what_differs(found, expected):
    if not torch.is_tensor(found) or found.shape != expected.shape:
        return f"the shape {tuple(found.shape)}" if torch.is_tensor(found) else f"no tensor ({type(found).__name__})"
    window, step, _ = _close(found, expected).logical_not().nonzero()[0].tolist()
    return f"other values, first in window {window} at step {step}"


def reach(kernel_size, n_layers, rate):
    steps = n_layers * (kernel_size // 2)
    return steps, 1000 * (2 * steps + 1) / rate


def check_reach(answer):
    draw = random.Random(2)
    cases = [(5, 1, 16.0), (5, 6, 16.0), (3, 4, 256.0), (1, 3, 16.0)]
    cases += [(draw.randrange(1, 12, 2), draw.randint(1, 9), draw.choice([16.0, 50.0, 256.0])) for _ in range(10)]
    for kernel_size, n_layers, rate in cases:
        impulse = np.zeros(401)
        impulse[200] = 1
        for _ in range(n_layers):
            impulse = np.convolve(impulse, np.ones(kernel_size), mode="same")
        seen = np.flatnonzero(impulse)
        expected = 200 - seen[0], 1000 * len(seen) / rate
        found = attempt(answer, kernel_size, n_layers, rate)
        if len(np.atleast_1d(found)) != 2 or not np.allclose(found, expected):
            raise WrongAnswer(
                f"reach({kernel_size}, {n_layers}, {rate:g}) gave {found}, expected ({expected[0]}, {expected[1]:.6g}):"
                " each layer adds half a kernel on either side; the width counts both sides and the step in the middle."
            )


def reader_of(influence):
    past = np.tril(influence, -1) != 0
    future = np.triu(influence, 1) != 0
    if past.any() and future.any():
        return "both" if influence[-1, 0] != 0 and influence[0, -1] != 0 else "convolution"
    return "forward" if past.any() else "backward"


def check_reader_of(answer):
    draw = np.random.default_rng(3)
    for length in (6, 9, 17):
        strength = draw.uniform(0.5, 1.0, (length, length))
        distance = np.abs(np.subtract.outer(np.arange(length), np.arange(length)))
        faded = strength * 0.05**distance  # far away it is weak, and it is there
        matrices = {
            "forward": np.tril(faded),
            "backward": np.triu(faded),
            "both": faded,
            "convolution": np.where(distance <= 2, strength, 0),
        }
        for expected, matrix in matrices.items():
            found = attempt(answer, matrix)
            if found != expected:
                raise WrongAnswer(
                    f"reader_of gave {found!r} for the {length} x {length} influence matrix of {_DESCRIBED[expected]}, "
                    f"expected {expected!r}: row i tells which inputs j output i reads; only an exact zero is not read."
                )


_DESCRIBED = {
    "forward": "a layer that reads forward in time",
    "backward": "a layer that reads backward in time",
    "both": "a layer that reads both ways",
    "convolution": "a convolution over five steps",
}


def join(ahead, behind, diagonal, x):
    y = diagonal[:, np.newaxis] * x
    y[1:] += ahead[:-1]
    y[:-1] += behind[::-1][1:]
    return y


def check_join(answer):
    draw = np.random.default_rng(4)
    for length, channels in [(1, 2), (2, 1), (5, 3), (8, 8)]:
        ahead, behind, x = draw.normal(size=(3, length, channels))
        diagonal = draw.normal(size=length)
        expected = np.zeros((length, channels))
        for t in range(length):
            expected[t] = diagonal[t] * x[t]
            if t > 0:
                expected[t] += ahead[t - 1]
            if t < length - 1:
                expected[t] += behind[length - 1 - (t + 1)]  # the reading of step t + 1
        found = attempt(answer, ahead.copy(), behind.copy(), diagonal.copy(), x.copy())
        if np.shape(found) != expected.shape or not np.allclose(found, expected):
            raise WrongAnswer(
                f"join at length {length} with {channels} channels gave {_first_difference(found, expected)}: step t "
                "takes ahead of t - 1, behind of t + 1 and diagonal[t] * x[t]; past an end there is nothing to take."
            )


def _first_difference(found, expected):
    if np.shape(found) != expected.shape:
        return f"the shape {np.shape(found)}, expected {expected.shape}"
    found = np.asarray(found)
    step, channel = np.argwhere(~np.isclose(found, expected))[0]
    return f"{found[step, channel]:.3f} at step {step}, channel {channel}, expected {expected[step, channel]:.3f}"


def _rolled(ahead, behind, diagonal, x):
    return np.roll(ahead, 1, 0) + np.roll(behind[::-1], -1, 0) + diagonal[:, np.newaxis] * x


def _same_way(ahead, behind, diagonal, x):
    y = diagonal[:, np.newaxis] * x
    y[1:] += ahead[:-1] + behind[::-1][:-1]
    return y


def _order_of_reading(ahead, behind, diagonal, x):
    y = diagonal[:, np.newaxis] * x
    y[1:] += ahead[:-1]
    y[:-1] += behind[1:]
    return y


def _masked(y, lengths):
    """With zeros where a window has no signal."""
    y = y.clone()
    for window, length in enumerate(lengths):
        y[window, length:] = 0
    return y


EXERCISES = [
    Exercise(
        "07.1",
        "for one window of 5 steps of signal: which slice of x do you reverse, and where do its answers go?",
        check_backward_each,
        backward_each,
        {
            "reverses the zeros along": lambda causal, x, lengths: _masked(causal(x.flip(1)).flip(1), lengths),
            "forgets to reverse back": lambda causal, x, lengths: torch.stack(
                [torch.cat([causal(x[i : i + 1, :n].flip(1))[0], 0 * x[i, n:]]) for i, n in enumerate(lengths)]
            ),
            "reverses the channels": lambda causal, x, lengths: _masked(causal(x.flip(-1)).flip(-1), lengths),
            "answers for the padding too": lambda causal, x, lengths: (
                backward_each(causal, x, lengths) + 1.0 * (x == 0)
            ),
            "takes one length for all": lambda causal, x, lengths: backward_each(causal, x, len(x) * [max(lengths)]),
            "reads forward": lambda causal, x, lengths: _masked(causal(x), lengths),
        },
    ),
    Exercise(
        "07.2",
        "by how many steps does one layer widen what an output sees, on one side?",
        check_reach,
        reach,
        {
            "multiplies the kernels": lambda kernel_size, n_layers, rate: (
                kernel_size**n_layers // 2,
                1000 * kernel_size**n_layers / rate,
            ),
            "forgets the middle": lambda kernel_size, n_layers, rate: (
                n_layers * (kernel_size // 2),
                2000 * n_layers * (kernel_size // 2) / rate,
            ),
            "adds whole kernels": lambda kernel_size, n_layers, rate: (
                n_layers * kernel_size // 2,
                1000 * n_layers * kernel_size / rate,
            ),
            "takes the EEG's rate": lambda kernel_size, n_layers, rate: reach(kernel_size, n_layers, 256.0),
        },
    ),
    Exercise(
        "07.3",
        "np.tril(influence, -1) is what an output reads of the past, np.triu(influence, 1) of the future.",
        check_reader_of,
        reader_of,
        {
            "takes rows for inputs": lambda influence: reader_of(influence.T),
            "takes a band for both": lambda influence: (
                "both"
                if np.triu(influence, 1).any() and np.tril(influence, -1).any()
                else "forward"
                if np.tril(influence, -1).any()
                else "backward"
            ),
            "takes weak for nothing": lambda influence: reader_of(np.where(influence < 1e-3, 0, influence)),
        },
    ),
    Exercise(
        "07.4",
        "begin with diagonal[:, np.newaxis] * x. Which steps of y get something from ahead, and from which rows?",
        check_join,
        join,
        {
            "does not shift": lambda ahead, behind, diagonal, x: ahead + behind[::-1] + diagonal[:, np.newaxis] * x,
            "lets an end come round": _rolled,
            "shifts both the same way": _same_way,
            "leaves behind in its order of reading": _order_of_reading,
        },
    ),
]
