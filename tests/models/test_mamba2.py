"""`Mamba2` and `BiMamba2`: names, shapes and initialization of mamba_ssm, and the block computed step by step."""

import copy

import pytest
import torch
import torch.nn.functional as F
from by_hand import convolved_by_hand
from drawn import FLOAT64, assert_equals_by_hand, randomized
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.models import BiMamba2, GatedRMSNorm, Mamba2, ssd_recurrence


def mamba2_by_hand(block, u):
    """The block from its parameters alone: the convolution tap by tap, the SSD step by step."""
    d_BC = block.ngroups * block.d_state
    projected = torch.einsum("bli,oi->blo", u, block.in_proj.weight)
    z, xBC, dt = projected.split([block.d_inner, block.d_inner + 2 * d_BC, block.nheads], dim=-1)
    convolved = convolved_by_hand(xBC, block.conv1d, past=block.d_conv - 1)
    x, B, C = F.silu(convolved).split([block.d_inner, d_BC, d_BC], dim=-1)
    y = ssd_recurrence(
        x.unflatten(-1, (block.nheads, block.headdim)),
        torch.log1p(torch.exp(dt + block.dt_bias)),
        -torch.exp(block.A_log),
        B.unflatten(-1, (block.ngroups, -1)),
        C.unflatten(-1, (block.ngroups, -1)),
        block.D,
    ).flatten(-2)
    gated = (y * z * torch.sigmoid(z)).unflatten(-1, (block.ngroups, -1))
    normed = gated / (gated.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return torch.einsum("bli,oi->blo", normed.flatten(-2) * block.norm.weight, block.out_proj.weight)


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 23),
    d_conv=st.integers(1, 5),
    ngroups=st.sampled_from([1, 2]),
    d_state=st.integers(1, 9),
    chunk_size=st.integers(1, 30),
    seed=st.integers(0, 10**6),
)
def test_block_equals_its_parameters_by_hand(length, d_conv, ngroups, d_state, chunk_size, seed):
    options = {"d_conv": d_conv, "ngroups": ngroups, "d_state": d_state, "chunk_size": chunk_size}
    block = randomized(Mamba2(6, headdim=3, **options), seed)
    u = torch.randn(2, length, 6, dtype=torch.float64, requires_grad=True)
    assert_equals_by_hand(block, mamba2_by_hand, u)


def test_float32_goes_another_way_to_the_same_output():
    """On a CPU float32 projections run as 1x1 convolutions and float64 ones do not. Gradients are in test_blocks."""
    torch.manual_seed(3)
    block = Mamba2(64, d_state=16, headdim=32)
    u = torch.randn(3, 101, 64)
    exact = copy.deepcopy(block).double()
    torch.testing.assert_close(block(u).double(), exact(u.double()), rtol=1e-4, atol=1e-5)


@pytest.mark.gpu
def test_kernel_is_the_real_module_and_state_dicts_move_both_ways():
    from mamba_ssm import Mamba2 as Official

    torch.manual_seed(8)
    official = Official(64, d_state=16, headdim=16).cuda()
    torch.manual_seed(8)
    block = Mamba2(64, d_state=16, headdim=16, backend="mamba_ssm").cuda()
    for name, value in official.state_dict().items():
        assert torch.equal(value, block.state_dict()[name]), name
    block.load_state_dict(official.state_dict(), strict=True)
    official.load_state_dict(block.state_dict(), strict=True)
    u = torch.randn(3, 301, 64, device="cuda")
    assert torch.equal(official(u), block(u))


def test_names_and_shapes_are_those_of_mamba_ssm():
    """Names and shapes of ``mamba_ssm.Mamba2(512, d_state=16)`` 2.3.2, and its 1,603,792 parameters."""
    block = Mamba2(512, d_state=16)
    assert {name: tuple(value.shape) for name, value in block.state_dict().items()} == {
        "dt_bias": (16,),
        "A_log": (16,),
        "D": (16,),
        "in_proj.weight": (2096, 512),
        "conv1d.weight": (1056, 1, 4),
        "conv1d.bias": (1056,),
        "norm.weight": (1024,),
        "out_proj.weight": (512, 1024),
    }
    assert sum(parameter.numel() for parameter in block.parameters()) == 1_603_792


def test_initialization_is_that_of_mamba_ssm():
    torch.manual_seed(0)
    blocks = [Mamba2(256, headdim=4) for _ in range(20)]  # 2,560 heads
    A = torch.cat([torch.exp(block.A_log) for block in blocks])
    assert A.min() >= 1
    assert A.max() <= 16
    assert abs(A.mean() - 8.5) < 0.4  # uniform: 4 standard errors are 0.34
    assert all((block.norm.weight == 1).all() for block in blocks)
    assert blocks[0].conv1d.weight.abs().max() <= 0.5  # U(±1/sqrt(d_conv)), torch's default
    assert blocks[0].conv1d.weight.abs().max() > 0.4


def test_bimamba2_reads_both_ways():
    torch.manual_seed(2)
    layer = randomized(BiMamba2(6, d_state=5, headdim=3), 4).eval()
    x = torch.randn(2, 19, 6, dtype=torch.float64)
    ahead = mamba2_by_hand(layer.forward_ssm, x)
    behind = mamba2_by_hand(layer.backward_ssm, x.flip(1)).flip(1)
    joined = torch.cat([ahead, behind], -1) @ layer.mix.weight.T + layer.mix.bias
    expected = F.layer_norm(x + joined, (6,), layer.norm.weight, layer.norm.bias)
    torch.testing.assert_close(layer(x), expected, **FLOAT64)
    changed = x.clone()
    changed[:, 9] += 1
    difference = (layer(changed) - layer(x)).abs().amax(dim=(0, 2))
    assert (difference > 0).all()


def test_gate_comes_before_the_norm():
    y, z = torch.randn(2, 5, 12), torch.randn(2, 5, 12)
    norm = GatedRMSNorm(12, groups=3)
    halves = norm(y, z).unflatten(-1, (3, 4)).square().mean(-1)
    torch.testing.assert_close(
        halves, torch.ones_like(halves), rtol=1e-2, atol=1e-2
    )  # eps 1e-5 of a mean square near 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"headdim": 5}, "headdim 5 does not divide d_inner 16"),
        ({"headdim": 4, "ngroups": 3}, "ngroups 3 does not divide"),
        ({"d_conv": 0}, "d_conv is 0; expected a positive whole number"),
        ({"d_state": -1}, "d_state is -1"),
        ({"expand": 1.5}, r"expand is 1\.5"),
        ({"chunk_size": 0}, "chunk_size is 0"),
    ],
)
def test_options_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Mamba2(8, **options)
