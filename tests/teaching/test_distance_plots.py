"""Drawings of chapter 07: the lines and bands are those of the scores, and each network can be told from the others."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from helpers.teaching.distance_plots import LOOKS, by_distance, mark_reach

EDGES = [0, 1, 4, 9, 10, 23]
MIDDLES = [0, 2, 6, 9, 16]  # of steps 0; 1 to 3; 4 to 8; 9; 10 to 22


@pytest.fixture
def axes():
    _, axes = plt.subplots()
    yield axes
    plt.close("all")


def scores(*names):
    random = torch.Generator().manual_seed(1)
    return {name: torch.rand(3, 5, generator=random) for name in names}


@pytest.mark.parametrize("per_second", [1, 16])
def test_a_line_is_the_mean_of_the_seeds_in_the_middle_of_each_bin(axes, per_second):
    given = scores("sum", "stand-in")
    by_distance(axes, EDGES, given, per_second=per_second)
    lines = {line.get_label(): line for line in axes.lines}
    for name, found in given.items():
        np.testing.assert_allclose(lines[name].get_xdata(), np.divide(MIDDLES, per_second))
        np.testing.assert_allclose(lines[name].get_ydata(), found.mean(0))
        look = lines[name].get_color(), lines[name].get_marker(), lines[name].get_markersize()
        assert (*look, lines[name].get_linestyle()) == LOOKS[name]


def test_a_band_goes_from_the_worst_seed_to_the_best(axes):
    given = scores("shared", "forward only")
    by_distance(axes, EDGES, given)
    for band, (name, found) in zip(axes.collections, given.items(), strict=True):
        corners = band.get_paths()[0].vertices
        for place, low, high in zip(MIDDLES, found.amin(0), found.amax(0), strict=True):
            here = corners[np.isclose(corners[:, 0], place), 1]
            np.testing.assert_allclose([here.min(), here.max()], [low, high], rtol=1e-6)  # given in float32
        assert to_hex(band.get_facecolor()[0]) == LOOKS[name][0]


def test_a_coin_is_marked_on_an_axis_that_figures_share(axes):
    by_distance(axes, EDGES, scores("concat"))
    assert list(axes.lines[-1].get_ydata()) == [0.5, 0.5]
    assert axes.get_ylim() == (0.3, 1.05)


def test_networks_differ_in_more_than_color():
    assert len({(marker, line) for _, marker, _, line in LOOKS.values()}) == len(LOOKS)
    with pytest.raises(KeyError, match="stand-out"):
        by_distance(None, EDGES, scores("stand-out"))


def test_a_reach_is_a_line_and_a_word_at_its_place(axes):
    mark_reach(axes, {2: 4.5, 7: 14.25})
    assert [line.get_xdata()[0] for line in axes.lines] == [4.5, 14.25]
    assert [(text.get_text(), text.xy[0]) for text in axes.texts] == [
        ("reach of\n2 layers", 4.5),
        ("reach of\n7 layers", 14.25),
    ]
