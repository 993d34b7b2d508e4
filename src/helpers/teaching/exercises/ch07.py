"""Exercises of chapter 07: both directions from one, how far convolutions reach, and who reads what."""

import random

import numpy as np
import torch

from helpers.teaching.exercises import Exercise, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def both_ways(causal, x):
    return causal(x) + causal(x.flip(1)).flip(1)


def check_both_ways(answer):
    random_numbers = torch.Generator().manual_seed(1)
    for shape in [(2, 5, 3), (1, 7, 7), (3, 4, 2), (5, 1, 2)]:
        x = torch.randn(shape, generator=random_numbers, dtype=torch.float64)
        before = x.clone()
        found = attempt(answer, _fading, x)
        expected = torch.stack(
            [
                sum(0.5 ** abs(t - s) * before[:, s] * (2 if s == t else 1) for s in range(shape[1]))
                for t in range(shape[1])
            ],
            dim=1,
        )
        if not torch.is_tensor(found) or found.shape != x.shape or not torch.allclose(found, expected):
            what = tuple(found.shape) if torch.is_tensor(found) and found.shape != x.shape else "other values"
            raise WrongAnswer(
                f"both_ways(fading, x) at shape {shape} gave {what}, expected the sum of what fading reads "
                "forward and what it reads in reversed time, each at its place: time is dimension 1, reversed twice."
            )
        if not torch.equal(x, before):
            raise WrongAnswer("both_ways gave a changed x, expected it untouched: flip makes a copy, use that.")


def _fading(x):
    """A causal map: y_t = y_(t-1) / 2 + x_t."""
    y = [x[:, 0]]
    for t in range(1, x.shape[1]):
        y.append(0.5 * y[-1] + x[:, t])
    return torch.stack(y, dim=1)


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


def quasiseparable(ahead, behind, diagonal):
    def shifted(matrix):
        return np.vstack([np.zeros(len(matrix)), matrix[:-1]])  # each output one step later

    return shifted(ahead) + shifted(behind)[::-1, ::-1] + np.diag(diagonal)


def check_quasiseparable(answer):
    draw = np.random.default_rng(4)
    for length in (1, 2, 5, 8):
        ahead, behind = (np.tril(draw.normal(size=(length, length))) for _ in range(2))
        diagonal = draw.normal(size=length)
        expected = np.zeros((length, length))
        for i in range(length):
            for j in range(length):
                if j < i:
                    expected[i, j] = ahead[i - 1, j]
                elif j > i:
                    expected[i, j] = behind[length - 1 - (i + 1), length - 1 - j]
                else:
                    expected[i, j] = diagonal[i]
        found = attempt(answer, ahead.copy(), behind.copy(), diagonal.copy())
        if np.shape(found) != expected.shape or not np.allclose(found, expected):
            place = _first_difference(found, expected)
            raise WrongAnswer(
                f"quasiseparable of two {length} x {length} matrices gave {place}: below the diagonal stands ahead, "
                "one step later; above it behind, a step later, then reversed in rows and columns; on it the diagonal."
            )


def _first_difference(found, expected):
    if np.shape(found) != expected.shape:
        return f"the shape {np.shape(found)}, expected {expected.shape}"
    i, j = np.argwhere(~np.isclose(found, expected))[0]
    return f"{found[i, j]:.3f} in row {i}, column {j}, expected {expected[i, j]:.3f}"


def _rolled(ahead, behind, diagonal):
    return np.roll(ahead, 1, 0) + np.roll(behind, 1, 0)[::-1, ::-1] + np.diag(diagonal)


def _rows_only(ahead, behind, diagonal):
    shifted = np.vstack([np.zeros(len(behind)), behind[:-1]])
    return np.vstack([np.zeros(len(ahead)), ahead[:-1]]) + shifted[::-1] + np.diag(diagonal)


EXERCISES = [
    Exercise(
        "07.1",
        "x.flip(1) reverses time. What has to be reversed once more?",
        check_both_ways,
        both_ways,
        {
            "forgets to flip back": lambda causal, x: causal(x) + causal(x.flip(1)),
            "flips the channels": lambda causal, x: causal(x) + causal(x.flip(-1)).flip(-1),
            "flips the batch": lambda causal, x: causal(x) + causal(x.flip(0)).flip(0),
            "runs forward twice": lambda causal, x: causal(x) + causal(x),
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
        "shift the rows of each causal matrix down by one; reverse the second in rows and columns.",
        check_quasiseparable,
        quasiseparable,
        {
            "does not shift": lambda ahead, behind, diagonal: ahead + behind[::-1, ::-1] + np.diag(diagonal),
            "lets the last row come round": _rolled,
            "reverses the rows only": _rows_only,
            "reverses before it shifts": lambda ahead, behind, diagonal: (
                np.vstack([np.zeros(len(ahead)), ahead[:-1]])
                + np.vstack([np.zeros(len(behind)), behind[::-1, ::-1][:-1]])
                + np.diag(diagonal)
            ),
        },
    ),
]
