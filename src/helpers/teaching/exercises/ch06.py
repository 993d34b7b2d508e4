"""Exercises of chapter 06: the sizes of a block, the span of its convolutions, one step of one, and a time constant."""

import math
import random

from helpers.teaching.exercises import Exercise, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def count_parameters(d_model, d_state, d_conv, expand, headdim, ngroups):
    d_inner = expand * d_model
    heads = d_inner // headdim
    channels = d_inner + 2 * ngroups * d_state  # x, B and C
    in_proj = d_model * (d_inner + channels + heads)  # z, x B C, dt
    convolution = channels * (d_conv + 1)  # weights and biases
    out_proj = d_inner * d_model
    return in_proj + convolution + 3 * heads + d_inner + out_proj  # A_log, dt_bias, D; the norm


def check_count_parameters(answer):
    draw = random.Random(61)
    cases = [(512, 16, 4, 2, 64, 1), (512, 128, 4, 2, 64, 1)]
    for _ in range(12):
        headdim, ngroups = draw.choice([1, 2, 3, 8]), draw.choice([1, 2, 4])
        d_model = headdim * ngroups * draw.randint(1, 9)
        cases.append((d_model, draw.randint(1, 40), draw.randint(1, 7), draw.randint(1, 3), headdim, ngroups))
    for d_model, d_state, d_conv, expand, headdim, ngroups in cases:
        inner, both = expand * d_model, 2 * ngroups * d_state
        heads = inner // headdim
        shapes = {
            "in_proj": (2 * inner + both + heads) * d_model,
            "conv1d": (inner + both) * d_conv + inner + both,
            "A_log, dt_bias and D": 3 * heads,
            "norm": inner,
            "out_proj": inner * d_model,
        }
        found, expected = attempt(answer, d_model, d_state, d_conv, expand, headdim, ngroups), sum(shapes.values())
        if found != expected:
            parts = ", ".join(f"{name} {count}" for name, count in shapes.items())
            raise WrongAnswer(
                f"count_parameters({d_model}, {d_state}, {d_conv}, {expand}, {headdim}, {ngroups}) gave {found}, "
                f"expected {expected}: {parts}."
            )


def span_ms(widths, rate):
    steps = 1 + sum(width - 1 for width in widths)  # each adds all of its taps but the one that they share
    return 1000 * steps / rate


def check_span_ms(answer):
    draw = random.Random(62)
    cases = [([4], 16), ([4, 4, 4, 4, 4, 4], 16), ([5], 256), ([1, 1], 100)]
    cases += [([draw.randint(1, 9) for _ in range(draw.randint(1, 6))], draw.randint(8, 512)) for _ in range(12)]
    for widths, rate in cases:
        seen = {0}  # the input steps that one output depends on, walked back through the convolutions
        for width in widths:
            seen = {step - tap for step in seen for tap in range(width)}
        found, expected = attempt(answer, list(widths), rate), 1000 * len(seen) / rate
        if not math.isclose(found, expected, rel_tol=1e-9):
            raise WrongAnswer(
                f"span_ms({widths}, {rate}) gave {found}, expected {expected:.3f}: one output depends on "
                f"{len(seen)} input steps, and a step lasts {1000 / rate:.3f} ms."
            )


def conv_step(x_t, state, weight, bias):
    import torch

    taps = torch.cat([state, x_t[:, :, None]], dim=-1)  # (batch, channels, d_conv)
    return (taps * weight).sum(dim=-1) + bias, taps[..., 1:]


def check_conv_step(answer):
    import torch
    import torch.nn.functional as F

    random_ = torch.Generator().manual_seed(63)

    def draw(*shape):
        return torch.randn(*shape, generator=random_, dtype=torch.float64)

    for batch, channels, d_conv, length in ((2, 5, 4, 9), (3, 7, 3, 6), (1, 4, 2, 5), (2, 3, 6, 8)):
        x, weight, bias = draw(batch, channels, length), draw(channels, d_conv), draw(channels)
        past = draw(batch, channels, d_conv - 1)
        whole = F.conv1d(torch.cat([past, x], dim=-1), weight[:, None], bias, groups=channels)
        state = past
        for t in range(length):
            given = state.clone()
            returned = attempt(answer, x[:, :, t], given, weight, bias)
            if not (isinstance(returned, (tuple, list)) and len(returned) == 2):
                raise WrongAnswer(f"conv_step gave {type(returned).__name__}, expected two: output and state.")
            y_t, state = returned
            every = torch.cat([past, x], dim=-1)
            where = f"at step {t} of {length}, d_conv {d_conv}"
            _compare("an output", where, y_t, whole[..., t], "the newest input is last, and meets the last tap.")
            newest = every[..., t + 1 : t + d_conv]
            _compare("a state", where, state, newest, f"keep the last {d_conv - 1} inputs, the present one among them.")
            if not torch.equal(given, every[..., t : t + d_conv - 1]):
                raise WrongAnswer(
                    f"conv_step gave back a changed `state` {where}, expected it unchanged: make another."
                )


def _compare(name, where, found, expected, why):
    import torch

    if tuple(found.shape) != tuple(expected.shape):
        raise WrongAnswer(
            f"conv_step gave {name} of shape {tuple(found.shape)} {where}, expected {tuple(expected.shape)}: {why}"
        )
    if not torch.allclose(found, expected, rtol=1e-9, atol=1e-9):
        raise WrongAnswer(
            f"conv_step gave {name} off by up to {(found - expected).abs().max():.3g} {where}, expected none: {why}"
        )


def time_constant(A_log, dt_bias, rate):
    dt = math.log1p(math.exp(dt_bias))  # softplus
    return 1 / (dt * math.exp(A_log) * rate)


def check_time_constant(answer):
    draw = random.Random(64)
    cases = [(0.0, math.log(math.expm1(0.001)), 16), (math.log(16), math.log(math.expm1(0.1)), 16), (0.0, 0.0, 1)]
    cases += [(draw.uniform(0, 2.8), draw.uniform(-7, 1), draw.choice([16, 64, 256])) for _ in range(12)]
    for A_log, dt_bias, rate in cases:
        step = math.log(1 + math.exp(dt_bias))  # the state fades by exp(-step |A|) in a step
        fades = step * math.exp(A_log)
        found, expected = attempt(answer, A_log, dt_bias, rate), 1 / fades / rate
        if not math.isclose(found, expected, rel_tol=1e-6):  # float32 parameters will do
            raise WrongAnswer(
                f"time_constant({A_log:.3f}, {dt_bias:.3f}, {rate}) gave {found}, expected {expected:.4g}: a step is "
                f"{step:.4g} long, so the state fades by exp(-{fades:.4g}) in it, and there are {rate} steps a second."
            )


def _forgets_the_state(x_t, state, weight, bias):
    return conv_step(x_t, state, weight, bias)[0], state


def _taps_reversed(x_t, state, weight, bias):
    y_t, _ = conv_step(x_t, state, weight.flip(-1), bias)
    return y_t, conv_step(x_t, state, weight, bias)[1]


def _rolls_in_place(x_t, state, weight, bias):
    y_t, new = conv_step(x_t, state, weight, bias)
    state.copy_(new)
    return y_t, state


EXERCISES = [
    Exercise(
        "06.1",
        "go through the table of parameters, and write each shape with d_inner, heads and the channels that the "
        "convolution sees.",
        check_count_parameters,
        count_parameters,
        {
            "forgets that B and C go through the convolution": lambda d, n, k, e, p, g: (
                count_parameters(d, n, k, e, p, g) - 2 * g * n * (k + 1)
            ),
            "forgets the biases of the convolution": lambda d, n, k, e, p, g: (
                count_parameters(d, n, k, e, p, g) - (e * d + 2 * g * n)
            ),
            "one B and C whatever the groups": lambda d, n, k, e, p, g: count_parameters(d, n, k, e, p, 1),
            "one rate for each channel and state, as in Mamba-1": lambda d, n, k, e, p, g: (
                count_parameters(d, n, k, e, p, g) - e * d // p + e * d * n
            ),
        },
    ),
    Exercise(
        "06.2",
        "a width of 4 sees 3 steps more than a width of 1; what does the second convolution add?",
        check_span_ms,
        span_ms,
        {
            "counts the gaps, not the steps": lambda widths, rate: 1000 * sum(width - 1 for width in widths) / rate,
            "adds the widths": lambda widths, rate: 1000 * sum(widths) / rate,
            "reckons with the rate of the EEG": lambda widths, rate: span_ms(widths, 256),
            "gives seconds": lambda widths, rate: span_ms(widths, rate) / 1000,
        },
    ),
    Exercise(
        "06.3",
        "put the new input behind the old ones: that is all the convolution sees, and most of what it must keep.",
        check_conv_step,
        conv_step,
        {
            "hands back the old state": _forgets_the_state,
            "meets the newest input with the first tap": _taps_reversed,
            "changes the state that was given": _rolls_in_place,
            "keeps one input too many": lambda x_t, state, weight, bias: (
                conv_step(x_t, state, weight, bias)[0],
                _with(state, x_t),
            ),
        },
    ),
    Exercise(
        "06.4",
        "dt is the softplus of dt_bias, the rate is exp(A_log), and a step takes 1 / rate seconds.",
        check_time_constant,
        time_constant,
        {
            "takes dt_bias for dt": lambda A_log, dt_bias, rate: 1 / (abs(dt_bias) * math.exp(A_log) * rate + 1e-12),
            "forgets the exponential of A_log": lambda A_log, dt_bias, rate: (
                1 / (math.log1p(math.exp(dt_bias)) * (A_log or 1.0) * rate)
            ),
            "gives steps, not seconds": lambda A_log, dt_bias, rate: time_constant(A_log, dt_bias, 1),
            "exp without the 1 +": lambda A_log, dt_bias, rate: 1 / (math.exp(dt_bias) * math.exp(A_log) * rate),
        },
    ),
]


def _with(state, x_t):
    import torch

    return torch.cat([state, x_t[:, :, None]], dim=-1)
