"""MNE's annotations out of a detection, and the detector as braindecode calls it. Synthetic EEG, untrained weights."""

import inspect
from datetime import datetime, timezone
from functools import partial

import mne
import numpy as np
import pytest
import torch

from helpers.detection import (
    DETECTED,
    BraindecodeDetector,
    annotate,
    detect_by_network,
    detect_by_rule,
    load_detector,
)
from helpers.eeg import RecordingError, seizures
from helpers.models import SeizureDetector

SMALL = {"widths": (4, 8, 16, 64), "rescnn_blocks": 1, "mamba_layers": 1, "d_state": 4, "dropout": 0.0}


@pytest.fixture
def recording(synthetic):
    """Two bursts, of which a person marked one."""
    raw = synthetic(61, seed=2, burst=(12, 17), marks=[(12.5, 4.0, "seizure"), (30.0, 0.0, "eyes open")])
    raw._data += synthetic(61, seed=3, burst=(41, 47)).get_data()
    return raw


def spans(annotations):
    return np.stack([annotations.onset, annotations.onset + annotations.duration], axis=1)


@pytest.mark.parametrize("start", [None, datetime(2021, 3, 4, 5, 6, 7, 890_000, tzinfo=timezone.utc)])
@pytest.mark.parametrize("crop", [0.0, 5.25])
def test_annotations_are_the_events_on_the_clock_of_the_recording(recording, start, crop):
    raw = recording.set_meas_date(start).crop(crop)
    events = detect_by_rule(raw).events
    assert len(events) == 2
    annotations = annotate(raw)
    assert isinstance(annotations, mne.Annotations)
    assert set(annotations.description) == {DETECTED}
    detected = raw.copy().set_annotations(annotations)
    for event, mark in zip(events, detected.annotations, strict=True):
        # a copy of the recording cut to the mark is where the event is
        begin = mark["onset"] - detected.first_time
        assert (begin, mark["duration"]) == pytest.approx((event.onset, event.duration), abs=1e-6)
    assert spans(detected.annotations)[:, 0] - raw.first_time == pytest.approx([12 - crop, 41 - crop], abs=1.5)


def test_they_can_be_added_to_what_is_marked_already_and_never_become_a_reference(recording):
    raw = recording.set_meas_date(datetime(2021, 3, 4, tzinfo=timezone.utc))
    marked, before = seizures(raw), raw.get_data().copy()
    raw.set_annotations(raw.annotations + annotate(raw))
    assert sorted(raw.annotations.description) == sorted(["seizure", "eyes open", DETECTED, DETECTED])
    assert seizures(raw) == marked == [(12.5, 16.5)]
    np.testing.assert_array_equal(raw.get_data(), before)


def test_each_names_its_method_and_a_confidence_only_where_there_is_one(recording, monkeypatch, tmp_path):
    (first, second) = annotate(recording)
    for mark in (first, second):
        assert mark["extras"] == {"method": detect_by_rule(recording).method, "confidence": None}
    model = SeizureDetector(**SMALL)
    torch.save({"state_dict": model.state_dict(), "config": model.config}, tmp_path / "small.pt")
    monkeypatch.setattr("helpers.detection.network.HYSTERESIS", (0.0, 0.0))  # untrained, so that there is an event
    (mark,) = annotate(recording, detect_by_network, weights=tmp_path / "small.pt", device="cpu")
    assert "small.pt" in mark["extras"]["method"]
    assert 0 < mark["extras"]["confidence"] < 1
    assert (mark["onset"], mark["duration"]) == (0, 61)


def test_options_go_to_the_method(recording):
    calls = []
    annotate(recording, partial(lambda raw, **options: calls.append(options) or detect_by_rule(raw)), weights="x", a=1)
    assert calls == [{"weights": "x", "a": 1}]


def test_no_events_are_no_annotations(synthetic):
    raw = synthetic(43, seed=3)
    assert len(annotate(raw)) == 0
    assert len(raw.set_annotations(raw.annotations + annotate(raw)).annotations) == 0


def test_errors_are_those_of_the_method(synthetic):
    with pytest.raises(RecordingError, match="at least 10 s"):
        annotate(synthetic(9.5))


# -- braindecode ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair():
    """A detector and the same weights with braindecode's signature, two classes and one logit."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        detector = SeizureDetector(n_channels=5, **SMALL).eval()
    models = []
    for n_outputs in (2, 1):
        model = BraindecodeDetector(n_chans=5, n_outputs=n_outputs, n_times=352, sfreq=128.0, **SMALL).eval()
        model.load_state_dict(detector.state_dict(), strict=True)
        models.append(model)
    return detector, *models


@pytest.fixture
def window():
    return torch.randn(3, 5, 352, generator=torch.Generator().manual_seed(8))


def test_signature_is_that_of_braindecode():
    """skorch's wrappers fill in what they find in the data by these names, and look for them in the signature."""
    names = inspect.signature(BraindecodeDetector.__init__).parameters
    assert list(names)[1:5] == ["n_chans", "n_outputs", "n_times", "sfreq"]
    model = BraindecodeDetector(n_chans=7, n_outputs=2, n_times=480, sfreq=100.0, **SMALL)
    assert (model.n_chans, model.n_outputs, model.n_times, model.sfreq) == (7, 2, 480, 100.0)
    assert model.input_window_seconds == 4.8


def test_two_classes_are_the_detectors_probability(pair, window):
    detector, classes, single = pair
    with torch.inference_mode():
        logits, two, one = detector(window), classes(window), single(window)
    assert two.shape == (3, 2, 352)
    assert one.shape == (3, 1, 352)
    torch.testing.assert_close(one[:, 0], logits, rtol=0, atol=0)
    torch.testing.assert_close(two.softmax(dim=1)[:, 1], logits.sigmoid())


def test_losses_by_sample_are_those_of_the_detector(pair, window):
    detector, classes, _ = pair
    labels = torch.rand(3, 352, generator=torch.Generator().manual_seed(9)) < 0.3
    expected = torch.nn.functional.binary_cross_entropy_with_logits(detector(window), labels.float())
    torch.testing.assert_close(torch.nn.functional.cross_entropy(classes(window), labels.long()), expected)


def test_state_dicts_fit_either_way_and_load_as_weights(pair, tmp_path):
    detector, classes, _ = pair
    detector.load_state_dict(classes.state_dict(), strict=True)
    model = BraindecodeDetector(**SMALL)
    torch.save({"state_dict": model.state_dict(), "config": model.config}, tmp_path / "weights.pt")
    loaded, _ = load_detector(tmp_path / "weights.pt")
    assert type(loaded) is SeizureDetector
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_without_arguments_it_is_the_reference():
    with torch.device("meta"):
        model = BraindecodeDetector()
    assert sum(parameter.numel() for parameter in model.parameters()) == 32_606_439
    assert model.input_window_seconds == 60


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"n_outputs": 3}, "n_outputs is 3; the detector tells seizure from no seizure"),
        ({"n_outputs": 0}, "n_outputs is 0"),
        ({"n_times": 1000}, "n_times is 1000; expected a multiple of 16. Cut windows of 992"),
        ({"n_times": 7}, "Cut windows of 16"),
        ({"n_times": 0}, "n_times is 0"),
    ],
)
def test_what_does_not_fit(wrong, said):
    with pytest.raises(ValueError, match=said), torch.device("meta"):
        BraindecodeDetector(**{**SMALL, **wrong})
