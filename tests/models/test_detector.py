"""The detector: its parameters counted stage by stage, its shapes, and its faster copy."""

import pytest
import torch
from torch import nn

from helpers.models import BiMamba2, ResCNN, SeizureDetector, fuse_for_inference, parameters_by_stage


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def detector():
    return SeizureDetector()


def test_every_stage_has_the_reference_count(detector):
    """The table of the reference architecture; encoder and decoder stages finest first."""
    encoder, decoder = detector.encoder, detector.decoder
    assert count(encoder.input) == 8_704
    assert [count(stage) for stage in encoder.stages] == [41_344, 123_648, 493_056, 1_969_152]
    assert [count(down) for down in encoder.downs] == [8_256, 32_896, 131_328, 524_800]
    assert [count(block) for block in detector.rescnn] == [1_577_984] * 3
    assert [count(layer) for layer in detector.mamba] == [3_733_408] * 6
    assert [count(up) for up in decoder.ups] == [262_400, 65_664, 16_448, 8_256]
    assert [count(stage) for stage in decoder.stages] == [1_312_256, 328_448, 82_304, 61_824]
    assert count(decoder.output) == 1_235
    assert parameters_by_stage(detector) == {
        "encoder": 3_333_184,
        "rescnn": 4_733_952,
        "mamba": 22_400_448,
        "decoder": 2_138_835,
        "head": 20,
        "total": 32_606_439,
    }


@pytest.mark.parametrize(("d_state", "total"), [(64, 33_202_023), (128, 33_996_135)])
def test_larger_states_have_the_reference_count(d_state, total):
    with torch.device("meta"):
        assert parameters_by_stage(SeizureDetector(d_state=d_state))["total"] == total


def test_shapes_through_the_reference(detector):
    """(channels, length) after each stage, on the meta device: nothing is computed."""
    seen = {}
    model = SeizureDetector().to("meta")

    def note(name):
        def hook(module, arguments, output):
            seen[name] = getattr(output, "shape", None)

        return hook

    for name, module in model.named_modules():
        module.register_forward_hook(note(name))
    logits = model(torch.empty(2, 19, 15360, device="meta"))
    assert logits.shape == (2, 15360)
    assert [tuple(seen[f"encoder.stages.{i}"]) for i in range(4)] == [
        (2, 64, 15360),
        (2, 128, 7680),
        (2, 256, 3840),
        (2, 512, 1920),
    ]
    assert tuple(seen["rescnn"]) == (2, 512, 960)
    assert tuple(seen["mamba"]) == (2, 960, 512)
    assert [tuple(seen[f"decoder.stages.{i}"]) for i in range(4)] == [
        (2, 256, 1920),
        (2, 128, 3840),
        (2, 64, 7680),
        (2, 64, 15360),
    ]


def small():
    """Every part of the detector, small, with batch-norm statistics that are not 0 and 1."""
    torch.manual_seed(5)
    model = SeizureDetector(n_channels=3, widths=(32, 64), rescnn_blocks=2, mamba_layers=2, d_state=5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
        if isinstance(module, (nn.BatchNorm1d, nn.LayerNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
        if isinstance(module, BiMamba2):
            nn.init.uniform_(module.forward_ssm.norm.weight, 0.5, 1.5)
            nn.init.uniform_(module.backward_ssm.norm.weight, 0.5, 1.5)
    return model


def test_double_computes_in_float64_throughout():
    model = small().eval()
    eeg = torch.randn(2, 3, 212)
    single, double = model(eeg), model.double()(eeg.double())
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


def test_gradients_reach_every_parameter():
    model = small()
    model(torch.randn(2, 3, 64)).square().mean().backward()
    dead = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    # A bias before a batch norm is subtracted again: its gradient is rounding, or nothing.
    assert [name for name in dead if not name.endswith("bias")] == []


def test_fused_copy_computes_the_same():
    model = small().eval().double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    eeg = torch.randn(2, 3, 212, dtype=torch.float64)
    fused = fuse_for_inference(model)
    torch.testing.assert_close(fused(eeg), model(eeg), rtol=1e-9, atol=1e-9)
    kinds = [type(module) for module in fused.modules()]
    assert nn.BatchNorm1d not in kinds
    assert count(fused) < count(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_fusing_a_training_model_is_refused():
    with pytest.raises(ValueError, match=r"training mode; call model\.eval\(\)"):
        fuse_for_inference(small().train())


def test_head_of_two_linear_maps_is_one(detector):
    """64 -> 19 -> 1 without anything between: one 64 -> 1 map, kept for the count."""
    output, head = detector.decoder.output, detector.head
    weight = head.weight[:, :, 0] @ output.weight[:, :, 0]
    bias = head.weight[:, :, 0] @ output.bias + head.bias
    x = torch.randn(2, 64, 33)
    torch.testing.assert_close(
        head(output(x)), torch.einsum("oi,bil->bol", weight, x) + bias[:, None], rtol=1e-4, atol=1e-5
    )


def test_rescnn_is_residual():
    block = ResCNN(10).eval()
    nn.init.zeros_(block.mix[1].weight)
    nn.init.zeros_(block.mix[1].bias)
    x = torch.randn(2, 10, 21)
    torch.testing.assert_close(block(x), torch.relu(x))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 18, 160), r"input has shape \(1, 18, 160\); expected \(batch, 19, length\)"),
        ((19, 160), r"expected \(batch, 19, length\)"),
        ((1, 19, 15361), "length 15361 is no multiple of 16"),
        ((1, 19, 0), "length 0 is no multiple of 16"),
    ],
)
def test_input_that_does_not_fit_is_named(detector, shape, message):
    with pytest.raises(ValueError, match=message):
        detector(torch.zeros(shape))
