"""The Functions of env/modal/app.py, called in this process: what becomes of a store, of a run, and of their faults."""

import contextlib
import os
import shutil
import signal
import sys
import threading
from types import SimpleNamespace

import pytest

pytest.importorskip("modal")

import helpers.eeg
from helpers.eeg import open_store, prepare
from helpers.eeg.synthetic import write_recordings

pytestmark = pytest.mark.filterwarnings("ignore:.*executing locally")

NAME = "sub-01/eeg/night[1]_eeg.edf"  # a pattern, for whoever forgets that it is none


@pytest.fixture
def prepared(inside):
    """The app after one recording was drawn and prepared; the answer."""
    app = inside()
    draw(app, 0)
    return app, app.prepare_recording.local(NAME, True)


def draw(app, seed):
    shutil.rmtree(app.DRAWN, ignore_errors=True)  # or they would be of another data set
    (path,) = write_recordings(app.DRAWN, 1, 3.0, seed)
    path.rename(app.DRAWN / NAME)
    (marks,) = path.parent.glob("*_events.tsv")
    marks.rename(path.with_name("night[1]_events.tsv"))
    path.with_name("other.edf").write_bytes(b"0       no recording")


def test_a_recording_of_any_name_is_kept_and_made_anew(prepared):
    app, answer = prepared
    assert answer == ({"kept": False, "hours": pytest.approx(3 / 60, abs=1e-3)}, "")
    first = open_store(app.STORE)
    first.verify()
    assert [recording.id for recording in first.recordings] == [NAME]  # and not the other one beside it
    assert app.prepare_recording.local(NAME, True)[0]["kept"]
    assert app.results.commits == 1  # nothing new
    (app.STORE / "recordings" / f"{NAME}.edf.0123456789ab.npy").write_bytes(b"of a recording *.edf.edf")
    draw(app, 1)
    assert not app.prepare_recording.local(NAME, True)[0]["kept"]
    second = open_store(app.STORE)
    second.verify()
    assert second.fingerprint != first.fingerprint
    names = sorted(path.name for path in (app.STORE / "recordings" / NAME).parent.iterdir())
    key = second.recordings[0].file.split(".")[-2]
    home = "night[1]_eeg.edf"
    assert names == [f"{home}.{key}.npy", f"{home}.edf.0123456789ab.npy", f"{home}.json"]
    assert app.results.commits == 2
    assert not app.prepare_recording.local(NAME, False)[0]["kept"]
    open_store(app.STORE).verify()


def test_a_recording_is_prepared_with_its_marks_and_without_its_neighbours(prepared, monkeypatch):
    app, _ = prepared
    seen = []

    def look(folder, store, workers):
        seen.extend(path.name for path in folder.rglob("*") if path.is_file())
        return prepare(folder, store, workers=workers)

    monkeypatch.setattr(helpers.eeg, "prepare", look)
    app.prepare_recording.local(NAME, True)
    assert sorted(seen) == ["night[1]_eeg.edf", "night[1]_events.tsv"]


@pytest.mark.parametrize("ending", [".npy", ".json"])
def test_a_container_that_dies_leaves_the_store_as_it_was(prepared, monkeypatch, ending):
    app, _ = prepared
    before = open_store(app.STORE).fingerprint
    draw(app, 1)
    copy = shutil.copyfile

    def half(source, target):
        copy(source, target)
        if app.STORE in target.parents and ending in target.name:
            target.write_bytes(target.read_bytes()[:40])
            raise OSError("no space left")

    monkeypatch.setattr(shutil, "copyfile", half)
    with pytest.raises(OSError, match="no space left"):
        app.prepare_recording.local(NAME, True)
    store = open_store(app.STORE)
    store.verify()
    assert store.fingerprint == before


def test_a_recording_that_can_no_longer_be_used_leaves_the_store(prepared):
    app, _ = prepared
    (app.DRAWN / NAME).write_bytes(b"0       no recording")
    found, fault = app.prepare_recording.local(NAME, True)
    assert found is None
    assert "cannot be prepared" in fault or "EDF" in fault
    assert app.files_of(NAME, app.STORE) == []
    assert app.results.commits == 2


def test_recordings_of_elsewhere_are_named(prepared):
    """A training would take what was drawn before together with the patients of a bucket."""
    app, _ = prepared
    shutil.copytree(app.DRAWN / "sub-01", app.DRAWN / "sub-02")
    shutil.rmtree(app.DRAWN / "sub-01")
    assert app.list_recordings.local(0, 2.0) == (([NAME.replace("01", "02"), "sub-02/eeg/other.edf"], [NAME]), "")


def test_faults_in_words(inside):
    app = inside()
    assert "no recordings. Name a bucket" in app.list_recordings.local(0, 2.0)[1]
    assert "minutes is 2.0; expected 3" in app.list_recordings.local(4, 2.0)[1]
    assert "no recordings. Name a bucket" in app.evaluate_run.local("nope")[1]
    assert app.train.local("tiny", "smoke", "", True, "call") == (
        "error: nothing is prepared. Begin with --action prepare."
    )
    app.DRAWN.mkdir()
    assert "no recording in it" in app.list_recordings.local(0, 2.0)[1]
    (app.DRAWN / "night.edf").touch()
    assert "runs/nope/detector.pt: no such file" in app.evaluate_run.local("nope")[1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--bucket", "s3://eeg/tusz"], "--bucket is s3://eeg/tusz, expected NAME or NAME/PREFIX"),
        (["--timeout=0"], "timeout is 0 s.* Give whole seconds"),
        (["--timeout=-5"], "timeout is -5 s.* Give whole seconds"),
        (["--action", "cost", "--config", "nosuch"], "nosuch: no configuration there"),
        (
            ["--action", "train", "--config", "nosuch"],
            "nosuch: cannot be read .* one of the package's: full, small, smoke",
        ),
        (["--action", "notebook", "--chapter", "99"], "no chapter 99"),
        (["--action", "notebook"], "no chapter was named"),
    ],
)
def test_what_is_refused_at_once(inside, arguments, words):
    with pytest.raises(SystemExit, match=f"^error: .*{words}"):
        inside(*arguments)


def test_what_is_refused_before_a_container_is_rented(inside):
    with pytest.raises(SystemExit, match="run test-mamba only"):
        inside("--recipe", "notes").main("prepare", recipe="notes")
    with pytest.raises(SystemExit, match="must stand on the command line"):
        inside().main("train", gpu="L4")
    app = inside("--bucket", "eeg")
    with pytest.raises(SystemExit, match="Choose one"):
        app.prepare(8, 30.0, True)
    assert app.text_of("smoke") == ""


def test_what_prepare_prints(inside, capsys):
    """Of four recordings one was there, one is bad, and one has met its timeout."""
    app = inside()
    answers = [({"kept": False, "hours": 1.0}, ""), ({"kept": True, "hours": 2.5}, ""), (None, "no EEG channel")]
    answers.append(TimeoutError("reached its timeout"))
    asked = []

    def prepare_all(names, kwargs, return_exceptions):
        asked.append((names, kwargs, return_exceptions))
        return iter(answers)

    names = ["a.edf", "b.edf", "c.edf", "d.edf"]
    app.list_recordings = SimpleNamespace(remote=lambda *_: ((names, ["old.edf"]), ""))
    app.prepare_recording = SimpleNamespace(map=prepare_all)
    app.prepare(0, 30.0, False)
    assert capsys.readouterr().out.splitlines() == [
        "1 recordings prepared, 1 already there, 2 left out; 3.5 h",
        "  left out  c.edf: no EEG channel",
        "  left out  d.edf: reached its timeout",
        "The store also holds 1 other recordings (old.edf); a training takes them, too.",
        "To begin anew: modal volume rm -r workbook-results store",
    ]
    assert asked == [(names, {"resume": False}, True)]
    answers[:2] = answers[2:]
    with pytest.raises(SystemExit, match="no recording could be prepared"):
        app.prepare(0, 30.0, False)


@pytest.fixture
def trainer(inside, tmp_path, monkeypatch):
    """The app with a shell script in the place of the training."""

    def start(script):
        app = inside()
        app.STORE.mkdir(exist_ok=True)
        path = tmp_path / "training"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(path))
        return app

    return start


def test_how_a_training_ends(trainer):
    assert trainer('echo "$@"; exit 0').train.local("tiny", "smoke", "", True, "call") == ""
    fault = "error: no memory left. Lower batch_size."
    assert trainer(f'echo "{fault}" >&2; exit 1').train.local("tiny", "smoke", "", True, "call") == fault
    for script in ('echo "CUDA error: unspecified launch failure" >&2; exit 1', "kill -9 $$", "exit 143"):
        app = trainer(script)
        with pytest.raises(RuntimeError, match="the next attempt goes on from"):
            app.train.local("tiny", "smoke", "", True, "call")
        assert app.results.commits == 1


def test_a_training_that_is_refused_leaves_the_run_as_it_was(trainer, capsys):
    app = trainer("exit 0")
    assert app.train.local("tiny", "tiny.yaml", "epochs: 5", True, "call") == ""
    before = {path.name for path in (app.RUNS / "tiny").iterdir()}
    app = trainer('cat "$5"; echo; echo "error: epochs was 5, is 1. Choose another folder with --output." >&2; exit 1')
    fault = app.train.local("tiny", "tiny.yaml", "epochs: 1", True, "other call")
    assert fault.startswith("error: epochs was 5")
    assert "epochs: 1\n" in capsys.readouterr().out  # it was given the new one
    assert {path.name for path in (app.RUNS / "tiny").iterdir()} == before == {"call"}


@pytest.mark.parametrize(("words", "ends"), [("there are open files preventing the operation", False), ("lost", True)])
def test_files_that_are_open_do_not_end_a_training(trainer, words, ends):
    """TensorBoard keeps its file open, and Modal reloads the Volume after a commit."""

    class Results:
        def commit(self):
            raise RuntimeError(words)

    app = trainer('echo saved > "$9/last.ckpt"; sleep 0.2')
    app.results = Results()
    with pytest.raises(RuntimeError, match="lost") if ends else contextlib.nullcontext():
        assert app.train.local("tiny", "smoke", "", True, "call") == ""


def test_what_a_training_says_is_passed_on(trainer, capsys):
    """Both of its streams, but for advice with paths that are the container's."""
    app = trainer("echo step 1; echo warned >&2; echo 'next: workbook detect x --weights /results/runs/tiny'")
    assert app.train.local("tiny", "smoke", "", True, "call") == ""
    assert capsys.readouterr().out == "step 1\nwarned\n"


def test_a_run_is_gone_on_with_by_its_retries_and_when_asked(trainer):
    app = trainer("exit 0")
    saved = app.RUNS / "tiny" / "last.ckpt"
    assert app.train.local("tiny", "smoke", "", False, "first call") == ""
    saved.write_bytes(b"a checkpoint")
    assert app.train.local("tiny", "smoke", "", False, "first call") == ""  # its retry
    fault = app.train.local("tiny", "smoke", "", False, "second call")
    assert fault == f"error: {saved.parent} holds a training. Go on with --resume, or choose another name with --run."
    assert app.train.local("tiny", "smoke", "", True, "third call") == ""


def test_a_training_that_is_stopped_saves_first(trainer):
    """As when Modal takes the machine back: it interrupts, and waits 30 s."""
    app = trainer("trap 'echo saved > \"$9/last.ckpt\"; exit 143' TERM; while true; do sleep 0.02; done")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background process ignores it
    try:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt):
            app.train.local("tiny", "smoke", "", True, "call")
    finally:
        signal.signal(signal.SIGINT, before)
    assert (app.RUNS / "tiny" / "last.ckpt").read_text() == "saved\n"
    assert app.results.commits == 1
