"""Stages counted in one pass: parameters and operations against the formulas of their layers."""

import pytest
import torch

from helpers.models import (
    SeizureDetector,
    count_stages,
    fuse_for_inference,
    parameters_by_stage,
    published_totals,
    stages_of,
)


@pytest.fixture(scope="module")
def reference():
    with torch.device("meta"):
        return SeizureDetector()


@pytest.fixture(scope="module")
def rows(reference):
    return {row.name: row for row in count_stages(reference)}


def test_parameters_add_up_to_the_whole(reference, rows):
    assert sum(row.parameters for row in rows.values()) == parameters_by_stage(reference)["total"] == 32_606_439


def test_shapes_and_rates_of_the_reference(rows):
    assert rows["encoder.input"].shape == (64, 15360)
    assert rows["encoder.downs.1"].shape == (128, 3840)
    assert rows["rescnn.2"].shape == rows["mamba.5"].shape == (512, 960)
    assert rows["mamba.5"].rate == rows["encoder.downs.3"].rate == 16
    assert rows["decoder.stages.2"].shape == (64, 7680)
    assert rows["head"].shape == (1, 15360)
    assert rows["head"].rate == 256


def test_operations_of_convolutions_are_their_formula(rows):
    """Two a multiplication with addition: taps x channels in x channels out x steps out."""

    def convolution(taps, narrow, wide, steps):
        return 2 * taps * narrow * wide * steps / 1e9

    expected = {
        "encoder.input": convolution(7, 19, 64, 15360),
        "encoder.stages.2": convolution(5, 128, 256, 3840) + convolution(5, 256, 256, 3840),
        "encoder.downs.3": convolution(2, 512, 512, 960),
        "rescnn.1": sum(convolution(k, 512, w, 960) for k, w in ((3, 170), (5, 170), (7, 172), (1, 512))),
        "decoder.ups.0": convolution(2, 512, 256, 960),  # a transposed one reads each step once a tap
        "decoder.stages.3": convolution(5, 128, 64, 15360) + convolution(5, 64, 64, 15360),
        "decoder.output": convolution(1, 64, 19, 15360),
        "head": convolution(1, 19, 1, 15360),
    }
    for name, gflop in expected.items():
        assert rows[name].gflop == pytest.approx(gflop, rel=1e-9), name


@pytest.mark.parametrize(("d_state", "chunk_size"), [(16, 32), (16, 64), (64, 64), (128, 64)])
def test_operations_of_a_mamba_layer_are_those_of_its_maps_and_scan(d_state, chunk_size):
    """Both directions: two projections and the scan; then the joining map. Whether the depthwise convolution is counted
    (0.2 %) is free; a product of the scan that is not (0.9 % at least) is found.
    """
    with torch.device("meta"):
        model = SeizureDetector(d_state=d_state, chunk_size=chunk_size, mamba_layers=1)
    rows = {row.name: row for row in count_stages(model)}
    inner, heads, steps = 1024, 16, 960
    projections = 512 * (2 * inner + 2 * d_state + heads) + inner * 512
    in_chunk = chunk_size * d_state + chunk_size * inner
    scan = in_chunk + 2 * d_state * inner
    expected = 2 * steps * (2 * (projections + scan) + 1024 * 512) / 1e9
    assert rows["mamba.0"].gflop == pytest.approx(expected, rel=0.003)


def test_a_smaller_chunk_and_a_shared_projection_cost_less():
    def gflop(**options):
        with torch.device("meta"):
            rows = count_stages(SeizureDetector(**options))
        return sum(row.gflop for row in rows)

    reference = gflop()
    assert gflop(chunk_size=256) > 1.05 * reference
    assert gflop(mixing="shared") < 0.8 * reference
    assert gflop(mixing="sum") < gflop(mixing="concat")


def test_half_the_length_takes_half_the_operations(reference):
    whole, half = count_stages(reference), count_stages(reference, length=7680)
    assert sum(row.gflop for row in half) == pytest.approx(sum(row.gflop for row in whole) / 2, rel=1e-6)
    assert [row.rate for row in half] == [row.rate for row in whole]


def test_counting_leaves_the_model_as_it_was():
    model = SeizureDetector(n_channels=3, widths=(32, 64), mamba_layers=1, rescnn_blocks=1, backend="torch").train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_stages(model, length=64)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_a_kernel_backend_is_counted_without_a_gpu():
    with torch.device("meta"):
        named, plain = (SeizureDetector(mamba_layers=2, backend=backend) for backend in ("mamba_ssm", "torch"))
    assert count_stages(named) == count_stages(plain)


def test_any_precision_is_counted_alike(reference):
    for dtype in (torch.float64, torch.bfloat16):
        with torch.device("meta"):
            assert count_stages(SeizureDetector().to(dtype)) == count_stages(reference)


def test_the_fused_copy_has_fewer_operations():
    model = SeizureDetector().eval()
    fused = count_stages(fuse_for_inference(model))
    assert sum(row.gflop for row in fused) < 0.95 * sum(row.gflop for row in count_stages(model))
    assert fused[0].shape == (64, 15360)


def test_stages_are_all_of_the_model_once(reference):
    held = [id(parameter) for _, _, module in stages_of(reference) for parameter in module.parameters()]
    assert sorted(held) == sorted(id(parameter) for parameter in reference.parameters())


def test_published_totals_are_counted():
    assert [total.parameters for total in published_totals()] == [32_606_439, 32_643_303, 13_397_799]


def test_published_totals_do_not_depend_on_the_environment(monkeypatch):
    monkeypatch.setenv("SEIZURE_MAMBA_FORCE_FALLBACK", "1")
    assert [total.parameters for total in published_totals()] == [32_606_439, 32_643_303, 13_397_799]


def test_a_length_that_does_not_fit_is_named(reference):
    with pytest.raises(ValueError, match="length 15361 is no multiple of 16"):
        count_stages(reference, length=15361)
