"""Drawings of chapter 05: a masked matrix as an image, and which part of a matrix each step of the chunked scan makes.

They draw what they are given, or nothing but boxes; they compute no scan.
"""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patches import Polygon, Rectangle

from helpers.teaching.plots import COLORS, style

__all__ = ["chunk_picture", "matrix_image"]

_SHADES = LinearSegmentedColormap.from_list("workbook", ["white", COLORS["accent"], COLORS["ink"]])
_CHUNKS = 5
_TITLES = {
    1: "1. The chunk itself:\na small masked matrix",
    2: "2. What a chunk\nleaves behind",
    3: "3. What is carried\nfrom chunk to chunk",
    4: "4. What a step reads\nof the past",
}


def matrix_image(axes, matrix, title, largest=None, chunk_size=None, scale=None):
    """Draw the size of each entry of a matrix: white is zero, darker is larger.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    matrix : array_like, (length, length)
        Row i is the step that reads, column j the step that wrote.
    title : str
    largest : float, optional
        Drawn darkest, as is whatever is larger; default: the largest entry.
    chunk_size : int, optional
        Draw the borders of chunks of so many steps.
    scale : str, optional
        What the shade means: label of a color scale beside the image. Default: no scale. Where entries are larger than
        `largest`, the scale ends in a point.

    Returns
    -------
    matplotlib.image.AxesImage
    """
    sizes = np.abs(np.asarray(matrix))
    image = axes.imshow(sizes, cmap=_SHADES, vmin=0, vmax=largest, interpolation="nearest")
    if chunk_size:
        for border in range(chunk_size, len(matrix), chunk_size):
            for line in (axes.axhline, axes.axvline):
                line(border - 0.5, color=COLORS["marked"], linewidth=1)
    axes.set(title=title, xlabel="step j that wrote", ylabel="step i that reads")
    if scale:
        cut = largest is not None and sizes.max() > largest
        beside = axes.inset_axes([1.04, 0, 0.05, 1])  # as high as the image, which a colorbar of its own axes is not
        axes.figure.colorbar(image, cax=beside, label=scale, extend="max" if cut else "neither")
    return image


def chunk_picture(step):
    """The matrix cut in chunks, with the part that one of the four steps makes; what came before is gray.

    Parameters
    ----------
    step : {1, 2, 3, 4}

    Returns
    -------
    matplotlib.figure.Figure
    """
    with style():
        figure, axes = plt.subplots(figsize=(3.1, 3.4), layout="constrained")
        for row in range(_CHUNKS):
            for column in range(row + 1):
                axes.add_patch(Rectangle((column, row), 1, 1, fill=False, edgecolor=COLORS["line"]))
                color = {True: COLORS["accent"], False: COLORS["line"]}
                if row == column:
                    axes.add_patch(
                        Polygon([(row, row), (row, row + 1), (row + 1, row + 1)], facecolor=color[step == 1])
                    )
                elif step >= 2:  # B, dt and the decay to the end of the chunk: d_state rows
                    axes.add_patch(Rectangle((column + 0.24, row + 0.78), 0.72, 0.18, facecolor=color[step == 2]))
                if row > column and step == 4:  # C and the decay since the start of the chunk: d_state columns
                    axes.add_patch(Rectangle((column + 0.04, row + 0.04), 0.16, 0.92, facecolor=color[True]))
        if step >= 3:
            _draw_states(axes, COLORS["marked"] if step == 3 else COLORS["quiet"])
        axes.set(xlim=(-0.1, _CHUNKS + 0.1), ylim=(_CHUNKS + 0.1, -0.1), aspect="equal")
        axes.set_xlabel("steps that wrote")
        axes.set_ylabel("steps that read")
        axes.set_title(_TITLES[step])
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def _draw_states(axes, color):
    """The states between chunks, and the way from each to the next."""
    for chunk in range(1, _CHUNKS):
        axes.plot(chunk, chunk, "o", color=color, markersize=9, zorder=3)
        if chunk > 1:
            axes.annotate(
                "",
                (chunk - 0.08, chunk - 0.08),
                xytext=(chunk - 0.92, chunk - 0.92),
                arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1.6},
                zorder=2,
            )
