"""The loss against its formula, and where its pieces meet others that are known."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from helpers.training import balancing_weight, detection_loss, learning_rate_factor


def drawn(seed, shape=(3, 517), size=4.0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=random) * size, torch.rand(shape, generator=random) < 0.13


@pytest.mark.parametrize(("gamma", "weight"), [(0.0, 1.0), (0.5, 1.7), (2.0, 3.9), (3.3, 0.4)])
def test_the_formula_in_float64(gamma, weight):
    logits, labels = drawn(1)
    probability = 1 / (1 + np.exp(-logits.double().numpy()))
    right = np.where(labels.numpy(), probability, 1 - probability)
    expected = (np.where(labels.numpy(), weight, 1.0) * (1 - right) ** gamma * -np.log(right)).mean()
    # float32: a sum of 1551 terms, each right to 1e-6
    assert detection_loss(logits, labels, gamma, weight).item() == pytest.approx(expected, rel=1e-5)


def test_without_focus_it_is_torch_s_cross_entropy_also_for_bfloat16():
    logits, labels = drawn(2)
    weight = torch.tensor(2.5)
    assert torch.equal(
        detection_loss(logits, labels, 0.0, 2.5),
        F.binary_cross_entropy_with_logits(logits, labels.float(), pos_weight=weight),
    )
    half = detection_loss(logits.bfloat16(), labels, 2.0, 2.5)
    assert half.dtype == torch.float32
    assert torch.equal(half, detection_loss(logits.bfloat16().float(), labels, 2.0, 2.5))


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_gradients_stay_numbers_far_out(gamma):
    logits = torch.tensor([[-3e4, -200.0, -1.0, 0.0, 1.0, 200.0, 3e4]] * 2, requires_grad=True)
    labels = torch.tensor([[False] * 7, [True] * 7])
    detection_loss(logits, labels, gamma, 2.0).backward()
    assert logits.grad.isfinite().all()
    assert (logits.grad[0] >= 0).all()
    assert (logits.grad[1] <= 0).all()
    assert logits.grad[0, -1] > 0  # the worst error still teaches


def test_focus_lowers_what_is_right_and_leaves_what_is_wrong():
    logits, labels = torch.tensor([[-6.0]]), torch.tensor([[False]])
    assert detection_loss(logits, labels, 2.0) < 1e-4 * detection_loss(logits, labels, 0.0)
    assert detection_loss(-logits, labels, 2.0) > 0.99 * detection_loss(-logits, labels, 0.0)


def test_balancing_weight():
    assert balancing_weight(0.5) == 1
    assert balancing_weight(0.1) == pytest.approx(3)
    assert balancing_weight(0.9) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("total", "warmup"), [(1, 0.0), (2, 0.9), (97, 0.1), (1000, 0.03)])
def test_the_learning_rate_rises_in_a_line_and_falls_along_a_cosine(total, warmup):
    factors = np.array([learning_rate_factor(step, total, warmup) for step in range(total)])
    rising = round(warmup * total)
    assert (factors > 0).all()
    assert factors.max() <= 1
    np.testing.assert_allclose(factors[:rising], np.arange(1, rising + 1) / (rising + 1), rtol=1e-12)
    np.testing.assert_allclose(
        factors[rising:], 0.5 + 0.5 * np.cos(np.pi * np.arange(total - rising) / (total - rising)), rtol=1e-12
    )
    if total > rising:
        assert learning_rate_factor(total, total, warmup) == pytest.approx(0, abs=1e-12)
