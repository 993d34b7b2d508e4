"""A folder of recordings becomes a store: the same one however it is made, and whatever some of the files are like."""

import fcntl
import json
import resource
import shutil
import signal

import numpy as np
import pytest
from kill_prepare import campaign
from typer.testing import CliRunner

from helpers.cli import app
from helpers.eeg import CANONICAL, RecordingError, StoreError, find_recordings, open_store, prepare

NIGHT, DAY, FULL, BDF = "sub-01/night 1.edf", "sub-01/ses-2/day.edf", "sub-02/µ.edf", "third/a.b.bdf"
ALL = (NIGHT, DAY, FULL, BDF)
PAIRS = """FP1-F7 F7-T7 T7-P7 P7-O1 FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2 FP2-F8 F8-T8 T8-P8 P8-O2 FZ-CZ
CZ-PZ P7-T7 T7-FT9 FT9-FT10 FT10-T8"""
NEW = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}


@pytest.fixture
def folder(recordings, tmp_path):
    """A copy of the recordings that a test may change."""
    return shutil.copytree(recordings, tmp_path / "folder")


@pytest.fixture
def both(folder, prepared, tmp_path):
    """The copy, and a copy of the store that was prepared from it."""
    return folder, shutil.copytree(prepared.path, tmp_path / "store")


def files(store):
    """All files of a store, with what tells whether one was written again."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in store.rglob("*") if path.is_file()}


def arrays(store):
    return sorted(path.name for path in store.rglob("*.npy"))


def test_the_report_says_what_became_of_each(recordings, prepared, tmp_path):
    seen = []
    report = prepare(recordings, tmp_path / "s", workers=1, progress=lambda *step: seen.append(step))
    assert report.prepared == ALL
    assert (report.kept, report.left_out, report.repaired) == ((), {}, {})
    assert report.hours == pytest.approx((71 + 60 + 97 + 61) / 3600)
    words = "4 recordings prepared, 0 already there, 0 left out; 0.1 h; 1 without a marked seizure"
    assert str(report) == f"{tmp_path}/s: {words}"
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert open_store(tmp_path / "s").fingerprint == prepared.fingerprint


def test_the_report_counts_recordings_without_a_marked_seizure_kept_ones_too(synthetic, export, tmp_path):
    export(synthetic(60, marks=[(20.0, 5.0, "absence")]), tmp_path / "in" / "a.edf")  # in a recording: a remark
    words = "1 recording prepared, 0 already there, 0 left out; 0.0 h; 1 without a marked seizure"
    assert str(prepare(tmp_path / "in", tmp_path / "s")) == f"{tmp_path}/s: {words}"
    export(synthetic(60, marks=[(20.0, 5.0, "seizure")]), tmp_path / "in" / "b.edf")
    report = prepare(tmp_path / "in", tmp_path / "s")
    assert (report.prepared, report.kept, report.without_seizures) == (("b.edf",), ("a.edf",), 1)


def test_what_is_there_is_kept(both):
    folder, store = both
    before = files(store)
    report = prepare(folder, store, workers=1)
    assert (report.prepared, report.kept) == ((), ALL)
    assert report.hours == pytest.approx((71 + 60 + 97 + 61) / 3600)
    assert files(store) == before


def test_a_recording_that_changed_is_made_anew_and_its_old_array_goes(both, prepared, synthetic, export):
    folder, store = both
    before = arrays(store)
    export(synthetic(63, seed=77, marks=[(5.0, 6.0, "seizure")]), folder / DAY)
    report = prepare(folder, store, workers=1)
    assert (report.prepared, report.kept) == ((DAY,), (NIGHT, FULL, BDF))
    found = open_store(store)
    assert found[DAY].n_samples == 63 * 256
    assert found[DAY].seizures == ((5.0, 11.0),)
    assert found.fingerprint != prepared.fingerprint
    assert len(arrays(store)) == 4
    assert len(set(arrays(store)) - set(before)) == 1


def test_marks_that_changed_change_no_array(both, prepared):
    folder, store = both
    before = files(store)
    (folder / "sub-01/night 1_events.tsv").write_text("onset\tduration\teventType\n30.5\t4.0\tsz\n")
    report = prepare(folder, store, workers=1)
    assert (report.prepared, report.kept) == ((), ALL)
    found = open_store(store)
    assert found[NIGHT].seizures == ((30.5, 34.5),)
    assert found[NIGHT].sha256 == prepared[NIGHT].sha256
    after = files(store)
    assert {path.name for path in after if after[path] != before.get(path)} == {"night 1.edf.json"}


def test_other_options_make_all_anew(both, prepared):
    folder, store = both
    report = prepare(folder, store, workers=1, l_freq=1.0, causal=True)
    assert report.prepared == ALL
    found = open_store(store)
    assert found.options == {**prepared.options, "l_freq": 1.0, "causal": True}
    assert {one.sha256 for one in found.recordings}.isdisjoint(one.sha256 for one in prepared.recordings)
    assert len(arrays(store)) == 4
    with pytest.raises(TypeError, match="h_frequency"):
        prepare(folder, store, h_frequency=3)


def test_a_damaged_array_is_made_anew(both, prepared):
    folder, store = both
    array = store / "recordings" / prepared[FULL].file
    content = bytearray(array.read_bytes())
    content[90_000] ^= 1
    array.write_bytes(content)
    (store / "recordings" / prepared[BDF].file).unlink()
    (store / "recordings" / f"{DAY}.json").write_text("{")
    report = prepare(folder, store, workers=1)
    assert (report.prepared, report.kept) == ((DAY, FULL, BDF), (NIGHT,))
    assert open_store(store).fingerprint == prepared.fingerprint
    assert open_store(store).verify() == ()
    assert len(arrays(store)) == 4


def test_another_version_of_the_store_is_made_anew(both, prepared):
    folder, store = both
    for description in store.rglob("*.json"):
        description.write_text(json.dumps(json.loads(description.read_text()) | {"format": 0}))
    with pytest.raises(StoreError, match="format 0, expected 1"):
        open_store(store)
    assert prepare(folder, store, workers=1).prepared == ALL
    assert open_store(store).fingerprint == prepared.fingerprint
    assert len(arrays(store)) == 4


def test_what_a_killed_run_left_goes_and_what_is_not_the_stores_stays(both, prepared):
    folder, store = both
    left = [
        "recordings/sub-01/.night 1.edf.0123456789ab.npy.89abcdef.part",
        "recordings/sub-01/night 1.edf.0123456789ab.npy",
        ".manifest.npz.01234567.part",
    ]
    others = ["mine.npy", "recordings/mine.npy", "recordings/sub-01/download.part", "x/night 1.edf.0123456789ab.npy"]
    for name in left + others:
        (store / name).parent.mkdir(exist_ok=True)
        (store / name).write_bytes(b"bytes")
    assert prepare(folder, store, workers=1).kept == ALL
    assert [name for name in left + others if (store / name).exists()] == others


def test_recordings_of_other_folders_stay(both, prepared, synthetic, export, tmp_path):
    _, store = both
    export(synthetic(60, marks=[(1.0, 2.0, "seizure")]), tmp_path / "more" / "sub-07" / "x.edf")
    assert prepare(tmp_path / "more", store).prepared == ("sub-07/x.edf",)
    assert [one.id for one in open_store(store).recordings] == sorted([*ALL, "sub-07/x.edf"])


# -- bad recordings ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spoiled(recordings, synthetic, export, tmp_path_factory):
    """A folder with a few good recordings among many bad ones; the bad ones, each with what the report must say."""
    folder = shutil.copytree(recordings, tmp_path_factory.mktemp("spoiled") / "all")
    mark = [(20.0, 5.0, "seizure")]
    good = (folder / DAY).read_bytes()

    def raw(name, *changes, seconds=61, **options):
        made = synthetic(seconds, **{"marks": mark, **options})
        for change in changes:
            change(made)
        export(made, folder / "bad" / name)

    def flat(made):
        made._data[3] = 0

    def saturated(made):
        made._data[5] = np.sign(made._data[5]) * 3e-3

    raw("a channel less.edf", names=[name for name in CANONICAL if name != "Pz"])
    raw("a channel twice.edf", names=[*CANONICAL, "T7"])
    raw("flat.edf", flat)
    raw("short.edf", seconds=59)
    raw("too late.edf", marks=[(20.0, 5.0, "seizure")])
    (folder / "bad" / "too late.tsv").write_text("onset\tduration\teventType\n50\t30\tsz\n")
    raw("unknown label.edf")
    (folder / "bad" / "unknown label.csv").write_text("channel,start_time,stop_time,label,confidence\nFP1,1,2,zzzz,1\n")
    raw("slow.edf", sfreq=50.0)
    for name, content in {
        "empty.edf": b"",
        "page.edf": b"<!DOCTYPE html>" * 99,
        "cut.edf": good[:-5000],
        "cut in the header.edf": good[:1000],
        "no header.bdf": good,
        "random.edf": np.random.default_rng(0).bytes(70_000),
        "none.h5": b"no HDF5",
        "._night.edf": b"made by a Mac",
    }.items():
        (folder / "bad" / name).write_bytes(content)
    (folder / "bad" / "gone.edf").symlink_to("nowhere.edf")
    random = np.random.default_rng(1)
    for number in range(150):  # cut short, with 20 bytes of the header changed: no two with the same fault
        content = bytearray(good[:9000])
        for place in random.integers(0, 256 * 20, 20):
            content[place] = random.integers(256)
        (folder / "bad" / f"fuzzed {number}.edf").write_bytes(content)
    said = {
        "a channel less.edf": "1 of the 19 channels are missing: Pz",
        "a channel twice.edf": "T3: T3, T7",
        "flat.edf": "flat",
        "short.edf": "lasts 59.0 s, one window 60 s",
        "too late.edf": "61 s",
        "unknown label.edf": "zzzz",
        "slow.edf": "50 Hz",
        "empty.edf": "0 bytes",
        "page.edf": "no EDF",
        "cut.edf": "truncated",
        "cut in the header.edf": "truncated",
        "no header.bdf": "",
        "random.edf": "no EDF",
        "none.h5": "H5",
        "gone.edf": "No such file",
    }
    said |= {f"fuzzed {number}.edf": "" for number in range(150)}
    return folder, {f"bad/{name}": words for name, words in said.items()}


def test_bad_recordings_are_left_out_with_a_reason_and_the_others_are_prepared(spoiled, prepared, tmp_path):
    folder, said = spoiled
    report = prepare(folder, tmp_path / "s", workers=1)
    assert report.prepared == ALL
    assert sorted(report.left_out) == sorted(said)
    for id, words in said.items():
        reason = report.left_out[id]
        assert words in reason
        assert "\n" not in reason
        assert str(folder) not in reason
        assert len(reason) > 30
        assert f"left out  {id}: {reason}" in str(report)
    assert open_store(tmp_path / "s").fingerprint == prepared.fingerprint


def test_the_command_reports_and_goes_on(spoiled, tmp_path):
    folder, said = spoiled
    done = CliRunner().invoke(app, ["prepare", str(folder), "--store", str(tmp_path / "s"), "--workers", "1"])
    assert done.exit_code == 0
    assert f"4 recordings prepared, 0 already there, {len(said)} left out" in done.stdout
    assert "bad/slow.edf: the rate is 50 Hz" in done.stdout
    assert "in the store: 4 recordings of 3 subjects" in done.stdout
    assert "1 none, 5 partial, 5 full" in done.stdout
    assert "a balanced set of them has fewer than it asks for: 1 of 12 none\n" in done.stdout
    assert (tmp_path / "s" / "manifest.npz").is_file()


def test_the_command_where_nothing_can_be_used(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.edf").write_bytes(b"no EDF" * 99)
    done = CliRunner().invoke(app, ["prepare", str(tmp_path / "in"), "--store", str(tmp_path / "s")])
    assert done.exit_code == 1
    assert "left out  a.edf: this is no EDF" in done.stdout
    assert done.stderr.splitlines()[-1] == "error: none of the 1 recordings could be prepared; the reasons are above."


def test_a_recording_that_went_bad_leaves_the_store(both, prepared):
    folder, store = both
    (folder / FULL).write_bytes(b"overwritten" * 999)
    report = prepare(folder, store, workers=1)
    assert list(report.left_out) == [FULL]
    assert [one.id for one in open_store(store).recordings] == [NIGHT, DAY, BDF]
    assert len(arrays(store)) == 3


def test_marks_that_went_bad_take_the_recording_out_of_the_store(both):
    folder, store = both
    (folder / "sub-01/night 1_events.tsv").write_text("onset\tduration\teventType\n30.5\tlong\tsz\n")
    assert "'long' is no time" in prepare(folder, store, workers=1).left_out[NIGHT]
    assert [one.id for one in open_store(store).recordings] == [DAY, FULL, BDF]


def test_several_processes_make_the_same_store_and_one_that_dies_costs_one_recording(
    recordings, prepared, tmp_path, monkeypatch
):
    """Killed by the system for its memory, say: here, by its own hand, over one of the files."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "def watch(event, given):\n"
        "    if event == 'open' and str(given[0]).endswith('day.edf'):\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "if '-c' in sys.argv: sys.addaudithook(watch)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    seen = []
    report = prepare(str(recordings), str(tmp_path / "s"), workers=2, progress=lambda *step: seen.append(step))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert report.prepared == (NIGHT, FULL, BDF)
    assert list(report.left_out) == [DAY]
    assert f"ended with signal {signal.SIGKILL.value}; with signal 9, memory may have run out" in report.left_out[DAY]
    assert "(--workers)" in report.left_out[DAY]
    assert prepare(recordings, tmp_path / "s", workers=1).prepared == (DAY,)
    assert open_store(tmp_path / "s").fingerprint == prepared.fingerprint
    assert open_store(tmp_path / "s").verify() == ()


# -- missing electrodes -----------------------------------------------------------------------------------------------


def test_missing_electrodes_are_estimated_only_when_asked_for(synthetic, export, tmp_path):
    names = [name for name in CANONICAL if name not in ("Fz", "T6")]
    export(synthetic(60, names=names, marks=[(1.0, 2.0, "seizure")]), tmp_path / "in" / "a.edf")
    assert "missing: Fz, T6" in prepare(tmp_path / "in", tmp_path / "s").left_out["a.edf"]
    report = prepare(tmp_path / "in", tmp_path / "s", interpolate=True)
    assert report.prepared == ("a.edf",)
    assert "Fz, T6" in report.repaired["a.edf"][0]
    assert f"repaired  a.edf: {report.repaired['a.edf'][0]}" in str(report)
    assert open_store(tmp_path / "s")["a.edf"].repairs == tuple(report.repaired["a.edf"])


def test_a_bipolar_recording_in_the_channels_of_chb_mit(synthetic, export, tmp_path):
    electrodes = synthetic(60, names=[*CANONICAL, "FT9", "FT10"])
    at = {name.upper(): row for row, name in enumerate(electrodes.ch_names)} | {
        new: electrodes.ch_names.index(old) for new, old in NEW.items()
    }
    pairs = synthetic(60, names=PAIRS.split(), marks=[(1.0, 2.0, "seizure")])
    pairs._data[:] = [
        electrodes._data[at[plus]] - electrodes._data[at[minus]]
        for plus, minus in (pair.split("-") for pair in PAIRS.split())
    ]
    export(pairs, tmp_path / "in" / "chb01_01.edf")
    assert "bipolar" in prepare(tmp_path / "in", tmp_path / "s").left_out["chb01_01.edf"]
    report = prepare(tmp_path / "in", tmp_path / "s", interpolate=True)
    assert report.prepared == ("chb01_01.edf",)
    store = open_store(tmp_path / "s")
    assert store["chb01_01.edf"].subject == "chb01"
    assert any("16 electrodes from 22 bipolar channels" in text for text in store["chb01_01.edf"].repairs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"line": 55}, "line is 55; expected 50 or 60"),
        ({"l_freq": 30.0, "h_freq": 0.5}, "the pass band is 30.0 to 0.5 Hz"),
        ({"l_freq": -1.0}, "the pass band is -1.0 to 120.0 Hz"),
        ({"workers": 0}, "workers is 0; expected at least 1"),
    ],
)
def test_a_wrong_option_is_one_error_before_any_work(both, options, said):
    folder, store = both
    before = files(store)
    with pytest.raises(ValueError, match=said):
        prepare(folder, store, **{"workers": 1, **options})
    assert files(store) == before


def test_ctrl_c_says_what_stays(recordings, tmp_path, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("helpers.eeg.preparation.read_recording", interrupted)
    done = CliRunner().invoke(app, ["prepare", str(recordings), "--store", str(tmp_path / "s"), "--workers", "1"])
    assert done.exit_code == 130
    assert "error: stopped by Ctrl-C. What was prepared stays; the same command goes on with the rest." in done.stderr


# -- folders and disks ------------------------------------------------------------------------------------------------


def test_folders_without_recordings(tmp_path, recordings):
    with pytest.raises(RecordingError, match="nix: no such folder"):
        prepare(tmp_path / "nix", tmp_path / "s")
    with pytest.raises(RecordingError, match=r"night 1.edf: a file. Expected a folder"):
        prepare(recordings / NIGHT, tmp_path / "s")
    (tmp_path / "notes.txt").write_text("no recording")
    with pytest.raises(RecordingError, match=r"no recording in it. Expected .edf, .bdf, .h5 files"):
        prepare(tmp_path, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_recordings_are_found_by_their_ending_in_any_case(tmp_path):
    for name in ("b.EDF", "a/x.bdf", "a/b/y.Edf", "z.h5", ".hidden.edf", "edf", "c.edf.txt", "a/notes.tsv"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in find_recordings(tmp_path)]
    assert found == ["a/b/y.Edf", "a/x.bdf", "b.EDF", "z.h5"]


def test_a_store_that_cannot_be_written(recordings, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"file.*: cannot be written \(.*\). Choose another folder"):
        prepare(recordings, tmp_path / "file" / "s", workers=1)


def test_a_name_too_long_for_the_store_is_left_out(folder, prepared, tmp_path):
    shutil.copy(folder / NIGHT, folder / f"{'x' * 224}.edf")  # a file's name has at most 255 bytes
    report = prepare(folder, tmp_path / "s", workers=1)
    assert list(report.left_out.values()) == [
        "its name is too long for the store, which adds 32 characters to it. Rename the file."
    ]
    assert open_store(tmp_path / "s").fingerprint == prepared.fingerprint


def test_a_full_disk_ends_the_run_and_keeps_what_was_done(recordings, prepared, tmp_path):
    """The system refuses to write more than so much into one file: room for the first array, but not for the second."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * 19 * 80 * 256, before[1]))
    try:
        with pytest.raises(StoreError, match=r"s: cannot be written \(File too large\). What was prepared stays"):
            prepare(recordings, tmp_path / "s", workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list((tmp_path / "s").rglob("*.part"))
    assert len(arrays(tmp_path / "s")) == 1
    assert [one.id for one in open_store(tmp_path / "s").recordings] == [BDF]
    assert prepare(recordings, tmp_path / "s", workers=1).kept == (BDF,)
    assert open_store(tmp_path / "s").fingerprint == prepared.fingerprint


def test_a_second_run_waits_for_nobody(recordings, tmp_path):
    (tmp_path / "s").mkdir()
    with (tmp_path / "s" / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="another process is preparing into it"):
            prepare(recordings, tmp_path / "s")
    assert prepare(recordings, tmp_path / "s", workers=1).prepared == ALL


def test_killed_at_random_points_it_leaves_a_store_that_the_next_run_completes(recordings, tmp_path):
    found = campaign(recordings, tmp_path, kills=3, seed=20, workers=(1, 1, 2))
    assert len(found) == 3
