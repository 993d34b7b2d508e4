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
    ratios = [row for row in rows if row.unit == "x"]
    assert len(ratios) == 3  # two state sizes, and the long sequence
    assert all(row.value > 1 for row in ratios[:2])
    for time, alone, ratio in (rows[:3], rows[3:6]):
        assert ratio.value == pytest.approx(time.value / alone.value)  # of one pair
    assert rows[-1].unit == "MB"
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
