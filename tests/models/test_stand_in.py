"""`Conv1dStandIn`: what it computes, how loudly it says what it is not, and who may ask for it."""

import warnings

import pytest
import torch
from torch import nn

from helpers.models import BiMamba2, Conv1dStandIn, StandInWarning, stand_in_forced

pytestmark = pytest.mark.filterwarnings("ignore::helpers.models.StandInWarning")
VARIABLE = "SEIZURE_MAMBA_FORCE_FALLBACK"


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 9])
def test_reach_is_half_a_kernel_on_either_side(kernel_size):
    layer = Conv1dStandIn(6, kernel_size).double()
    x = torch.randn(2, 23, 6, dtype=torch.float64, requires_grad=True)
    y = layer(x)
    assert y.shape == x.shape
    (influence,) = torch.autograd.grad(y[:, 11, 4].sum(), x)
    reached = influence.abs().sum(0) > 0  # (length, channel)
    expected = torch.zeros_like(reached)
    expected[11 - kernel_size // 2 : 12 + kernel_size // 2, 4] = True
    assert torch.equal(reached, expected)


def test_it_has_3072_parameters_at_512():
    assert sum(parameter.numel() for parameter in Conv1dStandIn(512).parameters()) == 3_072


def test_it_warns_once_at_the_line_that_asked_for_it():
    """Two directions and two layers are four stand-ins; a reader wrote one line and sees one warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default", StandInWarning)
        nn.Sequential(*[BiMamba2(6, backend="conv1d") for _ in range(2)])
    assert [(warning.category, warning.filename) for warning in caught] == [(StandInWarning, __file__)]
    assert "a Conv1d stands where Mamba-2 belongs: it reads 2 steps to either side, has no memory" in str(
        caught[0].message
    )


def test_it_warns_at_each_line_that_asks_for_it():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default", StandInWarning)
        BiMamba2(6, backend="conv1d")
        BiMamba2(6, mixing="shared", backend="conv1d")
        Conv1dStandIn(6)
    lines = [warning.lineno for warning in caught]
    assert lines == list(range(lines[0], lines[0] + 3))


def test_the_variable_replaces_auto_and_only_auto(monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")
    x = torch.randn(1, 4, 8)
    assert BiMamba2(8, headdim=4).backend == "conv1d"
    assert BiMamba2(8, headdim=4).backend_for(x) == "conv1d"
    assert BiMamba2(8, headdim=4, mixing="shared").backend_for(x) == "conv1d"
    assert BiMamba2(8, headdim=4, backend="torch").backend_for(x) == "torch"
    assert BiMamba2(8, headdim=4, backend="mamba_ssm").backend == "mamba_ssm"


def test_without_the_variable_nothing_puts_it_in():
    with warnings.catch_warnings():
        warnings.simplefilter("error", StandInWarning)
        layer = BiMamba2(8, headdim=4)
    assert layer.backend_for(torch.randn(1, 4, 8)) == "torch"


@pytest.mark.parametrize(("value", "forced"), [(None, False), ("", False), ("0", False), ("1", True)])
def test_what_the_variable_means(monkeypatch, value, forced):
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    assert stand_in_forced() is forced


@pytest.mark.parametrize("value", ["true", "2", " 1", "no"])
def test_any_other_value_is_an_error(monkeypatch, value):
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ValueError, match=rf"{VARIABLE} is '{value}'; expected 1 \(build the Conv1d stand-in\) or 0"):
        BiMamba2(8, headdim=4)


def test_an_even_kernel_is_named():
    with pytest.raises(ValueError, match="kernel_size is 4; expected an odd width, 3 or 5"):
        Conv1dStandIn(8, kernel_size=4)


def test_input_of_another_width_is_named():
    with pytest.raises(ValueError, match=r"input has shape \(1, 4, 7\); expected \(batch, length, 8\)"):
        Conv1dStandIn(8)(torch.randn(1, 4, 7))
