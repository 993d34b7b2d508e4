"""The measurement of preparation and windows: what it measures, and the same windows from its peer. Times only > 0."""

import importlib.util
import sys

import numpy as np
import pytest

from helpers.benchmarks import data
from helpers.benchmarks.data import measure_data, missing_data_peer
from helpers.eeg import WINDOW, build_manifest, open_store, prepare, preprocess, read_recording

SMALL = {"recordings": 2, "minutes": 2, "batch": 3, "turns": 4, "passes": 3, "workers": 1}


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A package with the few names of braindecode that are used, which needs a torchaudio that cannot be loaded.

    Not braindecode: with the real one, run ``pytest -m bench``.
    """
    files = {
        "torchaudio/__init__.py": "import torchaudio.functional\nraise OSError('undefined symbol')",
        "torchaudio/functional.py": "",
        "braindecode/__init__.py": """
            import torchaudio
            from torchaudio.transforms import Resample
            class Layer(Resample):
                apply = torchaudio.functional.filtfilt
            """,
        "braindecode/datasets.py": """
            class RawDataset:
                def __init__(self, raw, description=None):
                    self.raw = raw
            class BaseConcatDataset(list):
                pass
            """,
        "braindecode/preprocessing.py": """
            def create_fixed_length_windows(
                concat, *, window_size_samples, window_stride_samples, drop_last_window, preload
            ):
                found = []
                for one in concat:
                    last = one.raw.n_times - window_size_samples
                    starts = [*range(0, last + 1, window_stride_samples)]
                    starts += [] if starts[-1] == last or drop_last_window else [last]
                    found += [(one.raw, start, start + window_size_samples) for start in starts]
                return Windows(found)
            class Windows(list):
                def __getitem__(self, index):
                    raw, start, stop = super().__getitem__(index)
                    return raw[:, start:stop][0].astype("float32"), 0, [0, start, stop]
            """,
    }
    for name, text in files.items():
        path = tmp_path / "packages" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(line.removeprefix(" " * 12) for line in text.splitlines()))
    monkeypatch.syspath_prepend(tmp_path / "packages")
    before, finders = set(sys.modules), list(sys.meta_path)
    yield
    sys.meta_path[:] = finders
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in ("braindecode", "torchaudio"):
            del sys.modules[name]


def by_name(results):
    return {result.name: result for result in results}


def test_what_is_measured_without_the_peer(monkeypatch):
    monkeypatch.setattr(data, "missing_data_peer", lambda: "left out")
    seen = []
    results = by_name(measure_data(**SMALL, progress=lambda *step: seen.append(step)))
    assert seen == [(step, 11) for step in range(1, 12)]
    for rate in (200, 256):
        for what in (", 1 processes: times faster than real time", ": s of recording in 1 s of one core"):
            assert results[f"preparing recordings of {rate} Hz{what}"].value > 1
    assert 1 < results["disk: the store / one float16 copy of its samples"].value < 1.01
    store = results["random 60 s windows, batches of 3: store"]
    assert (store.unit, store.repeats) == ("ms/window", 4)
    assert 0 < store.low <= store.value <= store.high
    assert not any("braindecode" in name for name in results)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_flat_and_would_be_seen_to_grow(monkeypatch):
    monkeypatch.setattr(data, "_windows", lambda *_: [])
    name = "memory, own: after pass 3 more than after pass 1"
    assert by_name(measure_data(**SMALL))[name].value < 2  # MiB; a batch has 3.3
    hoard, batch = [], data.open_store

    def hoarding(path):
        store = batch(path)
        read = store.batch
        store.batch = lambda windows, **options: hoard.append(read(list(windows))) or hoard[-1]
        return store

    monkeypatch.setattr(data, "open_store", hoarding)
    assert by_name(measure_data(**SMALL))[name].value > 10


def test_the_peer_is_measured_on_the_same_windows(stand_in):
    assert missing_data_peer() is None
    results = by_name(measure_data(**SMALL | {"passes": 1}))
    for how in ("unloaded", "preloaded"):
        peer = results[f"random 60 s windows, batches of 3: braindecode, {how}"]
        ratio = results[f"random 60 s windows: braindecode, {how} / store"]
        assert peer.value > 0
        assert (ratio.unit, ratio.repeats) == ("x", 4)
        assert 0 < ratio.low <= ratio.value <= ratio.high


def check_same_windows(folder):
    data._write_noise(folder / "in", 2, 2, 256)
    prepare(folder / "in", folder / "s", workers=1)
    store = open_store(folder / "s")
    manifest = build_manifest(store)
    for loaded in (False, True):
        read = data._peer(folder / "in", manifest, loaded)
        for index in (0, 5, len(manifest) - 1):
            id, start = manifest[index]
            raw = read_recording(folder / "in" / id)
            expected = raw[:, start : start + WINDOW][0].astype(np.float32)
            np.testing.assert_array_equal(read(np.array([index, 0]))[0], expected)
            assert np.abs(preprocess(raw)[:, start : start + WINDOW] - store.window(id, start)).max() < 0.001


def test_stand_in_and_store_serve_the_same_windows(stand_in, tmp_path):
    check_same_windows(tmp_path)


@pytest.mark.bench
def test_braindecode_and_store_serve_the_same_windows(tmp_path):
    check_same_windows(tmp_path)


def test_a_missing_peer_is_named(monkeypatch):
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    assert "braindecode is not installed" in missing_data_peer()
    assert "[bench]" in missing_data_peer()


def test_a_torchaudio_that_works_is_left_alone(tmp_path, monkeypatch):
    (tmp_path / "torchaudio.py").write_text("works = True")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchaudio", raising=False)
    finders = list(sys.meta_path)
    data._do_without_torchaudio()
    assert sys.meta_path == finders
    assert importlib.util.find_spec("torchaudio").origin == str(tmp_path / "torchaudio.py")
    del sys.modules["torchaudio"]
