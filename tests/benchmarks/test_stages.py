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
    assert {(cost.inference_mib, cost.training_mib) for cost in costs} == {(None, None)}
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_what_is_kept_is_counted_once_and_without_weights(model):
    """In float32, two convolutions keep what each gives to its batch norm and what the ReLU after that gives.

    The input of the first stage was kept by what is before it, whose ReLU gave it. A halving keeps nothing, because its
    input is kept by then; its output is kept by the stage that reads it. The rest are the statistics of batch norms.
    """
    batch, length = 3, 176
    kept = {cost.name: cost.kept_mib * 2**20 for cost in measure_stages(model, batch, length, repeats=1)}
    first, second = 16 * (4 * batch * length + 4), 32 * (4 * batch * length // 2 + 4)  # numbers of 4 bytes
    halved = 16 * batch * length // 2
    assert kept["encoder.stages.0"] == pytest.approx(4 * first, rel=1e-6)
    assert kept["encoder.downs.0"] == 0
    assert kept["encoder.stages.1"] == pytest.approx(4 * (second + halved), rel=1e-6)


def test_what_is_kept_grows_with_the_batch(model):
    """Every stage's share does, the state space layer's too; only the statistics of batch norms stay as they are."""
    one, five = (measure_stages(model, batch, length=256, repeats=1) for batch in (1, 5))
    for small, large in zip(one, five, strict=True):
        assert large.kept_mib == pytest.approx(5 * small.kept_mib, rel=0.05), small.name
    assert next(cost.kept_mib for cost in one if cost.name == "mamba.0") > 0


def test_the_whole_trains_a_copy(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cost = measure_whole(model, batch=2, length=256, repeats=2)
    assert (cost.name, cost.inference_mib) == ("whole", None)
    assert 0 < cost.inference_ms < cost.training_ms
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.fixture
def one_thread():
    """On a busy machine several threads wait for each other, longer than little work takes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_more_work_takes_longer(model):
    """64 times the samples, at least 4 times the time."""
    short, long = (measure_whole(model, 1, length, repeats=5, training=False) for length in (256, 64 * 256))
    assert long.inference_ms > 4 * short.inference_ms


def test_a_fused_copy_is_measured_without_training(model):
    cost = measure_whole(fuse_for_inference(model.eval()), batch=1, length=256, repeats=2, training=False)
    assert cost.training_ms is None
    assert cost.inference_ms > 0
