"""Exercises of chapter 08: receptive field, parameters of a block, two linear maps as one, a bound on a speed-up."""

import math
import random

import torch

from helpers.models import ResCNN, receptive_field
from helpers.teaching.exercises import Exercise, WrongAnswer, attempt

__all__ = ["EXERCISES"]


def field_of(layers):
    seen, step = 1, 1
    for kernel, stride in layers:
        seen += (kernel - 1) * step
        step *= stride
    return seen, step


def check_field_of(answer):
    draw = random.Random(1)
    cases = [[(7, 1)], [(3, 1), (3, 1)], [(2, 2), (5, 1)], [(5, 1), (2, 2), (5, 1), (2, 2)], [(4, 3), (1, 2), (6, 1)]]
    cases += [[(draw.randint(1, 9), draw.randint(1, 3)) for _ in range(draw.randint(2, 6))] for _ in range(10)]
    for layers in cases:
        expected = receptive_field(layers)
        found = attempt(answer, list(layers))
        if tuple(found) != (expected.size, expected.step):
            raise WrongAnswer(
                f"field_of({layers}) gave {found}, expected {(expected.size, expected.step)}: a kernel of k adds k - 1 "
                "steps, each as long as the strides of all layers before it multiplied together."
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


def one_map(weight_1, bias_1, weight_2, bias_2):
    return weight_2 @ weight_1, weight_2 @ bias_1 + bias_2


def check_one_map(answer):
    random_numbers = torch.Generator().manual_seed(3)
    for wide, middle, narrow in ((5, 5, 5), (64, 19, 1), (3, 7, 4)):
        shapes = ((middle, wide), (middle,), (narrow, middle), (narrow,), (11, wide))
        *maps, x = (torch.randn(shape, generator=random_numbers, dtype=torch.float64) for shape in shapes)
        weight_1, bias_1, weight_2, bias_2 = maps
        expected = (x @ weight_1.T + bias_1) @ weight_2.T + bias_2
        sizes = f"{wide} -> {middle} -> {narrow}"
        try:
            weight, bias = attempt(answer, *(tensor.clone() for tensor in maps))
            found = x @ weight.T + bias
        except (RuntimeError, TypeError, ValueError, AttributeError) as fault:
            raise WrongAnswer(
                f"one_map for {sizes} gave nothing to multiply with ({fault}), expected a weight of shape "
                f"({narrow}, {wide}) and a bias of shape ({narrow},)."
            ) from fault
        if found.shape != expected.shape or not torch.allclose(found, expected, rtol=1e-9, atol=1e-9):
            off = (found - expected).abs().max().item() if found.shape == expected.shape else math.inf
            raise WrongAnswer(
                f"one_map for {sizes} gave a map that is off by {off:.2g}, expected what the two in a row give: the "
                "second map acts on all that the first one gives, its bias too."
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


EXERCISES = [
    Exercise(
        "08.1",
        "begin with one sample that has seen itself, and keep the length of a step beside what is seen.",
        check_field_of,
        field_of,
        {
            "takes every step for one sample": lambda layers: (
                1 + sum(kernel - 1 for kernel, _ in layers),
                math.prod(stride for _, stride in layers),
            ),
            "adds whole kernels": lambda layers: (
                sum(kernel * math.prod(s for _, s in layers[:index]) for index, (kernel, _) in enumerate(layers)),
                math.prod(stride for _, stride in layers),
            ),
            "strides before it looks": lambda layers: (
                1 + sum((k - 1) * math.prod(s for _, s in layers[: index + 1]) for index, (k, _) in enumerate(layers)),
                math.prod(stride for _, stride in layers),
            ),
            "adds up the strides": lambda layers: (field_of(layers)[0], sum(stride for _, stride in layers)),
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
        "write the second map applied to the first, and multiply out.",
        check_one_map,
        one_map,
        {
            "adds the biases": lambda w1, b1, w2, b2: (w2 @ w1, (b1[: len(b2)] if len(b1) >= len(b2) else b2) + b2),
            "forgets the first bias": lambda w1, b1, w2, b2: (w2 @ w1, b2),
            "multiplies in the other order": lambda w1, b1, w2, b2: (w1 @ w2, w2 @ b1 + b2),
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
