"""A training that is asked to end, or whose processes are killed: what is saved, what is said, and where it goes on."""

import multiprocessing
import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from memory_store import MemoryStore
from tiny import DETECTOR, Stopped, config, data_of, differences, fit_until

from helpers.eeg import open_store, prepare
from helpers.eeg.synthetic import write_recordings
from helpers.training import TrainingError, WindowOrder, fit, load_config, read_checkpoint

ENDS = {signal.SIGTERM: (SystemExit, 143), signal.SIGINT: (KeyboardInterrupt, 130)}


@pytest.fixture(autouse=True)
def _ctrl_c():
    """A shell that starts the tests in the background has Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def at_step(step, signum, pause=0.0, times=1):
    """A progress function that sends this process a signal."""

    def progress(done, total):
        if done == step:
            for _ in range(times):
                os.kill(os.getpid(), signum)
                time.sleep(pause)

    return progress


def saved(folder):
    return read_checkpoint(folder / "last.ckpt")["training"]


@pytest.mark.parametrize("signum", ENDS)
def test_the_step_under_way_is_saved(whole, store, tmp_path, signum):
    before = [signal.getsignal(number) for number in ENDS]
    for step in (3, 7):  # the second time, after it went on
        with pytest.raises(ENDS[signum][0]) as found:
            fit(config(), store, tmp_path / "run", resume=True, progress=at_step(step, signum))
        assert saved(tmp_path / "run")["step"] == step
        assert [signal.getsignal(number) for number in ENDS] == before
    if signum == signal.SIGTERM:
        assert found.value.code == 143
    fit(config(), store, tmp_path / "run", resume=True)
    assert differences(tmp_path / "run", whole[0].checkpoint.parent) == []


class Stopping(MemoryStore):
    """Sends this process a signal when a batch for the validation is read, the one with a number."""

    def __init__(self, folder, signum, number):
        super().__init__(folder)
        self.signum, self.number = signum, number
        self.subjects = WindowOrder(config(), self).splits["validation"]

    def batch(self, windows, **options):
        windows = list(windows)
        if self[windows[0][0]].subject in self.subjects:
            self.number -= 1
            if self.number == 0:
                os.kill(os.getpid(), self.signum)
        return super().batch(windows, **options)


@pytest.mark.parametrize("number", [1, 2, 3, 5])  # two batches in each of three validations; 5 is in the last one
def test_a_validation_that_was_stopped_is_done_again_in_full(whole, tmp_path, number):
    signum = list(ENDS)[number % 2]
    with pytest.raises(ENDS[signum][0]):
        fit(config(), Stopping(tmp_path, signum, number), tmp_path / "run")
    assert (saved(tmp_path / "run")["step"], len(saved(tmp_path / "run")["validations"])) in [(4, 0), (8, 1), (12, 2)]

    def report(figures):
        raise Stopped

    with pytest.raises(Stopped):  # once more, when that validation was done and saved
        fit(config(), MemoryStore(tmp_path), tmp_path / "run", resume=True, report=report)
    again = fit(config(), MemoryStore(tmp_path), tmp_path / "run", resume=True)
    assert again.validations == whole[0].validations
    assert differences(tmp_path / "run", whole[0].checkpoint.parent) == []


def test_what_comes_with_the_last_validation_ends_nothing(whole, store, tmp_path):
    def report(figures):
        if figures["step"] == 12:
            os.kill(os.getpid(), signal.SIGTERM)

    result = fit(config(), store, tmp_path / "run", report=report)
    assert result.validations == whole[0].validations


def test_a_second_ctrl_c_does_not_wait(store, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fit(config(), store, tmp_path / "run", progress=at_step(3, signal.SIGINT, pause=1.2, times=2))
    assert saved(tmp_path / "run")["step"] == 2
    with pytest.raises(KeyboardInterrupt):  # two at once are one: `timeout -s INT` sends it to a process and its group
        fit(config(), store, tmp_path / "run", resume=True, progress=at_step(3, signal.SIGINT, times=2))
    assert saved(tmp_path / "run")["step"] == 3


def test_an_ignored_ctrl_c_stays_ignored(store, tmp_path):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert fit_until(6, config(), store, tmp_path / "run") is None
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def progress(done, total):
        os.kill(os.getpid(), signal.SIGINT)

    fit(config(), store, tmp_path / "run", resume=True, progress=progress)
    assert saved(tmp_path / "run")["step"] == 12


# -- with processes that read windows ---------------------------------------------------------------------------------


PROC = Path("/proc")
linux = pytest.mark.skipif(not PROC.is_dir(), reason="finds processes in /proc")


def children(pid):
    """Processes that a process began."""
    found = [path.read_text().split() for path in (PROC / f"{pid}" / "task").glob("*/children")]
    return {int(child) for children in found for child in children}


def kill_readers_at(step, signum):
    """A progress function by which a signal comes to the processes that read, from outside."""
    me, before = os.getpid(), children(os.getpid())

    def progress(done, total):
        if done == step:
            for pid in children(me) - before:
                subprocess.run(["kill", f"-{int(signum)}", f"{pid}"], check=True)
            time.sleep(0.3)  # for the system to say that a child has died

    return progress


@linux
@pytest.mark.parametrize("signum", ENDS)
def test_the_readers_leave_the_signal_to_the_training(whole, tmp_path, signum):
    """So that it has them for its next step, and does not hear of their death while it saves.

    In a process that has nothing else to do, as a training has.
    """
    code = f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from memory_store import MemoryStore
        from test_stopping import config, fit, kill_readers_at

        run = {str(tmp_path / "run")!r}
        fit(config(workers=2), MemoryStore({str(tmp_path)!r}), run, progress=kill_readers_at(2, {int(signum)}))
    """
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env={**os.environ, **threads}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    steps = read_checkpoint(tmp_path / "run" / "last.ckpt")["steps"]
    assert np.array_equal(steps.numpy(), whole[0].steps)


def test_the_readers_end_when_the_training_ends_them(store):
    """As Python does with those that are left when a process ends; it waits for them then, without a limit."""
    batches = iter(data_of(store, config(workers=2)).train_dataloader())
    for _ in range(2):  # one from each: both have begun
        next(batches)
    readers = multiprocessing.active_children()
    assert len(readers) == 2
    for reader in readers:
        os.kill(reader.pid, signal.SIGINT)
        reader.join(timeout=0.5)
        assert reader.is_alive()
        reader.terminate()
        reader.join(timeout=30)
    assert [reader.exitcode for reader in readers] == [0, 0]


def test_a_reader_that_dies_of_the_signal_ends_it_as_clearly(store, tmp_path):
    """As one may that is just beginning; what came after the last checkpoint is lost."""

    def progress(done, total):
        if done == 3:
            os.kill(os.getpid(), signal.SIGTERM)
            raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Terminated. ")  # torch, at any place

    with pytest.raises(SystemExit):
        fit(config(), store, tmp_path / "run", progress=progress)
    assert saved(tmp_path / "run")["step"] == 2


@linux
def test_a_killed_reader_is_named(store, tmp_path):
    progress = kill_readers_at(3, signal.SIGKILL)
    with pytest.raises(TrainingError, match=r"reads windows has ended: .* Go on with --resume and a lower `workers`"):
        fit(config(workers=1), store, tmp_path / "run", progress=progress)
    assert saved(tmp_path / "run")["step"] >= 2


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A store on disk of three synthetic subjects, and a configuration of 24 steps that reads by two processes."""
    folder = tmp_path_factory.mktemp("written")
    write_recordings(folder / "in", subjects=3, minutes=3, seed=1)
    prepare(folder / "in", folder / "store", workers=1)
    options = {"epochs": 3, "windows_per_epoch": 8, "batch_size": 1, "workers": 2, "checkpoint_every": 3}
    options |= {"detector": DETECTOR, "fractions": {"train": 0.34, "validation": 0.33, "test": 0.33}, "patience": 20}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(options))
    return folder


def started(written, run):
    """`workbook train` in a session of its own, once it has saved a step more than there was before."""
    place, before = run / "last.ckpt", None
    if place.exists():
        before = place.stat().st_mtime_ns
    command = ["train", str(written / "tiny.yaml"), "--store", str(written / "store"), "--output", str(run), "--resume"]
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers.cli", *command],
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    while process.poll() is None and not (place.exists() and place.stat().st_mtime_ns != before):
        time.sleep(0.005)
    return process, shlex.join(["workbook", *command])


def test_a_signal_to_the_whole_group_ends_it_in_one_line(written, tmp_path):
    """What `timeout`, job systems and a terminal's Ctrl-C do: the processes that read get the signal, too."""
    run = tmp_path / "run"
    for signum, name in [(signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")]:
        process, command = started(written, run)
        os.killpg(process.pid, signum)
        _, said = process.communicate(timeout=120)
        assert process.returncode == ENDS[signum][1], said
        lines = [line for line in said.splitlines() if line.strip() and "Training" not in line]
        assert lines == [f"error: stopped by {name}. To go on from the last step that was saved: {command}"]
        assert saved(run)["step"] < 24
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as those had
    try:
        options = load_config(written / "tiny.yaml").model_copy(update={"workers": 0})
        fit(options, open_store(written / "store"), run, resume=True)
        fit(options, open_store(written / "store"), tmp_path / "whole")
    finally:
        torch.set_num_threads(threads)
    assert set(differences(run, tmp_path / "whole")) <= {"detector.pt: /training/config/workers"}


@linux
def test_a_killed_training_leaves_no_process(written, tmp_path):
    process, _ = started(written, tmp_path / "run")
    readers = children(process.pid)
    process.kill()
    process.communicate(timeout=60)
    assert len(readers) >= 2
    until = time.monotonic() + 60  # each looks every 5 s
    while (left := [pid for pid in readers if (PROC / f"{pid}").exists()]) and time.monotonic() < until:
        time.sleep(0.2)
    assert left == []
