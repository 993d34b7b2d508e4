"""Explorers: one figure with controls, live in a notebook and without a kernel in the book.

`explore` draws every combination of its controls once. What it returns shows itself twice over: as an ipywidget where
a kernel runs, and as plain HTML (a labelled slider or menu over the drawn frames) where none does.
"""

import base64
import html
import io
import itertools
import json
import math
import numbers
import uuid

from helpers.teaching.images import palette_png

__all__ = ["Explorer", "explore"]

MAX_FRAMES = 30
MIN_ALT = 40  # characters: a text that says what is plotted, not only its name


def explore(function, alt, **controls):
    """A figure that a reader can turn, with or without a kernel.

    Parameters
    ----------
    function : callable
        Takes one keyword for each control; returns a `matplotlib.figure.Figure`.
    alt : callable
        Takes the same keywords; returns what a person who cannot see that frame needs: what is plotted, and the point.
    **controls : (str, list)
        For each keyword its label, unit included, and its values: increasing numbers make a slider, texts a menu. The
        first of each is shown first.

    Returns
    -------
    Explorer

    Raises
    ------
    ValueError
        If there are more than 30 combinations, a control has no values or numbers that do not increase, or an alt text
        says too little.

    Examples
    --------
    ``explore(draw, alt=describe, edge=("high-pass edge (Hz)", [0.1, 0.5, 1.0]))``
    """
    for name, (_, values) in controls.items():
        if not values:
            raise ValueError(f"control {name} has no values; give the ones to draw")
        if _slides(values) and sorted(set(values)) != list(values):
            raise ValueError(f"control {name} has the values {values}; numbers have to increase, for a slider")
    count = math.prod(len(values) for _, values in controls.values())
    if count > MAX_FRAMES:
        raise ValueError(f"{count} combinations of the controls, at most {MAX_FRAMES} are drawn; leave values out")
    frames = []
    for combination in itertools.product(*(values for _, values in controls.values())):
        chosen = dict(zip(controls, combination, strict=True))
        frames.append(_image(function, alt, chosen))
    return Explorer(function, alt, controls, frames)


class Explorer:
    """A drawn explorer; a notebook shows it by itself as the last value of a cell. Made by `explore`."""

    def __init__(self, function, alt, controls, frames):
        self._function, self._alt, self._controls, self._frames = function, alt, controls, frames

    def __repr__(self):
        turned = "; ".join(f"{label}: {', '.join(map(_text, values))}" for label, values in self._controls.values())
        return f"Explorer with {len(self._frames)} frames ({turned})"

    def _repr_mimebundle_(self, include=None, exclude=None):
        return {**self.widget()._repr_mimebundle_(), "text/plain": repr(self), "text/html": self.html()}

    def html(self):
        """The explorer as HTML that needs no kernel, no network and no style sheet."""
        key = uuid.uuid5(uuid.NAMESPACE_URL, json.dumps([self._frames[0], repr(self)])).hex[:12]
        rows = "".join(_control(f"{key}-{name}", label, values) for name, (label, values) in self._controls.items())
        hidden = [frame.replace("<img ", "<img hidden ", 1) for frame in self._frames[1:]]
        title = "Explorer: " + ", ".join(label for label, _ in self._controls.values())
        return (
            f'<div class="wb-explorer" role="group" aria-label="{html.escape(title)}" oninput="{html.escape(_TURN)}">'
            f'<div class="wb-controls">{rows}</div>{self._frames[0]}{"".join(hidden)}</div>'
        )

    def widget(self):
        """The explorer as an ipywidget, whose sliders stop between the drawn values too."""
        import ipywidgets

        picture = ipywidgets.HTML(self._frames[0])
        turned = {name: _live(label, values) for name, (label, values) in self._controls.items()}

        def redraw(change):
            chosen = {name: control.value for name, control in turned.items()}
            picture.value = _image(self._function, self._alt, chosen)

        for control in turned.values():
            control.observe(redraw, "value")
        return ipywidgets.VBox([*turned.values(), picture])


# Runs in the page, on the explorer's element, when one of its controls is moved.
_TURN = """
let frame = 0;
for (const control of this.querySelectorAll('input, select')) {
  const texts = JSON.parse(control.dataset.texts), at = Number(control.value);
  frame = frame * texts.length + at;
  if (control.type === 'range') {
    control.setAttribute('aria-valuetext', texts[at]);
    control.previousElementSibling.querySelector('output').textContent = texts[at];
  }
}
this.querySelectorAll('img').forEach((image, index) => { image.hidden = index !== frame; });
"""


def _slides(values):
    """Whether a control is a slider; otherwise it is a menu."""
    return all(isinstance(value, numbers.Real) for value in values)


def _control(key, label, values):
    texts = [_text(value) for value in values]
    data = f"id=\"{key}\" data-texts='{html.escape(json.dumps(texts, ensure_ascii=False))}'"
    if _slides(values):
        return (
            f'<div><label for="{key}">{html.escape(label)}: <output>{texts[0]}</output></label>'
            f'<input type="range" {data} min="0" max="{len(texts) - 1}" value="0" aria-valuetext="{texts[0]}"></div>'
        )
    options = "".join(f'<option value="{index}">{html.escape(text)}</option>' for index, text in enumerate(texts))
    return f'<div><label for="{key}">{html.escape(label)}</label><select {data}>{options}</select></div>'


def _live(label, values):
    import ipywidgets

    common = {"description": label, "style": {"description_width": "initial"}, "continuous_update": False}
    if not _slides(values):
        return ipywidgets.Dropdown(options=values, description=label, style=common["style"])
    if all(isinstance(value, numbers.Integral) for value in values):
        return ipywidgets.IntSlider(values[0], min(values), max(values), **common)
    if min(values) > 0 and max(values) / min(values) > 10:
        low, high = math.log10(min(values)), math.log10(max(values))
        return ipywidgets.FloatLogSlider(values[0], min=low, max=high, step=(high - low) / 100, **common)
    step = (max(values) - min(values)) / 100
    return ipywidgets.FloatSlider(values[0], min=min(values), max=max(values), step=step, **common)


def _image(function, alt, chosen):
    import matplotlib.pyplot as plt

    figure, drawn = function(**chosen), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=100)
    plt.close(figure)  # or the notebook would show it once more
    described = alt(**chosen)
    if len(described) < MIN_ALT:
        raise ValueError(f"alt text {described!r} for {chosen}: say what is plotted, the axes and the point")
    picture = base64.b64encode(palette_png(drawn.getvalue(), 32)).decode()
    return f'<img src="data:image/png;base64,{picture}" alt="{html.escape(described)}">'


def _text(value):
    return value if isinstance(value, str) else f"{value:g}"
