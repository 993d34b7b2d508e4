"""The receptive field: arithmetic against convolutions that are really run, and the detector's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from helpers.models import SeizureDetector, influence, receptive_field, receptive_fields

LAYERS = st.lists(st.tuples(st.integers(1, 6), st.integers(1, 3)), min_size=1, max_size=5)


def extent(weights):
    (seen,) = torch.nonzero(weights, as_tuple=True)
    return int(seen[0]), int(seen[-1]) + 1


@settings(max_examples=40, deadline=None)
@given(layers=LAYERS, seed=st.integers(0, 10**6))
def test_size_and_step_are_what_gradients_show(layers, seed):
    torch.manual_seed(seed)
    field = receptive_field(layers)
    chain = nn.Sequential(*(nn.Conv1d(2, 2, kernel, stride) for kernel, stride in layers)).double()
    eeg = torch.randn(1, 2, field.size + 3 * field.step, dtype=torch.float64)
    for step in (0, 2):
        found = influence(chain, eeg, step)
        assert extent(found) == (step * field.step, step * field.step + field.size)


def test_the_reference_sees_half_a_second_then_less_than_two():
    with torch.device("meta"):
        fields = receptive_fields(SeizureDetector())
    assert (fields["encoder.downs.3"].size, fields["encoder.downs.3"].step) == (142, 16)
    assert (fields["rescnn.2"].size, fields["rescnn.2"].step) == (430, 16)
    assert list(fields)[:3] == ["encoder.input", "encoder.stages.0", "encoder.downs.0"]
    assert fields["encoder.input"].size == 7


@pytest.fixture(scope="module")
def small():
    """The kernels and strides of the reference with few channels: the same receptive fields."""
    torch.manual_seed(3)
    return SeizureDetector(4, (16, 16, 16, 32), mamba_layers=1, backend="torch").double().eval()


def test_gradients_of_the_network_agree(small):
    fields, eeg, step = receptive_fields(small), torch.randn(1, 4, 1600, dtype=torch.float64), 50
    for name, function in {
        "encoder.downs.3": lambda x: small.encoder(x)[0],
        "rescnn.2": lambda x: small.rescnn(small.encoder(x)[0]),
    }.items():
        first, end = extent(influence(function, eeg, step))
        assert end - first == fields[name].size
        assert abs((first + end) / 2 - (step + 0.5) * fields[name].step) <= 1  # it lies around its own step
    through = influence(lambda x: small.mamba(small.rescnn(small.encoder(x)[0]).mT).mT, eeg, step)
    assert extent(through) == (0, 1600)


@pytest.mark.parametrize("layers", [[(0, 1)], [(3, 1), (3, 0)]])
def test_a_layer_that_cannot_be_is_refused(layers):
    with pytest.raises(ValueError, match="expected at least 1 for both"):
        receptive_field(layers)


def test_float32_and_steps_outside_are_refused(small):
    with pytest.raises(ValueError, match=r"eeg is torch\.float32; expected float64"):
        influence(small, torch.randn(1, 4, 64), 0)
    eeg = torch.randn(1, 4, 64, dtype=torch.float64)
    with pytest.raises(ValueError, match="step 4 of an output of 4 steps; expected 0 to 3"):
        influence(lambda x: small.encoder(x)[0], eeg, 4)
