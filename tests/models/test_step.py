"""A sequence whole, in pieces and step by step: `Mamba2` gives one answer, from any state."""

import pytest
import torch
from drawn import FLOAT64, randomized
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.models import Mamba2, Mamba2State


def unequal(seed=0, **options):
    torch.manual_seed(seed)
    options = {"d_model": 6, "d_state": 5, "headdim": 3, "ngroups": 2, "chunk_size": 7, **options}
    return randomized(Mamba2(**options), seed + 1)


def stepped(block, u, state):
    outputs = []
    for u_t in u.unbind(1):
        y_t, state = block.step(u_t, state)
        outputs.append(y_t)
    return torch.stack(outputs, dim=1), state


@settings(max_examples=30, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 19), min_size=1, max_size=5),
    d_conv=st.integers(1, 6),
    ngroups=st.sampled_from([1, 2]),
    seed=st.integers(0, 10**6),
)
def test_pieces_and_steps_equal_the_whole(lengths, d_conv, ngroups, seed):
    block = unequal(seed, d_conv=d_conv, ngroups=ngroups)
    u = torch.randn(3, sum(lengths), 6, dtype=torch.float64)
    with torch.no_grad():
        whole, last = block(u, return_state=True)
        torch.testing.assert_close(block(u), whole, **FLOAT64)

        state, pieces = None, []
        for piece in u.split(lengths, dim=1):
            y, state = block(piece, state, return_state=True)
            pieces.append(y)
        torch.testing.assert_close(torch.cat(pieces, 1), whole, **FLOAT64)
        torch.testing.assert_close(state, last, **FLOAT64)

        steps, state = stepped(block, u, block.initial_state(3))
        torch.testing.assert_close(steps, whole, **FLOAT64)
        torch.testing.assert_close(state, last, **FLOAT64)

        first = lengths[0]  # whole up to there, then step by step, then a piece without its state
        _, state = block(u[:, :first], return_state=True)
        steps, state = stepped(block, torch.cat([u[:, first:], u[:, :2]], 1), state)
        torch.testing.assert_close(steps[:, :-2], whole[:, first:], **FLOAT64)
        torch.testing.assert_close(block(u[:, :2], last), steps[:, -2:], **FLOAT64)


def test_any_state_of_the_past_counts():
    block = unequal(3)
    u = torch.randn(2, 9, 6, dtype=torch.float64)
    zero = block.initial_state(2)
    past = Mamba2State(*(torch.randn_like(tensor) for tensor in zero))
    with torch.no_grad():
        y, last = block(u, past, return_state=True)
        steps, state = stepped(block, u, past)
        torch.testing.assert_close(y, steps, **FLOAT64)
        torch.testing.assert_close(last, state, **FLOAT64)
        assert (y - block(u)).abs().amax(dim=(0, 2)).min() > 1e-6
        for part in ("conv", "ssm"):
            assert (block(u, zero._replace(**{part: getattr(past, part)})) - block(u)).abs().max() > 1e-3


def test_gradients_flow_through_pieces_and_steps():
    block = unequal(4)
    u = torch.randn(2, 13, 6, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 13, 6, dtype=torch.float64)

    def gradients(y):
        return torch.autograd.grad((y * weight).sum(), [u, *block.parameters()])

    expected = gradients(block(u))
    y, state = block(u[:, :5], return_state=True)
    torch.testing.assert_close(gradients(torch.cat([y, block(u[:, 5:], state)], 1)), expected, **FLOAT64)
    torch.testing.assert_close(gradients(stepped(block, u, block.initial_state(2))[0]), expected, **FLOAT64)


def test_the_state_has_one_size_and_keeps_nothing_else_alive():
    block = unequal(5)
    sizes = set()
    for length in (1, 2, 40, 333):
        _, state = block(torch.randn(2, length, 6, dtype=torch.float64), return_state=True)
        sizes.add(tuple((tensor.shape, tensor.untyped_storage().nbytes()) for tensor in state))
    assert len(sizes) == 1
    assert [tuple(tensor.shape) for tensor in block.initial_state(2)] == [(2, 32, 3), (2, 4, 3, 5)]


def test_a_step_leaves_its_state_as_it_is():
    block = unequal(6)
    _, state = block(torch.randn(2, 5, 6, dtype=torch.float64), return_state=True)
    before = [tensor.clone() for tensor in state]
    block.step(torch.randn(2, 6, dtype=torch.float64), state)
    assert all(torch.equal(was, tensor) for was, tensor in zip(before, state, strict=True))


@pytest.mark.parametrize(
    ("how", "tolerance"),
    [
        ("float32", 1e-5),
        ("bfloat16", 2e-2),  # weights and each intermediate are rounded to 8 bits
        ("autocast", 2e-2),
    ],
)
def test_lower_precision_carries_its_state_in_float32(how, tolerance):
    block = unequal(7, d_model=24, headdim=12)
    u = torch.randn(2, 61, 24, dtype=torch.float64)
    with torch.no_grad():
        expected = block(u)
        dtype = torch.bfloat16 if how == "bfloat16" else torch.float32
        block, u = block.to(dtype), u.to(dtype)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how == "autocast"):
            y, state = block(u[:, :30], return_state=True)
            rest, last = stepped(block, u[:, 30:], state)
    assert state.ssm.dtype == last.ssm.dtype == torch.float32
    assert (torch.cat([y, rest], 1) - expected).abs().max() < tolerance * expected.abs().max()


def test_a_float32_state_costs_a_float64_step_nothing():
    block = unequal(8)
    u_t, state = torch.randn(1, 6, dtype=torch.float64), block.initial_state(1)
    exact = block.step(u_t, state)
    found = block.step(u_t, Mamba2State(*(tensor.float() for tensor in state)))
    torch.testing.assert_close(found, exact, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b, s: b.step(torch.zeros(2, 1, 6), s), r"input has shape \(2, 1, 6\); expected \(batch, 6\)"),
        (lambda b, s: b.step(torch.zeros(2, 5), s), r"input has shape \(2, 5\); expected \(batch, 6\)"),
        (lambda b, s: b.step(torch.zeros(3, 6), s), r"state.conv has shape \(2, 32, 3\); expected \(3, 32, 3\)"),
        (lambda b, s: b(torch.zeros(3, 4, 6), s), r"state.conv has shape \(2, 32, 3\); expected \(3, 32, 3\)"),
        (
            lambda b, s: b(torch.zeros(2, 4, 6), s._replace(ssm=s.ssm.mT)),
            r"state.ssm has shape \(2, 4, 5, 3\); expected \(2, 4, 3, 5\) for this block and a batch of 2",
        ),
    ],
)
def test_shapes_that_do_not_fit_are_named(call, message):
    block = unequal().float()
    with pytest.raises(ValueError, match=message):
        call(block, block.initial_state(2))
