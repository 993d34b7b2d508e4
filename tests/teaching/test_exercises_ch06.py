"""Exercise 06.4 takes an answer in plain numbers and in tensors, and says so when it gets neither."""

import math

import numpy as np
import pytest
import torch

from helpers.teaching import check
from helpers.teaching.exercises import WrongAnswer


def in_torch(tau, A_log, rate):
    return torch.log(torch.expm1(1 / (tau * rate * torch.exp(A_log))))


@pytest.mark.parametrize(
    "answer",
    [
        in_torch,
        lambda tau, A_log, rate: math.log(math.expm1(1 / (float(tau) * rate * math.exp(float(A_log))))),
        lambda tau, A_log, rate: np.float64(in_torch(tau, A_log, rate).item()),
        lambda tau, A_log, rate: in_torch(tau, A_log, rate).reshape(1),
        lambda tau, A_log, rate: in_torch(tau.float(), A_log.float(), rate).requires_grad_(),
        lambda tau, A_log, rate: torch.log(torch.exp(1 / (tau.float() * rate * torch.exp(A_log.float()))) - 1),
    ],
    ids=["tensor", "float", "NumPy", "one in a tensor", "float32", "float32 without expm1"],
)
def test_a_number_is_a_number(answer, capsys):
    check("06.4", answer)
    assert capsys.readouterr().out == "06.4: right.\n"


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (lambda tau, A_log, rate: in_torch(tau, A_log, rate).expand(3), r"a Tensor of shape \(3,\)"),
        (lambda tau, A_log, rate: "1.5 s", "a str"),
        (lambda tau, A_log, rate: math.nan, "nan"),
        (lambda tau, A_log, rate: -math.inf, "-inf"),
        (lambda tau, A_log, rate: in_torch(tau, A_log, rate) + 0.001, r"[-\d.]+"),
    ],
)
def test_what_is_none_is_named(answer, found):
    with pytest.raises(WrongAnswer, match=rf"gave {found}, expected"):
        check("06.4", answer)
