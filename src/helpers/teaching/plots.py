"""Figures: one style for every chapter, and the figure of a detection.

Readable in print, in a dark page (figures keep a light card) and without color: marks differ in place too.
"""

from contextlib import contextmanager

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from helpers.eeg import average_reference

__all__ = ["COLORS", "detection_figure", "style"]

COLORS = {"ink": "#1f2933", "quiet": "#6b7785", "line": "#c9d1d9", "accent": "#0b6e75", "marked": "#d98200"}
"""Named colors of every figure; told apart with any color vision, and by lightness."""

_STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "figure.facecolor": "white",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": COLORS["quiet"],
    "axes.labelcolor": COLORS["ink"],
    "text.color": COLORS["ink"],
    "xtick.color": COLORS["quiet"],
    "ytick.color": COLORS["quiet"],
    "legend.frameon": False,
    "svg.hashsalt": "workbook",  # the same figure gives the same file
}


@contextmanager
def style():
    """The workbook's figure style, for the figures made inside the ``with`` block."""
    with mpl.rc_context(_STYLE):
        yield


def detection_figure(raw, detection, seizures=(), excerpt=12.0):
    """The recording at a glance: scores, marked and detected events, and the EEG around the highest score.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        The recording that was detected on.
    detection : Detection
    seizures : list of (onset, end)
        Marked seizures, s.
    excerpt : float
        Length of the EEG shown, s.

    Returns
    -------
    matplotlib.figure.Figure
    """
    with style():
        figure, (top, strip, eeg) = plt.subplots(
            3, 1, figsize=(10, 8.2), height_ratios=[3, 1, 6], layout="constrained", gridspec_kw={"hspace": 0.02}
        )
        _draw_scores(top, detection, seizures)
        _draw_events(strip, detection, seizures)
        strip.sharex(top)
        _draw_excerpt(eeg, raw, detection, seizures, excerpt)
        figure.suptitle(detection.method, x=0.01, ha="left", fontweight="bold", fontsize=12)
    return figure


def _draw_scores(axes, detection, seizures):
    minutes = detection.times / 60
    axes.plot(minutes, detection.scores, color=COLORS["accent"], linewidth=0.8)
    axes.axhline(detection.on, color=COLORS["ink"], linewidth=1, linestyle="--")
    axes.annotate(
        f"threshold {detection.on:g}",
        (0.0, detection.on),
        xycoords=("axes fraction", "data"),
        xytext=(4, 3),
        textcoords="offset points",
        fontsize=9,
    )
    for onset, end in seizures:
        axes.axvspan(onset / 60, end / 60, color=COLORS["marked"], alpha=0.35, linewidth=0)
    if detection.unit == "probability":
        axes.set_ylim(0, 1)
    else:
        axes.set_yscale("log")  # a disconnected amplifier has power 1e-30: cut off far below the threshold
        axes.set_ylim(detection.on / 1e4, 3 * max(detection.on, np.nanmax(detection.scores)))
    axes.set_ylabel(f"score ({detection.unit})")
    axes.set_title("Score, one a second" + ("; marked seizures shaded" if seizures else ""))
    axes.tick_params(labelbottom=False)


def _draw_events(axes, detection, seizures):
    rows = [("detected", [(event.onset, event.end) for event in detection.events], COLORS["accent"])]
    if seizures:
        rows.append(("marked", seizures, COLORS["marked"]))
    for row, (_, spans, color) in enumerate(rows):
        widths = [(onset / 60, max(end - onset, detection.duration / 600) / 60) for onset, end in spans]
        axes.broken_barh(widths, (row - 0.35, 0.7), facecolor=color, linewidth=0)
    axes.set_yticks(range(len(rows)), [f"{name} ({len(spans)})" for name, spans, _ in rows])
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.set_xlim(0, detection.duration / 60)
    axes.set_xlabel("time (min); short events are drawn wider than they are")


def _draw_excerpt(axes, raw, detection, seizures, excerpt):
    peak = detection.times[int(np.nanargmax(detection.scores))]
    start = float(np.clip(peak - excerpt / 2, 0, max(0.0, detection.duration - excerpt)))
    part = average_reference(raw).crop(start, min(start + excerpt, raw.times[-1]))  # a channel may be flat for 12 s
    seconds, microvolts = part.times + start, part.get_data() * 1e6
    microvolts -= np.median(microvolts, axis=1, keepdims=True)
    spacing = max(50.0, 4 * float(np.median(microvolts.std(axis=1))))
    for row, trace in enumerate(microvolts):
        cut = np.clip(trace, -2.5 * spacing, 2.5 * spacing)  # a blink would cross half of the other channels
        axes.plot(seconds, cut - row * spacing, color=COLORS["ink"], linewidth=0.6)
    for onset, end in seizures:
        if onset < start + excerpt and end > start:
            axes.axvspan(max(onset, start), min(end, start + excerpt), color=COLORS["marked"], alpha=0.2, linewidth=0)
    axes.set_yticks([-row * spacing for row in range(len(part.ch_names))], part.ch_names, fontsize=8)
    axes.set_ylim(-(len(part.ch_names) + 2.0) * spacing, 2.6 * spacing)
    axes.set_xlim(start, start + excerpt)
    axes.set_xlabel("time (s)")
    bottom = -(len(part.ch_names) + 1.6) * spacing
    axes.plot([start + excerpt * 1.012] * 2, [bottom, bottom + 200], color=COLORS["ink"], linewidth=3, clip_on=False)
    axes.annotate(
        "200 µV",
        (start + excerpt * 1.02, bottom + 100),
        va="center",
        fontsize=9,
        rotation=90,
        annotation_clip=False,
    )
    axes.set_title(f"EEG around the highest score, average reference, {start:.1f} to {start + excerpt:.1f} s")
