"""`selective_scan` equals the float64 recurrence, forward and backward; the recurrence equals other formulas."""

import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from drawn import FLOAT64, gradients, normals
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.models import selective_scan, selective_scan_recurrence, ssd_recurrence

FLOAT32 = {"rtol": 1e-4, "atol": 1e-3}
BFLOAT16 = {"rtol": 1e-2, "atol": 1e-2}  # computed in float32, rounded once at the end: half a unit is 0.4 %

IN_TIME = ("x", "dt", "B", "C", "z")


def draw_inputs(batch, length, channels, groups, d_state, seed, dtype=torch.float64):
    normal = normals(seed, dtype)
    inputs = {
        "x": normal(batch, length, channels),
        "dt": F.softplus(normal(batch, length, channels)),
        "A": -torch.exp(normal(channels, d_state)),
        "B": normal(batch, length, groups, d_state),
        "C": normal(batch, length, groups, d_state),
        "D": normal(channels),
        "z": normal(batch, length, channels),
        "initial_state": normal(batch, channels, d_state),
    }
    return {name: value.requires_grad_() for name, value in inputs.items()}


shapes = st.tuples(
    st.integers(1, 3),  # batch
    st.one_of(st.integers(1, 9), st.integers(60, 70), st.integers(127, 131)),  # length: about one and two segments
    st.sampled_from([(1, 1), (3, 1), (3, 3), (4, 2), (6, 3)]),  # channels, groups
    st.integers(1, 9),  # d_state
)


@settings(max_examples=40, deadline=None)
@given(shapes, st.integers(0, 10**6))
def test_scan_equals_the_recurrence_and_all_its_gradients(shape, seed):
    batch, length, (channels, groups), d_state = shape
    inputs = draw_inputs(batch, length, channels, groups, d_state, seed)
    expected = gradients(selective_scan_recurrence, inputs, seed)
    found = gradients(selective_scan, inputs, seed)
    torch.testing.assert_close(found[:2], expected[:2], **FLOAT64)
    for name, oracle in expected[2].items():
        torch.testing.assert_close(
            found[2][name], oracle, **FLOAT64, msg=lambda text, name=name: f"gradient of {name}: {text}"
        )


@pytest.mark.parametrize("left_out", ["D", "z", "initial_state"])
def test_what_is_optional_may_be_left_out(left_out):
    inputs = draw_inputs(2, 67, 4, 2, 3, seed=3)
    whole = selective_scan(**inputs)
    del inputs[left_out]
    found = selective_scan(**inputs)
    torch.testing.assert_close(found, selective_scan_recurrence(**inputs), **FLOAT64)
    assert (found - whole).abs().max() > 0.01


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, FLOAT32), (torch.bfloat16, BFLOAT16)])
def test_lower_precision_at_the_detectors_length(dtype, tolerance):
    inputs = draw_inputs(2, 961, 6, 1, 16, seed=5, dtype=dtype)
    y, state, grads = gradients(selective_scan, inputs, 5)
    expected_y, expected_state, expected_grads = gradients(selective_scan_recurrence, inputs, 5)
    assert (y.dtype, state.dtype) == (dtype, torch.float32)
    torch.testing.assert_close(y.double(), expected_y, **tolerance)
    torch.testing.assert_close(state.double(), expected_state, **FLOAT32)
    for name, oracle in expected_grads.items():
        scale = oracle.double().abs().max()  # rounded to the input's dtype once more
        difference = (grads[name].double() - oracle.double()).abs().max() / scale
        assert difference < (1e-5 if dtype == torch.float32 else 1e-2), name


def test_autocast_changes_nothing():
    inputs = draw_inputs(2, 130, 5, 1, 7, seed=6, dtype=torch.float32)
    expected = gradients(selective_scan, inputs, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(selective_scan, inputs, 6)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_recurrence_equals_the_explicit_sum():
    """The oracle itself against another formula: y_t = Σ_s≤t C_t · exp(A (dt_s+1 + … + dt_t)) B_s dt_s x_s."""
    inputs = draw_inputs(1, 11, 4, 2, 5, seed=7)
    x, dt, B, C, z = (inputs[name][0] for name in IN_TIME)
    A, D = inputs["A"], inputs["D"]
    expected = torch.zeros_like(x)
    for channel in range(4):
        group = channel // 2
        for t in range(11):
            total = D[channel] * x[t, channel]
            for s in range(t + 1):
                decay = torch.exp(A[channel] * dt[s + 1 : t + 1, channel].sum())
                total = total + (C[t, group] * decay * B[s, group]).sum() * dt[s, channel] * x[s, channel]
            expected[t, channel] = total * z[t, channel] * torch.sigmoid(z[t, channel])
    del inputs["initial_state"]
    torch.testing.assert_close(selective_scan_recurrence(**inputs)[0], expected, **FLOAT64)


def test_one_rate_a_channel_is_the_state_space_dual():
    inputs = draw_inputs(2, 13, 6, 3, 5, seed=9)
    del inputs["z"]
    rate = inputs["A"][:, 0]
    y, state = selective_scan(**{**inputs, "A": rate[:, None].expand(6, 5)}, return_final_state=True)
    heads = {**inputs, "A": rate, "x": inputs["x"][..., None], "initial_state": inputs["initial_state"][:, :, None]}
    dual, dual_state = ssd_recurrence(**heads, return_final_state=True)
    torch.testing.assert_close(y, dual[..., 0], **FLOAT64)
    torch.testing.assert_close(state, dual_state[:, :, 0], **FLOAT64)


@pytest.mark.parametrize("function", [selective_scan_recurrence, selective_scan])
def test_a_sequence_in_two_parts_equals_the_whole(function):
    inputs = draw_inputs(2, 149, 4, 2, 5, seed=11)
    whole, end = function(**inputs, return_final_state=True)
    first = {name: value[:, :70] if name in IN_TIME else value for name, value in inputs.items()}
    second = {name: value[:, 70:] if name in IN_TIME else value for name, value in inputs.items()}
    y1, state = function(**first, return_final_state=True)
    y2, state = function(**{**second, "initial_state": state}, return_final_state=True)
    torch.testing.assert_close(torch.cat([y1, y2], dim=1), whole, **FLOAT64)
    torch.testing.assert_close(state, end, **FLOAT64)


def test_gradients_by_finite_differences():
    inputs = draw_inputs(1, 4, 2, 1, 3, seed=13)

    def scan(*tensors):
        return selective_scan(**dict(zip(inputs, tensors, strict=True)), return_final_state=True)

    assert torch.autograd.gradcheck(scan, list(inputs.values()))


def test_second_derivatives_raise():
    inputs = draw_inputs(1, 4, 2, 1, 3, seed=13)
    (first,) = torch.autograd.grad(selective_scan(**inputs).square().sum(), inputs["x"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


MEMORY = """\
import resource, sys, torch
from helpers.models import selective_scan
x, dt = (torch.rand(1, 8192, 256).requires_grad_() for _ in range(2))
B, C = (torch.rand(1, 8192, 1, 16).requires_grad_() for _ in range(2))
A = -torch.rand(256, 16).requires_grad_()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
selective_scan(x, dt, A, B, C).sum().backward()
unit = 1 if sys.platform == "darwin" else 1024
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit / (8192 * 256 * 16 * 4))
"""


def test_the_states_of_a_sequence_never_exist_together():
    """Peak of a training step, in units of the states of the whole sequence (134 MB): autograd alone keeps several."""
    found = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True).stdout
    assert float(found) < 0.8


def test_strong_decay_overflows_nowhere():
    inputs = {name: value.detach() for name, value in draw_inputs(1, 200, 3, 1, 4, seed=17).items()}
    inputs["dt"] = inputs["dt"] * 500
    inputs = {name: value.requires_grad_() for name, value in inputs.items()}
    y, state, grads = gradients(selective_scan, inputs, 17)
    assert all(torch.isfinite(tensor).all() for tensor in (y, state, *grads.values()))
    torch.testing.assert_close(y, selective_scan_recurrence(**inputs), **FLOAT64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": torch.ones(4)}, r"A has shape \(4,\); expected \(4, 5\)"),
        ({"dt": torch.ones(2, 9, 1)}, r"dt has shape \(2, 9, 1\)"),
        ({"C": torch.ones(2, 9, 2, 4)}, r"C has shape"),
        ({"B": torch.ones(2, 9, 3, 5)}, r"groups a divisor of the 4 channels"),
        ({"B": torch.ones(2, 9, 5)}, r"expected \(batch, length, groups, d_state\)"),
        ({"x": torch.ones(2, 9, 4, 1)}, r"x has shape \(2, 9, 4, 1\); expected \(batch, length, channels\)"),
        ({"x": torch.ones(2, 0, 4)}, r"none of them zero"),
        ({"D": torch.ones(1)}, r"D has shape \(1,\); expected \(4,\)"),
        ({"z": torch.ones(2, 8, 4)}, r"z has shape"),
        ({"initial_state": torch.ones(2, 5, 4)}, r"initial_state has shape"),
        ({"A": torch.ones(4, 5, dtype=torch.complex64)}, r"A is torch.complex64; expected real"),
        ({"x": torch.ones(2, 9, 4, dtype=torch.int16)}, r"x is torch.int16; expected real"),
    ],
)
@pytest.mark.parametrize("function", [selective_scan_recurrence, selective_scan])
def test_inputs_that_do_not_fit_are_named(function, change, message):
    inputs = draw_inputs(2, 9, 4, 2, 5, seed=19)
    with pytest.raises(ValueError, match=message):
        function(**{**inputs, **change})
