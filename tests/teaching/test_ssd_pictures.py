"""Drawings of chapter 05: an image of sizes, and pictures that fill the part that a step makes."""

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.colors import to_hex

from helpers.teaching import COLORS
from helpers.teaching.ssd_pictures import chunk_picture, matrix_image


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_an_image_shows_sizes_and_the_borders_of_chunks():
    matrix = torch.randn(7, 7, generator=torch.Generator().manual_seed(1))
    _, axes = plt.subplots()
    image = matrix_image(axes, matrix, "Title", largest=2.0, chunk_size=3)
    assert torch.equal(torch.as_tensor(image.get_array().data), matrix.abs())
    assert image.get_clim() == (0, 2.0)
    assert [line.get_ydata()[0] for line in axes.lines[::2]] == [2.5, 5.5]


@pytest.mark.parametrize(("largest", "end"), [(None, "neither"), (0.5, "max"), (9.0, "neither")])
def test_a_color_scale_says_what_the_shade_means_and_where_it_is_cut(largest, end):
    matrix = torch.randn(9, 5, generator=torch.Generator().manual_seed(2)).clamp(-3, 0.4)  # largest where negative
    _, axes = plt.subplots()
    image = matrix_image(axes, matrix, "Title", largest=largest, scale="what is left")
    assert axes.child_axes == [image.colorbar.ax]
    assert image.colorbar.ax.get_ylabel() == "what is left"
    assert image.colorbar.extend == end
    assert image.get_clim() == (0, pytest.approx(largest or matrix.abs().max().item()))


def test_without_a_label_there_is_no_scale():
    _, axes = plt.subplots()
    assert matrix_image(axes, torch.eye(3), "Title").colorbar is None
    assert axes.child_axes == []


@pytest.mark.parametrize(
    ("step", "filled", "states"), [(1, 5, None), (2, 10, None), (3, 0, "marked"), (4, 10, "quiet")]
)
def test_each_picture_fills_the_part_of_its_step(step, filled, states):
    (axes,) = chunk_picture(step).axes
    accented = [patch for patch in axes.patches if to_hex(patch.get_facecolor()) == COLORS["accent"]]
    assert len(accented) == filled
    dots = [to_hex(line.get_color()) for line in axes.lines]
    assert dots == ([] if states is None else 4 * [COLORS[states]])
    assert axes.get_title(loc="left").startswith(f"{step}. ")
