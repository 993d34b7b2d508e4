"""Drawings of chapter 07: what a network knows, by the distance to what it has to know about.

They draw scores that they are given; they train nothing and score nothing.
"""

from itertools import pairwise

import numpy as np

from helpers.teaching.plots import COLORS

__all__ = ["LOOKS", "by_distance", "mark_reach"]

LOOKS = {
    "concat": (COLORS["accent"], "o", 9, "-"),
    "sum": (COLORS["accent"], "s", 7, "--"),
    "shared": (COLORS["accent"], "^", 5, ":"),
    "forward only": (COLORS["ink"], "v", 3, "-"),
    "stand-in": (COLORS["marked"], "D", 4, "-"),
    "stand-in, larger": (COLORS["marked"], "X", 5, "--"),
}
"""Color, marker, its size (points) and line of each network. The marks are hollow: one shows inside another."""


def by_distance(axes, edges, scores, per_second=1):
    """Draw one line a network, the mean of its seeds, in a band from the worst seed to the best; 0.5 is a coin.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    edges : sequence of int, (bins + 1,)
        Distances where bins begin and end, steps: a bin holds ``low`` to ``high - 1`` and is drawn in their middle.
    scores : dict of str to array_like, (seeds, bins)
        Shares or AUROC, for names that `LOOKS` has.
    per_second : float
        Steps a second, for an axis in seconds.

    Raises
    ------
    KeyError
        If `LOOKS` has no network of that name.
    """
    middle = [(low + high - 1) / 2 / per_second for low, high in pairwise(edges)]
    for name, found in scores.items():
        found = np.asarray(found)
        color, marker, size, line = LOOKS[name]
        drawn = {"color": color, "marker": marker, "markersize": size, "linestyle": line, "fillstyle": "none"}
        axes.plot(middle, found.mean(0), **drawn, linewidth=1.2, label=name)
        axes.fill_between(middle, found.min(0), found.max(0), color=color, alpha=0.15, linewidth=0)
    axes.axhline(0.5, color=COLORS["quiet"], linewidth=0.8)
    axes.set_ylim(0.3, 1.05)


def mark_reach(axes, places):
    """Mark with dotted lines how far stacks of convolutions reach.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    places : dict of int to float
        Number of layers to the place on the x axis.
    """
    for layers, place in places.items():
        axes.axvline(place, color=COLORS["quiet"], linestyle=":", linewidth=1)
        axes.annotate(
            f"reach of\n{layers} layers",
            (place, 0.03),
            xycoords=axes.get_xaxis_transform(),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=8,
        )
