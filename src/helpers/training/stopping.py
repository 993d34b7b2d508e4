"""Ending a training by a signal: it is noted, and acted on where everything computed so far can be saved.

Lightning's own handlers do otherwise. Ctrl-C interrupts whatever is under way, and what came after the last checkpoint
is lost; at SIGTERM, a process speaks to the other devices from inside the handler, whatever they are waiting for.
"""

import os
import signal
import threading
import time
from contextlib import contextmanager

__all__ = ["StopRequest", "Stopped", "leave_signals_to_the_parent", "signals_held"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_ONE_WISH = 1.0  # s; `timeout -s INT` and some job systems send the same signal to a process and to its group


class Stopped(BaseException):
    """The training was asked to end, and what could be saved is saved."""


class StopRequest:
    """Whether Ctrl-C or SIGTERM has come while a training runs.

    Attributes
    ----------
    signum : int or None
        The first one that came.
    """

    def __init__(self):
        self.signum, self._since, self._before = None, None, {}

    @contextmanager
    def awaited(self):
        """Note both signals, from here on; at the end, they do again what they did before.

        In another thread than the main one, Python has no handlers, and nothing is noted.
        """
        if threading.current_thread() is threading.main_thread():
            found = {signum: signal.getsignal(signum) for signum in _SIGNALS}
            self._before = {signum: handler for signum, handler in found.items() if handler is not None}
        self.listen()
        try:
            yield
        finally:
            for signum, handler in self._before.items():
                signal.signal(signum, handler)

    def listen(self):
        """Put the handlers in their place, again where somebody else has put others there."""
        for signum, handler in self._before.items():
            signal.signal(signum, handler if handler == signal.SIG_IGN else self._note)

    def _note(self, signum, frame):
        now = time.monotonic()
        if self.signum is None:
            self.signum, self._since = signum, now
        elif signum == signal.SIGINT and now - self._since > _ONE_WISH:
            raise KeyboardInterrupt  # somebody does not want to wait for the step


@contextmanager
def signals_held():
    """Hold both signals back from here on, also in every process that begins meanwhile, in whatever thread of it.

    `leave_signals_to_the_parent` speaks for the thread that calls it and those that come later. A library that starts
    a thread of its own in each new process would be there before it, and the signal would find that one.
    """
    if not hasattr(signal, "sigwaitinfo"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_signals_to_the_parent(worker):
    """For a process that reads windows: what ends a training comes to all of its processes at once.

    A process that dies of it makes the training die of a missing process, in the middle of saving. What the training
    itself sends counts: that is how processes are ended that nobody asks for windows any more. And if it is killed,
    they end by themselves: torch's look every 5 s whether their parent is still there.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "sigwaitinfo"):  # not on macOS: there, the last steps are lost with such a process
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_wait_for_the_parents, daemon=True).start()


def _wait_for_the_parents():
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)
