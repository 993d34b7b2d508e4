"""`causal_conv` equals torch's convolution, forward and backward, at any width and in any dtype."""

from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from drawn import FLOAT64, assert_rounded, normals
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.models import pieces as pieces_module
from helpers.models.causal_conv import causal_conv


def by_torch(x, weight, bias, silu):
    y = F.conv1d(F.pad(x.mT, (weight.shape[-1] - 1, 0)), weight, bias, groups=len(weight)).mT
    return F.silu(y) if silu else y


def with_gradients(function, inputs, silu, seed):
    y = function(*inputs, silu)
    return y, *torch.autograd.grad((y.double() * normals(seed)(*y.shape)).sum(), inputs)


def draw(batch, length, channels, d_conv, seed, dtype=torch.float64):
    normal = normals(seed, dtype)
    return [
        t.requires_grad_() for t in (normal(batch, length, channels), normal(channels, 1, d_conv), normal(channels))
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(1, 23),
    st.integers(1, 7),
    st.integers(1, 9),
    st.booleans(),
    st.sampled_from([1, 30, 2**19]),
    st.integers(0, 10**6),
)
def test_equals_torch_and_all_its_gradients(batch, length, channels, d_conv, silu, piece, seed):
    """Sequences shorter than the convolution too, and pieces of one step."""
    inputs = draw(batch, length, channels, d_conv, seed)
    with mock.patch.dict(pieces_module._NUMBERS, {"cpu": piece}):
        found = with_gradients(causal_conv, inputs, silu, seed)
    torch.testing.assert_close(found, with_gradients(by_torch, inputs, silu, seed), **FLOAT64)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-6)])
def test_lower_precision_and_autocast(dtype, tolerance):
    """As a share of the largest value: bfloat16 rounds y, its gradient and the gradients found to units of 2**-7."""
    inputs = draw(2, 131, 5, 4, 1, dtype)
    exact = [t.detach().double().requires_grad_() for t in inputs]
    expected = with_gradients(by_torch, exact, True, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = with_gradients(causal_conv, inputs, True, 2)
    assert_rounded(found, expected, dtype, tolerance)


def test_second_derivatives_raise():
    inputs = draw(1, 4, 2, 3, 3)
    (first,) = torch.autograd.grad(causal_conv(*inputs).square().sum(), inputs[0], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
