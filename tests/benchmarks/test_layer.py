"""`measure_layer`: ratios of pairs of times that belong together, and a peer that is named where it is missing."""

from importlib import util

import pytest

from helpers.benchmarks import layer
from helpers.benchmarks.layer import measure_layer, missing_peer


@pytest.fixture
def no_peer(monkeypatch):
    real = util.find_spec
    monkeypatch.setattr(layer, "find_spec", lambda name: None if name == "transformers" else real(name))


def test_a_layer_takes_longer_than_its_projections(no_peer):
    rows = measure_layer(repeats=1, long=130)
    assert [row.unit for row in rows] == ["ms", "ms", "x", "ms", "x"] * 3 + ["MB"]  # two state sizes, a long sequence
    for time, by_torch, over_torch, alone, over_own in (rows[:5], rows[5:10]):
        assert over_torch.value == pytest.approx(time.value / by_torch.value)  # of one turn
        assert over_own.value == pytest.approx(time.value / alone.value)
        assert over_own.value > 0.5  # one short turn, on a machine that may be busy
    assert rows[-1].value > 0.5


def test_the_peer_that_is_missing_is_named(no_peer):
    assert missing_peer().startswith("transformers is not installed")
    assert "[bench]" in missing_peer()


@pytest.mark.bench
def test_the_peer_computes_the_same():
    layer._peer(layer._block(16, 32), 64)  # raises where outputs differ


def test_memory_is_that_of_the_length(no_peer):
    """Eight times the length takes more than twice the memory: the process itself, some 200 MB, is not in it."""
    (short,), (long,) = layer._memory(1000), layer._memory(8000)
    assert long.value > 2 * short.value
