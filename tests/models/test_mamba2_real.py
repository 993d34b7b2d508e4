"""`Mamba2` beside ``mamba_ssm.Mamba2`` itself, run from its source on the CPU: the same start, outputs and steps."""

import pytest
import torch
from real_module import FLOAT32, answers_of, assert_answers, marked, with_unequal_values

from helpers.models import Mamba2

# Odd sizes; the first has an in_proj whose width is no multiple of 8, the second each option away from its default.
OPTIONS = [
    {"d_model": 24, "d_state": 20, "headdim": 12},
    {"d_model": 20, "d_state": 6, "d_conv": 3, "expand": 4, "headdim": 5, "ngroups": 2},
]

REAL = """
import sys, types, unittest.mock
import torch
from on_gpu import OnGPU
from real_module import answers, first_answers, kernel_answers, place, place_stand_ins

place("triton", __version__="3.6.0", jit=lambda kernel: kernel, heuristics=lambda values: lambda kernel: kernel,
      Config=lambda sizes, **options: types.SimpleNamespace(kwargs=sizes),
      autotune=lambda configs, key: lambda kernel: types.SimpleNamespace(configs=configs))
sys.modules["triton"].language = sys.modules["triton.language"] = unittest.mock.MagicMock()
place_stand_ins(sys.argv[1])
place("huggingface_hub", PyTorchModelHubMixin=type("Mixin", (), {}))

from mamba_ssm.modules import mamba2
from mamba_ssm.ops import selective_scan_interface
from mamba_ssm.ops.triton import layernorm_gated, ssd_combined
from helpers.models import Mamba2

selective_scan_interface.selective_scan_fn = selective_scan_interface.selective_scan_ref

cases = []
for number, options in enumerate(torch.load("options.pt")):
    groups = options.get("ngroups", 1)

    def norm(x, weight, bias, z, eps, norm_before_gate, group_size=None):  # the reference forgets the groups
        return layernorm_gated.rms_norm_ref(x, weight, bias, z, eps, x.shape[-1] // groups, norm_before_gate)

    def combined(*tensors, chunk_size, seq_idx=None, **named):
        assert chunk_size == 256
        return ssd_combined.mamba_split_conv1d_scan_ref(*tensors, chunk_size=chunk_size, **named)

    ssd_combined.rmsnorm_fn = layernorm_gated.rmsnorm_fn = norm
    ssd_combined.mamba_split_conv1d_scan_combined = mamba2.mamba_split_conv1d_scan_combined = combined

    real, case = first_answers(mamba2.Mamba2, options, number)
    u = torch.randn(2, 37, options["d_model"], requires_grad=True)
    case |= {"u": u, "real": answers(real, u, real(u))}

    if groups == 1:  # its step in plain torch knows one group
        states = real.allocate_inference_cache(2, 37)
        steps = [real.step(u_t, *states)[0] for u_t in u.detach().split(1, dim=1)]
        case |= {"steps": torch.cat(steps, 1).detach(), "states": [state.detach() for state in states]}

    ours = Mamba2(**options, backend="mamba_ssm")
    ours.load_state_dict(real.state_dict(), strict=True)
    case["kernel"] = kernel_answers(ours, u)
    ours.out_proj, ours.norm.weight = torch.nn.Identity(), None  # as in a fused copy
    case["fused_y"] = ours(u.as_subclass(OnGPU))
    cases.append(case)
torch.save(cases, "cases.pt")
"""


@pytest.fixture(scope="module")
def real():
    """For each of OPTIONS, what the real module gives: initial values, outputs, gradients and steps."""
    return answers_of(REAL, Mamba2, OPTIONS)


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_initialization_is_that_of_mamba_ssm_bit_for_bit(real, number):
    torch.manual_seed(OPTIONS[number]["d_model"])
    block = Mamba2(**OPTIONS[number])
    torch.testing.assert_close(dict(block.state_dict()), real[number]["initial"], rtol=0, atol=0)
    assert list(block.state_dict()) == list(real[number]["initial"])
    assert marked(block) == real[number]["marked"]


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_block_equals_the_real_module_with_its_own_state_dict(real, number):
    """Loaded strictly in both directions: the fixture has put our state dict into the real module."""
    Mamba2(**OPTIONS[number]).load_state_dict(real[number]["initial"], strict=True)
    block = with_unequal_values(Mamba2, OPTIONS[number])
    assert_answers(block, real[number]["u"], real[number]["real"])


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_the_fused_function_is_called_as_it_wants_to_be(real, number):
    block = with_unequal_values(Mamba2, OPTIONS[number])
    assert_answers(block, real[number]["u"], real[number]["kernel"])
    block.out_proj, block.norm.weight = torch.nn.Identity(), None
    torch.testing.assert_close(real[number]["fused_y"], block(real[number]["u"]), **FLOAT32)


def test_steps_are_those_of_the_real_module(real):
    block, case = with_unequal_values(Mamba2, OPTIONS[0]), real[0]
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
