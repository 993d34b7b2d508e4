"""`Mamba`: the block computed step by step, and ``mamba_ssm.Mamba`` itself, run from its source on the CPU."""

import math
import sys

import pytest
import torch
import torch.nn.functional as F
from drawn import FLOAT64, assert_equal_with_gradients, randomized, trained
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.environment import Lab
from helpers.environment.artifacts import ArtifactError, unpacked, wheelhouse
from helpers.models import Mamba, selective_scan_recurrence

FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}  # rounding only, values of order 1

# Odd sizes, and one of each option away from its default.
OPTIONS = [{"d_model": 33}, {"d_model": 10, "d_state": 5, "d_conv": 3, "expand": 3, "dt_rank": 4}]


def mamba_by_hand(block, u):
    """The block from its parameters alone: the convolution tap by tap, the scan step by step."""
    x, z = torch.einsum("bli,oi->blo", u, block.in_proj.weight).split(block.d_inner, dim=-1)
    convolved = torch.zeros_like(x) + block.conv1d.bias
    for t in range(u.shape[1]):
        for tap in range(block.d_conv):
            source = t - (block.d_conv - 1) + tap
            if source >= 0:
                convolved[:, t] = convolved[:, t] + block.conv1d.weight[:, 0, tap] * x[:, source]
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
    found, expected = block(u), mamba_by_hand(block, u)
    assert_equal_with_gradients(found, expected, [u, *block.parameters()])


def in_float64(block, u):
    """What the block gives in float64 from the same parameters and input: output and gradients by name."""
    exact = Mamba(block.d_model, block.d_state, block.d_conv, block.expand, block.dt_rank, backend="torch")
    exact.load_state_dict(block.state_dict())
    return trained(exact.double().to(u.device), u.double())


@pytest.mark.parametrize(
    ("how", "tolerance"),
    [
        ("float32", 1e-5),
        ("bfloat16", 3e-2),  # weights and each intermediate are rounded to 8 bits
        ("autocast", 3e-2),
    ],
)
def test_lower_precision_stays_close(how, tolerance):
    torch.manual_seed(3)
    block = Mamba(64)
    u = torch.randn(3, 101, 64)
    if how == "bfloat16":
        block, u = block.bfloat16(), u.bfloat16()
    expected, expected_grads = in_float64(block, u)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how == "autocast"):
        found, grads = trained(block, u)
    assert found.dtype == (torch.float32 if how == "float32" else torch.bfloat16)
    assert (found.double() - expected).abs().max() < tolerance * expected.abs().max()
    for name, grad in grads.items():
        assert (grad.double() - expected_grads[name]).abs().max() < tolerance * expected_grads[name].abs().max(), name


def test_block_is_causal():
    torch.manual_seed(1)
    block = Mamba(8, d_state=4).double()
    u = torch.randn(1, 80, 8, dtype=torch.float64)
    changed = u.clone()
    changed[:, 45] += 1
    difference = (block(changed) - block(u)).abs().amax(dim=(0, 2))
    assert (difference[:45] == 0).all()
    assert (difference[45:50] > 0).all()


def test_initialization_spans_the_step_sizes():
    torch.manual_seed(0)
    block = Mamba(512)
    dt = F.softplus(block.dt_proj.bias)
    assert dt.min() > 0.000999
    assert dt.max() < 0.1001
    middle = (math.log(0.1) + math.log(0.001)) / 2
    assert abs(torch.log(dt).mean() - middle) < 0.17  # log-uniform, 1024 channels: 4 standard errors
    torch.testing.assert_close(-torch.exp(block.A_log[5]), -torch.arange(1.0, 17.0))


# The real module: its source with the compiled parts replaced by what the same source gives as their reference.
REAL = """
import sys, types, importlib.machinery, importlib.util, torch
import torch.nn.functional as F

def module(name, **content):
    made = importlib.util.module_from_spec(importlib.machinery.ModuleSpec(name, None, is_package=True))
    made.__dict__.update(content)
    sys.modules[name] = made
    return made

def conv(x, weight, bias, activation):
    assert activation == "silu"
    padded = F.pad(x, (weight.shape[1] - 1, 0))
    return F.silu(F.conv1d(padded, weight[:, None], bias, groups=weight.shape[0]))

module("mamba_ssm").__path__ = [sys.argv[1] + "/mamba_ssm"]  # without its __init__, which imports everything
module("mamba_ssm.ops.triton.layer_norm", _layer_norm_fwd=None)
module("mamba_ssm.ops.triton.selective_state_update")
module("selective_scan_cuda", fwd=None)
module("causal_conv1d", causal_conv1d_fn=conv, causal_conv1d_update=None)
names = ("causal_conv1d_fwd_function", "causal_conv1d_bwd_function", "causal_conv1d_update_function")
module("causal_conv1d.cpp_functions", **dict.fromkeys(names))
from mamba_ssm.modules import mamba_simple
from mamba_ssm.ops import selective_scan_interface as interface
from helpers.models import Mamba

def mamba_inner(*tensors, delta_softplus, **named):
    assert delta_softplus  # the reference takes the option, but does not read it
    return interface.mamba_inner_ref(*tensors, **named)

class OnGPU(torch.Tensor):
    __torch_function__ = torch._C._disabled_torch_function_impl
    device = torch.device("cuda")

def by_name(block, u, y):
    names, parameters = zip(*block.named_parameters())
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return dict(zip(("u", *names), torch.autograd.grad((y * weight).sum(), (u, *parameters))))

cases = []
for options in torch.load("options.pt"):
    torch.manual_seed(options["d_model"])
    real = mamba_simple.Mamba(**options)
    marked = {mark: {n for n, p in real.named_parameters() if hasattr(p, mark)} for mark in MARKS}
    case = {"initial": {n: v.clone() for n, v in real.state_dict().items()}, "marked": marked}
    real.load_state_dict(torch.load(f"ours{len(cases)}.pt"), strict=True)

    # Our call of the fused function, answered by its reference.
    interface.selective_scan_fn = interface.selective_scan_ref
    interface.mamba_inner_fn = mamba_inner
    ours = Mamba(**options, backend="mamba_ssm")
    ours.load_state_dict(real.state_dict(), strict=True)
    u = torch.randn(2, 37, options["d_model"], requires_grad=True)
    posing = u.as_subclass(OnGPU)
    assert ours.backend_for(posing) == "mamba_ssm"
    y = ours(posing)
    case |= {"u": u, "kernel_y": y, "kernel_gradients": by_name(ours, u, y)}

    # The module in float64: its reference asks for .float() everywhere.
    single, torch.Tensor.float = torch.Tensor.float, torch.Tensor.double
    mamba_simple.causal_conv1d_fn, mamba_simple.selective_scan_fn = None, interface.selective_scan_ref
    real.double()
    u = u.detach().double().requires_grad_()
    y = real(u)
    case |= {"y": y, "gradients": by_name(real, u, y)}
    torch.Tensor.float = single
    cases.append(case)
torch.save(cases, "cases.pt")
"""


def with_unequal_values(options):
    torch.manual_seed(100 + options["d_model"])
    return randomized(Mamba(**options), 5).float()


@pytest.fixture(scope="module")
def real():
    """For each of OPTIONS, what the real module gives: initial values, outputs and gradients."""
    marks = ("_no_weight_decay", "_no_reinit")
    with Lab() as lab:
        try:
            source = unpacked("mamba-ssm", "2.3.2.post1", lab.folder)
            (einops,) = wheelhouse().glob("einops-*.whl")
        except ArtifactError as fault:
            pytest.skip(str(fault))
        torch.save(OPTIONS, lab / "options.pt")
        for number, options in enumerate(OPTIONS):
            torch.save(with_unequal_values(options).state_dict(), lab / f"ours{number}.pt")
        lab.write("real.py", REAL.replace("MARKS", repr(marks)))
        lab.run(sys.executable, "real.py", source, env={"PYTHONPATH": einops})  # a wheel is a zip file, and imports
        return torch.load(lab / "cases.pt")


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_initialization_is_that_of_mamba_ssm_bit_for_bit(real, number):
    torch.manual_seed(OPTIONS[number]["d_model"])
    block = Mamba(**OPTIONS[number])
    torch.testing.assert_close(dict(block.state_dict()), real[number]["initial"], rtol=0, atol=0)
    marked = {
        mark: {name for name, parameter in block.named_parameters() if hasattr(parameter, mark)}
        for mark in real[number]["marked"]
    }
    assert marked["_no_reinit"] == real[number]["marked"]["_no_reinit"]
    assert marked["_no_weight_decay"] == real[number]["marked"]["_no_weight_decay"] | {"dt_proj.bias"}


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_block_equals_the_real_module_with_its_own_state_dict(real, number):
    """Loaded strictly in both directions: the fixture has put our state dict into the real module."""
    Mamba(**OPTIONS[number]).load_state_dict(real[number]["initial"], strict=True)
    block = with_unequal_values(OPTIONS[number]).double()
    u = real[number]["u"].detach().double().requires_grad_()
    y = block(u)
    torch.testing.assert_close(y, real[number]["y"], **FLOAT64)
    torch.testing.assert_close(by_name(block, u, y), real[number]["gradients"], **FLOAT64)


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_the_fused_function_is_called_as_it_wants_to_be(real, number):
    block = with_unequal_values(OPTIONS[number])
    u = real[number]["u"].detach().requires_grad_()
    y = block(u)
    torch.testing.assert_close(real[number]["kernel_y"], y, **FLOAT32)
    ours = by_name(block, u, y)
    for name, found in real[number]["kernel_gradients"].items():
        scale = ours[name].abs().max()
        torch.testing.assert_close(found / scale, ours[name] / scale, **FLOAT32)


def by_name(block, u, y):
    names, parameters = zip(*block.named_parameters(), strict=True)
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return dict(zip(("u", *names), torch.autograd.grad((y * weight).sum(), (u, *parameters)), strict=True))


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("how", "tolerance"),
    [("float32", 1e-3), ("bfloat16", 3e-2), ("autocast", 3e-2)],
)
def test_kernel_on_a_gpu_equals_torch_in_float64(how, tolerance):
    torch.manual_seed(7)
    block = Mamba(72, backend="mamba_ssm").cuda()
    u = torch.randn(3, 961, 72, device="cuda")
    if how == "bfloat16":
        block, u = block.bfloat16(), u.bfloat16()
    expected, expected_grads = in_float64(block, u)
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=how == "autocast"):
        found, grads = trained(block, u)
    assert (found.double() - expected).abs().max() < tolerance * expected.abs().max()
    for name, grad in grads.items():
        assert (grad.double() - expected_grads[name]).abs().max() < tolerance * expected_grads[name].abs().max(), name


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


@pytest.mark.parametrize("shape", [(1, 4, 7), (4, 8), (1, 0, 8), (0, 4, 8)])
def test_input_of_another_shape_is_named(shape):
    with pytest.raises(ValueError, match=r"input has shape \(.*\); expected \(batch, length, 8\), none of them zero"):
        Mamba(8)(torch.randn(shape))
