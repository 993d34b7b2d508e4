"""The figure of a detection: complete, labelled, and drawn without a warning."""

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.colors import to_hex

from helpers.detection import Detection, detect_by_rule
from helpers.eeg import CANONICAL
from helpers.scoring import Event
from helpers.teaching import COLORS, detection_figure, style

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def by_network(seconds, events=()):
    """What the network gives for a recording of so many seconds, without running it."""
    random = np.random.default_rng(seconds)
    return Detection(
        method="network (Bi-Mamba-2, UNTRAINED random weights, seed 0)",
        times=np.arange(seconds) + 0.5,
        scores=random.random(seconds),
        unit="probability",
        on=0.86,
        off=0.78,
        events=list(events),
        duration=float(seconds),
    )


def drawn(figure):
    figure.canvas.draw()
    return [axes for axes in figure.axes if axes.get_visible()]


@pytest.mark.parametrize("seizures", [[], [(14, 19)], [(3, 4), (14, 19), (40, 41)]])
@pytest.mark.parametrize("method", ["rule", "network"])
def test_every_part_is_labelled(synthetic, method, seizures):
    raw = synthetic(61, seed=2, burst=(14, 19), names=[*CANONICAL[::-1], "ECG"])
    detection = (
        detect_by_rule(raw) if method == "rule" else by_network(61, [Event(3.0, 7.0, 0.9), Event(50.0, 1.0, 0.8)])
    )
    figure = detection_figure(raw, detection, seizures)
    scores, events, eeg = drawn(figure)
    assert figure.get_suptitle() == detection.method
    assert scores.get_ylabel() == f"score ({detection.unit})"
    assert scores.get_title(loc="left")
    assert "time (min)" in events.get_xlabel()
    assert eeg.get_xlabel() == "time (s)"
    assert [label.get_text() for label in eeg.get_yticklabels()] == list(CANONICAL)
    rows = [label.get_text() for label in events.get_yticklabels()]
    assert rows == [f"detected ({len(detection.events)})"] + [f"marked ({len(seizures)})"] * bool(seizures)
    assert ("shaded" in scores.get_title(loc="left")) == bool(seizures)
    line, threshold = scores.get_lines()
    np.testing.assert_allclose(line.get_xdata(), detection.times / 60)
    np.testing.assert_array_equal(line.get_ydata(), detection.scores)
    assert set(threshold.get_ydata()) == {detection.on}
    low, high = scores.get_ylim()
    assert low <= detection.scores.max() <= high
    assert low < detection.on < high


def test_excerpt_shows_the_highest_score_against_the_average_in_microvolts(synthetic):
    raw = synthetic(61, seed=3, burst=(33, 36))
    detection = detect_by_rule(raw)
    *_, eeg = drawn(detection_figure(raw, detection, [(33, 36)], excerpt=9.0))
    start, end = eeg.get_xlim()
    peak = detection.times[detection.scores.argmax()]
    assert (start + end) / 2 == pytest.approx(peak)
    assert end - start == pytest.approx(9)
    trace = eeg.get_lines()[3]
    inside = (raw.times >= start) & (raw.times <= end)
    data = 1e6 * (raw.get_data() - raw.get_data().mean(axis=0))[3, inside]
    np.testing.assert_allclose(np.ptp(trace.get_ydata()), np.ptp(data), rtol=1e-6)
    assert len(eeg.patches) == 1  # the mark


@pytest.mark.parametrize("seconds", [10, 11.3])
def test_recording_shorter_than_the_excerpt(synthetic, seconds):
    raw = synthetic(seconds, seed=4)
    *_, eeg = drawn(detection_figure(raw, detect_by_rule(raw)))
    assert eeg.get_lines()[0].get_xdata()[0] == 0
    assert eeg.get_lines()[0].get_xdata()[-1] == pytest.approx(seconds, abs=0.01)


def test_channel_that_is_flat_where_the_excerpt_is(synthetic):
    raw = synthetic(61, seed=5, burst=(33, 36))
    raw._data[2, 25 * 200 : 45 * 200] = 1e-6
    assert len(drawn(detection_figure(raw, detect_by_rule(raw)))) == 3


def test_the_recording_is_left_as_it_is(synthetic):
    raw = synthetic(31, seed=6, names=[*CANONICAL[::-1], "ECG"])
    before = raw.get_data().copy()
    detection_figure(raw, detect_by_rule(raw))
    np.testing.assert_array_equal(raw.get_data(), before)
    assert raw.n_times == 31 * 200


def test_style_ends_with_its_block():
    before = mpl.rcParams["axes.spines.top"], mpl.rcParams["svg.hashsalt"]
    with style():
        assert mpl.rcParams["axes.spines.top"] is False
        assert to_hex(mpl.rcParams["text.color"]) == COLORS["ink"]
    assert (mpl.rcParams["axes.spines.top"], mpl.rcParams["svg.hashsalt"]) == before


def lightness(color):
    red, green, blue = (int(color[place : place + 2], 16) / 255 for place in (1, 3, 5))
    return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2


def test_colors_that_carry_meaning_differ_in_lightness():
    """A contrast of 3 to 1 on white for lines and text, and the two kinds of events apart without color."""
    for name in ("ink", "quiet", "accent"):
        assert 1.05 / (lightness(COLORS[name]) + 0.05) > 3, name
    assert (lightness(COLORS["marked"]) + 0.05) / (lightness(COLORS["accent"]) + 0.05) > 1.8
