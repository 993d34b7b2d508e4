"""Explorers: every combination is drawn once, each frame with its own text, and the live widget redraws."""

import base64
import io
import re

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pytest
from PIL import Image

from helpers.teaching import explore
from helpers.teaching.notebooks import _compact, _is_progress

CONTROLS = {"power": ("exponent", [1, 2, 3]), "kind": ("drawn as", ["line", "dots & more"])}


@pytest.fixture
def drawn():
    return []


@pytest.fixture
def draw(drawn):
    def function(power, kind):
        drawn.append((power, kind))
        figure, axes = plt.subplots(figsize=(2, 1))
        axes.plot(np.linspace(0, 1, 9) ** power, "-" if kind == "line" else "o")
        return figure

    return function


def describe(power, kind):
    return f"A {kind} plot of x to the power of {power}, from 0 to 1: a curve that hangs below the diagonal."


def images(html):
    return re.findall(r"<img [^>]*>", html)


def test_every_combination_is_drawn_and_described(draw, drawn):
    explorer = explore(draw, alt=describe, **CONTROLS)
    assert drawn == [(p, k) for p in (1, 2, 3) for k in ("line", "dots & more")]
    frames = images(explorer.html())
    assert ["hidden" in frame for frame in frames] == [False, *[True] * 5]
    texts = [re.search('alt="([^"]*)"', frame)[1] for frame in frames]
    assert texts[3] == describe(2, "dots &amp; more")
    assert len(set(texts)) == 6
    pictures = {re.search('base64,([^"]*)', frame)[1] for frame in frames}
    assert len(pictures) == 6
    assert all(Image.open(io.BytesIO(base64.b64decode(picture))).mode == "P" for picture in pictures)
    assert not plt.get_fignums()


def test_controls_are_labelled_and_the_html_is_the_same_each_time(draw):
    html = explore(draw, alt=describe, **CONTROLS).html()
    labels = dict(re.findall(r'<label for="([^"]*)">([^<:]*)', html))
    assert sorted(labels.values()) == ["drawn as", "exponent"]
    assert {key for key in labels if f'id="{key}"' in html} == set(labels)
    assert '<input type="range"' in html
    assert '<option value="1">dots &amp; more</option>' in html
    assert html == explore(draw, alt=describe, **CONTROLS).html()
    assert "http" not in re.sub('base64,[^"]*', "", html)


def test_one_output_has_both_representations(draw):
    bundle = explore(draw, alt=describe, **CONTROLS)._repr_mimebundle_()
    assert {"text/plain", "text/html", "application/vnd.jupyter.widget-view+json"} <= set(bundle)
    assert bundle["text/plain"] == "Explorer with 6 frames (exponent: 1, 2, 3; drawn as: line, dots & more)"


def test_the_live_widget_redraws_with_values_between(draw, drawn):
    widget = explore(draw, alt=describe, power=("exponent", [0.5, 4.0]), kind=CONTROLS["kind"]).widget()
    slider, menu, picture = widget.children
    before = picture.value
    slider.value = 1.2
    assert drawn[-1] == (pytest.approx(1.2), "line")
    assert picture.value != before
    menu.value = "dots & more"
    assert "dots &amp; more plot of x to the power of 1.2" in picture.value


@pytest.mark.parametrize(
    ("values", "kind"),
    [([1, 2, 9], "IntSlider"), ([0.1, 5.0], "FloatLogSlider"), ([1.0, 1.5], "FloatSlider"), (["a", "b"], "Dropdown")],
)
def test_each_kind_of_value_gets_its_control(values, kind):
    explorer = explore(
        lambda x: plt.figure(figsize=(1, 1)), alt=lambda x: "empty figure for the test of its control", x=("x", values)
    )
    assert type(explorer.widget().children[0]).__name__ == kind


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"power": ("exponent", [])}, "control power has no values"),
        ({"power": ("exponent", [2, 1, 3])}, "numbers have to increase"),
        ({"power": ("exponent", list(range(16)))}, "32 combinations of the controls, at most 30"),
        ({"alt": lambda power, kind: "A plot."}, "say what is plotted, the axes and the point"),
    ],
)
def test_what_cannot_be_shown_is_refused(draw, change, reason):
    with pytest.raises(ValueError, match=reason):
        explore(draw, **{"alt": describe, **CONTROLS, **change})


def test_a_finished_progress_bar_is_not_stored():
    assert _is_progress(
        nbformat.v4.new_output("display_data", {"text/html": "<progress max='3' value='3'></progress>"})
    )
    assert not _is_progress(nbformat.v4.new_output("display_data", {"text/html": "<b>progress</b>"}))
    assert not _is_progress(nbformat.v4.new_output("stream", text="<progress"))


def test_what_is_stored_needs_no_kernel():
    data = {"text/html": "<b>x</b>", "text/plain": "x", "application/vnd.jupyter.widget-view+json": {"model_id": "1"}}
    output = _compact(nbformat.v4.new_output("display_data", data))
    assert set(output.data) == {"text/html", "text/plain"}
