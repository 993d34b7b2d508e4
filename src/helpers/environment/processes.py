"""Work spread over processes, for files that may be damaged enough to take a process down.

A process that dies costs the task it was at, not the others. Each is a fresh interpreter that imports nothing of the
caller's script, so a script or a notebook needs no guard, and that computes in one thread. Tasks and outcomes travel as
JSON. It is no general pool: for arrays, use `multiprocessing`.
"""

from __future__ import annotations

import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module

__all__ = ["ProcessDied", "in_processes"]

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class ProcessDied:
    """What became of a task whose process ended over it."""

    def __init__(self, code: int):
        self.code = code

    def __str__(self) -> str:
        how = f"signal {-self.code}" if self.code < 0 else f"exit code {self.code}"
        return f"its process ended with {how}; with signal 9, memory may have run out"


def in_processes(function: Callable, tasks: Sequence[tuple], workers: int) -> Iterator[tuple[tuple, object]]:
    """Call a function with each task; yield ``(task, outcome)`` as they come in.

    Parameters
    ----------
    function : callable
        At the top of a module that can be imported. What it takes and returns can be written as JSON.
    tasks : sequence of tuple
        The arguments of each call. They are begun in this order.
    workers : int
        Processes. With 1, the calls are made in this process.

    Yields
    ------
    task : tuple
    outcome : object
        What the function returned, or a `ProcessDied`.

    Raises
    ------
    RuntimeError
        If a process ends before it has begun to work.
    Exception
        Whatever the function raises, with 1 worker; with more, it ends its process.
    """
    if workers == 1:
        for task in tasks:
            yield task, function(*task)
        return
    waiting, busy = list(reversed(tasks)), {}
    command = f"from {__name__} import _serve; _serve({function.__module__!r}, {function.__qualname__!r})"
    environment = {**os.environ, **dict.fromkeys(_THREADS, "1"), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with selectors.DefaultSelector() as selector:

        def start():
            process = subprocess.Popen([sys.executable, "-c", command], env=environment, **pipes)
            busy[process] = None
            selector.register(process.stdout, selectors.EVENT_READ, process)

        def stop(process):
            selector.unregister(process.stdout)
            busy.pop(process)
            with suppress(BrokenPipeError):  # it may have ended with a task unread
                process.stdin.close()
            process.stdout.close()
            return process.wait()

        try:
            for _ in range(min(workers, len(tasks))):
                start()
            while busy:
                for key, _ in selector.select():
                    process, line = key.data, key.fileobj.readline()
                    task = busy[process]
                    if line.endswith(b"\n"):
                        if task is not None:
                            yield task, json.loads(line)
                        if waiting:
                            busy[process] = waiting.pop()
                            _send(process.stdin, busy[process])
                        else:
                            # The end of its input would end it, but a process that the caller forked meanwhile (a
                            # loader's, say) holds that open, too.
                            process.kill()
                            stop(process)
                        continue
                    code = stop(process)
                    if task is None:
                        raise RuntimeError(f"a process to work in ended with exit code {code} before it began.")
                    yield task, ProcessDied(code)
                    if waiting:
                        start()
        finally:
            for process in list(busy):
                process.kill()  # it would end by itself, but not within a single long operation
                stop(process)


def _send(pipe, message):
    try:
        pipe.write(json.dumps(message).encode() + b"\n")
        pipe.flush()
    except BrokenPipeError:  # it has just died: reading from it says so
        pass


def _serve(module, name):
    """The other side: tasks come in by standard input, outcomes go out by what was standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal; the caller decides
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints must not be taken for an answer,
    sys.stdout = sys.stderr  # and must not wait in a buffer that `_listen` throws away
    tasks = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(tasks,), daemon=True).start()
    function = getattr(import_module(module), name)
    _send(answers, None)
    while True:
        _send(answers, function(*tasks.get()))


def _listen(tasks):
    """Read ahead, to end at once when the caller ends, killed or not, whatever this process is at."""
    for line in sys.stdin:
        tasks.put(json.loads(line))
    os._exit(0)
