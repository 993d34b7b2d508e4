"""`Mamba2` beside ``mamba_ssm.Mamba2`` itself, run from its source on the CPU: the same start, outputs and steps.

The compiled and the Triton parts are replaced by what the same source gives as their reference.
"""

import sys

import pytest
import torch

from helpers.environment import Lab
from helpers.environment.artifacts import ArtifactError, unpacked, wheelhouse
from helpers.models import Mamba2

FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}  # rounding only, values of order 1

# Odd sizes; the first has an in_proj whose width is no multiple of 8, the second each option away from its default.
OPTIONS = [
    {"d_model": 24, "d_state": 20, "headdim": 12},
    {"d_model": 20, "d_state": 6, "d_conv": 3, "expand": 4, "headdim": 5, "ngroups": 2},
]

REAL = """
import importlib.machinery, importlib.util, sys, types, unittest.mock
import torch
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

class OnGPU(torch.Tensor):
    __torch_function__ = torch._C._disabled_torch_function_impl
    device = torch.device("cuda")

module("triton", __version__="3.6.0", jit=lambda kernel: kernel, heuristics=lambda values: lambda kernel: kernel,
       Config=lambda sizes, **options: types.SimpleNamespace(kwargs=sizes),
       autotune=lambda configs, key: lambda kernel: types.SimpleNamespace(configs=configs))
sys.modules["triton"].language = sys.modules["triton.language"] = unittest.mock.MagicMock()
module("mamba_ssm").__path__ = [sys.argv[1] + "/mamba_ssm"]  # without its __init__, which imports everything
module("mamba_ssm.ops.triton.layer_norm", _layer_norm_fwd=None)
module("mamba_ssm.ops.triton.selective_state_update", selective_state_update=None)
module("selective_scan_cuda", fwd=None)
module("causal_conv1d", causal_conv1d_fn=conv, causal_conv1d_update=None)
names = ("causal_conv1d_fwd_function", "causal_conv1d_bwd_function", "causal_conv1d_update_function")
module("causal_conv1d.cpp_functions", **dict.fromkeys(names))
module("huggingface_hub", PyTorchModelHubMixin=type("Mixin", (), {}))

from mamba_ssm.modules import mamba2
from mamba_ssm.ops import selective_scan_interface
from mamba_ssm.ops.triton import layernorm_gated, ssd_combined
from helpers.models import Mamba2

selective_scan_interface.selective_scan_fn = selective_scan_interface.selective_scan_ref

def by_name(block, u, y):
    names, parameters = zip(*block.named_parameters())
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return dict(zip(("u", *names), torch.autograd.grad((y * weight).sum(), (u, *parameters))))

cases = []
for options in torch.load("options.pt"):
    groups = options.get("ngroups", 1)

    def norm(x, weight, bias, z, eps, norm_before_gate, group_size=None):  # the reference forgets the groups
        return layernorm_gated.rms_norm_ref(x, weight, bias, z, eps, x.shape[-1] // groups, norm_before_gate)

    def combined(*tensors, chunk_size, seq_idx=None, **named):
        assert chunk_size == 256
        return ssd_combined.mamba_split_conv1d_scan_ref(*tensors, chunk_size=chunk_size, **named)

    ssd_combined.rmsnorm_fn = layernorm_gated.rmsnorm_fn = norm
    ssd_combined.mamba_split_conv1d_scan_combined = mamba2.mamba_split_conv1d_scan_combined = combined

    torch.manual_seed(options["d_model"])
    real = mamba2.Mamba2(**options)
    marked = {name for name, parameter in real.named_parameters() if hasattr(parameter, "_no_weight_decay")}
    case = {"initial": {name: value.clone() for name, value in real.state_dict().items()}, "marked": marked}
    real.load_state_dict(torch.load(f"ours{len(cases)}.pt"), strict=True)
    u = torch.randn(2, 37, options["d_model"], requires_grad=True)
    y = real(u)
    case |= {"u": u, "y": y, "gradients": by_name(real, u, y)}

    if groups == 1:  # its step in plain torch knows one group
        states = real.allocate_inference_cache(2, 37)
        steps = [real.step(u_t, *states)[0] for u_t in u.detach().split(1, dim=1)]
        case |= {"steps": torch.cat(steps, 1).detach(), "states": [state.detach() for state in states]}

    ours = Mamba2(**options, backend="mamba_ssm")
    ours.load_state_dict(real.state_dict(), strict=True)
    posing = u.as_subclass(OnGPU)
    assert ours.backend_for(posing) == "mamba_ssm"
    y = ours(posing)
    case |= {"kernel_y": y, "kernel_gradients": by_name(ours, u, y)}
    ours.out_proj, ours.norm.weight = torch.nn.Identity(), None  # as in a fused copy
    case["fused_y"] = ours(posing)
    cases.append(case)
torch.save(cases, "cases.pt")
"""


def with_unequal_values(options):
    """Skips of 1 and norm weights of 1 would hide a mistake: everything gets an unequal value."""
    torch.manual_seed(100 + options["d_model"])
    block = Mamba2(**options)
    with torch.no_grad():
        for parameter in block.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return block


@pytest.fixture(scope="module")
def real():
    """For each of OPTIONS, what the real module gives: initial values, outputs, gradients and steps."""
    with Lab() as lab:
        try:
            source = unpacked("mamba-ssm", "2.3.2.post1", lab.folder)
            (einops,) = wheelhouse().glob("einops-*.whl")
        except ArtifactError as fault:
            pytest.skip(str(fault))
        torch.save(OPTIONS, lab / "options.pt")
        for number, options in enumerate(OPTIONS):
            torch.save(with_unequal_values(options).state_dict(), lab / f"ours{number}.pt")
        lab.write("real.py", REAL)
        lab.run(sys.executable, "real.py", source, env={"PYTHONPATH": einops})  # a wheel is a zip file, and imports
        return torch.load(lab / "cases.pt")


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_initialization_is_that_of_mamba_ssm_bit_for_bit(real, number):
    torch.manual_seed(OPTIONS[number]["d_model"])
    block = Mamba2(**OPTIONS[number])
    torch.testing.assert_close(dict(block.state_dict()), real[number]["initial"], rtol=0, atol=0)
    assert list(block.state_dict()) == list(real[number]["initial"])
    marked = {name for name, parameter in block.named_parameters() if hasattr(parameter, "_no_weight_decay")}
    assert marked == real[number]["marked"]


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_block_equals_the_real_module_with_its_own_state_dict(real, number):
    """Loaded strictly in both directions: the fixture has put our state dict into the real module."""
    Mamba2(**OPTIONS[number]).load_state_dict(real[number]["initial"], strict=True)
    block = with_unequal_values(OPTIONS[number])
    u = real[number]["u"].detach().requires_grad_()
    y = block(u)
    torch.testing.assert_close(y, real[number]["y"], **FLOAT32)
    assert_same_gradients(real[number]["gradients"], by_name(block, u, y))


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_the_fused_function_is_called_as_it_wants_to_be(real, number):
    block = with_unequal_values(OPTIONS[number])
    u = real[number]["u"].detach().requires_grad_()
    y = block(u)
    torch.testing.assert_close(real[number]["kernel_y"], y, **FLOAT32)
    assert_same_gradients(real[number]["kernel_gradients"], by_name(block, u, y))
    block.out_proj, block.norm.weight = torch.nn.Identity(), None
    torch.testing.assert_close(real[number]["fused_y"], block(u), **FLOAT32)


def test_steps_are_those_of_the_real_module(real):
    block, case = with_unequal_values(OPTIONS[0]), real[0]
    state = block.initial_state(2)
    steps = []
    with torch.no_grad():
        for u_t in case["u"].unbind(1):
            y_t, state = block.step(u_t, state)
            steps.append(y_t)
    torch.testing.assert_close(torch.stack(steps, 1), case["steps"], **FLOAT32)
    conv, ssm = case["states"]
    torch.testing.assert_close(state.ssm, ssm, **FLOAT32)
    torch.testing.assert_close(state.conv, conv[..., 1:], **FLOAT32)  # theirs keeps one input more


def by_name(block, u, y):
    names, parameters = zip(*block.named_parameters(), strict=True)
    weight = torch.linspace(-1, 1, y.numel(), dtype=y.dtype).view_as(y)
    return dict(zip(("u", *names), torch.autograd.grad((y * weight).sum(), (u, *parameters)), strict=True))


def assert_same_gradients(found, expected):
    for name, gradient in expected.items():
        scale = gradient.abs().max()
        torch.testing.assert_close(found[name] / scale, gradient / scale, **FLOAT32)
