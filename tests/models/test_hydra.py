"""`Hydra`: names and initialization of its source, and the block as one quasiseparable matrix a head, built by hand."""

from types import SimpleNamespace

import pytest
import torch
from by_hand import convolved_by_hand
from drawn import assert_equals_by_hand, randomized
from hypothesis import given, settings
from hypothesis import strategies as st
from on_gpu import OnGPU

from helpers.models import Hydra, hydra, ssd_recurrence


def hydra_by_hand(block, u):
    """The block from its parameters alone: the convolution tap by tap, the sequence map as one matrix."""
    length, groups = u.shape[1], block.ngroups
    projected = torch.einsum("bli,oi->blo", u, block.in_proj.weight)
    z, xBC, dt_ahead, dt_behind = projected.split(
        [block.d_inner, block.conv1d.weight.shape[0], block.nheads, block.nheads], dim=-1
    )
    convolved = convolved_by_hand(xBC, block.conv1d, past=block.d_conv // 2)
    convolved = convolved * torch.sigmoid(convolved)
    x, *BC = convolved.split([block.d_inner, *4 * [groups * block.d_state]], dim=-1)
    B_ahead, C_ahead, B_behind, C_behind = (
        part.unflatten(-1, (groups, -1)).repeat_interleave(block.nheads // groups, dim=2) for part in BC
    )  # (batch, length, heads, d_state)
    A = -torch.exp(block.A_log)
    dt_ahead, dt_behind = (torch.log1p(torch.exp(dt + block.dt_bias)) for dt in (dt_ahead, dt_behind))
    rows = []
    for i in range(length):
        entries = []
        for j in range(length):
            if j < i:  # written at j, read at i - 1
                decay = torch.exp(A * dt_ahead[:, j + 1 : i].sum(1))
                entry = decay * dt_ahead[:, j] * (C_ahead[:, i - 1] * B_ahead[:, j]).sum(-1)
            elif j > i:  # written at j, read at i + 1
                decay = torch.exp(A * dt_behind[:, i + 1 : j].sum(1))
                entry = decay * dt_behind[:, j] * (C_behind[:, i + 1] * B_behind[:, j]).sum(-1)
            else:
                entry = block.D + x[:, i] @ block.fc_D.weight.T
            entries.append(entry)  # (batch, heads)
        rows.append(torch.stack(entries, dim=-1))
    matrix = torch.stack(rows, dim=-2)  # (batch, heads, length, length)
    y = torch.einsum("bhij,bjhp->bihp", matrix, x.unflatten(-1, (block.nheads, block.headdim))).flatten(-2)
    normed = y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * block.norm.weight
    return torch.einsum("bli,oi->blo", normed * z * torch.sigmoid(z), block.out_proj.weight)


@settings(max_examples=25, deadline=None)
@given(
    length=st.integers(1, 13),
    d_conv=st.sampled_from([1, 3, 5, 7]),
    ngroups=st.sampled_from([1, 2]),
    d_state=st.integers(1, 7),
    chunk_size=st.integers(1, 16),
    seed=st.integers(0, 10**6),
)
def test_block_equals_its_matrix_by_hand(length, d_conv, ngroups, d_state, chunk_size, seed):
    options = {"d_conv": d_conv, "ngroups": ngroups, "d_state": d_state, "chunk_size": chunk_size}
    block = randomized(Hydra(6, headdim=3, **options), seed)
    u = torch.randn(2, length, 6, dtype=torch.float64, requires_grad=True)
    assert_equals_by_hand(block, hydra_by_hand, u)


def test_every_output_reads_the_whole_input():
    block = randomized(Hydra(6, d_state=5, headdim=3), 4)
    u = torch.randn(1, 31, 6, dtype=torch.float64, requires_grad=True)
    (influence,) = torch.autograd.grad(block(u)[:, 11].sum(), u)
    assert (influence.abs().amax(dim=(0, 2)) > 0).all()


def test_names_shapes_and_size_are_those_of_the_source():
    """Of ``Hydra(512, d_state=16)`` in goombalab/hydra, ``modules/hydra.py`` 0daa208."""
    block = Hydra(512, d_state=16)
    assert {name: tuple(value.shape) for name, value in block.state_dict().items()} == {
        "dt_bias": (16,),
        "A_log": (16,),
        "D": (16,),
        "in_proj.weight": (2144, 512),
        "conv1d.weight": (1088, 1, 7),
        "conv1d.bias": (1088,),
        "fc_D.weight": (16, 1024),
        "norm.weight": (1024,),
        "out_proj.weight": (512, 1024),
    }
    assert sum(parameter.numel() for parameter in block.parameters()) == 1_648_176


def test_every_rate_is_one_at_the_start():
    assert (Hydra(256, headdim=4).A_log == 0).all()


@pytest.mark.parametrize(
    ("options", "u", "message"),
    [
        ({"headdim": 4}, torch.randn(1, 4, 8), "the input is on cpu, expected cuda"),
        (
            {"headdim": 4},
            torch.randn(1, 4, 8).double().as_subclass(OnGPU),
            "the input is torch.float64, expected float32",
        ),
        (
            {"headdim": 512, "expand": 64},
            torch.randn(1, 4, 8).as_subclass(OnGPU),
            "headdim is 512, expected at most 256",
        ),
    ],
)
def test_the_kernel_asked_for_by_name_says_what_it_needs(options, u, message):
    with pytest.raises(RuntimeError, match=rf"backend 'mamba_ssm': {message}.*backend='torch'"):
        Hydra(8, **options, backend="mamba_ssm")(u)
    assert Hydra(8, **options).backend_for(u) == "torch"


def test_the_kernel_is_called_as_it_wants_to_be(monkeypatch):
    """Its place is taken by the recurrence behind the kernel's own signature, of mamba_ssm 2.3.2.post1."""

    def scan(x, dt, A, B, C, chunk_size, D=None, z=None, dt_bias=None, initial_states=None, dt_softplus=False):
        assert (chunk_size, D, z, dt_bias, initial_states, dt_softplus) == (256, None, None, None, None, False)
        return ssd_recurrence(x, dt, A, B, C).to(x.dtype)

    stand_in = SimpleNamespace(mamba_chunk_scan_combined=scan)
    monkeypatch.setattr(hydra, "official_module", lambda name: ({"triton.ssd_combined": stand_in}[name], None))
    monkeypatch.setattr(hydra, "input_obstacle", lambda u, d_conv: None)
    block = Hydra(6, d_state=5, headdim=3, chunk_size=7)
    u = torch.randn(2, 21, 6)
    assert block.backend_for(u) == "mamba_ssm"
    found = block(u)
    block.backend = "torch"
    torch.testing.assert_close(found, block(u), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"headdim": 5}, "headdim 5 does not divide d_inner 16"),
        ({"headdim": 4, "ngroups": 3}, "ngroups 3 does not divide"),
        ({"headdim": 4, "d_conv": 4}, "d_conv is 4; expected an odd width.*: 3 or 5"),
        ({"headdim": 4, "backend": "conv1d"}, "backend is 'conv1d'; expected one of auto, torch, mamba_ssm"),
    ],
)
def test_options_that_do_not_fit_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        Hydra(8, **options)
