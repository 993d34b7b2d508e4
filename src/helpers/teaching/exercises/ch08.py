"""Exercises of chapter 08: which samples a step has seen, parameters of a block, a folded batch norm, a speed-up."""

import math
import random

import torch
from torch import nn

from helpers.models import ResCNN, receptive_field
from helpers.teaching.exercises import Exercise, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def seen_by(layers, index):
    first = last = index
    for kernel, stride, padding in reversed(layers):
        first = first * stride - padding
        last = last * stride - padding + kernel - 1
    return first, last


def check_seen_by(answer):
    draw = random.Random(1)
    cases = [
        [(7, 1, 0)],
        [(7, 1, 3)],
        [(5, 1, 2), (2, 2, 0)],
        [(2, 2, 0), (5, 1, 2)],
        [(4, 3, 1), (1, 2, 0), (6, 1, 2)],
    ]
    for _ in range(10):
        cases.append([(draw.randint(1, 9), draw.randint(1, 3), draw.randint(0, 4)) for _ in range(draw.randint(2, 6))])
    for layers in cases:
        index = draw.randint(0, 40)
        # by what is seen in all, and by where the first step begins: a sum in the order of the pass
        field, begin, step = receptive_field([(kernel, stride) for kernel, stride, _ in layers]), 0, 1
        for _, stride, padding in layers:
            begin -= padding * step
            step *= stride
        expected = (begin + index * step, begin + index * step + field.size - 1)
        found = attempt(answer, list(layers), index)
        if tuple(found) != expected:
            raise WrongAnswer(
                f"seen_by({layers}, {index}) gave {found}, expected {expected}: output i of a layer reads its inputs "
                "from i x stride - padding on, as many as the kernel is wide."
            )


def rescnn_parameters(channels):
    third = channels // 3
    total = channels * channels + 3 * channels  # the 1x1 convolution: weights, bias, and two numbers a batch norm
    for kernel, width in ((3, third), (5, third), (7, channels - 2 * third)):
        total += kernel * channels * width + 3 * width
    return total


def check_rescnn_parameters(answer):
    for channels in (512, 10, 64, 9, 35):
        with torch.device("meta"):
            expected = sum(parameter.numel() for parameter in ResCNN(channels).parameters())
        found = attempt(answer, channels)
        if found != expected:
            raise WrongAnswer(
                f"rescnn_parameters({channels}) gave {found}, expected {expected}: kernel x channels in x channels out "
                "and a bias for each convolution, and a scale and a shift for each channel of a batch norm."
            )


def folded(weight, bias, norm):
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return weight * scale[:, None, None], (bias - norm.running_mean) * scale + norm.bias


def check_folded(answer):
    random_numbers = torch.Generator().manual_seed(3)

    def numbers(*shape):
        return torch.randn(shape, generator=random_numbers, dtype=torch.float64)

    for narrow, wide, kernel, eps in ((5, 5, 3, 1e-5), (19, 64, 7, 1e-3), (7, 3, 1, 0.3)):
        norm = nn.BatchNorm1d(wide, eps=eps).double().eval().requires_grad_(False)
        for name, value in (("weight", numbers(wide)), ("bias", numbers(wide)), ("running_mean", numbers(wide))):
            getattr(norm, name).copy_(value)
        norm.running_var.copy_(numbers(wide).square())
        weight, bias, x = numbers(wide, narrow, kernel), numbers(wide), numbers(2, narrow, 33)
        expected = norm(nn.functional.conv1d(x, weight, bias))
        sizes = f"{narrow} -> {wide} channels, kernel {kernel}, eps {eps:g}"
        try:
            found = nn.functional.conv1d(x, *attempt(answer, weight.clone(), bias.clone(), norm))
        except (RuntimeError, TypeError, ValueError, AttributeError) as fault:
            raise WrongAnswer(
                f"folded for {sizes} gave nothing to convolve with ({fault}), expected a weight of shape "
                f"{tuple(weight.shape)} and a bias of shape ({wide},): as the convolution had them."
            ) from fault
        if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-9, atol=1e-9):
            off = (found - expected).abs().max().item() if found.shape == expected.shape else math.inf
            raise WrongAnswer(
                f"folded for {sizes} gave a convolution that is off by {off:.2g}, expected what the two in a row give: "
                "the norm acts on all that the convolution gives, its bias too, and divides by the square root of the "
                "variance plus eps."
            )


def speed_up(whole, without, factor):
    return whole / (without + (whole - without) / factor)


def check_speed_up(answer):
    draw = random.Random(4)
    cases = [(100.0, 50.0, math.inf), (100.0, 50.0, 2), (140.0, 70.0, 1), (90.0, 81.0, 1000)]
    cases += [(whole := draw.uniform(10, 200), draw.uniform(1, whole), draw.uniform(1, 20)) for _ in range(8)]
    for whole, without, factor in cases:
        # the same, by the share of time that becomes faster
        share = 1 - without / whole
        expected = 1 / (1 - share + share / factor)
        found = attempt(answer, whole, without, factor)
        if not math.isclose(found, expected, rel_tol=1e-9):
            raise WrongAnswer(
                f"speed_up({whole:.4g}, {without:.4g}, {factor:.4g}) gave {found:.4g}, expected {expected:.4g}: the "
                "rest takes as long as before, only the difference shrinks."
            )


def _around(middle, size):
    return middle - size // 2, middle - size // 2 + size - 1


EXERCISES = [
    Exercise(
        "08.1",
        "begin at the output: which of its inputs does the last layer read, and which of theirs does the one before?",
        check_seen_by,
        seen_by,
        {
            "forgets the padding": lambda layers, index: seen_by([(k, s, 0) for k, s, _ in layers], index),
            "goes from the input on": lambda layers, index: seen_by(layers[::-1], index),
            "adds whole kernels": lambda layers, index: seen_by([(k + 1, s, p) for k, s, p in layers], index),
            "takes the step for the middle": lambda layers, index: _around(
                index * math.prod(stride for _, stride, _ in layers),
                receptive_field([(kernel, stride) for kernel, stride, _ in layers]).size,
            ),
        },
    ),
    Exercise(
        "08.2",
        "how many channels does the third branch give where 3 does not divide them?",
        check_rescnn_parameters,
        rescnn_parameters,
        {
            "forgets the batch norms": lambda c: rescnn_parameters(c) - 4 * c,
            "forgets the biases": lambda c: rescnn_parameters(c) - 2 * c,
            "takes three equal branches": lambda c: 15 * c * (c // 3) + 9 * (c // 3) + c * c + 3 * c,
            "counts running statistics": lambda c: rescnn_parameters(c) + 4 * c,
        },
    ),
    Exercise(
        "08.3",
        "write out what the norm makes of one channel, weight x + bias, and collect what stands before x.",
        check_folded,
        folded,
        {
            "divides by the variance": lambda weight, bias, norm: (
                weight * (norm.weight / (norm.running_var + norm.eps))[:, None, None],
                (bias - norm.running_mean) * norm.weight / (norm.running_var + norm.eps) + norm.bias,
            ),
            "leaves the bias as it is": lambda weight, bias, norm: (folded(weight, bias, norm)[0], bias),
            "forgets the mean": lambda weight, bias, norm: (
                folded(weight, bias, norm)[0],
                folded(weight, bias + norm.running_mean, norm)[1],
            ),
            "forgets eps": lambda weight, bias, norm: (
                weight * (norm.weight / norm.running_var.sqrt())[:, None, None],
                (bias - norm.running_mean) * norm.weight / norm.running_var.sqrt() + norm.bias,
            ),
            "scales what comes in": lambda weight, bias, norm: (
                weight * norm.weight.mean(),
                folded(weight, bias, norm)[1],
            ),
        },
    ),
    Exercise(
        "08.4",
        "how long does a step take afterwards?",
        check_speed_up,
        speed_up,
        {
            "makes everything faster": lambda whole, without, factor: factor,
            "makes the rest faster": lambda whole, without, factor: whole / (whole - without + without / factor),
            "adds up shares": lambda whole, without, factor: 1 + (1 - without / whole) * (factor - 1),
        },
    ),
]
