"""The GPU architectures for which an extension holds code, from the headers of its fat binary (section `.nv_fatbin`).

The section holds containers of one entry for each architecture: machine code or PTX, mostly compressed. The code itself
is not read. NVIDIA does not document the headers; the fields are as nvcc 13.0 writes and cuobjdump 13.4 reads them.
"""

from __future__ import annotations

import mmap
import struct

__all__ = ["architectures"]

CONTAINER = struct.Struct("<4sHHQ")  # magic, version, size of this header, size of the entries behind it
ENTRY = struct.Struct("<H2xIQ12xI8xQ")  # kind, size of this header, size of the code, architecture, flags
MAGIC = bytes.fromhex("50ed55ba")
PREFIXES = {1: "compute", 2: "sm"}  # PTX, which the driver compiles; machine code
SUFFIXES = {0x100000: "a", 0x200000: "f"}  # flags: for this architecture only, for its family


def architectures(data: bytes | mmap.mmap, start: int, size: int) -> tuple[str, ...]:
    """Return the architectures of a fat binary, machine code first.

    Parameters
    ----------
    data : bytes or mmap
        The whole file.
    start, size : int
        Where the section is in it.

    Returns
    -------
    tuple of str
        Such as `("sm_75", "sm_90a", "compute_90")`; entries that are damaged or of another kind are left out.
    """
    found = set()
    stop = min(start + size, len(data))
    at = data.find(MAGIC, start, stop)
    while 0 <= at <= stop - CONTAINER.size:
        _, _, header, size = CONTAINER.unpack_from(data, at)
        entry, end = at + header, min(at + header + size, stop)
        while entry <= end - ENTRY.size:
            kind, header, size, number, flags = ENTRY.unpack_from(data, entry)
            if kind in PREFIXES:
                suffix = "".join(letter for bit, letter in SUFFIXES.items() if flags & bit)
                found.add((-kind, number, f"{PREFIXES[kind]}_{number}{suffix}"))
            entry += max(header + size, ENTRY.size)
        at = data.find(MAGIC, max(end, at + CONTAINER.size), stop)
    return tuple(name for _, _, name in sorted(found))
