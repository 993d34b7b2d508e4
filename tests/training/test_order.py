"""Which windows are in which batch, and how they are read: by any process, any number of devices, from any step on."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from memory_store import MemoryStore
from tiny import config, data_of

from helpers.eeg import WINDOW, build_manifest, labels_of
from helpers.training import DetectionData, DetectionTraining, ResumableLoader, TrainingError, WindowOrder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return MemoryStore(tmp_path_factory.mktemp("store"), subjects=9)


def order_of(store, **changes):
    return WindowOrder(config(epochs=4, batch_size=5, windows_per_epoch=None, **changes), store)


def test_an_epoch_is_a_balanced_set_of_the_training_subjects_windows(store):
    order = order_of(store)
    counts = build_manifest(store).of(order.splits["train"]).balanced(0).counts
    size = sum(counts.values())
    assert order.steps_per_epoch == size // 5
    assert order.total_steps == 4 * order.steps_per_epoch
    for epoch in range(4):
        steps = range(epoch * order.steps_per_epoch, (epoch + 1) * order.steps_per_epoch)
        windows = [window for step in steps for window in order.windows(step)]
        assert len(windows) == len(set(windows)) == size - size % 5
        assert {store[id].subject for id, _ in windows} <= set(order.splits["train"])
        partial = [0 < labels_of(store[id].seizures, start).mean() < 0.99 for id, start in windows]
        assert sum(partial) >= counts["partial"] - size % 5
        # In any order, each half of an epoch has its share; sorted by recording, as balanced() gives them, it has not.
        assert np.array(windows)[:, 0].tolist() != sorted(np.array(windows)[:, 0])


def test_a_batch_depends_on_seed_and_step_alone(store):
    order = order_of(store)
    steps = range(order.total_steps)
    forward = [order.windows(step) for step in steps]
    again = pickle.loads(pickle.dumps(order_of(store)))
    for step in np.random.default_rng(5).permutation(steps).tolist():
        assert again.windows(step) == forward[step]
    per = order.steps_per_epoch
    assert forward[:per] != forward[per : 2 * per]
    assert order_of(store, seed=43).windows(0) != forward[0]


def test_no_subject_is_in_two_splits(store):
    for seed in range(6):
        splits = order_of(store, seed=seed).splits
        assert sum(map(len, splits.values())) == len(set().union(*splits.values())) == 9


def test_the_ictal_share_is_that_of_samples(store):
    order = WindowOrder(config(batch_size=1, windows_per_epoch=None), store)
    windows = [window for step in range(order.steps_per_epoch) for window in order.windows(step)]
    drawn = np.mean([labels_of(store[id].seizures, start).mean(dtype=float) for id, start in windows])
    assert order.ictal_share == pytest.approx(drawn, rel=1e-12)
    assert order.ictal_share < 0.5 * np.mean([labels_of(store[id].seizures, start).any() for id, start in windows])


def test_an_epoch_can_be_cut_and_less_than_a_batch_is_an_error(store):
    assert WindowOrder(config(batch_size=4, windows_per_epoch=11), store).steps_per_epoch == 2
    with pytest.raises(TrainingError, match="11 windows an epoch, fewer than the 12 of one batch"):
        WindowOrder(config(batch_size=12, windows_per_epoch=11), store)


def test_training_batches_hold_what_the_store_has(store):
    options = config(epochs=1, batch_size=3)
    data = data_of(store, options)
    order = WindowOrder(options, store)
    batches = list(data.train_dataloader())
    assert [batch["step"] for batch in batches] == list(range(order.total_steps))
    for batch in batches:
        windows = order.windows(batch["step"])
        assert np.array_equal(batch["eeg"], store.batch(windows))
        assert np.array_equal(batch["labels"], [labels_of(store[id].seizures, start) > 0 for id, start in windows])


def test_devices_share_each_batch_and_together_read_it_once(store):
    options = config(epochs=1, batch_size=6, windows_per_epoch=13)
    parts = [list(data_of(store, options, 3, rank).train_dataloader()) for rank in range(3)]
    (whole, *_), (first, second, third) = list(data_of(store, options).train_dataloader()), [part[0] for part in parts]
    mixed = torch.stack([first["eeg"], second["eeg"], third["eeg"]], dim=1).flatten(0, 1)
    assert torch.equal(mixed, whole["eeg"])
    with pytest.raises(TrainingError, match="batch_size 6 cannot be shared by 4 devices"):
        data_of(store, options, 4).train_dataloader()


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_goes_on_where_its_state_says(workers):
    batches = [{"step": step, "x": torch.full((2,), step)} for step in range(17)]
    loader = ResumableLoader(batches, 17, num_workers=workers)
    taken = iter(loader)
    first = [next(taken)["step"] for _ in range(6)]
    state = copy.deepcopy(loader.state_dict())
    assert state == {"taken": 6}  # not what the workers have read ahead
    again = ResumableLoader(batches, 17, num_workers=workers)
    again.load_state_dict(state)
    assert first + [batch["step"] for batch in again] == list(range(17))
    assert len(again) == 17


@pytest.mark.parametrize("devices", [1, 3])
def test_validation_reads_each_whole_second_of_each_recording(store, devices):
    options = config(batch_size=3, fractions={"train": 0.5, "validation": 0.5})
    loaders = [data_of(store, options, devices, rank).val_dataloader() for rank in range(devices)]
    assert len({len(loader) for loader in loaders}) == 1  # else some would wait for ever
    data = data_of(store, options)
    rows = [batch["rows"] for loader in loaders for batch in loader]
    assert set(torch.cat(rows).tolist()) == set(range(len(data.validation_windows)))
    subjects = set(data._order.splits["validation"])
    for recording in store.recordings:
        covered = np.zeros(recording.n_samples, bool)
        for id, start in data.validation_windows:
            if id == recording.id:
                assert start % 256 == 0
                covered[start : start + WINDOW] = True
        assert covered.sum() == (recording.n_samples // 256 * 256 if recording.subject in subjects else 0)


def test_devices_that_read_a_window_twice_find_the_same(store):
    options = config(batch_size=4)
    order = WindowOrder(options, store)
    module = DetectionTraining(options, order, 2.0).eval()
    found = []
    for devices in (1, 4):
        parts = [data_of(store, options, devices, rank) for rank in range(devices)]
        batches = [batch for part in parts for batch in part.val_dataloader()]
        strategy = SimpleNamespace(reduce=lambda tensor, reduce_op: tensor)
        module.validations, logger = [], SimpleNamespace(log_metrics=lambda figures, step: None)
        module.trainer = SimpleNamespace(datamodule=parts[0], strategy=strategy, logger=logger, global_step=1)
        module.on_validation_epoch_start()
        with torch.inference_mode():
            for batch in batches:
                module.validation_step(batch, 0)
            module.on_validation_epoch_end()
        found.append({name: value for name, value in module.validations[0].items() if name != "training_loss"})
        read = sum(len(batch["rows"]) for batch in batches)
    assert read > len(parts[0].validation_windows)  # else nothing was read twice
    # float32 in other batches: of two seconds with nearly the same score, either may come first
    assert found[1] == pytest.approx(found[0], rel=2e-3)


def test_validation_needs_a_seizure_and_leaves_short_recordings_out(tmp_path):
    store = MemoryStore(tmp_path, subjects=5)
    options = config(fractions={"train": 0.6, "validation": 0.4})
    (first, *others) = [
        one for one in store.recordings if one.subject in WindowOrder(options, store).splits["validation"]
    ]
    keep = {id(one) for one in store.recordings} - {id(first)}
    replaced = [one if id(one) in keep else _with(one, n_samples=WINDOW - 1) for one in store.recordings]
    shorter = copy.copy(store)
    shorter.recordings = tuple(replaced)
    order = WindowOrder(options, store)
    assert {one.id for one in DetectionData(options, shorter, order).validation} == {one.id for one in others}
    bare = copy.copy(store)
    bare.recordings = tuple(_with(one, seizures=()) for one in store.recordings)
    with pytest.raises(TrainingError, match=r"no seizure in the recordings of the validation subjects \(sub-"):
        DetectionData(options, bare, order)


def _with(recording, **changes):
    from dataclasses import replace

    return replace(recording, **changes)
