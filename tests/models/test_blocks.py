"""What `Mamba`, `Mamba2` and `Hydra` have in common: lower precision and kernels beside float64, and what they refuse.

What each of them computes has a file of its own.
"""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from drawn import assert_within

from helpers.models import Hydra, Mamba, Mamba2

HOW = ("float32", "bfloat16", "autocast")


def in_both(block, u, how):
    """What the block gives in the precision named, and in float64 from the same values: output, gradients by name."""
    if how == "bfloat16":
        block, u = block.bfloat16(), u.bfloat16()
    exact = copy.deepcopy(block).double()
    exact.backend = "torch"
    with torch.autocast(u.device.type, dtype=torch.bfloat16, enabled=how == "autocast"):
        found = trained(block, u)
    return found, trained(exact, u.double())


def trained(block, u):
    """Output, and the gradients of the parameters by name, of a loss of squares."""
    y = block(u)
    y.square().sum().backward()
    return y.detach(), {name: parameter.grad for name, parameter in block.named_parameters()}


# In bfloat16 and under autocast, weights and each intermediate are rounded to 8 bits.
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        (Mamba, {}, 3e-2),
        (Mamba2, {"d_state": 16, "headdim": 16, "ngroups": 2}, 8e-2),  # the worst gradient here is off by 0.047
        (Hydra, {"d_state": 16, "headdim": 32}, 4e-2),
    ],
)
def test_lower_precision_stays_close(kind, options, tolerance, how):
    torch.manual_seed(3)
    found, expected = in_both(kind(64, **options), torch.randn(3, 101, 64), how)
    assert found[0].dtype == (torch.float32 if how == "float32" else torch.bfloat16)
    assert_within(1e-5 if how == "float32" else tolerance, found, expected)


@pytest.mark.gpu
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("kind", "d_model", "options", "single", "half"),
    [
        (Mamba, 72, {}, 1e-3, 3e-2),
        (Mamba2, 64, {"d_state": 16, "headdim": 16}, 1e-2, 8e-2),  # products take TF32, which keeps 10 bits
        (Hydra, 64, {"d_state": 16, "headdim": 16}, 5e-3, 4e-2),
    ],
)
def test_kernel_on_a_gpu_equals_torch_in_float64(kind, d_model, options, single, half, how):
    torch.manual_seed(7)
    block = kind(d_model, **options, backend="mamba_ssm").cuda()
    u = torch.randn(3, 961, d_model, device="cuda")
    assert block.backend_for(u) == "mamba_ssm"
    found, expected = in_both(block, u, how)
    assert found[0].dtype == (torch.float32 if how == "float32" else torch.bfloat16)
    assert_within(single if how == "float32" else half, found, expected)


@pytest.mark.parametrize(("kind", "options"), [(Mamba, {}), (Mamba2, {"headdim": 4})])
def test_block_is_causal(kind, options):
    torch.manual_seed(1)
    block = kind(8, d_state=4, **options).double()
    u = torch.randn(1, 80, 8, dtype=torch.float64)
    changed = u.clone()
    changed[:, 45] += 1
    difference = (block(changed) - block(u)).abs().amax(dim=(0, 2))
    assert (difference[:45] == 0).all()
    assert (difference[45:50] > 0).all()


@pytest.mark.parametrize("kind", [Mamba2, Hydra])
def test_step_sizes_at_the_start_are_log_uniform(kind):
    torch.manual_seed(0)
    blocks = [kind(256, headdim=4) for _ in range(20)]  # 2,560 heads
    dt = torch.cat([F.softplus(block.dt_bias) for block in blocks])
    assert dt.min() >= 0.000999
    assert dt.max() <= 0.1001
    assert abs(torch.log(dt).mean() - (math.log(0.1) + math.log(0.001)) / 2) < 0.12  # 4 standard errors
    assert all((block.D == 1).all() for block in blocks)


@pytest.mark.parametrize("kind", [Mamba2, Hydra])
def test_what_belongs_to_the_state_is_spared_weight_decay(kind):
    marked = {name for name, p in kind(8, headdim=4).named_parameters() if getattr(p, "_no_weight_decay", False)}
    assert marked == {"A_log", "dt_bias", "D"}


@pytest.mark.parametrize(("kind", "options"), [(Mamba, {}), (Mamba2, {"headdim": 4}), (Hydra, {"headdim": 4})])
@pytest.mark.parametrize("shape", [(1, 4, 7), (4, 8), (1, 0, 8), (0, 4, 8)])
def test_input_of_another_shape_is_named(kind, options, shape):
    with pytest.raises(ValueError, match=r"input has shape \(.*\); expected \(batch, length, 8\), none of them zero"):
        kind(8, **options)(torch.randn(shape))
