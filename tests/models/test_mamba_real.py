"""`Mamba` beside ``mamba_ssm.Mamba`` itself, run from its source on the CPU: the same start, outputs and gradients."""

import pytest
import torch
from drawn import FLOAT64
from real_module import answers, answers_of, assert_answers, marked, with_unequal_values

from helpers.models import Mamba

# Odd sizes, and one of each option away from its default.
OPTIONS = [{"d_model": 33}, {"d_model": 10, "d_state": 5, "d_conv": 3, "expand": 3, "dt_rank": 4}]

REAL = """
import sys
import torch
from real_module import answers, first_answers, kernel_answers, place_stand_ins

place_stand_ins(sys.argv[1])

from mamba_ssm.modules import mamba_simple
from mamba_ssm.ops import selective_scan_interface as interface
from helpers.models import Mamba

def mamba_inner(*tensors, delta_softplus, **named):
    assert delta_softplus  # the reference takes the option, but does not read it
    return interface.mamba_inner_ref(*tensors, **named)

interface.selective_scan_fn = interface.selective_scan_ref
interface.mamba_inner_fn = mamba_inner

cases = []
for number, options in enumerate(torch.load("options.pt")):
    real, case = first_answers(mamba_simple.Mamba, options, number)
    u = torch.randn(2, 37, options["d_model"], requires_grad=True)
    ours = Mamba(**options, backend="mamba_ssm")
    ours.load_state_dict(real.state_dict(), strict=True)
    case |= {"u": u, "kernel": kernel_answers(ours, u)}

    # The module in float64: its reference asks for .float() everywhere.
    single, torch.Tensor.float = torch.Tensor.float, torch.Tensor.double
    mamba_simple.causal_conv1d_fn, mamba_simple.selective_scan_fn = None, interface.selective_scan_ref
    real.double()
    u = u.detach().double().requires_grad_()
    case["real"] = answers(real, u, real(u))
    torch.Tensor.float = single
    cases.append(case)
torch.save(cases, "cases.pt")
"""


@pytest.fixture(scope="module")
def real():
    """For each of OPTIONS, what the real module gives: initial values, outputs and gradients."""
    return answers_of(REAL, Mamba, OPTIONS)


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_initialization_is_that_of_mamba_ssm_bit_for_bit(real, number):
    torch.manual_seed(OPTIONS[number]["d_model"])
    block = Mamba(**OPTIONS[number])
    torch.testing.assert_close(dict(block.state_dict()), real[number]["initial"], rtol=0, atol=0)
    theirs = real[number]["marked"]
    assert marked(block) == {**theirs, "_no_weight_decay": theirs["_no_weight_decay"] | {"dt_proj.bias"}}


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_block_equals_the_real_module_with_its_own_state_dict(real, number):
    """Loaded strictly in both directions: the fixture has put our state dict into the real module."""
    Mamba(**OPTIONS[number]).load_state_dict(real[number]["initial"], strict=True)
    block = with_unequal_values(Mamba, OPTIONS[number]).double()
    u = real[number]["u"].detach().double().requires_grad_()
    torch.testing.assert_close(answers(block, u, block(u)), real[number]["real"], **FLOAT64)


@pytest.mark.parametrize("number", range(len(OPTIONS)))
def test_the_fused_function_is_called_as_it_wants_to_be(real, number):
    assert_answers(with_unequal_values(Mamba, OPTIONS[number]), real[number]["u"], real[number]["kernel"])
