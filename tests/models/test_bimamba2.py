"""`BiMamba2`: each way to join two directions against its two blocks, and what may and may not reach an output."""

import pytest
import torch
import torch.nn.functional as F
from drawn import FLOAT64, assert_equals_by_hand, randomized
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.models import BiMamba2, Hydra, Mamba2

MIXINGS = ("concat", "sum", "shared")


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv("SEIZURE_MAMBA_FORCE_FALLBACK", raising=False)


def reversed_in_time(x):
    return x[:, torch.arange(x.shape[1] - 1, -1, -1)]


def by_hand(layer, x):
    """The layer from its blocks, which have tests of their own."""
    if layer.mixing == "shared":
        branch = layer.ssm(x)
    else:
        ahead = layer.forward_ssm(x)
        behind = reversed_in_time(layer.backward_ssm(reversed_in_time(x)))
        if layer.mixing == "sum":
            branch = ahead + behind
        else:
            half_ahead, half_behind = layer.mix.weight.chunk(2, dim=1)
            branch = ahead @ half_ahead.T + behind @ half_behind.T + layer.mix.bias
    y = x + branch
    centered = y - y.mean(-1, keepdim=True)
    normed = centered / (centered.square().mean(-1, keepdim=True) + 1e-5).sqrt()
    return normed * layer.norm.weight + layer.norm.bias


@settings(max_examples=15, deadline=None)
@given(
    mixing=st.sampled_from(MIXINGS),
    length=st.integers(1, 17),
    d_state=st.integers(1, 7),
    seed=st.integers(0, 10**6),
)
def test_layer_equals_its_blocks_by_hand(mixing, length, d_state, seed):
    layer = randomized(BiMamba2(6, mixing, d_state=d_state, headdim=3), seed).eval()
    x = torch.randn(2, length, 6, dtype=torch.float64, requires_grad=True)
    assert_equals_by_hand(layer, by_hand, x)


def directions_swapped(layer):
    """A layer of the same kind whose forward direction is the other's backward one."""
    other = BiMamba2(6, layer.mixing, d_state=5, headdim=3).double().eval()
    other.load_state_dict(layer.state_dict())
    if layer.mixing == "shared":
        for parameter in (other.ssm.in_proj.weight, other.ssm.conv1d.weight, other.ssm.conv1d.bias):
            exchange_halves(parameter, other.ssm)
        with torch.no_grad():
            other.ssm.conv1d.weight.copy_(other.ssm.conv1d.weight.flip(-1))  # its taps lie in time, too
    else:
        other.forward_ssm, other.backward_ssm = other.backward_ssm, other.forward_ssm
        if layer.mixing == "concat":
            with torch.no_grad():
                other.mix.weight.copy_(torch.cat(other.mix.weight.chunk(2, dim=1)[::-1], dim=1))
    return other


def exchange_halves(parameter, block):
    """Exchange the rows of the forward direction's B, C (and dt) with those of the backward direction's."""
    d_BC = 2 * block.ngroups * block.d_state
    before = block.d_inner if parameter.shape[0] == block.conv1d.weight.shape[0] else 2 * block.d_inner
    dt = [] if before == block.d_inner else [block.nheads, block.nheads]
    with torch.no_grad():
        parts = parameter.clone().split([before, d_BC, d_BC, *dt])
        order = [0, 2, 1, 4, 3][: len(parts)]
        parameter.copy_(torch.cat([parts[index] for index in order]))


@pytest.mark.parametrize("mixing", MIXINGS)
def test_a_reversed_input_with_exchanged_directions_is_the_reversed_output(mixing):
    layer = randomized(BiMamba2(6, mixing, d_state=5, headdim=3), 8).eval()
    x = torch.randn(3, 29, 6, dtype=torch.float64)
    found = directions_swapped(layer)(x.flip(1))
    torch.testing.assert_close(found, layer(x).flip(1), **FLOAT64)
    assert (layer(x.flip(1)) - layer(x).flip(1)).abs().max() > 0.01  # the exchange is needed


@pytest.mark.parametrize("mixing", ["concat", "sum"])
def test_each_direction_reads_one_side_and_both_read_everything(mixing):
    layer = randomized(BiMamba2(6, mixing, d_state=5, headdim=3), 4).eval()
    x = torch.randn(1, 31, 6, dtype=torch.float64, requires_grad=True)

    def influence(y):
        (gradient,) = torch.autograd.grad(y[:, 11].sum(), x)
        return gradient.abs().amax(dim=(0, 2)) > 0

    past = torch.arange(31) <= 11
    assert torch.equal(influence(layer.forward_ssm(x)), past)
    assert torch.equal(influence(layer.backward_ssm(x.flip(1)).flip(1)), torch.arange(31) >= 11)
    assert influence(layer(x)).all()


def test_concat_with_two_identities_is_sum():
    concat = randomized(BiMamba2(6, "concat", d_state=5, headdim=3), 3).eval()
    added = BiMamba2(6, "sum", d_state=5, headdim=3).double().eval()
    added.load_state_dict({name: value for name, value in concat.state_dict().items() if "mix" not in name})
    with torch.no_grad():
        concat.mix.weight.copy_(torch.cat([torch.eye(6), torch.eye(6)], dim=1))
        concat.mix.bias.zero_()
    x = torch.randn(2, 19, 6, dtype=torch.float64)
    torch.testing.assert_close(concat(x), added(x), **FLOAT64)


@pytest.mark.parametrize(("mixing", "parameters"), [("concat", 3_733_408), ("sum", 3_208_608), ("shared", 1_649_200)])
def test_parameters_at_the_size_of_the_detector(mixing, parameters):
    layer = BiMamba2(512, mixing, d_state=16)
    assert sum(parameter.numel() for parameter in layer.parameters()) == parameters


@pytest.mark.filterwarnings("ignore::helpers.models.StandInWarning")
def test_parameters_with_the_stand_in():
    """531,968 a layer: six of them and the 10,205,991 of everything else are the 13,397,799 of the field notes."""
    layer = BiMamba2(512, backend="conv1d", d_state=16)
    assert 6 * sum(parameter.numel() for parameter in layer.parameters()) + 10_205_991 == 13_397_799


def test_directions_share_no_weights():
    torch.manual_seed(0)
    layer = BiMamba2(6, d_state=5, headdim=3)
    assert not {id(p) for p in layer.forward_ssm.parameters()} & {id(p) for p in layer.backward_ssm.parameters()}
    assert (layer.forward_ssm.in_proj.weight != layer.backward_ssm.in_proj.weight).all()


def test_options_and_backend_reach_the_blocks():
    layer = BiMamba2(6, backend="torch", d_state=5, headdim=3, chunk_size=7)
    for block in (layer.forward_ssm, layer.backward_ssm):
        assert isinstance(block, Mamba2)
        assert (block.d_state, block.chunk_size, block.backend) == (5, 7, "torch")
    block = BiMamba2(6, "shared", backend="torch", d_state=5, headdim=3, chunk_size=7).ssm
    assert isinstance(block, Hydra)
    assert (block.d_state, block.chunk_size, block.backend) == (5, 7, "torch")


@pytest.mark.parametrize("mixing", MIXINGS)
def test_a_backend_by_name_that_cannot_be_is_an_error(mixing):
    layer = BiMamba2(6, mixing, backend="mamba_ssm", d_state=5, headdim=3)
    x = torch.randn(1, 4, 6)
    with pytest.raises(RuntimeError, match="backend 'mamba_ssm': the input is on cpu"):
        layer.backend_for(x)
    with pytest.raises(RuntimeError, match="backend 'mamba_ssm': the input is on cpu"):
        layer(x)


def test_dropout_is_on_the_branch_alone():
    torch.manual_seed(5)
    layer = BiMamba2(6, dropout=1.0, d_state=5, headdim=3).train()
    x = torch.randn(2, 9, 6)
    torch.testing.assert_close(layer(x), F.layer_norm(x, (6,)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mixing": "mean"}, "mixing is 'mean'; expected one of concat, sum, shared"),
        ({"mixing": 0.1}, "mixing is 0.1; expected one of concat, sum, shared"),
        ({"backend": "cuda"}, "backend is 'cuda'; expected one of auto, torch, mamba_ssm, conv1d"),
    ],
)
def test_options_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        BiMamba2(8, **options)


@pytest.mark.gpu
@pytest.mark.parametrize("mixing", MIXINGS)
def test_kernels_on_a_gpu_equal_torch_in_float64(mixing):
    torch.manual_seed(7)
    layer = BiMamba2(64, mixing, backend="mamba_ssm", dropout=0, d_state=16, headdim=16).cuda()
    exact = BiMamba2(64, mixing, backend="torch", dropout=0, d_state=16, headdim=16).double().cuda()
    exact.load_state_dict(layer.state_dict())
    x = torch.randn(3, 961, 64, device="cuda")
    found, expected = layer(x), exact(x.double())
    # the kernels multiply in TF32: 10 bits
    torch.testing.assert_close(found.double(), expected, rtol=5e-3, atol=5e-3)
    weight = torch.randn_like(found)  # squares alone would be a constant after the LayerNorm
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    for (name, parameter), reference in zip(layer.named_parameters(), exact.parameters(), strict=True):
        scale = reference.grad.abs().max()
        assert (parameter.grad.double() - reference.grad).abs().max() < 2e-2 * scale, name
