"""Writing a file so that it is whole or not there, whatever stops the process or the machine meanwhile.

It is for files that somebody may read again after a crash. It locks nothing: of two writers, the last one stays.
"""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["on_disk", "replacing"]


@contextmanager
def replacing(path: str | Path, mode: str = "wb", **options):
    """Open a file that takes the place of `path` when the block ends, and vanishes if the block raises.

    The content is written beside `path` (a rename is atomic on one file system only), put on the disk, and renamed;
    then the folder is put on the disk, without which a power failure could undo the rename.

    Parameters
    ----------
    path : str or Path
        Its folder is there.
    mode : {"wb", "w"}
        Of `open`.
    **options
        Of `open`, say ``encoding``.

    Yields
    ------
    file object
        Its name ends in ``.part``; a process that is killed leaves a file of that kind behind, never a broken `path`.

    Raises
    ------
    OSError
        If it cannot be written. `path` is then what it was before.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open(mode.replace("w", "x"), **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    on_disk(path.parent)


def on_disk(path: str | Path) -> None:
    """Put a file, or the names in a folder, on the disk, where the file system can: some on a network cannot.

    Parameters
    ----------
    path : str or Path
        It can be read.
    """
    with suppress(OSError):
        opened = os.open(path, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
