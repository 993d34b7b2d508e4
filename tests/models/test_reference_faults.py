"""The reference's faults by name: what global re-initialization does to the state, and who decays."""

import pytest
import torch
import torch.nn.functional as F

from helpers.models import Hydra, Mamba, Mamba2, SeizureDetector, parameter_groups, reinitialize_globally
from helpers.models.causal_conv import causal_conv
from helpers.models.ssd import ssd_chunked


def state_to_skip(block, u):
    """Root mean square of what the state adds, over that of the skip D x, inside one Mamba-2 block."""
    _, xBC, dt = block.in_proj(u).split([block.d_inner, block.d_inner + 2 * block.d_state, block.nheads], dim=-1)
    x, B, C = F.silu(causal_conv(xBC, block.conv1d.weight, block.conv1d.bias)).split(
        [block.d_inner, block.d_state, block.d_state], dim=-1
    )
    x, dt, A = x.unflatten(-1, (block.nheads, -1)), F.softplus(dt + block.dt_bias), -torch.exp(block.A_log)
    state = ssd_chunked(x, dt, A, B[:, :, None], C[:, :, None])
    return (state.square().mean() / (block.D[:, None] * x).square().mean()).sqrt().item()


def test_reinitialization_silences_the_state():
    """A block of the reference's size on input of unit variance. The order of magnitude is the point: a hundredfold."""
    torch.manual_seed(0)
    block, u = Mamba2(512, d_state=16, backend="torch"), torch.randn(2, 960, 512)
    spared = [block.A_log.clone(), block.dt_bias.clone(), block.D.clone()]
    with torch.no_grad():
        before = state_to_skip(block, u)
        after = state_to_skip(reinitialize_globally(block), u)
    assert 5e-3 < before < 1e-1
    assert after < before / 100
    assert all(torch.equal(*pair) for pair in zip(spared, [block.A_log, block.dt_bias, block.D], strict=True))


def test_reinitialization_draws_what_the_reference_draws():
    torch.manual_seed(1)
    model = reinitialize_globally(SeizureDetector(backend="torch"))
    conv, projection = model.mamba[0].forward_ssm.conv1d, model.mamba[0].forward_ssm.in_proj
    assert conv.weight.std().item() == pytest.approx((2 / (conv.weight.shape[0] * 4)) ** 0.5, rel=0.05)
    assert projection.weight.std().item() == pytest.approx((2 / sum(projection.weight.shape)) ** 0.5, rel=0.05)
    down = model.encoder.downs[2]
    assert down.weight.std().item() == pytest.approx((2 / (256 * 2)) ** 0.5, rel=0.05)
    up = model.decoder.ups[0]
    assert up.weight.std().item() == pytest.approx((2 / (512 * 2)) ** 0.5, rel=0.05)  # its fan-out counts the inputs
    for name, value in model.named_parameters():
        if name.endswith("bias") and "dt_bias" not in name:
            assert not value.any(), name


def test_only_weights_of_maps_decay_by_default():
    model = SeizureDetector(n_channels=3, widths=(32, 64), mamba_layers=1, rescnn_blocks=1, backend="torch")
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, spared = parameter_groups(model, 0.05)
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.05, 0.0)
    spared_names = {names[id(parameter)] for parameter in spared["params"]}
    assert len(decayed["params"]) + len(spared["params"]) == len(names)
    for name, parameter in model.named_parameters():
        last = name.rsplit(".", 1)[-1]
        norm = last == "weight" and parameter.ndim == 1
        assert (name in spared_names) == (last in ("A_log", "dt_bias", "D", "bias") or norm), name
    assert {"mamba.0.norm.weight", "encoder.input.1.weight", "mamba.0.backward_ssm.A_log"} <= spared_names


@pytest.mark.parametrize("block", [lambda: Mamba(16), lambda: Hydra(64, d_state=4, backend="torch")])
def test_marked_parameters_of_any_dimension_are_spared(block):
    block = block()
    _, spared = parameter_groups(block, 0.1)
    assert id(block.A_log) in {id(parameter) for parameter in spared["params"]}  # two dimensions in Mamba-1


def test_the_fault_decays_everything():
    model = SeizureDetector(n_channels=3, widths=(32, 64), mamba_layers=1, rescnn_blocks=1, backend="torch")
    (group,) = parameter_groups(model, 0.05, decay_all=True)
    assert len(group["params"]) == len(list(model.parameters()))
    assert group["weight_decay"] == 0.05


def test_frozen_parameters_are_in_no_group_and_adamw_takes_the_groups():
    block = Mamba2(64, d_state=4, backend="torch")
    block.in_proj.weight.requires_grad_(False)
    groups = parameter_groups(block, 0.05)
    assert id(block.in_proj.weight) not in {id(p) for group in groups for p in group["params"]}
    before = block.A_log.clone()
    for parameter in block.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    weight = block.out_proj.weight.clone()
    torch.optim.AdamW(groups, lr=0.1).step()
    assert torch.equal(block.A_log, before)
    torch.testing.assert_close(block.out_proj.weight, weight * (1 - 0.1 * 0.05))
