"""`ssd_chunked` equals the float64 recurrence, forward and backward; the recurrence equals the masked matrix."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.models import ssd_chunked, ssd_recurrence

# Chunked and sequential sums differ by rounding only; values here are of order 1 to 100.
FLOAT64 = {"rtol": 1e-9, "atol": 1e-10}
FLOAT32 = {"rtol": 1e-4, "atol": 1e-3}


def draw_inputs(batch, length, heads, headdim, groups, d_state, seed, dtype=torch.float64):
    random = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=random, dtype=torch.float64).to(dtype)

    inputs = {
        "x": normal(batch, length, heads, headdim),
        "dt": torch.nn.functional.softplus(normal(batch, length, heads)),
        "A": -torch.exp(normal(heads)),
        "B": normal(batch, length, groups, d_state),
        "C": normal(batch, length, groups, d_state),
        "D": normal(heads),
        "initial_state": normal(batch, heads, headdim, d_state),
    }
    return {name: value.requires_grad_() for name, value in inputs.items()}


def gradients(function, inputs, seed, **options):
    y, state = function(**inputs, return_final_state=True, **options)
    random = torch.Generator().manual_seed(seed + 1)
    weight_y = torch.randn(y.shape, generator=random, dtype=torch.float64)
    weight_state = torch.randn(state.shape, generator=random, dtype=torch.float64)
    loss = (y.double() * weight_y).sum() + (state.double() * weight_state).sum()
    return y, state, torch.autograd.grad(loss, list(inputs.values()))


shapes = st.tuples(
    st.integers(1, 3),  # batch
    st.integers(1, 41),  # length
    st.sampled_from([(1, 1), (3, 1), (3, 3), (4, 2), (6, 3)]),  # heads, groups
    st.integers(1, 7),  # headdim
    st.integers(1, 9),  # d_state
)


@settings(max_examples=60, deadline=None)
@given(shapes, st.integers(1, 50), st.integers(0, 10**6))
def test_chunked_equals_the_recurrence_and_all_its_gradients(shape, chunk_size, seed):
    batch, length, (heads, groups), headdim, d_state = shape
    inputs = draw_inputs(batch, length, heads, headdim, groups, d_state, seed)
    expected = gradients(ssd_recurrence, inputs, seed)
    found = gradients(ssd_chunked, inputs, seed, chunk_size=chunk_size)
    torch.testing.assert_close(found[:2], expected[:2], **FLOAT64)
    for name, ours, oracle in zip(inputs, found[2], expected[2], strict=True):
        torch.testing.assert_close(ours, oracle, **FLOAT64, msg=lambda text, name=name: f"gradient of {name}: {text}")


@pytest.mark.parametrize("chunk_size", [1, 31, 64, 256])
def test_chunked_in_float32_at_the_detectors_length(chunk_size):
    inputs = draw_inputs(2, 961, 4, 8, 1, 16, seed=5, dtype=torch.float32)
    y = ssd_chunked(**inputs, chunk_size=chunk_size)
    assert y.dtype == torch.float32
    torch.testing.assert_close(y.double(), ssd_recurrence(**inputs), **FLOAT32)


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
    first = {
        name: value[:, :17] if value.ndim > 1 and name != "initial_state" else value for name, value in inputs.items()
    }
    second = {
        name: value[:, 17:] if value.ndim > 1 and name != "initial_state" else value for name, value in inputs.items()
    }
    y1, state = function(**first, return_final_state=True)
    y2, state = function(**{**second, "initial_state": state}, return_final_state=True)
    torch.testing.assert_close(torch.cat([y1, y2], dim=1), whole, **FLOAT64)
    torch.testing.assert_close(state, end, **FLOAT64)


def test_strong_decay_overflows_nowhere():
    inputs = {name: value.detach() for name, value in draw_inputs(1, 200, 2, 3, 1, 4, seed=13).items()}
    inputs["dt"] = inputs["dt"] * 500
    inputs = {name: value.requires_grad_() for name, value in inputs.items()}
    y, state, grads = gradients(ssd_chunked, inputs, 13, chunk_size=64)
    assert all(torch.isfinite(tensor).all() for tensor in (y, state, *grads))
    torch.testing.assert_close(y, ssd_recurrence(**inputs), **FLOAT64)


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
