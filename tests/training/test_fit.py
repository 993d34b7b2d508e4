"""A whole training, small: it learns, its files are what they say, and it goes on from any step to the same end."""

import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from memory_store import MemoryStore
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny import FILES, Stopped, config, differences, fit_until, validation_by_hand

from helpers.detection import load_detector
from helpers.training import TrainingError, WindowOrder, fit, merit, read_checkpoint

STEPS = 12
HERE = Path(__file__).parent


def test_it_learns_and_says_how_far_it_is(whole):
    result, calls, reports = whole
    assert calls == [(step, STEPS) for step in range(1, STEPS + 1)]
    assert reports == result.validations
    assert [found["step"] for found in reports] == [4, 8, 12]
    assert result.steps.shape == (STEPS, 2)
    assert np.isfinite(result.steps).all()
    assert result.validations[-1]["auroc"] > 0.7  # 0.5 is chance; the oscillation is easy to see
    assert result.validations[1]["training_loss"] == pytest.approx(result.steps[4:8, 0].mean(), rel=1e-5)
    assert result.ended == "all epochs"
    assert set(result.splits) == {"train", "validation", "test"}


def test_validations_are_those_of_the_saved_weights(whole, store):
    result, *_ = whole
    by_hand = validation_by_hand(result.checkpoint.parent, store)
    found = {name: result.validations[-1][name] for name in by_hand}
    assert found == pytest.approx(by_hand, rel=1e-4)  # float32, other batches


def test_checkpoints_hold_what_names_the_run(whole, store):
    result, *_ = whole
    for name in FILES:
        found = read_checkpoint(result.checkpoint.with_name(name))
        training = found["training"]
        assert training["config"] == config().model_dump(mode="json")
        assert training["data"] == store.fingerprint
        assert {split: tuple(names) for split, names in training["splits"].items()} == result.splits
        assert training["backend"] == "torch"
        assert training["precision"] == "32-true"
        assert training["device"] == "cpu"
        assert training["versions"]["torch"] == torch.__version__
        assert training["pos_weight"] == pytest.approx(math.sqrt(1 / WindowOrder(config(), store).ictal_share - 1))
    last, best = (read_checkpoint(result.checkpoint.with_name(name)) for name in FILES)
    assert np.array_equal(last["steps"], result.steps)
    assert best["training"]["step"] == result.best["step"] == max(result.validations, key=merit)["step"]
    assert sorted(best) == ["config", "state_dict", "training"]
    groups = last["optimizer_states"][0]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.05, 0.0]


def test_detection_reads_both_files(whole):
    result, *_ = whole
    eeg = torch.randn(1, 19, 4096)
    for name in FILES:
        path = result.checkpoint.with_name(name)
        model, said = load_detector(path)
        assert name in said
        assert "UNTRAINED" not in said
        weights = read_checkpoint(path)["state_dict"]
        assert all(torch.equal(weight, weights[key]) for key, weight in model.state_dict().items())
        assert model(eeg).shape == (1, 4096)


@pytest.fixture(scope="module")
def resumed(store, tmp_path_factory):
    """A training that was stopped three times, between two checkpoints or before any, and went on."""
    torch.manual_seed(2)
    out = tmp_path_factory.mktemp("runs") / "resumed"
    for step in [*sorted(random.Random(11).sample(range(1, 8), 2)), 11]:
        assert fit_until(step, config(checkpoint_every=7), store, out, resume=True) is None
    return fit(config(checkpoint_every=7), store, out, resume=True)  # from step 8, after step 10 was logged


def test_it_goes_on_from_any_step_to_the_same_end(whole, resumed):
    result, *_ = whole
    assert np.array_equal(resumed.steps, result.steps)
    assert resumed.validations == result.validations
    found = differences(result.checkpoint.parent, resumed.checkpoint.parent)
    assert found == [f"{name}: /training/config/checkpoint_every" for name in FILES]


def test_tensorboard_has_each_number_once(resumed):
    board = EventAccumulator(str(resumed.checkpoint.parent / "tensorboard")).Reload()
    for name in ("loss", "auroc", "sensitivity_at_2.5", "training_loss"):
        found = [(event.step, event.value) for event in board.Scalars(f"validation/{name}")]
        assert found == [(one["step"], pytest.approx(one[name], rel=1e-6)) for one in resumed.validations]
    assert [(event.step, event.value) for event in board.Scalars("train/loss")] == [(10, resumed.steps[9, 0])]


def test_it_goes_on_after_a_validation_without_doing_it_again(whole, store, tmp_path):
    result, *_ = whole

    def report(figures):
        if figures["step"] == 4:
            raise Stopped

    with pytest.raises(Stopped):
        fit(config(), store, tmp_path / "run", report=report)
    assert read_checkpoint(tmp_path / "run" / "last.ckpt")["training"]["step"] == 4
    reports = []
    again = fit(config(workers=1, devices=1), store, tmp_path / "run", resume=True, report=reports.append)
    assert reports == result.validations[1:]
    assert np.array_equal(again.steps, result.steps)
    found = read_checkpoint(again.checkpoint)["training"]
    assert found["config"]["workers"] == 1  # how it is read may change, what is trained may not
    assert found["versions"] == read_checkpoint(result.checkpoint)["training"]["versions"]


def test_a_finished_training_is_left_as_it_is(whole, store):
    result, *_ = whole
    before = {path: path.stat().st_mtime_ns for path in result.checkpoint.parent.rglob("*")}
    again = fit(config(), store, result.checkpoint.parent, resume=True, progress=lambda *_: pytest.fail("took a step"))
    assert np.array_equal(again.steps, result.steps)
    assert (again.validations, again.splits, again.ended) == (result.validations, result.splits, result.ended)
    assert {path: path.stat().st_mtime_ns for path in result.checkpoint.parent.rglob("*")} == before


def test_it_stops_when_validations_get_no_better(store, tmp_path):
    # A learning rate that leaves the weights as they are: each validation is like the first, but for the batch norms.
    still = {"optimizer": {"lr": 1e-12}, "detector": {**config().detector.model_dump(), "dropout": 0}}
    options = config(epochs=9, windows_per_epoch=4, patience=2, **still)
    result = fit(options, store, tmp_path / "run")
    ranks = [merit(found) for found in result.validations]
    best = ranks.index(max(ranks))
    assert len(ranks) < 9
    assert len(ranks) - 1 - best == 2
    assert result.ended == "2 validations without a better one"
    assert result.best == result.validations[best]
    again = fit(options, store, tmp_path / "run", resume=True, progress=lambda *_: pytest.fail("took a step"))
    assert again.ended == result.ended


def test_mixed_precision_keeps_weights_in_float32(store, tmp_path):
    result = fit(config(epochs=1, windows_per_epoch=4, precision="bf16-mixed"), store, tmp_path / "run")
    found = read_checkpoint(result.checkpoint)
    assert found["training"]["precision"] == "bf16-mixed"
    assert {weight.dtype for name, weight in found["state_dict"].items() if "num_batches" not in name} == {
        torch.float32
    }
    full = fit(config(epochs=1, windows_per_epoch=4), store, tmp_path / "full")
    assert not np.array_equal(result.steps, full.steps)
    np.testing.assert_allclose(result.steps[:1, 0], full.steps[:1, 0], rtol=0.02)  # bfloat16 has 8 bits


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.fixture
def begun(whole, store, tmp_path):
    """A folder of a training that has steps left, without the time it takes to make one."""
    folder = tmp_path / "begun"
    folder.mkdir()
    for name in FILES:
        content = read_checkpoint(whole[0].checkpoint.with_name(name))
        content["training"]["step"] = 8
        torch.save(content, folder / name)
    return folder


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"optimizer": {"lr": 0.01, "warmup": 0.1}}, "optimizer.lr was 0.003, is 0.01"),
        ({"seed": 1, "batch_size": 3}, "batch_size was 2, is 3; seed was 42, is 1"),
        (
            {"detector": {"widths": [4, 4, 8, 64], "rescnn_blocks": 0, "mamba_layers": 1}},
            "detector.widths was [4, 4, 8, 32]",
        ),
    ],
)
def test_another_configuration_is_refused(begun, store, changes, said):
    with pytest.raises(TrainingError) as found:
        fit(config(**changes), store, begun, resume=True)
    assert str(found.value).startswith(f"{begun / 'last.ckpt'}: made with another configuration: ")
    assert said in str(found.value)


def test_another_store_is_refused_unless_it_is_asked_for(whole, tmp_path):
    other, folder = MemoryStore(tmp_path, seed=4), tmp_path / "run"
    assert fit_until(3, config(), MemoryStore(tmp_path), folder) is None
    with pytest.raises(TrainingError, match="trained on the store 000000000000…, this one is"):
        fit(config(), other, folder, resume=True)
    assert fit_until(6, config(), other, folder, resume=True, other_data=True) is None
    found = read_checkpoint(folder / "last.ckpt")
    assert found["training"]["data"] == other.fingerprint
    assert np.array_equal(found["steps"][:2], whole[0].steps[:2])
    assert not np.array_equal(found["steps"][2:4], whole[0].steps[2:4])


def test_a_run_is_not_overwritten(begun, store):
    with pytest.raises(TrainingError, match=r"holds a training at step 8 of 12\. Go on with --resume"):
        fit(config(), store, begun)


def test_a_lost_detector_is_missed(begun, store):
    (begun / "detector.pt").unlink()
    with pytest.raises(TrainingError, match=r"detector\.pt is missing beside last\.ckpt"):
        fit(config(), store, begun, resume=True)


def changed(folder, **training):
    """Change what a checkpoint says of its training."""
    content = read_checkpoint(folder / "last.ckpt")
    content["training"] |= training
    torch.save(content, folder / "last.ckpt")
    return content


def test_the_stand_in_does_not_go_on_as_mamba(begun, store):
    content = changed(begun)
    torch.save(content | {"config": content["config"] | {"backend": "conv1d"}}, begun / "last.ckpt")
    with pytest.raises(TrainingError, match="its layers are conv1d, these would be auto, another network"):
        fit(config(), store, begun, resume=True)


def test_another_backend_goes_on_and_is_named(store, tmp_path):
    assert fit_until(3, config(), store, tmp_path / "run") is None
    changed(tmp_path / "run", backend="mamba_ssm")
    with pytest.warns(UserWarning, match="so far mamba_ssm computed the layers, from here on torch does"):
        assert fit_until(4, config(), store, tmp_path / "run", resume=True) is None
    with pytest.raises(TrainingError, match=r"detector\.backend: .* expected cuda"):
        fit(config(detector={**config().detector.model_dump(), "backend": "mamba_ssm"}), store, tmp_path / "other")


def test_a_folder_that_cannot_be_made_is_named(store, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"file/run: cannot be made \(Not a directory\)"):
        fit(config(), store, tmp_path / "file" / "run")


def test_weights_are_not_all_that_a_training_goes_on_from(begun, store):
    (begun / "detector.pt").replace(begun / "last.ckpt")
    with pytest.raises(TrainingError, match=r"last\.ckpt: holds weights alone, as detector\.pt does"):
        fit(config(), store, begun, resume=True)


@pytest.mark.parametrize("kept", [0.0, 0.3, 0.97])
def test_a_damaged_checkpoint_is_named(begun, store, kept):
    path = begun / "last.ckpt"
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(TrainingError, match="no checkpoint") as found:
        fit(config(), store, begun, resume=True)
    assert str(path) in str(found.value)
    assert len(str(found.value).splitlines()) <= 2


class _Code:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_does_not_run(begun, store, tmp_path):
    content = torch.load(begun / "last.ckpt", weights_only=True)
    torch.save(content | {"callbacks": _Code(tmp_path / "ran")}, begun / "last.ckpt")
    with pytest.raises(TrainingError, match="damaged, or holds code"):
        fit(config(), store, begun, resume=True)
    assert not (tmp_path / "ran").exists()
    torch.save({"weights": torch.zeros(3)}, begun / "last.ckpt")
    with pytest.raises(TrainingError, match="no checkpoint of a training"):
        fit(config(), store, begun, resume=True)


# -- what goes wrong on the way ---------------------------------------------------------------------------------------


def test_a_loss_that_is_no_number_names_the_windows(store, tmp_path, monkeypatch):
    order, read = WindowOrder(config(), store), MemoryStore.batch
    bad = order.windows(3)[1]

    def batch(self, windows):
        eeg = read(self, windows)
        eeg[[window == bad for window in windows]] = np.inf
        return eeg

    monkeypatch.setattr(MemoryStore, "batch", batch)
    first = min(step for step in range(STEPS) if bad in order.windows(step))
    with pytest.raises(TrainingError, match=f"^step {first}: the loss is nan") as found:
        fit(config(), store, tmp_path / "run")
    for id, start in order.windows(first):
        assert f"{id} at {start / 256:g} s" in str(found.value)
    kept = tmp_path / "run" / "last.ckpt"
    if first >= 2:
        assert all(weight.isfinite().all() for weight in read_checkpoint(kept)["state_dict"].values())
    else:
        assert not kept.exists()


def test_a_full_disk_leaves_the_checkpoint_before(store, tmp_path):
    folder, limits = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:

        def progress(done, total):
            if done == 3:  # files may grow no further than half a checkpoint, as on a disk that is nearly full
                size = (folder / "last.ckpt").stat().st_size
                resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))

        with pytest.raises(TrainingError, match=r"cannot be written .* make room, then go on with --resume"):
            fit(config(), store, folder, progress=progress)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert read_checkpoint(folder / "last.ckpt")["training"]["step"] == 2
    assert [path.name for path in folder.iterdir() if path.name.endswith(".part")] == []


def test_a_loader_that_begins_anew_is_noticed(store, tmp_path, monkeypatch):
    assert fit_until(3, config(), store, tmp_path / "run") is None
    monkeypatch.setattr("helpers.training.ResumableLoader.load_state_dict", lambda *_: None)
    with pytest.raises(TrainingError, match="batch 0 came at step 2; loader and optimizer are out of step"):
        fit(config(), store, tmp_path / "run", resume=True)


def test_full_memory_names_the_batch(store, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore lines")

    monkeypatch.setattr("helpers.training.module.detection_loss", full)
    with pytest.raises(TrainingError, match=r"no memory left with 2 windows on 1 device.* 2\.00 GiB\.$"):
        fit(config(), store, tmp_path / "run")


def test_options_that_build_no_detector_are_named(store, tmp_path):
    with pytest.raises(TrainingError, match="detector: headdim 64 does not divide"):
        fit(config(detector={"widths": [4, 20]}), store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_killed_at_random_points_it_ends_with_the_same_files(tmp_path):
    """Three of the kills of `kill_training.py`, which has its own process: a fork of this one could not train."""
    command = [sys.executable, str(HERE / "kill_training.py"), str(tmp_path), "--kills", "3"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, (done.stdout, done.stderr)
    found = json.loads(done.stdout)
    assert found["kills"] == 3
    assert found["steps"] == STEPS
    assert min(found["resumed_at"]) < STEPS  # one of them was killed on the way
