"""Work in processes: every task has an outcome, even where a process dies over it."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from helpers.environment import ProcessDied, in_processes


def test_every_task_has_its_outcome():
    tasks = [(f"{number}", "b") for number in range(11)]
    for workers in (1, 3):
        outcomes = dict(in_processes(os.path.join, tasks, workers))
        assert outcomes == {task: f"{task[0]}/b" for task in tasks}
    assert list(in_processes(os.path.join, [], 3)) == []


def test_a_process_that_dies_costs_its_task_only():
    harmless = signal.SIGCHLD.value  # ignored unless somebody listens
    tasks = [(harmless,), (signal.SIGKILL.value,), (signal.SIGSEGV.value,), *[(harmless,)] * 3]
    outcomes = [(task, outcome) for task, outcome in in_processes(signal.raise_signal, tasks, 2)]
    assert sorted(task for task, _ in outcomes) == sorted(tasks)
    for (number,), outcome in outcomes:
        if number == harmless:
            assert outcome is None
        else:
            assert isinstance(outcome, ProcessDied)
            assert f"signal {number}" in str(outcome)


def test_a_process_computes_in_one_thread_and_prints_to_standard_error(monkeypatch, capfd):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
    assert dict(in_processes(os.getenv, [(name,) for name in names], 2)) == {(name,): "1" for name in names}
    assert os.environ["OMP_NUM_THREADS"] == "7"
    assert sorted(in_processes(print, [("said",), ("so",)], 2)) == [(("said",), None), (("so",), None)]
    out, err = capfd.readouterr()
    assert out == ""
    assert {"said", "so"} <= set(err.split())


def test_a_caller_that_stops_listening_leaves_no_process():
    work = in_processes(os.getpid, [()] * 5, 2)
    _, pid = next(work)
    work.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_caller_that_stops_listening_waits_for_nobody():
    """Not even for a process that would not notice, because a single operation keeps its interpreter for minutes."""
    work = in_processes(pow, [(7, 10**8), (2, 3), (2, 5), (2, 7)], 2)
    assert [next(work), next(work)] == [((2, 3), 8), ((2, 5), 32)]
    began = time.monotonic()
    work.close()
    assert time.monotonic() - began < 4


def test_a_process_that_ends_between_two_tasks_costs_one_task():
    """It has answered, and is gone when the next task comes."""
    tasks = [(number,) for number in range(4)]
    outcomes = []
    for outcome in in_processes(answer_and_die, tasks, 2):
        outcomes.append(outcome)
        time.sleep(0.3)
    assert sorted(task for task, _ in outcomes) == tasks
    assert any(isinstance(outcome, ProcessDied) for _, outcome in outcomes)
    for (number,), outcome in outcomes:
        assert outcome == number or "exit code 7" in str(outcome)


def answer_and_die(number):
    threading.Timer(0.05, os._exit, (7,)).start()
    return number


def test_processes_of_the_caller_that_live_on_do_not_delay_the_end():
    """A fork without exec, as of a loader's workers, holds open whatever its parent has open."""
    outcomes, forked = [], None
    began = time.monotonic()
    for _, outcome in in_processes(abs, [(-1,), (-2,), (-3,)], 2):
        outcomes.append(outcome)
        if not forked and not (forked := os.fork()):
            time.sleep(5)
            os._exit(0)
    assert sorted(outcomes) == [1, 2, 3]
    assert time.monotonic() - began < 4
    os.kill(forked, signal.SIGKILL)
    os.waitpid(forked, 0)


def test_a_script_needs_no_guard(tmp_path):
    """`multiprocessing` would run the script again in each process, and each of these would begin it again."""
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent("""
            import os
            from helpers.environment import in_processes
            print("begun", len({pid for _, pid in in_processes(os.getpid, [(), ()] , 2)}))
        """)
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("begun")
    assert done.stdout.count("begun") == 1


def test_processes_that_cannot_begin_are_an_error_and_not_the_fault_of_a_task(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="exit code 1 before it began"):
        list(in_processes(os.getpid, [(), ()], 2))


def test_a_process_ends_when_its_caller_is_killed(tmp_path):
    """Whatever it is at: nobody would take its answer."""
    begun = [tmp_path / "1", tmp_path / "2"]
    tasks = [(f"echo $PPID > {path}.part && mv {path}.part {path} && exec sleep 5",) for path in begun]
    code = f"import os\nfrom helpers.environment import in_processes\nlist(in_processes(os.system, {tasks!r}, 2))"
    with subprocess.Popen([sys.executable, "-c", code]) as caller:
        wait_until(lambda: all(path.exists() for path in begun))
        caller.kill()
    for path in begun:
        wait_until(lambda path=path: not runs(int(path.read_text())))


def wait_until(true):
    end = time.monotonic() + 4
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def runs(pid):
    """Whether a process runs; one that has ended may be listed until somebody asks how."""
    state = subprocess.run(["ps", "-o", "state=", "-p", f"{pid}"], capture_output=True, text=True, check=False).stdout
    return state.strip() not in ("", "Z")
