"""`GatedRMSNorm` equals its formula, forward and backward, and its gate comes before the norm."""

from unittest import mock

import pytest
import torch
from drawn import FLOAT64, assert_rounded, normals, randomized
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.models import GatedRMSNorm
from helpers.models import pieces as pieces_module


def by_formula(norm, y, z):
    gated = (y * z * torch.sigmoid(z)).unflatten(-1, (norm.groups, -1))
    normed = (gated / (gated.square().mean(-1, keepdim=True) + norm.eps).sqrt()).flatten(-2)
    return normed if norm.weight is None else normed * norm.weight


def with_gradients(function, norm, y, z, seed):
    out = function(y, z)
    inputs = [y, z, *norm.parameters()]
    return out, *torch.autograd.grad((out.double() * normals(seed)(*out.shape)).sum(), inputs)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(1, 4), max_size=2),
    st.integers(1, 23),
    st.sampled_from([(1, 1), (6, 1), (6, 3), (5, 5)]),
    st.booleans(),
    st.sampled_from([1, 40, 2**19]),
    st.integers(0, 10**6),
)
def test_equals_its_formula_and_all_its_gradients(batch, length, sizes, weighted, piece, seed):
    width, groups = sizes
    norm = randomized(GatedRMSNorm(width, groups, eps=0.01), seed)
    if not weighted:
        norm.weight = None  # as in a copy of `fuse_for_inference`
    y, z = (normals(seed + i)(*batch, length, width).requires_grad_() for i in (1, 2))
    with mock.patch.dict(pieces_module._NUMBERS, {"cpu": piece}):
        found = with_gradients(norm, norm, y, z, seed)
    expected = with_gradients(lambda y, z: by_formula(norm, y, z), norm, y, z, seed)
    torch.testing.assert_close(found, expected, **FLOAT64)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-6)])
def test_lower_precision_and_autocast(dtype, tolerance):
    """As a share of the largest value: bfloat16 rounds y, its gradient and the gradients found to units of 2**-7."""
    exact = randomized(GatedRMSNorm(24, 2), 5).to(dtype).double()
    norm = GatedRMSNorm(24, 2)
    norm.load_state_dict(exact.state_dict())
    norm.to(dtype)
    y, z = (normals(i, dtype)(2, 131, 24).requires_grad_() for i in (6, 7))
    y64, z64 = (t.detach().double().requires_grad_() for t in (y, z))
    expected = with_gradients(lambda y, z: by_formula(exact, y, z), exact, y64, z64, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = with_gradients(norm, norm, y, z, 8)
    assert_rounded(found, expected, dtype, tolerance)


def test_second_derivatives_raise():
    norm, y, z = GatedRMSNorm(6), torch.randn(2, 3, 6, requires_grad=True), torch.randn(2, 3, 6)
    (first,) = torch.autograd.grad(norm(y, z).square().sum(), y, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
