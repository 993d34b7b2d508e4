"""`SS2D`: the scan along four lists of positions, and what turning an image does; `VSSBlock` around it."""

import pytest
import torch
import torch.nn.functional as F
from drawn import FLOAT64, assert_equals_by_hand, assert_within, randomized
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.models import SS2D, VSSBlock, selective_scan_recurrence


def directions(height, width):
    """The positions in the order in which each direction visits them."""
    rows = [(i, j) for i in range(height) for j in range(width)]
    columns = [(i, j) for j in range(width) for i in range(height)]
    return [rows, columns, rows[::-1], columns[::-1]]


def scan_by_hand(block, x, z):
    """From (batch, height, width, d_inner), convolved, to the block's output: one direction after the other."""
    total = torch.zeros_like(x)
    A, D = (-torch.exp(block.A_logs)).chunk(4), block.Ds.chunk(4)
    for k, positions in enumerate(directions(*x.shape[1:3])):
        i, j = torch.tensor(positions).T
        path = x[:, i, j]  # (batch, length, d_inner)
        low = path @ block.x_proj_weight[k].T
        dt_low, B, C = low.split([block.dt_rank, block.d_state, block.d_state], dim=-1)
        dt = torch.log1p(torch.exp(dt_low @ block.dt_projs_weight[k].T + block.dt_projs_bias[k]))
        y = selective_scan_recurrence(path, dt, A[k], B.unsqueeze(2), C.unsqueeze(2), D[k])
        for step, (i, j) in enumerate(positions):
            total[:, i, j] += y[:, step]
    centered = total - total.mean(-1, keepdim=True)
    normal = centered / torch.sqrt((centered**2).mean(-1, keepdim=True) + 1e-5)
    normal = normal * block.out_norm.weight + block.out_norm.bias
    return torch.einsum("bhwi,oi->bhwo", normal * z * torch.sigmoid(z), block.out_proj.weight)


def block_by_hand(block, image):
    """The block from its parameters alone: the convolution tap by tap, the scan step by step."""
    height, width = image.shape[1:3]
    x, z = torch.einsum("bhwi,oi->bhwo", image, block.in_proj.weight).split(block.d_inner, dim=-1)
    padded = F.pad(x, (0, 0, 1, 1, 1, 1))
    x = torch.zeros_like(x) + block.conv2d.bias
    for i in range(3):
        for j in range(3):
            x = x + block.conv2d.weight[:, 0, i, j] * padded[:, i : i + height, j : j + width]
    return scan_by_hand(block, x * torch.sigmoid(x), z)


def image_like(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).requires_grad_()


@settings(max_examples=25, deadline=None)
@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    d_model=st.sampled_from([3, 6, 17]),  # 17 has two ranks to dt
    d_state=st.integers(1, 5),
    expand=st.sampled_from([1, 2, 1.5]),
    seed=st.integers(0, 10**6),
)
@example(height=1, width=37, d_model=3, d_state=2, expand=2, seed=1)
@example(height=35, width=1, d_model=3, d_state=2, expand=2, seed=2)
@example(height=1, width=1, d_model=6, d_state=3, expand=1, seed=3)
def test_block_equals_four_directions_by_hand(height, width, d_model, d_state, expand, seed):
    block = randomized(SS2D(d_model, d_state=d_state, expand=expand), seed)
    image = image_like(2, height, width, d_model, seed=seed)
    assert_equals_by_hand(block, block_by_hand, image)


def trained(module, image):
    """Return the output, and the gradients by name: those of a loss with unequal weights, so that none cancels."""
    y = module(image)
    weight = image_like(*y.shape, seed=99).detach()
    gradients = torch.autograd.grad((y.double() * weight).sum(), list(module.parameters()))
    return y, dict(zip(dict(module.named_parameters()), gradients, strict=True))


@pytest.mark.parametrize(
    ("how", "tolerance"),
    [
        ("float32", 1e-5),
        ("bfloat16", 5e-2),  # weights and what lies between are rounded to 8 bits
        ("autocast", 5e-2),
    ],
)
@pytest.mark.parametrize("kind", [SS2D, VSSBlock])
def test_lower_precision_stays_close(kind, how, tolerance):
    torch.manual_seed(3)
    block, exact = kind(64, d_state=8), kind(64, d_state=8)
    image = image_like(2, 9, 13, 64, seed=3).float().detach()
    if how == "bfloat16":
        block, image = block.bfloat16(), image.bfloat16()
    exact.load_state_dict(block.state_dict())
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=how == "autocast"):
        found = trained(block, image)
    inner = torch.bfloat16 if how == "autocast" and kind is SS2D else image.dtype  # a float32 image stays in the sum
    assert found[0].dtype == inner
    assert_within(tolerance, found, trained(exact.double(), image.double()))


def test_a_scan_too_large_for_float16_does_not_overflow():
    torch.manual_seed(4)
    block = SS2D(8, d_state=3)
    with torch.no_grad():
        block.Ds.fill_(60000)  # float16 ends at 65504, and four directions are added
    image = image_like(1, 4, 5, 8, seed=4).detach()
    expected = block(image.float())
    found = block.half()(image.half())
    assert found.dtype == torch.float16
    torch.testing.assert_close(found.float(), expected, rtol=1e-2, atol=1e-2)


def turned(block, order, turn):
    """The block for a turned image: its directions in another order, the taps of its convolution turned."""
    other = SS2D(block.d_model, block.d_state, block.expand).double()
    state = block.state_dict()
    for name in ("x_proj_weight", "dt_projs_weight", "dt_projs_bias"):
        state[name] = state[name][order]
    for name in ("A_logs", "Ds"):
        state[name] = state[name].unflatten(0, (4, -1))[order].flatten(0, 1)
    state["conv2d.weight"] = turn(state["conv2d.weight"].permute(2, 3, 0, 1)).permute(2, 3, 0, 1)
    other.load_state_dict(state)
    return other


@pytest.mark.parametrize(
    ("order", "turn"),
    [
        ([1, 0, 3, 2], lambda image: image.transpose(0, 1)),
        ([2, 3, 0, 1], lambda image: image.flip(0, 1)),  # by 180 degrees
        ([3, 2, 1, 0], lambda image: image.flip(0, 1).transpose(0, 1)),
    ],
    ids=["transposed", "by_180_degrees", "about_the_other_diagonal"],
)
def test_a_turned_image_gives_the_turned_output_with_the_directions_exchanged(order, turn):
    block = randomized(SS2D(5, d_state=3), 5)
    image = image_like(4, 7, 5, seed=5).detach()  # height, width, d_model: one image
    expected = turn(block(image[None])[0])
    torch.testing.assert_close(turned(block, order, turn)(turn(image)[None])[0], expected, **FLOAT64)
    assert (block(turn(image)[None])[0] - expected).abs().max() > 0.01  # the four are not alike


def test_every_pixel_reaches_every_pixel():
    block = randomized(SS2D(4, d_state=3), 6)
    image = image_like(1, 5, 6, 4, seed=6).detach()
    plain = block(image)
    for i, j in ((0, 0), (4, 5), (2, 3), (4, 0)):
        changed = image.clone()
        changed[0, i, j] += 1
        assert ((block(changed) - plain).abs().amax(-1) > 0).all(), f"pixel {i}, {j}"


def test_a_state_dict_has_the_published_names_and_shapes():
    found = {name: tuple(value.shape) for name, value in VSSBlock(64, d_state=8).state_dict().items()}
    assert found == {  # of VMamba's VSSBlock(hidden_dim=64, d_state=8), whose d_inner is 128 and dt_rank 4
        "ln_1.weight": (64,),
        "ln_1.bias": (64,),
        "self_attention.x_proj_weight": (4, 4 + 2 * 8, 128),
        "self_attention.dt_projs_weight": (4, 128, 4),
        "self_attention.dt_projs_bias": (4, 128),
        "self_attention.A_logs": (4 * 128, 8),
        "self_attention.Ds": (4 * 128,),
        "self_attention.in_proj.weight": (256, 64),
        "self_attention.conv2d.weight": (128, 1, 3, 3),
        "self_attention.conv2d.bias": (128,),
        "self_attention.out_norm.weight": (128,),
        "self_attention.out_norm.bias": (128,),
        "self_attention.out_proj.weight": (64, 128),
    }


def test_initial_values():
    torch.manual_seed(7)
    block = SS2D(40, d_state=5)
    dt = F.softplus(block.dt_projs_bias)
    assert 0.001 * 0.999 < dt.min() < 0.002
    assert 0.05 < dt.max() < 0.1 * 1.001
    assert 0.009 < dt.log().mean().exp() < 0.011  # even in the logarithm: sqrt(0.001 * 0.1)
    assert block.dt_projs_weight.abs().max() < 3**-0.5  # dt_rank is 3
    assert block.dt_projs_weight.abs().max() > 0.99 * 3**-0.5
    assert len({tuple(rows) for rows in block.dt_projs_bias.tolist()}) == 4, "each direction draws its own"
    assert len({tuple(rows.flatten().tolist()) for rows in block.x_proj_weight}) == 4
    torch.testing.assert_close(block.A_logs.exp(), torch.arange(1.0, 6).expand(4 * 80, 5))
    assert (block.Ds == 1).all()
    exempt = {name for name, value in block.named_parameters() if getattr(value, "_no_weight_decay", False)}
    assert exempt == {"A_logs", "Ds", "dt_projs_bias"}


def test_the_block_adds_what_it_scans_of_the_normalized_image():
    block = randomized(VSSBlock(6, d_state=2), 8)
    image = image_like(2, 3, 5, 6, seed=8)
    centered = image - image.mean(-1, keepdim=True)
    normal = centered / torch.sqrt((centered**2).mean(-1, keepdim=True) + 1e-6) * block.ln_1.weight + block.ln_1.bias
    torch.testing.assert_close(block(image), image + block_by_hand(block.self_attention, normal), **FLOAT64)


@pytest.mark.parametrize("shape", [(2, 5, 7, 5), (2, 6, 5, 7), (5, 7, 6), (2, 0, 7, 6), (2, 5, 7, 6, 1), (0, 5, 7, 6)])
def test_a_wrong_shape_is_named(shape):
    with pytest.raises(ValueError, match=r"expected \(batch, height, width, 6\), none of them zero") as error:
        SS2D(6)(torch.zeros(shape))
    assert str(shape) in str(error.value)
