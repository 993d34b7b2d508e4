"""What is read from a store is what `preprocess` gave, whoever reads it; what is not whole is an error."""

import json
import os
import pickle
import resource
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from helpers.eeg import CANONICAL, StoreError, build_manifest, open_store, prepare, preprocess, read_recording
from helpers.eeg.store import SCALE

NIGHT = "sub-01/night 1.edf"


@pytest.fixture
def copy(prepared, tmp_path):
    """A copy of the store that a test may damage: its path, and the first recording's description and array."""
    path = shutil.copytree(prepared.path, tmp_path / "copy")
    description = path / "recordings" / f"{NIGHT}.json"
    return path, description, path / "recordings" / prepared[NIGHT].file


def change(description, **fields):
    """Change a description; None takes a field out."""
    entry = json.loads(description.read_text()) | fields
    description.write_text(json.dumps({name: value for name, value in entry.items() if value is not None}))


def random_windows(store, number, n, seed=0):
    random = np.random.default_rng(seed)
    chosen = random.choice(len(store.recordings), number)
    return [
        (recording.id, int(random.integers(recording.n_samples - n + 1)))
        for recording in (store.recordings[index] for index in chosen)
    ]


def test_windows_are_what_preprocess_gives_within_half_a_step(recordings, prepared):
    for recording in prepared.recordings:
        samples = preprocess(read_recording(recordings / recording.id))
        assert recording.n_samples == samples.shape[1]
        assert np.abs(samples).max() > 4
        for n in (1, 257, recording.n_samples):
            start = (recording.n_samples - n) // 3
            window = prepared.window(recording.id, start, n)
            assert window.dtype == np.float32
            # half a step of int16, and float32 rounding at 20
            np.testing.assert_allclose(window, samples[:, start : start + n], rtol=0, atol=SCALE / 2 + 2e-6)


def test_clipped_samples_stay_at_the_clip(prepared, recordings, synthetic, export, tmp_path):
    pops = synthetic(67, seed=8, marks=[(1.0, 0.0, "pops")])
    pops._data[:, 5000:5004] = 5e-3
    pops._data[3, 9000:9002] = -5e-3
    export(pops, tmp_path / "in" / "pops.edf")
    prepare(tmp_path / "in", tmp_path / "out")
    store = open_store(tmp_path / "out")
    assert np.abs(store.signal("pops.edf").astype(int)).max() == 32_767
    window = store.window("pops.edf", 0)
    samples = preprocess(read_recording(tmp_path / "in" / "pops.edf"))
    assert np.abs(samples).max() == 20
    assert np.abs(window).max() == pytest.approx(20, abs=1e-6)
    assert (np.sign(window[np.abs(window) > 10]) == np.sign(samples[:, :15360][np.abs(window) > 10])).all()


@pytest.mark.parametrize("n", [15_360, 333])
def test_a_batch_is_its_windows_in_order(prepared, n):
    windows = random_windows(prepared, 7, n)
    batch = prepared.batch(windows, n)
    assert batch.shape == (7, len(CANONICAL), n)
    assert batch.dtype == np.float32
    for samples, (id, start) in zip(batch, windows, strict=True):
        np.testing.assert_array_equal(samples, prepared.window(id, start, n))
    assert prepared.batch([], n).shape == (0, 19, n)


def test_a_batch_goes_where_it_is_asked_to(prepared):
    windows = random_windows(prepared, 3, 500)
    out = np.full((3, 19, 500), np.nan, np.float32)
    assert prepared.batch(iter(windows), 500, out=out) is out
    np.testing.assert_array_equal(out, prepared.batch(windows, 500))
    for wrong in (out[:2], out.astype(float), out[..., :-1]):
        with pytest.raises(ValueError, match=r"expected \(3, 19, 500\), float32"):
            prepared.batch(windows, 500, out=wrong)


def test_a_signal_is_a_view_of_the_file_that_cannot_be_written_to(prepared):
    signal = prepared.signal(NIGHT)
    assert isinstance(signal, np.memmap)
    assert signal.dtype == np.int16
    assert signal.shape == (19, prepared[NIGHT].n_samples)
    assert np.shares_memory(signal, prepared.signal(NIGHT)[3:5, 100:200])
    with pytest.raises(ValueError, match="read-only"):
        signal[0, 0] = 1


@pytest.mark.parametrize(("start", "n"), [(-1, 10), (18_176, 1), (10, 18_176), (18_100, 100)])
def test_a_window_that_does_not_lie_in_the_recording(prepared, start, n):
    assert prepared[NIGHT].n_samples == 18_176
    with pytest.raises(StoreError, match=r"night 1.edf has samples 0 to 18176; a window from .* does not lie in it"):
        prepared.batch([(NIGHT, start)], n)


def test_a_recording_that_is_not_there(prepared):
    for ask in (prepared.__getitem__, prepared.signal, lambda id: prepared.window(id, 0)):
        with pytest.raises(StoreError, match=r"no recording 'night'; expected one of sub-01/night 1.edf, "):
            ask("night")


def test_what_a_store_says(prepared):
    assert [(one.id, one.subject, one.seizures) for one in prepared.recordings] == [
        (NIGHT, "sub-01", ((20.5, 29.75),)),
        ("sub-01/ses-2/day.edf", "sub-01", ()),
        ("sub-02/µ.edf", "sub-02", ((0.0, 97.0),)),
        ("third/a.b.bdf", "third", ((5.0, 7.5), (58.0, 61.0))),
    ]
    assert prepared.subjects == ("sub-01", "sub-02", "third")
    assert prepared[NIGHT].duration == pytest.approx(71, abs=1e-9)
    assert "4 recordings of 3 subjects" in repr(prepared)


# -- sharing ----------------------------------------------------------------------------------------------------------


def test_a_store_travels_to_another_process_small_and_whole(prepared):
    prepared.window(NIGHT, 0)
    there = pickle.loads(content := pickle.dumps(prepared))
    assert len(content) < 5000  # no samples
    windows = random_windows(prepared, 5, 777)
    np.testing.assert_array_equal(there.batch(windows, 777), prepared.batch(windows, 777))
    assert there.fingerprint == prepared.fingerprint


def test_threads_share_a_store(prepared):
    asked = [random_windows(prepared, 9, 4321, seed) for seed in range(12)]
    expected = [prepared.batch(windows, 4321) for windows in asked]
    fresh = open_store(prepared.path)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda windows: fresh.batch(windows, 4321), asked))
    np.testing.assert_array_equal(found, expected)


def test_a_store_of_many_recordings_keeps_few_files_open(copy):
    path, description, array = copy
    for number in range(300):
        os.link(array, array.with_name(f"{number}.npy"))
        entry = json.loads(description.read_text())
        entry |= {"id": f"{number}", "file": f"sub-01/{number}.npy"}
        description.with_name(f"{number}.json").write_text(json.dumps(entry))
    store = open_store(path)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200 + sum(1 for _ in Path("/dev/fd").iterdir()), before[1]))
    try:
        first = store.batch([(f"{number}", 5) for number in range(300)], 64)
        again = store.batch([(f"{number}", 5) for number in range(300)], 64)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first[299], store.window(NIGHT, 5, 64))


def test_the_disk_holds_each_sample_once(prepared):
    held = sum(file.stat().st_size for file in prepared.path.rglob("*") if file.is_file())
    build_manifest(prepared)
    float16 = sum(2 * 19 * recording.n_samples for recording in prepared.recordings)
    assert held < 1.01 * float16  # minutes; hours have less beside the samples


# -- fingerprint ------------------------------------------------------------------------------------------------------


def test_the_fingerprint_does_not_depend_on_the_place(copy, prepared):
    path, *_ = copy
    assert open_store(path).fingerprint == prepared.fingerprint
    assert len(prepared.fingerprint) == 64


@pytest.mark.parametrize(
    "fields",
    [
        {"subject": "sub-1"},
        {"seizures": []},
        {"seizures": [[20.5, 29.76]]},
        {"id": "sub-01/night 2.edf"},
        {"sha256": "0" * 64},
    ],
)
def test_the_fingerprint_depends_on_what_is_in_it(copy, prepared, fields):
    path, description, _ = copy
    change(description, **fields)
    assert open_store(path).fingerprint != prepared.fingerprint


# -- damage -----------------------------------------------------------------------------------------------------------


def test_no_store(tmp_path):
    with pytest.raises(StoreError, match=r"nothing: no such folder. Expected a store; make one with `workbook prepare"):
        open_store(tmp_path / "nothing")
    with pytest.raises(StoreError, match="no prepared recording in it"):
        open_store(tmp_path)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"format": 99}, "format 99, expected 1; another version"),
        ({"sha256": None}, "cannot be read .*'sha256'"),
        ({"bytes": None}, "cannot be read .*'bytes'"),
        ({"seizures": [1, 2]}, "cannot be read"),
    ],
)
def test_a_description_of_another_kind(copy, fields, said):
    path, description, _ = copy
    change(description, **fields)
    with pytest.raises(StoreError, match=f"night 1.edf.json: {said}"):
        open_store(path)


@pytest.mark.parametrize("content", [b"", b'{"format": 1', b"[1]", b"\xff\xfe\x00"])
def test_a_description_that_is_none(copy, content):
    path, description, _ = copy
    description.write_bytes(content)
    with pytest.raises(StoreError, match=r"night 1.edf.json: cannot be read .* Delete it and run"):
        open_store(path)


def test_an_array_that_is_missing_or_cut_short(copy):
    path, _, array = copy
    os.truncate(array, 4000)
    with pytest.raises(StoreError, match=r"npy: it has 4,000 bytes, expected 690,816. Run `workbook prepare`"):
        open_store(path)
    array.unlink()
    with pytest.raises(StoreError, match="npy: it has 0 bytes"):
        open_store(path)


def test_an_array_that_goes_while_the_store_is_open(copy):
    path, _, array = copy
    early, late = open_store(path), open_store(path)
    before = early.window(NIGHT, 100)
    array.unlink()
    np.testing.assert_array_equal(early.window(NIGHT, 100), before)  # mapped: the system keeps it
    with pytest.raises(StoreError, match=r"npy: cannot be read .*open the store again"):
        late.window(NIGHT, 100)
    array.write_bytes(b"short")
    with pytest.raises(StoreError, match="npy: cannot be read"):
        late.window(NIGHT, 100)


def test_recordings_prepared_in_two_ways(copy):
    path, description, _ = copy
    change(description, options={"l_freq": 0.1})
    with pytest.raises(StoreError, match=r"night 1.edf is prepared with .*0.1.*, sub-01/ses-2/day.edf with .*0.5"):
        open_store(path)


def test_verify_finds_a_single_changed_byte(copy, prepared):
    path, _, array = copy
    assert prepared.verify() == ()
    with array.open("r+b") as file:
        file.seek(300_001)
        byte = file.read(1)
        file.seek(300_001)
        file.write(bytes([byte[0] ^ 8]))
    assert open_store(path).verify() == (NIGHT,)
