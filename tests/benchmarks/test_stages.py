"""Costs by stage: every stage once, positive, and larger for more work. Times are compared across a factor of many."""

import pytest
import torch

from helpers.benchmarks.stages import measure_stages, measure_whole
from helpers.models import SeizureDetector, fuse_for_inference, stages_of


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(2)
    return SeizureDetector(n_channels=3, widths=(16, 32), rescnn_blocks=1, mamba_layers=1, d_state=4)


def test_each_stage_is_measured_and_the_model_left_alone(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    costs = measure_stages(model, batch=2, length=256, repeats=2)
    assert [cost.name for cost in costs] == [name for name, _, _ in stages_of(model)]
    assert all(cost.inference_ms > 0 and cost.training_ms > 0 for cost in costs)
    assert {cost.training_mib for cost in costs} == {None}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_whole_trains_a_copy(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cost = measure_whole(model, batch=2, length=256, repeats=2)
    assert (cost.name, cost.inference_mib) == ("whole", None)
    assert 0 < cost.inference_ms < cost.training_ms
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_more_work_takes_longer(model):
    """64 times the samples, at least 4 times the time."""
    short, long = (measure_whole(model, 1, length, repeats=5, training=False) for length in (256, 64 * 256))
    assert long.inference_ms > 4 * short.inference_ms


def test_a_fused_copy_is_measured_without_training(model):
    cost = measure_whole(fuse_for_inference(model.eval()), batch=1, length=256, repeats=2, training=False)
    assert cost.training_ms is None
    assert cost.inference_ms > 0
