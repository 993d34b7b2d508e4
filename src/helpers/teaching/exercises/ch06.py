"""Exercises of chapter 06: sizes of a block, the span of its convolutions, one step of one, and a memory by order."""

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


def dt_bias_for(tau, A_log, rate):
    dt = 1 / (tau * rate * math.exp(A_log))  # the state fades by exp(-dt |A|) in a step
    return math.log(math.expm1(dt))  # log(1 + exp(dt_bias)) is dt


def check_dt_bias_for(answer):
    import torch

    draw = random.Random(64)
    cases = [(60.0, 0.0, 16), (0.05, math.log(16), 16), (1.0, 0.0, 1), (2.0, 1.0, 64)]
    for _ in range(12):  # steps from a thousandth, where training begins, to 2
        A_log, rate, dt = draw.uniform(0, 2.8), draw.choice([1, 16, 64]), math.exp(draw.uniform(math.log(0.001), 0.7))
        cases.append((1 / (dt * rate * math.exp(A_log)), A_log, rate))
    for tau, A_log, rate in cases:
        # Tensors with one number serve both: `math` takes them, and `torch` takes nothing else.
        tensors = [torch.tensor(value, dtype=torch.float64) for value in (tau, A_log)]
        found = _number(attempt(answer, *tensors, rate))
        wanted = 1 / (tau * rate * math.exp(A_log))
        dt = max(found, 0.0) + math.log1p(math.exp(-abs(found)))  # softplus
        if not math.isclose(dt, wanted, rel_tol=2e-4):  # log(exp(0.001) - 1) in float32 is off by half of that
            raise WrongAnswer(
                f"dt_bias_for({tau:.4g}, {A_log:.3f}, {rate}) gave {found:.5g}, expected "
                f"{math.log(math.expm1(wanted)):.5g}: that makes steps of {dt:.4g}. A memory of {tau:.4g} s is one of "
                f"{tau * rate:.4g} steps, and with |A| = {math.exp(A_log):.4g} it asks for a dt of {wanted:.4g}."
            )


def _number(found):
    """The one number in a float, a NumPy scalar or a tensor."""
    try:
        return float(found.detach() if hasattr(found, "detach") else found)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor with several
        shape = getattr(found, "shape", None)
        told = f"a {type(found).__name__}" if shape is None else f"a {type(found).__name__} of shape {tuple(shape)}"
        raise WrongAnswer(f"dt_bias_for gave {told}, expected one: a number, or a tensor with one number.") from None


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
        "a time constant of n steps takes dt = 1 / (n |A|); then undo the softplus, log(1 + exp(dt_bias)) = dt.",
        check_dt_bias_for,
        dt_bias_for,
        {
            "gives dt itself": lambda tau, A_log, rate: 1 / (tau * rate * math.exp(A_log)),
            "takes the logarithm for the inverse of softplus": lambda tau, A_log, rate: (
                -math.log(tau * rate * math.exp(A_log))
            ),
            "takes softplus for its own inverse": lambda tau, A_log, rate: math.log1p(
                math.exp(1 / (tau * rate * math.exp(A_log)))
            ),
            "forgets the exponential of A_log": lambda tau, A_log, rate: dt_bias_for(tau * (A_log or 1.0), 0.0, rate),
            "counts seconds, not steps": lambda tau, A_log, rate: dt_bias_for(tau, A_log, 1),
            "gives several": lambda tau, A_log, rate: [dt_bias_for(tau, A_log, rate)] * 2,
        },
    ),
]


def _with(state, x_t):
    import torch

    return torch.cat([state, x_t[:, :, None]], dim=-1)
