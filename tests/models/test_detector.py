"""The detector: its parameters counted stage by stage, its shapes, and its faster copy."""

import json

import pytest
import torch
from torch import nn

from helpers.models import (
    GatedRMSNorm,
    ResCNN,
    SeizureDetector,
    StandInWarning,
    fuse_for_inference,
    parameters_by_stage,
)


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


@pytest.mark.parametrize(
    ("options", "total"),
    [
        ({"backend": "conv1d"}, 13_397_799),  # the 12 blocks are 12 x 3,072
        ({"mixing": "sum"}, 32_606_439 - 6 * 524_800),  # no map joins the directions
        ({"mixing": "shared"}, 10_205_991 + 6 * (1_648_176 + 1_024)),  # one Hydra block and a norm
        ({"mamba_layers": 0}, 10_205_991),
    ],
)
@pytest.mark.filterwarnings("ignore::helpers.models.StandInWarning")
def test_variants_have_their_count(options, total):
    with torch.device("meta"):
        assert parameters_by_stage(SeizureDetector(**options))["total"] == total


def small(**options):
    """Every part of the detector, small, with norms and batch-norm statistics that are not 0 and 1."""
    torch.manual_seed(5)
    options = {"n_channels": 3, "widths": (32, 64), "rescnn_blocks": 2, "mamba_layers": 2, "d_state": 5, **options}
    model = SeizureDetector(**options)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
        if isinstance(module, (nn.BatchNorm1d, nn.LayerNorm, nn.RMSNorm, GatedRMSNorm)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
        if isinstance(module, (nn.BatchNorm1d, nn.LayerNorm)):
            nn.init.normal_(module.bias)
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


@pytest.mark.parametrize("mixing", ["concat", "sum", "shared"])
@pytest.mark.parametrize("backend", ["auto", "conv1d"])
@pytest.mark.filterwarnings("ignore::helpers.models.StandInWarning")
def test_fused_copy_computes_the_same(mixing, backend):
    model = small(mixing=mixing, backend=backend).eval().double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    eeg = torch.randn(2, 3, 212, dtype=torch.float64)
    fused = fuse_for_inference(model)
    torch.testing.assert_close(fused(eeg), model(eeg), rtol=1e-9, atol=1e-9)
    kinds = [type(module) for module in fused.modules()]
    assert nn.BatchNorm1d not in kinds
    assert fused.backend_for(eeg) == model.backend_for(eeg) == ("torch" if backend == "auto" else "conv1d")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.gpu
@pytest.mark.parametrize("mixing", ["concat", "sum", "shared"])
def test_fused_copy_uses_the_kernels_on_a_gpu(mixing):
    """Against float64 in torch. mamba_ssm's products use TF32, whose ten bits allow about 1e-3 a product."""
    model = small(mixing=mixing, d_state=16).eval().cuda()
    fused, exact = fuse_for_inference(model), small(mixing=mixing, d_state=16, backend="torch").eval().double().cuda()
    eeg = torch.randn(2, 3, 212, device="cuda")
    assert fused.backend_for(eeg) == model.backend_for(eeg) == "mamba_ssm"
    expected = exact(eeg.double())
    for found in (fused(eeg), model(eeg)):
        assert (found - expected).abs().max() < 1e-2 * expected.abs().max()


@pytest.mark.parametrize("mixing", ["concat", "sum", "shared"])
def test_fused_copy_has_fewer_parameters(mixing):
    model = small(mixing=mixing).eval()
    assert count(fuse_for_inference(model)) < count(model)


@pytest.mark.parametrize("options", [{}, {"mixing": "shared", "d_state": 9, "chunk_size": 7}, {"backend": "torch"}])
def test_config_builds_the_same_detector(options):
    model = small(**options).eval()
    again = SeizureDetector(**json.loads(json.dumps(model.config))).eval()
    again.load_state_dict(model.state_dict(), strict=True)
    eeg = torch.randn(2, 3, 64)
    assert torch.equal(again(eeg), model(eeg))
    assert again.config == model.config
    changed = {key: model.config[key] for key in options}
    assert changed == options


def test_config_records_a_stand_in_that_the_environment_asked_for(monkeypatch):
    monkeypatch.setenv("SEIZURE_MAMBA_FORCE_FALLBACK", "1")
    with pytest.warns(StandInWarning):
        model = small()
    assert model.config["backend"] == model.backend_for(torch.randn(1, 3, 64)) == "conv1d"
    monkeypatch.delenv("SEIZURE_MAMBA_FORCE_FALLBACK")
    with pytest.warns(StandInWarning):
        SeizureDetector(**model.config).load_state_dict(model.state_dict(), strict=True)
    with pytest.raises(RuntimeError, match="Missing key"):
        small().load_state_dict(model.state_dict(), strict=True)
    assert small(backend="torch").config["backend"] == "torch"


def test_a_named_kernel_that_cannot_be_is_an_error():
    model, eeg = small(backend="mamba_ssm"), torch.randn(1, 3, 64)
    for ask in (model, model.backend_for, fuse_for_inference(model.eval())):
        with pytest.raises(RuntimeError, match="backend 'mamba_ssm': the input is on cpu, expected cuda"):
            ask(eeg)


def test_a_detector_without_layers_is_computed_by_torch():
    assert small(mamba_layers=0).backend_for(torch.randn(1, 3, 64)) == "torch"


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
