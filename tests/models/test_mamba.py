"""`Mamba`: the block computed step by step, its initial step sizes and rates, and options that do not fit."""

import math

import pytest
import torch
import torch.nn.functional as F
from by_hand import convolved_by_hand
from drawn import assert_equals_by_hand, randomized
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.models import Mamba, selective_scan_recurrence


def mamba_by_hand(block, u):
    """The block from its parameters alone: the convolution tap by tap, the scan step by step."""
    x, z = torch.einsum("bli,oi->blo", u, block.in_proj.weight).split(block.d_inner, dim=-1)
    convolved = convolved_by_hand(x, block.conv1d, past=block.d_conv - 1)
    x = convolved * torch.sigmoid(convolved)
    low, B, C = torch.einsum("bli,oi->blo", x, block.x_proj.weight).split(
        [block.dt_rank, block.d_state, block.d_state], dim=-1
    )
    dt = torch.einsum("blr,or->blo", low, block.dt_proj.weight) + block.dt_proj.bias
    y = selective_scan_recurrence(
        x, torch.log1p(torch.exp(dt)), -torch.exp(block.A_log), B.unsqueeze(2), C.unsqueeze(2), block.D
    )
    return torch.einsum("bli,oi->blo", y * z * torch.sigmoid(z), block.out_proj.weight)


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 37),
    d_conv=st.integers(1, 5),
    d_state=st.integers(1, 9),
    expand=st.sampled_from([1, 2, 2.5]),
    dt_rank=st.sampled_from(["auto", 1, 3]),
    seed=st.integers(0, 10**6),
)
def test_block_equals_its_parameters_by_hand(length, d_conv, d_state, expand, dt_rank, seed):
    block = randomized(Mamba(6, d_state=d_state, d_conv=d_conv, expand=expand, dt_rank=dt_rank), seed)
    u = torch.randn(2, length, 6, dtype=torch.float64, requires_grad=True)
    assert_equals_by_hand(block, mamba_by_hand, u)


def test_initialization_spans_the_step_sizes():
    torch.manual_seed(0)
    block = Mamba(512)
    dt = F.softplus(block.dt_proj.bias)
    assert dt.min() > 0.000999
    assert dt.max() < 0.1001
    middle = (math.log(0.1) + math.log(0.001)) / 2
    assert abs(torch.log(dt).mean() - middle) < 0.17  # log-uniform, 1024 channels: 4 standard errors
    torch.testing.assert_close(-torch.exp(block.A_log[5]), -torch.arange(1.0, 17.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "triton"}, "backend is 'triton'; expected one of auto, torch, mamba_ssm"),
        ({"dt_rank": 0}, "dt_rank is 0; expected a positive whole number or 'auto'"),
        ({"dt_rank": "all"}, "dt_rank is 'all'"),
        ({"d_state": 0}, "d_state is 0; expected a positive whole number"),
        ({"d_conv": 0}, "d_conv is 0"),
    ],
)
def test_options_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Mamba(8, **options)
