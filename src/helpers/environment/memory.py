"""How this process returns memory to the system: one setting of the C library, for long work on a CPU.

It measures nothing and limits nothing.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def keep_freed_memory() -> bool:
    """Keep freed memory in this process instead of returning it to the system after every large array.

    glibc maps each array above some size anew and unmaps it when it is freed, so a network on a CPU spends a good part
    of its time on page faults. With this setting memory is used again; the process keeps its peak until it ends. It
    holds for the whole process and can be called again.

    Returns
    -------
    bool
        False where the C library has no such setting (it is glibc's).

    Notes
    -----
    Source: mallopt(3).
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, 1 << 30) and mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1))
