"""Cost against length: what is measured, what is left out, and where the two lines cross. Times are only compared."""

import pytest
import torch

from helpers.benchmarks.length import LengthCost, crossover, measure_length


@pytest.fixture(scope="module")
def costs():
    torch.set_num_threads(2)
    return measure_length([17, 68], steps=100, d_model=64, device="cpu", repeats=3)


def test_both_layers_are_measured_at_every_length(costs):
    names = ["Transformer", "Bi-Mamba-2"]
    assert [(cost.layer, cost.length, cost.batch) for cost in costs] == [
        (name, length, batch) for length, batch in [(17, 5), (68, 1)] for name in names
    ]
    for cost in costs:
        assert 0 < cost.low <= cost.ms <= cost.high
        assert cost.first_s > 0
        assert cost.backend == "torch"
        assert cost.peak_mib is None
        assert cost.busy_ms is None
        assert cost.expected_s is None
        assert cost.ns_per_step == pytest.approx(cost.ms * 1e6 / (cost.length * cost.batch))


def test_what_would_take_too_long_is_left_out_with_the_time_expected():
    costs = measure_length([16, 16_000], steps=16, d_model=64, device="cpu", repeats=2, limit_s=1e-6)
    transformer, mamba = costs[:2]
    assert transformer.ms > 0
    for before, after, growth in [(transformer, costs[2], 1e6), (mamba, costs[3], 1e3)]:
        assert after.ms is None
        assert after.ns_per_step is None
        assert after.expected_s == pytest.approx(before.ms / 1e3 * growth)


def test_a_length_with_more_sequences_costs_more():
    few, many = (
        measure_length([32], steps=steps, d_model=64, device="cpu", repeats=5)[1].ms for steps in (64, 64 * 32)
    )
    assert many > 2 * few


def test_a_stand_in_is_named(monkeypatch):
    monkeypatch.setenv("SEIZURE_MAMBA_FORCE_FALLBACK", "1")
    with pytest.warns(UserWarning, match="stand-in|Conv1d"):
        costs = measure_length([8], steps=8, d_model=64, device="cpu", repeats=2)
    assert [cost.backend for cost in costs] == ["torch", "conv1d"]


def lines(**ms_by_layer):
    return [LengthCost(name, length, 1, ms=ms) for name, points in ms_by_layer.items() for length, ms in points.items()]


def test_the_crossover_of_the_gpu_is_its_own():
    """By the clock they meet at 800, by the GPU's own time at 200."""
    costs = [
        LengthCost(layer, length, 1, ms=ms, busy_ms=busy)
        for layer, length, ms, busy in [
            ("Transformer", 100, 1.0, 1.0),
            ("Transformer", 1600, 16.0, 16.0),
            ("Bi-Mamba-2", 100, 8.0, 2.0),
            ("Bi-Mamba-2", 1600, 8.0, 2.0),
        ]
    ]
    assert crossover(costs) == pytest.approx(800)
    assert crossover(costs, busy=True) == pytest.approx(200)
    assert costs[0].busy_ns_per_step == pytest.approx(1e4)
    assert crossover(lines(Transformer={100: 1.0}), busy=True) is None


@pytest.mark.gpu
def test_a_gpu_is_busy_for_a_part_of_the_time():
    """A short sequence waits for the CPU; a long one keeps the GPU busy, up to the profiler's own errors."""
    short, long = (measure_length([n], n, d_model=64, repeats=3)[0] for n in (64, 65_536))
    assert 0 < short.busy_ms < short.ms
    assert 0.6 * long.ms < long.busy_ms < 1.1 * long.ms


def test_the_crossover_lies_where_the_lines_meet():
    # 2 length against 6400: they meet at 3200. A straight line in logarithms is met exactly.
    costs = lines(Transformer={100: 200.0, 1600: 3200.0, 12_800: 25_600.0})
    costs += [LengthCost("Bi-Mamba-2", length, 1, ms=6400.0) for length in (100, 1600, 12_800)]
    assert crossover(costs) == pytest.approx(3200)


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_without_a_crossover_there_is_none(factor):
    costs = lines(Transformer={100: 3.0, 400: 20.0})
    costs += [LengthCost("Bi-Mamba-2", cost.length, 1, ms=cost.ms * factor) for cost in costs]
    assert crossover(costs) is None


def test_a_length_measured_of_one_layer_only_does_not_count():
    costs = lines(Transformer={100: 3.0, 400: 20.0})
    costs += [LengthCost("Bi-Mamba-2", 100, 1, ms=4.0), LengthCost("Bi-Mamba-2", 400, 1, expected_s=99.0)]
    assert crossover(costs) is None


@pytest.mark.parametrize("lengths", [[], [0, 3], [5, 5], [7, 3]])
def test_lengths_that_do_not_increase_are_an_error(lengths):
    with pytest.raises(ValueError, match="increasing positive numbers"):
        measure_length(lengths, steps=10)


@pytest.mark.parametrize("d_model", [0, 96])
def test_a_width_without_whole_heads_is_an_error(d_model):
    with pytest.raises(ValueError, match="multiple of 64"):
        measure_length([4], steps=4, d_model=d_model)
