"""The network behind the same interface: weights in and out, and what is refused. Synthetic EEG, untrained weights."""

import hashlib
import pickle
import re

import numpy as np
import pytest
import torch

from helpers.detection import WeightsError, best_device, detect_by_network, load_detector
from helpers.eeg import SFREQ, RecordingError, preprocess, window_starts, windows
from helpers.models import SeizureDetector
from helpers.scoring import mean_by_second, stitch


class Bomb:
    """Runs code where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.fixture(scope="module")
def model():
    """A detector with other weights than the untrained one."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(17)
        return SeizureDetector().eval()


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "best[bold].pt"
    torch.save(model.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def recording(synthetic):
    return synthetic(65, sfreq=200.0, seed=12)


@pytest.fixture(scope="module")
def small(model):
    """A state dict that fits and takes no room: one number for each tensor, seen through its shape."""
    random = torch.Generator().manual_seed(5)
    return {
        key: torch.rand((), generator=random).to(tensor.dtype).expand(tensor.shape)
        for key, tensor in model.state_dict().items()
    }


def test_untrained_weights_say_so_and_are_the_same_each_time(recording):
    torch.manual_seed(99)
    state = torch.get_rng_state()
    calls = []
    first = detect_by_network(recording, device="cpu", progress=lambda done, total: calls.append((done, total)))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(3)
    second = detect_by_network(recording, device="cpu")
    np.testing.assert_array_equal(first.scores, second.scores)
    assert first.method == second.method
    assert "UNTRAINED" in first.method
    assert "seed 0" in first.method
    assert {total for _, total in calls} == {2}  # windows at 0 and 5 s
    assert [done for done, _ in calls] == sorted({done for done, _ in calls})
    assert calls[-1] == (2, 2)
    assert first.unit == "probability"
    assert ((first.scores >= 0) & (first.scores <= 1)).all()
    assert np.ptp(first.scores) > 0
    np.testing.assert_array_equal(first.times, np.arange(65) + 0.5)
    assert first.duration == 65


def test_one_window_is_the_model_on_the_preprocessed_recording(synthetic, model, weights):
    raw = synthetic(60, sfreq=256.0, seed=13)
    with torch.inference_mode():
        logits = model(torch.from_numpy(preprocess(raw))[None])[0].double()
    expected = torch.sigmoid(logits).reshape(60, round(SFREQ)).mean(dim=1)
    detection = detect_by_network(raw, weights, device="cpu")
    np.testing.assert_allclose(detection.scores, expected, atol=1e-4)  # float32, norms folded into convolutions
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert f"best[bold].pt, sha256 {digest[:12]}" in detection.method
    assert "UNTRAINED" not in detection.method


def test_each_window_is_stitched_where_it_lies(synthetic, model, weights):
    """Three windows, the last of which begins 5 s after the one before it; a burst tells them apart."""
    raw = synthetic(75, sfreq=256.0, seed=8, burst=(3, 14))
    samples = preprocess(raw)
    with torch.inference_mode():
        each = [torch.sigmoid(model(torch.from_numpy(view[None].copy()))).numpy()[0] for view in windows(samples)]
    assert len(each) == 3
    _, expected = mean_by_second(stitch(each, window_starts(samples.shape[1]), samples.shape[1]), SFREQ)
    detection = detect_by_network(raw, weights, device="cpu")
    np.testing.assert_allclose(detection.scores, expected, atol=1e-4)  # as above
    backward = mean_by_second(stitch(each[::-1], window_starts(samples.shape[1]), samples.shape[1]), SFREQ)[1]
    assert np.abs(backward - expected).max() > 1e-3  # the order makes a difference that is seen


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_round_trip(model, small, tmp_path, wrapped):
    path = tmp_path / "weights.pt"
    state = small if wrapped else model.state_dict()
    torch.save({"state_dict": state, "epoch": 7} if wrapped else state, path)
    loaded, name = load_detector(str(path))
    assert not loaded.training
    assert "weights.pt" in name
    assert loaded.state_dict().keys() == state.keys()
    for key, tensor in state.items():
        assert torch.equal(loaded.state_dict()[key], tensor), key


@pytest.mark.parametrize(
    ("save", "load"),
    [
        (torch.save, lambda path: torch.load(path, weights_only=False)),
        (lambda thing, path: path.write_bytes(pickle.dumps(thing)), lambda path: pickle.loads(path.read_bytes())),
    ],
)
def test_a_file_that_would_run_code_is_refused_and_the_code_does_not_run(tmp_path, save, load):
    trace, path = tmp_path / "trace", tmp_path / "weights.pt"
    save({"state_dict": Bomb(trace)}, path)
    assert not trace.exists()
    with pytest.raises(WeightsError, match=r"weights\.pt: no file of weights"):
        load_detector(path)
    assert not trace.exists()
    load(path)["state_dict"].close()  # it would have run
    assert trace.exists()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "content",
    [b"", b"hello world\n", b"<html></html>", b"PK\x03\x04" + b"\0" * 60, b"\x80\x04K\x01.", b"\x80\x02}q\x00.", b"]"],
)
def test_a_file_that_is_none_of_weights(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.pt") as caught:
        load_detector(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("share", [0.001, 0.3, 0.999])
def test_truncated_weights(small, tmp_path, share):
    path = tmp_path / "cut.pt"
    torch.save(small, path)
    content = path.read_bytes()
    path.write_bytes(content[: round(len(content) * share)])
    with pytest.raises(WeightsError, match=r"cut\.pt: no file of weights"):
        load_detector(path)


def test_weights_that_do_not_fit(small, tmp_path):
    first, *_, last = small
    changed = {
        "missing": {key: tensor for key, tensor in small.items() if key != last},
        "unexpected": {**small, "head.third": torch.randn(3)},
        "shape": {**small, first: torch.randn(2, 3)},
        "no tensor": {**small, first: "text"},
        "no dict": [torch.randn(2)],
        "number": 3,
    }
    for name, content in changed.items():
        path = tmp_path / f"{name}.pt"
        torch.save(content, path)
        with pytest.raises(WeightsError, match=rf"{name}\.pt: the weights do not fit the detector") as caught:
            load_detector(path)
        assert len(str(caught.value)) < 1500
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_of_a_training_that_diverged(small, tmp_path, value):
    tensor = small["head.weight"].clone()
    tensor.view(-1)[3] = value
    torch.save({**small, "head.weight": tensor}, tmp_path / "nan.pt")
    with pytest.raises(WeightsError, match=r"nan\.pt: NaN or infinity in head\.weight\."):
        load_detector(tmp_path / "nan.pt")


@pytest.mark.parametrize("name", ["missing.pt", "."])
def test_weights_that_are_no_file(tmp_path, name):
    with pytest.raises(WeightsError, match=re.escape(f"{tmp_path / name}: no such file")):
        load_detector(tmp_path / name)


def test_bad_weights_are_refused_before_the_work_begins(synthetic, tmp_path):
    with pytest.raises(WeightsError):
        detect_by_network(synthetic(60), tmp_path / "missing.pt", device="cpu")


@pytest.mark.parametrize("sfreq", [200.0, 256.0])
def test_recording_too_short(synthetic, sfreq):
    with pytest.raises(RecordingError, match=r"recording: the recording lasts 59\.9 s.*60 s"):
        detect_by_network(synthetic(59.9, sfreq))


def test_device_is_one_that_torch_can_use():
    assert torch.zeros(1, device=best_device()) + 1 == 1
