"""`ssd_chunked` equals the float64 recurrence, forward and backward; the recurrence equals the masked matrix."""

import subprocess
import sys
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from drawn import FLOAT64, gradients, normals
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.models import pieces as pieces_module
from helpers.models import ssd_chunked, ssd_recurrence

FLOAT32 = {"rtol": 1e-4, "atol": 1e-3}  # sums of up to 1000 float32 numbers of order 1, in another order

# Errors of gradients as shares of the largest gradient of their tensor. float32: a decay is the exponential of a
# difference of running sums, here up to 100, so it is off by 100 half units of 6e-8. bfloat16: computed in float32 from
# the same rounded inputs, and rounded once at the end; so are the oracle's gradients, a unit of 2**-7 apart at most.
SHARE = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 2**-7}

IN_TIME = ("x", "dt", "B", "C")


def draw_inputs(batch, length, heads, headdim, groups, d_state, seed, dtype=torch.float64):
    normal = normals(seed, dtype)
    inputs = {
        "x": normal(batch, length, heads, headdim),
        "dt": F.softplus(normal(batch, length, heads)),
        "A": -torch.exp(normal(heads)),
        "B": normal(batch, length, groups, d_state),
        "C": normal(batch, length, groups, d_state),
        "D": normal(heads),
        "initial_state": normal(batch, heads, headdim, d_state),
    }
    return {name: value.requires_grad_() for name, value in inputs.items()}


def assert_same(found, expected, **tolerance):
    torch.testing.assert_close(found[:2], expected[:2], **tolerance)
    assert found[2].keys() == expected[2].keys()
    for name, oracle in expected[2].items():
        torch.testing.assert_close(
            found[2][name], oracle, **tolerance, msg=lambda text, name=name: f"gradient of {name}: {text}"
        )


def assert_same_share(found, expected, share):
    pairs = {"y": (found[0], expected[0]), "state": (found[1], expected[1])}
    pairs |= {name: (found[2][name], oracle) for name, oracle in expected[2].items()}
    for name, (ours, oracle) in pairs.items():
        assert (ours.double() - oracle.double()).abs().max() <= share * oracle.abs().max(), name


shapes = st.tuples(
    st.integers(1, 3),  # batch
    st.integers(1, 41),  # length
    st.sampled_from([(1, 1), (3, 1), (3, 3), (4, 2), (6, 3)]),  # heads, groups
    st.integers(1, 7),  # headdim
    st.integers(1, 9),  # d_state
)


@settings(max_examples=60, deadline=None)
@given(
    shapes,
    st.integers(1, 50),
    st.sets(st.sampled_from(["D", "initial_state"])),
    st.sets(st.sampled_from(["x", "dt", "A", "B", "C", "D", "initial_state"]), max_size=5),
    st.sampled_from([1, 100, 2**20]),
    st.integers(0, 10**6),
)
def test_chunked_equals_the_recurrence_and_all_its_gradients(shape, chunk_size, absent, fixed, piece, seed):
    """Any shape, with and without what is optional, any inputs without gradient, cut into pieces of any size."""
    batch, length, (heads, groups), headdim, d_state = shape
    inputs = draw_inputs(batch, length, heads, headdim, groups, d_state, seed)
    inputs = {name: value.detach() if name in fixed else value for name, value in inputs.items() if name not in absent}
    expected = gradients(ssd_recurrence, inputs, seed)
    with mock.patch.dict(pieces_module._NUMBERS, {"cpu": piece}):
        found = gradients(ssd_chunked, inputs, seed, chunk_size=chunk_size)
    assert_same(found, expected, **FLOAT64)


@pytest.mark.parametrize(("d_state", "chunk_size"), [(16, 32), (64, 48), (128, 64), (256, 33)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_state_sizes_in_use_in_each_dtype(d_state, chunk_size, dtype):
    inputs = draw_inputs(2, 131, 4, 5, 2, d_state, seed=3, dtype=dtype)
    expected = gradients(ssd_recurrence, inputs, 3)
    found = gradients(ssd_chunked, inputs, 3, chunk_size=chunk_size)
    assert (found[0].dtype, found[1].dtype) == (dtype, torch.promote_types(dtype, torch.float32))
    assert_same_share(found, expected, SHARE[dtype])


def test_a_long_sequence_goes_through_in_pieces():
    """More numbers than one piece holds (2**19), of a length that neither chunk nor piece divides."""
    inputs = draw_inputs(1, 1301, 7, 61, 1, 3, seed=4)
    expected = gradients(ssd_recurrence, inputs, 4)
    assert_same_share(gradients(ssd_chunked, inputs, 4, chunk_size=48), expected, SHARE[torch.float64])


@pytest.mark.parametrize("chunk_size", [1, 31, 64, 256])
def test_chunked_in_float32_at_the_detectors_length(chunk_size):
    inputs = draw_inputs(2, 961, 4, 8, 1, 16, seed=5, dtype=torch.float32)
    y = ssd_chunked(**inputs, chunk_size=chunk_size)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.double(), ssd_recurrence(**inputs), **FLOAT32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_changes_nothing(dtype):
    inputs = draw_inputs(2, 77, 4, 5, 2, 16, seed=6, dtype=dtype)
    expected = gradients(ssd_chunked, inputs, 6, chunk_size=32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(ssd_chunked, inputs, 6, chunk_size=32)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_inputs_of_mixed_dtype_get_gradients_of_their_own():
    inputs = draw_inputs(2, 35, 4, 5, 2, 6, seed=8, dtype=torch.float32)
    inputs |= {name: inputs[name].detach().bfloat16().requires_grad_() for name in ("x", "B", "C")}
    y, state, grads = gradients(ssd_chunked, inputs, 8, chunk_size=16)
    assert (y.dtype, state.dtype) == (torch.bfloat16, torch.float32)
    assert {name: grad.dtype for name, grad in grads.items()} == {n: value.dtype for n, value in inputs.items()}
    assert_same_share((y, state, grads), gradients(ssd_recurrence, inputs, 8), SHARE[torch.bfloat16])


def test_inputs_may_be_views():
    """Of any strides: cut out of one wider tensor as in Mamba-2, transposed, or one value expanded."""
    wide = normals(9)(2, 29, 4 * 3 + 2 * 2 * 5).requires_grad_()
    x, B, C = wide.split([12, 10, 10], dim=-1)
    views = {"x": x.unflatten(-1, (4, 3)), "B": B.unflatten(-1, (2, 5)), "C": C.unflatten(-1, (2, 5))}
    views["dt"] = F.softplus(normals(10)(4, 29, 2)).permute(2, 1, 0)
    views["A"] = torch.tensor(-0.7, dtype=torch.float64).expand(4)
    weight = normals(11)(4, 2, 3, 29).permute(1, 3, 0, 2)  # the gradient of y is a view as well
    found, expected = (torch.autograd.grad((f(**views) * weight).sum(), wide)[0] for f in (ssd_chunked, ssd_recurrence))
    torch.testing.assert_close(found, expected, **FLOAT64)


def test_one_of_two_outputs_may_be_left_unused():
    inputs = draw_inputs(2, 19, 4, 3, 2, 5, seed=12)
    for take in (0, 1):
        found, expected = (
            torch.autograd.grad(f(**inputs, return_final_state=True)[take].sin().sum(), inputs["B"])[0]
            for f in (ssd_chunked, ssd_recurrence)
        )
        torch.testing.assert_close(found, expected, **FLOAT64)


def test_gradients_by_finite_differences():
    inputs = draw_inputs(1, 7, 2, 2, 1, 3, seed=13)

    def chunked(*tensors):
        return ssd_chunked(**dict(zip(inputs, tensors, strict=True)), chunk_size=3, return_final_state=True)

    assert torch.autograd.gradcheck(chunked, list(inputs.values()))


def test_second_derivatives_raise():
    inputs = draw_inputs(1, 4, 2, 1, 1, 3, seed=13)
    (first,) = torch.autograd.grad(ssd_chunked(**inputs).square().sum(), inputs["x"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_recurrence_equals_the_masked_matrix():
    """The oracle itself against another formula: y = (L ∘ C Bᵀ) (dt x) + D x."""
    inputs = draw_inputs(1, 13, 2, 3, 1, 5, seed=7)
    x, dt, A, B, C, D = (
        inputs[name][0] if name in ("x", "dt", "B", "C") else inputs[name] for name in ["x", "dt", "A", "B", "C", "D"]
    )
    for head in range(2):
        mask = torch.zeros(13, 13, dtype=torch.float64)
        for i in range(13):
            for j in range(i + 1):
                mask[i, j] = torch.exp(A[head] * dt[j + 1 : i + 1, head].sum())
        matrix = mask * (C[:, 0] @ B[:, 0].T)
        expected = matrix @ (dt[:, head, None] * x[:, head]) + D[head] * x[:, head]
        found = ssd_recurrence(x[None], dt[None], A, B[None], C[None], D)[0, :, head]
        torch.testing.assert_close(found, expected, **FLOAT64)


@pytest.mark.parametrize("function", [ssd_recurrence, ssd_chunked])
def test_a_sequence_in_two_parts_equals_the_whole(function):
    inputs = draw_inputs(2, 29, 4, 3, 2, 5, seed=11)
    whole, end = function(**inputs, return_final_state=True)
    first = {name: value[:, :17] if name in IN_TIME else value for name, value in inputs.items()}
    second = {name: value[:, 17:] if name in IN_TIME else value for name, value in inputs.items()}
    y1, state = function(**first, return_final_state=True)
    y2, state = function(**{**second, "initial_state": state}, return_final_state=True)
    torch.testing.assert_close(torch.cat([y1, y2], dim=1), whole, **FLOAT64)
    torch.testing.assert_close(state, end, **FLOAT64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("rate", ["all", "some"])
def test_strong_decay_forgets_and_overflows_nowhere(rate, dtype):
    """dt·A of -200 a step: exp(-200) is 0 in float32, and exp(+200) would be infinite."""
    inputs = draw_inputs(2, 150, 3, 4, 1, 5, seed=14, dtype=dtype)
    strong = torch.ones(2, 150, 3) if rate == "all" else (normals(15)(2, 150, 3) > 0.5).float()
    decay = torch.where(strong > 0, torch.tensor(-200.0, dtype=dtype), -0.01 * inputs["dt"].detach().abs())
    inputs["dt"] = (decay / inputs["A"].detach()).requires_grad_()
    found, expected = gradients(ssd_chunked, inputs, 14), gradients(ssd_recurrence, inputs, 14)
    assert all(torch.isfinite(tensor).all() for tensor in (*found[:2], *found[2].values()))
    # In float32 the running sums reach 64 x 200 = 12,800, and differences of them are off by up to 1e-3.
    assert_same_share(found, expected, 1e-11 if dtype == torch.float64 else 2e-3)


def test_a_decay_that_is_next_to_nothing_is_nothing():
    """Not a subnormal number: a CPU computes with those ten times as slowly."""
    x, one = torch.ones(1, 60, 1, 1), torch.ones(1, 60, 1, 1)
    x[:, 1:] = 0
    y = ssd_chunked(x, torch.ones(1, 60, 1), torch.tensor([-2.0]), one, one).flatten()
    kept = y > 0
    assert 30 < kept.sum() < 40
    torch.testing.assert_close(y[kept].log(), -2.0 * torch.arange(60)[kept], rtol=1e-6, atol=1e-5)


def test_without_decay_the_state_is_a_plain_sum():
    """A = 0 for 3,000 steps: the sum of all writes so far, in float32 as near as its own rounding."""
    inputs = draw_inputs(1, 3000, 2, 3, 1, 4, seed=16, dtype=torch.float32)
    inputs["A"] = torch.zeros(2).requires_grad_()
    found, expected = gradients(ssd_chunked, inputs, 16), gradients(ssd_recurrence, inputs, 16)
    writes = torch.einsum("blh,blhp,blgn->bhpn", inputs["dt"], inputs["x"], inputs["B"])
    torch.testing.assert_close(found[1], inputs["initial_state"] + writes, rtol=1e-4, atol=1e-3)
    assert_same_share(found, expected, 1e-5)


def test_steps_of_no_length_change_nothing():
    """dt = 0 at every second step: what is left is the sequence without them. Their own gradient is that of dt."""
    inputs = draw_inputs(2, 38, 2, 3, 1, 4, seed=17)
    inputs["dt"] = (inputs["dt"].detach() * (torch.arange(38) % 2)[:, None]).requires_grad_()
    assert_same(gradients(ssd_chunked, inputs, 17, chunk_size=9), gradients(ssd_recurrence, inputs, 17), **FLOAT64)
    shorter = {name: value[:, 1::2] if name in IN_TIME else value for name, value in inputs.items()}
    torch.testing.assert_close(
        ssd_chunked(**inputs, chunk_size=9)[:, 1::2], ssd_chunked(**shorter, chunk_size=4), **FLOAT64
    )


MEMORY = """\
import resource, sys, torch
from helpers.models import ssd_chunked
length = int(sys.argv[1])
x = torch.rand(1, length, 8, 64).requires_grad_()
dt, A = torch.rand(1, length, 8).requires_grad_(), -torch.rand(8).requires_grad_()
B, C = (torch.rand(1, length, 1, 16).requires_grad_() for _ in range(2))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ssd_chunked(x, dt, A, B, C, chunk_size=32).sum().backward()
unit = 1 if sys.platform == "darwin" else 1024
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit / (x.numel() * 4))
"""


def test_the_matrices_of_a_sequence_never_exist_together():
    """Peak of a training step in units of x (134 MB): output, its gradient, that of x, half as much of states, 0.5."""
    found = subprocess.run([sys.executable, "-c", MEMORY, "65536"], capture_output=True, text=True, check=True).stdout
    assert float(found) < 4.5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"A": torch.ones(3)}, r"A has shape \(3,\); expected \(4,\)"),
        ({"dt": torch.ones(2, 9, 1)}, r"dt has shape"),
        ({"C": torch.ones(2, 9, 2, 4)}, r"C has shape"),
        ({"B": torch.ones(2, 9, 3, 5)}, r"groups a divisor of the 4 heads"),
        ({"x": torch.ones(2, 9, 4)}, r"x has shape \(2, 9, 4\); expected \(batch, length, heads, headdim\)"),
        ({"x": torch.ones(2, 0, 4, 3)}, r"none of them zero"),
        ({"initial_state": torch.ones(2, 4, 5, 3)}, r"initial_state has shape"),
    ],
)
@pytest.mark.parametrize("function", [ssd_recurrence, ssd_chunked])
def test_shapes_that_do_not_fit_are_named(function, change, message):
    inputs = draw_inputs(2, 9, 4, 3, 2, 5, seed=17)
    with pytest.raises(ValueError, match=message):
        function(**{**inputs, **change})


def test_chunk_size_counts_steps():
    with pytest.raises(ValueError, match="chunk_size is 0"):
        ssd_chunked(**draw_inputs(1, 3, 1, 1, 1, 1, seed=19), chunk_size=0)
